"""One experiment from the command line: resolve it, train it, show it, store it."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rnnlab.config import Config, load_config, override, parse_overrides, read_yaml
from rnnlab.errors import UserError, nearest
from rnnlab.live import RunDisplay, print_result
from rnnlab.output import Output
from rnnlab.seeding import make_generator
from rnnlab.training.loop import Interrupted, run
from rnnlab.training.result import Curve, Result

EXPERIMENT = "runs"
"""MLflow experiment of single runs; sweeps have one of their own each."""
CHECKPOINTS = Path("runs/checkpoints")


def resolve(
    path: Path, overrides: list[str], task: str | None = None, arm: str | None = None, budget: str | None = None
) -> Config:
    """Read one experiment, from a file of its own or as one arm of a sweep.

    Args:
        path: YAML of an experiment or of a sweep.
        overrides: `"section.field=value"` items.
        task: label of one of the sweep's tasks; may be left out if there is one alone.
        arm: name of one of its arms.
        budget: one of the budgets it declares.

    Returns:
        The validated configuration.

    Raises:
        UserError: if the file, an override, the task or the arm is wrong.
    """
    if "arms" not in read_yaml(path):
        if task or arm or budget:
            raise UserError(
                f"--task, --arm and --budget pick from a sweep, and {path} is a single experiment: leave them out"
            )
        return load_config(path, overrides)
    from rnnlab.sweep.definition import load_sweep_definition

    plans = load_sweep_definition(path, budget).plan()
    tasks, arms = ({plan.task for plan in plans}, {plan.arm for plan in plans})
    task = next(iter(tasks)) if task is None and len(tasks) == 1 else task
    for option, value, valid in (("--task", task, tasks), ("--arm", arm, arms)):
        if value not in valid:
            given = "is missing" if value is None else f"= '{value}' is not in it"
            raise UserError(f"{path} is a sweep, and {option} {given}: {nearest(str(value), valid)}")
    settings = next(plan.settings for plan in plans if (plan.task, plan.arm) == (task, arm))
    return Config.parse(override(settings, parse_overrides(overrides)), f"arm '{arm}' on {task}")


def print_config(config: Config) -> None:
    """Print every field with its value as YAML, and the hash that names the experiment."""
    print(f"# hash {config.hash}")
    print(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), end="")


def run_and_store(config: Config, name: str, output: Output) -> Result:
    """Train, show progress, and store the run in MLflow.

    Args:
        config: the experiment.
        name: name of the run in the dashboard.
        output: how much to say.

    Returns:
        The result.

    Raises:
        SystemExit: with code 130 after Ctrl-C; the checkpoint is saved and the same command continues.
    """
    from rnnlab.tracking.provenance import config_params, config_tags
    from rnnlab.tracking.store import prepare, tracking_uri
    from rnnlab.tracking.writer import RunWriter

    config.task.sample(make_generator(config.seed, "probe"), 1)  # missing data speak up before anything is written
    uri, folder = tracking_uri(), CHECKPOINTS / config.hash
    prepare(uri)
    note = folder / "run.json"  # which MLflow run an interrupted experiment belongs to
    run_id = json.loads(note.read_text())["run_id"] if note.exists() else None
    tags = {**config_tags(config), "rnnlab.command": shlex.join(["rnnlab", *sys.argv[1:]])}
    writer = RunWriter.start(uri, EXPERIMENT, name, tags, config_params(config), run_id=run_id)
    writer.log_task(config.task)
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"run_id": writer.run_id}))
    console = output.console()
    try:
        with RunDisplay(config, console) as display, _stop_on_signal() as stopped:

            def follow(step: int, curves: dict[str, Curve]) -> None:
                display.evaluated(step, curves)
                writer.follow(curves)

            result = run(
                config,
                checkpoint=folder / "checkpoint.pt",
                on_evaluation=follow,
                on_profile=display.recorded,
                should_stop=lambda: bool(stopped),
            )
    except Interrupted as interruption:
        console.print(f"{interruption}; the same command continues from there")
        raise SystemExit(130) from None
    except Exception as error:
        writer.fail(f"{type(error).__name__}: {error}")
        raise
    writer.finish(result)
    for leftover in (folder / "checkpoint.pt", note):
        leftover.unlink(missing_ok=True)
    folder.rmdir()
    if output.plain:
        print_result(console, result, writer.run_id)
    output.finish(_record(result, writer.run_id), word=writer.run_id)
    return result


def _record(result: Result, run_id: str) -> dict[str, Any]:
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


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one kills."""
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        if received:
            os._exit(130)
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
