"""One experiment from the command line: train it, show it, store it."""

import shlex
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rnnlab.commands.run_display import RunDisplay, print_result
from rnnlab.common.errors import UserError
from rnnlab.common.files import lacks_room, room_needed
from rnnlab.common.interrupts import Interrupted, signals_caught
from rnnlab.common.output import Output
from rnnlab.common.plugins import blamed
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.config.device import usable
from rnnlab.training.kernels import prepare_kernels
from rnnlab.training.loop import run
from rnnlab.training.result import Curve, Result

if TYPE_CHECKING:
    from rnnlab.common.locks import FileLock
    from rnnlab.tracking.outbox import Entry

EXPERIMENT = "runs"
"""MLflow experiment of single runs; sweeps have one of their own each."""
CHECKPOINTS = Path("runs/checkpoints")


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
    from rnnlab.common.locks import FileLock
    from rnnlab.tracking.store import prepare_store, tracking_uri

    usable(config.device)  # a missing device or missing data speak up before anything is written
    config.task.sample(make_generator(config.seed, "probe"), 1)
    uri, folder, command = tracking_uri(), CHECKPOINTS / config.hash, shlex.join(["rnnlab", *sys.argv[1:]])
    prepare_store(uri)
    with room_needed(folder, command):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(FileLock(folder / "lock"), config.hash):
            result, run_id = _train_and_deliver(config, name, command, uri, output)
            shutil.rmtree(folder)
    if result is None:
        output.console().print(f"delivered to MLflow as run {run_id}", markup=False, highlight=False)
        output.finish({"run_id": run_id, "config_hash": config.hash}, word=run_id)
        return None
    if output.plain:
        print_result(output.console(), result, run_id)
    output.finish(_facts(result, run_id), word=run_id)
    return result


def _train_and_deliver(config: Config, name: str, command: str, uri: str, output: Output) -> tuple[Result | None, str]:
    """Train, unless an earlier start has, and see the run to MLflow.

    Returns:
        The result, if this start has trained, and MLflow's id of the run.
    """
    from rnnlab.tracking.courier import Courier
    from rnnlab.tracking.outbox import Outbox
    from rnnlab.tracking.undelivered import UNDELIVERED

    outbox, console, result = Outbox(CHECKPOINTS / config.hash / "outbox"), output.console(), None
    entry = outbox.entry("run")
    with Courier(outbox, uri) as courier:
        ended = entry.outcome()
        try:
            if ended is None:
                result = _train(config, name, command, entry, console)
        except Exception:
            if not courier.wait():
                outbox.clear()  # the next start is a run of its own
            raise
        if courier.wait():
            for line in (
                f"the run waits on disk, as MLflow does not take it: {courier.problem}",
                f"deliver it with: {command}",
            ):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            raise SystemExit(UNDELIVERED)
    delivered = entry.read()
    assert delivered is not None and delivered.run_id is not None
    return result, delivered.run_id


def _train(config: Config, name: str, command: str, entry: "Entry", console: Console) -> Result:
    """Train, or go on with it, and end the run's entry in the outbox."""
    from rnnlab.tracking.provenance import config_params, config_tags
    from rnnlab.tracking.run_state import RunState

    prepare_kernels(config, console.print)
    tags = {**config_tags(config), "rnnlab.command": command}
    # Every run of an experiment is a run of its own, but for one that was interrupted, which keeps its identity.
    entry.open(RunState(EXPERIMENT, name, {"rnnlab.run": uuid.uuid4().hex}, tags, config_params(config)))
    try:
        with RunDisplay(config, console) as display, signals_caught(second_kills=True) as stopped:

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
    except Interrupted as interruption:
        console.print(f"{interruption}; the same command continues from there")
        raise SystemExit(130) from None
    except Exception as error:
        if not lacks_room(error):
            entry.fail(blamed(error) or f"{type(error).__name__}: {error}")
        raise
    entry.finish(result)
    return result


@contextmanager
def locked(lock: "FileLock", experiment: str) -> Iterator[None]:
    """Hold an experiment against a second process, with which it would share its checkpoint."""
    if not lock.acquire(wait=False):
        raise UserError(f"another process runs experiment {experiment}: wait for it, or stop it first")
    try:
        yield
    finally:
        lock.release()


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
