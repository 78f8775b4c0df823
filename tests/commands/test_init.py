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
    code = [cell for cell in json.loads(Path("study.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    script = "\n".join("".join(cell["source"]) for cell in code).replace('"my-study"', '"my-study-smoke"')
    assert Forked(execute, script, output="said").wait(60) == 0, Path("said").read_text()


def execute(script: str) -> int:
    """A notebook, in a process that has nothing plugged in."""
    exec(script, {"__name__": "__main__"})
    return 0


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="is there already, and nothing is overwritten: name a new folder"):
        start_study(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
