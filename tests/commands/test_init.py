"""A study that `rnnlab init` starts: it runs as it is, and nothing is overwritten."""

import json
import os
import shutil
from pathlib import Path

import pytest
from forked import Forked
from typer.testing import CliRunner

from rnnlab.commands.cli import app
from rnnlab.commands.init import start_study
from rnnlab.common.errors import UserError


@pytest.mark.slow
def test_a_study_runs_to_its_report_as_it_is(workplace, own_workers, plugged):
    files = start_study(workplace / "a study")
    os.chdir(workplace / "a study")  # `workplace` goes back
    assert {path.name for path in files} == {path.name for path in Path().iterdir()}
    shutil.copytree(workplace / "runs", "runs")  # to make a store takes seconds
    short = ["training.steps=4", "training.eval_every=2", "training.test_examples=10"]
    for arguments in (
        ["run", "experiment.yaml", *short],
        ["sweep", "sweep.yaml", "--budget", "smoke", "--workers", "1"],
    ):
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    script = "\n".join(notebook())
    done = Forked(execute, script, output="said", RNNLAB_SWEEP="my-study-smoke").wait(60)
    assert done == 0, Path("said").read_text()


@pytest.mark.parametrize("named", [None, "another"])
def test_without_its_sweep_the_notebook_says_what_to_do(workplace, monkeypatch, named):
    start_study(workplace / "study")
    os.chdir(workplace / "study")
    shutil.copytree(workplace / "runs", "runs")
    monkeypatch.delenv("RNNLAB_SWEEP", raising=False)
    if named:
        monkeypatch.setenv("RNNLAB_SWEEP", named)
    said = "run `rnnlab sweep sweep.yaml`, or name in RNNLAB_SWEEP a sweep that was run: .* holds no sweep "
    with pytest.raises(UserError, match=f"^{said}'{named or 'my-study'}'"):
        execute(notebook()[0])


def notebook() -> list[str]:
    """The code of the notebook in this folder, by cell."""
    cells = json.loads(Path("study.ipynb").read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def execute(script: str) -> int:
    """Run code of a notebook."""
    exec(script, {"__name__": "__main__"})
    return 0


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="is there already, and nothing is overwritten: name a new folder"):
        start_study(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
