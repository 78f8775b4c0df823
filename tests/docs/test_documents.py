"""What README and docs say is so: Python blocks run, links lead somewhere, tables agree with the code.

Blocks of one page run in order in one process; for commands see `test_document_commands.py`.
"""

import math
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from pages import run_script

from rnnlab.cells import CELLS
from rnnlab.cells.activations import ACTIVATIONS
from rnnlab.cells.normalized import NormalizedCell
from rnnlab.common.options import Options
from rnnlab.config.config import Config
from rnnlab.config.sections import ModelOptions
from rnnlab.layers.recurrent import Recurrent
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.pruners import Pruner
from rnnlab.sweep.plan.samplers import Sampler
from rnnlab.tasks import TASKS
from rnnlab.tracking.reader import COLUMNS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


FROM_DATA = {"characters", "generation", "words"}
"""Tasks whose baselines come out of their data and are not a formula."""


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def paired(path: Path) -> list[tuple[str, str | None]]:
    """Python blocks, each with the text block right beneath it: what it prints."""
    pattern = r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?"
    found = re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(code, printed or None) for code, printed in found]


def assert_printed(printed: str, stated: str):
    """The same words, and numbers that agree to one unit of the last digit that is stated."""
    number = r"[-+]?\d+\.?\d*"
    assert re.split(number, printed) == re.split(number, stated)
    for got, said in zip(re.findall(number, printed), re.findall(number, stated), strict=True):
        unit = 10.0 ** -len(said.partition(".")[2])
        assert abs(float(got) - float(said)) <= 1.001 * unit, f"{got} is printed and {said} stated in:\n{stated}"


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in DOCUMENTS if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run_and_print_what_stands_beneath_them(path, tmp_path, request):
    # A document shows files to be added and then uses them, so registering comes before configuration is built.
    mark, pairs = "-- end of a block --", paired(path)
    whole, environment = "".join(f"{code}\nprint({mark!r})\n" for code, _ in pairs), {}
    if "load_sweep(" in whole:  # what it shows of the quick start holds for any sweep
        whole = whole.replace("quickstart", "small").replace("adding-50", "adding-8")
        environment["MLFLOW_TRACKING_URI"] = request.getfixturevalue("small_sweep")
    script = tmp_path / "document.py"
    script.write_text(whole, encoding="utf-8")
    done = run_script(script, environment)
    assert done.code == 0, done.stderr
    assert done.stdout.replace(mark, "").strip()
    for (_, stated), printed in zip(pairs, done.stdout.split(f"{mark}\n")[:-1], strict=True):
        if stated is not None:
            assert_printed(printed, stated)
    # Pictures in a folder named like the page are those that its blocks draw.
    drawn = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.png")}
    assert drawn == set(re.findall(rf"\]\(({path.stem}/[^)]+)\)", path.read_text(encoding="utf-8")))


def test_every_block_is_of_a_kind_that_is_checked():
    for path in DOCUMENTS:
        fences = re.findall(r"^```(.*)\n(?:.*\n)*?```$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(fences) <= {"python", "text", "sh", "yaml", ""}, path.name
        assert fences.count("text") == sum(stated is not None for _, stated in paired(path)), path.name


def test_the_sweep_in_the_readme_is_valid():
    (text,) = blocks(ROOT / "README.md", "yaml")
    definition = SweepDefinition.parse(yaml.safe_load(text))
    assert [plan.arm for plan in definition.studies] == ["zero", "one"]


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if blocks(p, "yaml")], ids=lambda p: p.name)
def test_yaml_blocks_are_valid(path, tmp_path, monkeypatch, plugged):
    monkeypatch.chdir(tmp_path)
    (whole,) = blocks(ROOT / "README.md", "yaml")
    for text in blocks(path, "yaml"):
        shown = yaml.safe_load(text)
        for file in shown.get("imports", []):  # the block that registers something
            Path(file).write_text(next(code for code in blocks(path, "python") if "\n@" in code))
        if "task" in shown:
            Config.parse(shown)
        else:  # some fields of a sweep, laid over those of the README's
            SweepDefinition.parse({**yaml.safe_load(whole), **shown})


def test_links_pictures_and_headings_exist():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!http)([^)]+)\)", path.read_text(encoding="utf-8")):
            file, _, anchor = target.partition("#")
            linked = path.parent / file if file else path
            assert linked.exists() and (not anchor or anchor in anchors(linked)), f"{path.name}: {target}"


