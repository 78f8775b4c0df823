"""Notebooks run from the first cell to the last, on a small sweep where they need one, and are kept without outputs.

Jupyter's packages are imported by what executes notebooks: they take seconds, in every process that collects tests.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nbclient import NotebookClient

ANALYSIS = Path(__file__).parents[2] / "analysis"
NOTEBOOKS = sorted(ANALYSIS.glob("*.ipynb"))
READING = [path for path in NOTEBOOKS if "load_sweep(" in path.read_text(encoding="utf-8")]
"""Those that need a sweep."""
TEXT = [path for path in NOTEBOOKS if "experiments/words.yaml" in path.read_text(encoding="utf-8")]
"""Those that need the plays of Shakespeare."""


def cells_of(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code_of(path: Path) -> list[str]:
    """The text of the code cells."""
    return ["".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def client() -> Iterator["NotebookClient"]:
    """One process for every notebook: to import torch and MLflow takes longer than the cells."""
    import nbformat
    from jupyter_core.utils import run_sync
    from kernels import ForkedKernelManager
    from nbclient import NotebookClient

    manager, resources = ForkedKernelManager(), {"metadata": {"path": str(ANALYSIS)}}
    yield NotebookClient(nbformat.v4.new_notebook(), km=manager, timeout=120, startup_timeout=120, resources=resources)
    run_sync(manager.shutdown_kernel)(now=True)


def execute(client: "NotebookClient", path: Path, **environment: str) -> list[Any]:
    """Run a notebook where it lies, as Jupyter does, with no name of an earlier one; returns its code cells."""
    import nbformat

    client.nb = nbformat.read(path, as_version=4)
    names = ("MLFLOW_TRACKING_URI", "RNNLAB_SWEEP")
    code = f"import gc, os\nfor name in {names}: os.environ.pop(name, None)\nos.environ.update({environment})\n"
    code += "gc.freeze()\n%reset -f"  # which otherwise looks through all that is imported for garbage
    client.nb.cells.insert(0, nbformat.v4.new_code_cell(code))
    client.execute()
    return [cell for cell in client.nb.cells if cell.cell_type == "code"][1:]


def test_the_first_cell_of_a_notebook_and_no_other_chooses_the_sweep_and_its_store():
    first = {code_of(path)[0] for path in READING}
    assert len(READING) == 3 and len(first) == 1
    (text,) = first
    assert 'os.environ.get("RNNLAB_SWEEP", "quickstart")' in text and "MLFLOW_TRACKING_URI" in text
    for path in READING:
        rest = code_of(path)[1:]
        assert not [source for source in rest if "quickstart" in source or "sqlite" in source or "environ" in source]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_short_and_kept_without_outputs(path):
    cells = cells_of(path)
    assert len(cells) < 15
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert not [source for source in code_of(path) if "def " in source or "class " in source]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_every_cell_shows_something(path, client, small_sweep, request):
    if path in TEXT:
        request.getfixturevalue("text_files")
    cells = execute(client, path, MLFLOW_TRACKING_URI=small_sweep, RNNLAB_SWEEP="small")
    silent = [cell.source for cell in cells[1:] if not cell.outputs]
    assert not silent, silent
    shown = [kind for cell in cells for output in cell.outputs for kind in output.get("data", {})]
    assert shown.count("image/png") >= 2 and "text/html" in shown
    assert not any(output.get("name") == "stderr" for cell in cells for output in cell.outputs)


@pytest.mark.slow
def test_without_its_sweep_a_notebook_says_what_to_do(client, small_sweep):
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match=r"holds no sweep 'quickstart'"):
        execute(client, ANALYSIS / "02_mitigations.ipynb", MLFLOW_TRACKING_URI=small_sweep)
