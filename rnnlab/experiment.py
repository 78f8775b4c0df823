"""One experiment from the command line: resolve it, train it, show it, store it."""

import json
import math
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from rnnlab.config import Config, load_config, override, parse_overrides, read_yaml
from rnnlab.errors import UserError, nearest
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


def run_and_store(config: Config, name: str) -> Result:
    """Train, show progress, and store the run in MLflow.

    Args:
        config: the experiment.
        name: name of the run in the dashboard.

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
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"run_id": writer.run_id}))
    console = Console()
    try:
        with _Progress(config, console) as progress, _stop_on_signal() as stopped:

            def follow(step: int, curves: dict[str, Curve]) -> None:
                progress.update(step, curves)
                writer.follow(curves)

            checkpoint = folder / "checkpoint.pt"
            result = run(config, checkpoint=checkpoint, on_evaluation=follow, should_stop=lambda: bool(stopped))
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
    _print_result(console, result, writer.run_id)
    return result


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


class _Progress:
    """A table that follows the run in a terminal, a line an evaluation in a pipe."""

    def __init__(self, config: Config, console: Console) -> None:
        self.config, self.console = config, console
        self.shown: dict[str, str] = {}
        self.spinner = Spinner("dots", "training")
        self.live = Live(console=console, transient=True, get_renderable=self._render) if console.is_terminal else None

    def __enter__(self) -> "_Progress":
        task, cell = self.config.task, self.config.cell
        self.console.print(f"{task.label} ({task.variant}), {cell.kind}, config {self.config.hash}", highlight=False)
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def update(self, step: int, curves: dict[str, Curve]) -> None:
        """Take the newest numbers."""
        newest = {name: curve.values[-1] for name, curve in curves.items() if curve.values}
        score = self.config.task.score_name
        self.shown = {
            "step": f"{step}/{self.config.training.steps}",
            "train loss": f"{newest['train/loss']:.4g}",
            f"val {score}": f"{newest[f'val/{score}']:.4g}",
        }
        if not math.isnan(newest.get("grad/decay_rate", math.nan)):
            self.shown["decay rate"] = f"{newest['grad/decay_rate']:+.3g} decades/step"
        if self.live is None:
            print("  ".join(f"{name} {value}" for name, value in self.shown.items()), flush=True)

    def _render(self) -> RenderableType:
        if not self.shown:
            return self.spinner
        table = Table(*self.shown)
        table.add_row(*self.shown.values())
        return Group(table, self.spinner)


def _print_result(console: Console, result: Result, run_id: str) -> None:
    task, summary = result.config.task, result.summary()
    table = Table(show_header=False, box=None, pad_edge=False)
    solved = f" after {result.steps_to_solve} updates" if result.outcome == "solved" else ""
    table.add_row("outcome", f"{result.outcome}{solved}")
    table.add_row(
        f"test {task.score_name}",
        f"{result.test_score:.4g}   (trivial baseline {task.baseline.score:.4g}, solved at {task.solved_at:g})",
    )
    if summary["grad/decay_rate"] == summary["grad/decay_rate"]:
        table.add_row(
            "gradient",
            f"{summary['grad/decay_rate']:+.3g} ± {summary['grad/decay_rate_stderr']:.1g} decades a step of lag "
            f"(at the start {summary['grad/decay_rate_init']:+.3g}), half-life {summary['grad/half_life']:.3g} steps",
        )
    table.add_row("time", f"{result.seconds:.1f} s for {result.steps} updates")
    table.add_row("MLflow run", f"{run_id}   (see it: rnnlab ui)")
    console.print(table, highlight=False)