def anchors(document: Path) -> set[str]:
    """Names under which the headings of a document can be linked to."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def table(document: str, heading: str) -> dict[str, dict[str, str]]:
    """The rows of the first table below a heading, by the code in their first cell; their cells by column."""
    section = (ROOT / "docs" / document).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert len({row[0] for row in rows}) == len(rows), f"{document}: a row stands twice"
    return {row[0].strip("`"): dict(zip(header, row, strict=True)) for row in rows}


def test_the_columns_of_a_sweep_are_those_that_are_documented():
    assert list(table("results.md", "Columns of a sweep")) == COLUMNS


def test_what_is_slow_is_listed():
    tests = (ROOT / "tests").rglob("test_*.py")
    marked = {str(path.relative_to(ROOT)) for path in tests if "pytest.mark.slow" in path.read_text(encoding="utf-8")}
    assert set(table("contributing.md", "What is slow")) == marked


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def stated_options(text: str) -> dict[str, Any]:
    """What stands as `name: default` in a cell of a table."""
    return {name: value for code in codes(text) if ": " in code for name, value in yaml.safe_load(code).items()}


def value(formula: str, **names: Any) -> Any:
    """Evaluate a formula, in which a space between factors is a product."""
    return eval(re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula), {"ln": math.log, **names})


def assert_defaults(stated: dict[str, Any], options: type[Options]):
    for name, default in stated.items():
        assert name in options.model_fields, f"{options.__name__} has no option '{name}'"
        expected = options.model_fields[name].default
        # The largest phase is written with five digits.
        assert default == (pytest.approx(expected, rel=1e-4) if isinstance(expected, float) else expected), name


@pytest.mark.parametrize(
    ("document", "heading", "known"),
    [
        ("cells.md", "Equations", CELLS),
        ("cells.md", "Options, states, cost", CELLS),
        ("tasks.md", "What is asked", TASKS),
        ("tasks.md", "Options and criteria", TASKS),
        ("sweeps.md", "Samplers", get_args(Sampler)),
        ("sweeps.md", "Pruners", get_args(Pruner)),
    ],
)
def test_everything_registered_has_its_row_and_nothing_else_has(document, heading, known):
    assert set(table(document, heading)) == set(known)


@pytest.mark.parametrize("kind", CELLS)
def test_the_row_of_a_cell_is_true(kind):
    row, cell = table("cells.md", "Options, states, cost")[kind], CELLS[kind].parse({"hidden_size": 6})
    stated = stated_options(row["Options"])
    assert_defaults(stated, CELLS[kind])
    assert set(stated) == set(CELLS[kind].model_fields) - set(NormalizedCell.model_fields)

    sizes = re.findall(r"`(\w+)` ([^,]+)", row["States"])
    assert [name for name, _ in sizes] == list(cell.states)
    assert [value(size, H=6, **stated) for _, size in sizes] == list(cell.state_sizes)

    (weights,) = codes(row["Weights"])
    for I, H in [(3, 5), (4, 6)]:
        counted = sum(p.numel() for p in Recurrent(kind, I, H).parameters())
        assert value(weights, I=I, H=H, **stated) == counted


def test_options_around_a_cell_are_true():
    rows, named = table("cells.md", "Options around a cell"), set()
    for name, row in rows.items():
        section, option = name.split(".", 1)
        stated = stated_options(f"`{option}`")
        assert_defaults(stated, {"cell": NormalizedCell, "model": ModelOptions}[section])
        offering = {k for k, cell in CELLS.items() if section == "model" or set(stated) <= set(cell.model_fields)}
        assert (set(CELLS) if row["Cells"] == "all" else set(codes(row["Cells"]))) == offering
        named |= set(stated)
    own = set(NormalizedCell.model_fields) - {"kind", "hidden_size"}
    assert named == own | {"num_layers", "bidirectional", "residual_layers", "dilation"}


def test_activations_and_cells_with_chrono_biases_are_listed():
    text = " ".join((ROOT / "docs" / "cells.md").read_text(encoding="utf-8").split())
    (activations,) = re.findall(r"Activations of `vanilla`: ([^.]*)\.", text)
    assert set(activations.split(", ")) == {*ACTIVATIONS, "modrelu"}
    (timed,) = re.findall(r"`init\.bias: chrono` spreads[^.]* is for ([^.]*)\.", text)
    assert set(codes(timed)) == {kind for kind, cell in CELLS.items() if cell.time_gates}


@pytest.mark.parametrize("kind", TASKS)
def test_the_row_of_a_task_is_true(kind):
    row, task = table("tasks.md", "Options and criteria")[kind], TASKS[kind].parse({})
    stated = stated_options(row["Options"])
    assert_defaults(stated, TASKS[kind])
    assert set(stated) == set(TASKS[kind].model_fields) - {"kind"}

    names = {**task.model_dump(), "T": task.steps}
    assert codes(row["Answers"]) == [task.answers]
    assert value(codes(row["T"])[0], **names) == task.steps
    assert set(np.ravel(value(codes(row["Lags"])[0], **names))) == set(task.lags)
    name, sign, bound = codes(row["Solved"])[0].split(" ", 2)
    assert (name, sign, value(bound)) == (task.score_name, "≥" if task.higher_is_better else "≤", task.solved_at)
    if kind not in FROM_DATA:
        stated_baseline = [value(codes(row[column])[0], **names) for column in ("Baseline: loss", "score")]
        assert stated_baseline == pytest.approx(task.baseline[:2], rel=1e-12)  # one formula, two orders of rounding
