"""One experiment from the command line: train it, show it, store it."""

import shutil
import uuid
from typing import Any

from rich.console import Console

from rnnlab.commands.run_display import RunDisplay, print_result
from rnnlab.commands.stored import (
    CHECKPOINTS,
    EXPERIMENT,
    check_start,
    command_line,
    delivering,
    failing,
    held,
    resumable,
)
from rnnlab.common.interrupts import signals_caught
from rnnlab.common.output import Output
from rnnlab.config.config import Config
from rnnlab.tracking.outbox import Entry, Outbox
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.run_state import RunState
from rnnlab.tracking.store import prepare_store, tracking_uri
from rnnlab.training.kernels import prepare_kernels
from rnnlab.training.result import Curve, Result
from rnnlab.training.runs import run


def run_and_store(config: Config, name: str, output: Output) -> Result | None:
    """Train, show progress, and store the run in MLflow.

    Args:
        config: the experiment.
        name: name of the run in the dashboard.
        output: how much to say.

    Returns:
        The result; None where the run was over already and only had to be delivered to MLflow.

    Raises:
        UserError: if another process is at the same experiment, or the store or the disk cannot be used.
        SystemExit: with code 130 after Ctrl-C, or 4 where MLflow does not take the run; the same command continues.
    """
    check_start(config)
    uri, folder, result, console = tracking_uri(), CHECKPOINTS / config.hash, None, output.console()
    prepare_store(uri)
    with held(folder, f"experiment {config.hash}"):
        outbox = Outbox(folder / "outbox")
        entry = outbox.entry("run")
        try:
            with delivering(outbox, uri, console), resumable(console):
                if entry.outcome() is None:
                    result = _train(config, name, entry, console)
        except Exception:
            if not outbox.undelivered():
                outbox.clear()  # the next start is a run of its own
            raise
        delivered = entry.read()
        shutil.rmtree(folder)
    assert delivered is not None and delivered.run_id is not None
    run_id = delivered.run_id
    if result is None:
        console.print(f"delivered to MLflow as run {run_id}", markup=False, highlight=False)
        output.finish({"run_id": run_id, "config_hash": config.hash}, word=run_id)
        return None
    if output.plain:
        print_result(console, result, run_id)
    output.finish(_facts(result, run_id), word=run_id)
    return result


def _train(config: Config, name: str, entry: Entry, console: Console) -> Result:
    """Train, or go on with it, and end the run's entry in the outbox."""
    prepare_kernels(config, console.print)
    tags = {**config_tags(config), "rnnlab.command": command_line()}
    # Every run of an experiment is a run of its own, but for one that was interrupted, which keeps its identity.
    entry.open(RunState(EXPERIMENT, name, {"rnnlab.run": uuid.uuid4().hex}, tags, config_params(config)))
    with failing(entry), RunDisplay(config, console) as display, signals_caught(second_kills=True) as stopped:

        def follow(step: int, curves: dict[str, Curve]) -> None:
            display.evaluated(step, curves)
            entry.follow(curves)

        result = run(
            config,
            checkpoint=CHECKPOINTS / config.hash / "checkpoint.pt",
            on_evaluation=follow,
            on_profile=display.recorded,
            should_stop=lambda: bool(stopped),
        )
    entry.finish(result)
    return result


def _facts(result: Result, run_id: str) -> dict[str, Any]:
    """What a program wants to know of a run that is over."""
    task = result.config.task
    return {
        "run_id": run_id,
        "config_hash": result.config.hash,
        "task": task.label,
        "cell": result.config.cell.kind,
        "outcome": result.outcome,
        "score": {
            "name": task.score_name,
            "test": result.test_score,
            "baseline": task.baseline.score,
            "solved_at": task.solved_at,
        },
        "summary": result.summary(),
    }
