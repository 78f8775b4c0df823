"""Files and packages of the user's are imported once, known by their hash, and refused in one sentence."""

import hashlib
import sys
from pathlib import Path

import pytest
from plugged import CELL

from rnnlab.cells import CELLS
from rnnlab.common import plugins
from rnnlab.common.errors import UserError
from rnnlab.common.plugins import import_files, load_installed
from rnnlab.config.config import Config, load_config

pytestmark = pytest.mark.usefixtures("plugged")


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    path = tmp_path / "my_cells.py"
    path.write_text(CELL)
    return path


def test_a_file_is_imported_once_and_what_it_registers_counts_at_once(cell, tmp_path, monkeypatch):
    data = {"task": {"kind": "adding"}, "cell": {"kind": "leaky"}}
    with pytest.raises(UserError, match=r"cell\.kind = 'leaky' is unknown"):
        Config.parse(data)
    digest = hashlib.sha256(CELL.encode()).hexdigest()
    assert import_files([str(cell)]) == {str(cell): digest}
    first = CELLS["leaky"]
    monkeypatch.chdir(tmp_path)
    assert import_files(["my_cells.py"]) == {"my_cells.py": digest} and CELLS["leaky"] is first
    config = Config.parse(data)
    assert Config.parse(config.model_dump(mode="json")) == config and "zoneout" in config.model_dump()["cell"]


def test_an_experiment_names_what_it_imports(cell, tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(f"imports: [{cell}]\ntask: {{kind: adding}}\ncell: {{kind: leaky}}\n")
    assert load_config(path).cell.kind == "leaky"
    path.write_text(f"imports: {cell}\ntask: {{kind: adding}}\ncell: {{kind: leaky}}\n")
    with pytest.raises(UserError, match="give a list of Python files"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"cannot import .*my_cells.py: No such file or directory; name an existing Python file"),
        ("x = 1\nx +\n", r"my_cells.py, line 2: SyntaxError: invalid syntax; mend it first"),
        ("def f():\n    1 / 0\n\n\nf()\n", r"my_cells.py, line 2: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", r"my_cells.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        (CELL.replace('"leaky"', '"lstm"'), r"cell 'lstm' is defined in .*lstm.py and in .*my_cells.py: give one"),
        (CELL + CELL, r"my_cells.py: class Leaky stands on line 12 and again on line 30; drop one, or give it"),
    ],
    ids=["missing", "syntax", "error", "import", "taken", "twice"],
)
def test_a_missing_or_broken_file_is_one_sentence(cell, text, message):
    cell.unlink() if text is None else cell.write_text(text)
    with pytest.raises(UserError, match=message) as refused:
        import_files([str(cell)])
    assert "\n" not in str(refused.value)


def test_another_file_than_the_one_that_was_noted_is_refused(cell):
    noted = import_files([str(cell)])
    assert import_files(noted) == noted
    with pytest.raises(UserError, match=r"my_cells.py has changed since the sweep that imports it was started"):
        import_files({str(cell): "0" * 64})


def test_an_installed_package_is_found_by_its_entry_point(cell, tmp_path, monkeypatch):
    info = tmp_path / "my_cells-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-cells\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rnnlab.plugins]\nmine = my_cells\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_cells", raising=False)
    load_installed.cache_clear()
    assert "leaky" in CELLS
    assert plugins.plugins() == {"my_cells": hashlib.sha256(CELL.encode()).hexdigest()}
    (info / "entry_points.txt").write_text("[rnnlab.plugins]\nmine = no_such_module\n")
    load_installed.cache_clear()
    with pytest.raises(UserError, match=r"plug-in 'mine' \(no_such_module\) cannot be imported: ModuleNotFound"):
        len(CELLS)
    (info / "entry_points.txt").unlink()
    load_installed.cache_clear()
    load_installed()
