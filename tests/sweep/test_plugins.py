"""A sweep over a cell in a file of the user's: workers, restarts, reports and printed commands find it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

CELL = (Path(__file__).parents[1] / "common" / "test_plugins.py").read_text(encoding="utf-8").split("'''")[1]


def rnnlab(*arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-c", "from rnnlab.commands.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def sweep(workplace, write_sweep) -> Path:
    Path("my_cells.py").write_text(CELL)
    arms = {"tanh": {}, "leaky": {"cell.kind": "leaky"}}
    return write_sweep(arms=arms, trials=1, seeds=1)


def test_a_sweep_over_a_plugged_in_cell(sweep):
    from rnnlab.tracking.reader import load_sweep
    from rnnlab.tracking.store import connect, tracking_uri

    assert "cell.kind = 'leaky' is unknown" in rnnlab("sweep", "tiny.yaml", code=2)
    rnnlab("sweep", "tiny.yaml", "--import", "my_cells.py", "--quiet")  # with its report
    runs = load_sweep("tiny")
    assert set(runs["outcome"]) <= {"finished", "solved"} and len(runs) == 4
    run = runs[(runs["arm"] == "leaky") & (runs["phase"] == "final")].iloc[0]
    tags = connect(tracking_uri()).get_run(run["run_id"]).data.tags
    assert list(json.loads(tags["rnnlab.imports"])) == ["my_cells.py"]
    _, *words = shlex.split(run["command"])
    assert "--import" in words and run["config_hash"] in rnnlab(*words, "--print-config")
    assert "complete" in rnnlab("status", "tiny")
    rnnlab("report", "tiny", "--quiet")  # what it imports stands in the definition

    Path("my_cells.py").write_text(CELL + "\n# another\n")
    for words in (["sweep", "tiny.yaml", "--import", "my_cells.py"], ["report", "tiny"]):
        said = rnnlab(*words, code=2)
        assert said.startswith("error: ") and "my_cells.py has changed since" in said and said.count("\n") == 1
