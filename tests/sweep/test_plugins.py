"""A sweep over a cell in a file of the user's: workers, restarts, reports and printed commands find it."""

import json
import shlex
from pathlib import Path

import pytest
from plugged import CELL
from rich.console import Console

from rnnlab.commands.resolve import resolve
from rnnlab.common import plugins
from rnnlab.common.errors import UserError
from rnnlab.report.report import write_report
from rnnlab.sweep.plan.definition import load_sweep_definition
from rnnlab.sweep.runner import run_sweep
from rnnlab.tracking.reader import load_sweep
from rnnlab.tracking.store import connect, tracking_uri


@pytest.mark.slow
def test_a_sweep_over_a_plugged_in_cell(workplace, write_sweep, plugged, forked_workers):
    Path("my_cells.py").write_text(CELL)
    arms = {"tanh": {}, "leaky": {"cell.kind": "leaky"}}
    path = write_sweep(arms=arms, trials=1, seeds=1, workers=1).relative_to(workplace)
    with pytest.raises(UserError, match=r"cell.kind = 'leaky' is unknown"):
        load_sweep_definition(path)

    def start() -> int:
        return run_sweep(path, imports=["my_cells.py"], console=Console(quiet=True)).exit_code

    assert start() == 0  # workers are processes of their own, which find the cell in the definition
    runs = load_sweep("tiny")
    assert len(runs) == 4 and set(runs["outcome"]) <= {"finished", "solved"}
    run = runs[(runs["arm"] == "leaky") & (runs["phase"] == "final")].iloc[0]
    tags = connect(tracking_uri()).get_run(run["run_id"]).data.tags
    assert json.loads(tags["rnnlab.imports"]) == plugins.plugins() and len(plugins.plugins()) == 1
    words = shlex.split(run["command"])
    assert words[:5] == ["rnnlab", "run", str(path), "--import", "my_cells.py"] and words[5::2][:2] == [
        "--task",
        "--arm",
    ]
    assert resolve(path, words[9:], words[6], words[8]).hash == run["config_hash"]
    assert write_report("tiny", Path("report")).exists()

    Path("my_cells.py").write_text(CELL + "\n# another\n")
    plugins._files.clear()  # as a process that starts now
    for again in (start, lambda: write_report("tiny", Path("report"))):
        with pytest.raises(UserError, match=r"my_cells.py has changed since"):
            again()
