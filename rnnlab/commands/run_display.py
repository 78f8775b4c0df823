"""What `rnnlab run` shows: a panel that follows the training in a terminal, a line an evaluation elsewhere."""

import math
import time
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rnnlab.commands.sparkline import UNMEASURED, ZERO, sparkline
from rnnlab.common.text import clock, number
from rnnlab.config.config import Config
from rnnlab.gradients.decay import Decay
from rnnlab.gradients.norms import Norms
from rnnlab.remedies.clipping import Clipping
from rnnlab.tasks import Task
from rnnlab.training.result import Curve, Result

WIDEST = 100
"""Columns of the panel at most: lines longer than this are hard to read."""
ECHO = 2
"""Columns left free beside it: there a terminal writes ^C, which would wrap and leave a line of the panel behind."""
LABEL = 15
"""Columns of the left column, its padding included."""
REFRESHES = 4
"""Redrawings a second; they count down the time left and touch nothing of the run."""


class RunDisplay:
    """Shows a run while it trains; it reads what the run has computed anyway.

    Args:
        config: the experiment.
        console: a terminal gets a panel that is redrawn in place, anything else plain lines.
    """

    def __init__(self, config: Config, console: Console) -> None:
        self.config, self.console = config, console
        self.step = 0
        self.newest: dict[str, float] = {}
        self.profile: tuple[int, Norms, Decay] | None = None
        self.first: tuple[int, float] | None = None  # updates and time when the first number came
        self.ends: float | None = None  # expected time of the last update
        self.live = None
        if console.is_terminal and not console.quiet:
            self.live = Live(console=console, transient=True, get_renderable=self.render, refresh_per_second=REFRESHES)

    def __enter__(self) -> Self:
        task, cell = self.config.task, self.config.cell
        self.say(f"{task.label} ({task.variant}), {cell.kind}, config {self.config.hash}")
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        """Print one line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def recorded(self, step: int, norms: Norms, decay: Decay) -> None:
        """Take the newest gradient profile."""
        self.profile = (step, norms, decay)
        self._advance(step)

    def evaluated(self, step: int, curves: dict[str, Curve]) -> None:
        """Take the newest numbers."""
        self.newest = {name: curve.values[-1] for name, curve in curves.items() if curve.values}
        self._advance(step)
        if self.live is None:
            self.say("  ".join(self._words()))

    def render(self) -> RenderableType:
        """The panel as it stands."""
        width = min(self.console.width - ECHO, WIDEST)
        rows = Table.grid(padding=(0, 2, 0, 0))
        rows.add_column(width=LABEL - 2, style="bold")
        rows.add_column()
        for label, content in self._rows(width - LABEL - 4):
            rows.add_row(label, content)
        title = Text(f"{self.config.task.label}, {self.config.cell.kind}")
        return Panel(rows, box=box.ROUNDED, title=title, title_align="left", width=width)

    def _rows(self, width: int) -> list[tuple[str, RenderableType]]:
        task, training = self.config.task, self.config.training
        bar = Table.grid(padding=(0, 1, 0, 0))
        bar.add_row(
            ProgressBar(total=training.steps, completed=self.step, width=20),
            f"{self.step} of {training.steps} updates{self._time_left()}",
        )
        rows: list[tuple[str, RenderableType]] = [("training", bar)]
        if self.newest:
            score = number(self.newest[f"val/{task.score_name}"])
            standard = f"(trivial baseline {number(task.baseline.score)}, solved at {_criterion(task)})"
            rows.append(("train loss", number(self.newest["train/loss"])))
            rows.append((f"val {task.score_name}", Text.assemble(score, "   ", (standard, "dim"))))
        if self.config.remedy(Clipping) and "remedies/clipped_fraction" in self.newest:
            rows.append(("clipped", f"{self.newest['remedies/clipped_fraction']:.0%} of the updates"))
        if self.profile is not None:
            step, norms, decay = self.profile
            rows.append(("decay rate", _rate(decay.slope, decay.stderr, decay.r2, decay.bent)))
            rows.append(("half-life", _half_life(decay.slope, decay.half_life)))
            rows.append(("profile", _profile(step, norms, width)))
        return rows

    def _words(self) -> list[str]:
        """The newest numbers for a line of a log file."""
        score = f"val/{self.config.task.score_name}"
        words = [
            f"step {self.step}/{self.config.training.steps}",
            f"train loss {number(self.newest['train/loss'])}",
            f"val {self.config.task.score_name} {number(self.newest[score])}",
        ]
        decay = Decay.unknown() if self.profile is None else self.profile[2]
        if not math.isnan(decay.slope):
            bent = ", bent" if decay.bent else ""
            words.append(f"decay rate {decay.slope:+.3g} decades/step (R² {decay.r2:.2f}{bent})")
            words.append(f"half-life {number(decay.half_life)} steps")
        if self.config.remedy(Clipping):
            words.append(f"clipped {self.newest['remedies/clipped_fraction']:.0%}")
        return words

    def _advance(self, step: int) -> None:
        """Work out when the run will end, from the pace since the first number came; a resumed run starts late."""
        self.step, now = step, time.monotonic()
        if self.first is None:
            self.first = (step, now)
        done, began = self.first
        if step > done:
            self.ends = now + (now - began) / (step - done) * (self.config.training.steps - step)

    def _time_left(self) -> str:
        if self.ends is None:
            return ""
        about = "at most" if self.config.training.stop_when_solved else "about"
        return f", {about} {clock(max(0.0, self.ends - time.monotonic()))} left"


def print_result(console: Console, result: Result, run_id: str) -> None:
    """Print what came of a run, a fact a line."""
    task, summary = result.config.task, result.summary()
    solved = f" after {result.steps_to_solve} updates" if result.outcome == "solved" else ""
    baseline = f"trivial baseline {number(task.baseline.score)}, solved at {_criterion(task)}"
    rows = {
        "outcome": f"{result.outcome}{solved}",
        f"test {task.score_name}": f"{number(result.test_score)}   ({baseline})",
        "time": f"{result.seconds:.1f} s for {result.steps} updates",
        "MLflow run": f"{run_id}   (see it: rnnlab ui)",
    }
    if not math.isnan(summary["decay_rate"]):
        rate, *sure = (summary[f"decay_{name}"] for name in ("rate", "rate_stderr", "r2", "bent"))
        rows["decay rate"] = f"{_rate(rate, *sure)} (at the start {summary['decay_rate_init']:+.3g})"
        rows["half-life"] = _half_life(rate, summary["half_life"])
    for name in ("outcome", f"test {task.score_name}", "decay rate", "half-life", "time", "MLflow run"):
        if name in rows:
            console.print(f"{name:<{LABEL - 1}} {rows[name]}", markup=False, highlight=False, soft_wrap=True)


def _criterion(task: Task) -> str:
    return f"{'≥' if task.higher_is_better else '≤'} {task.solved_at:g}"


def _rate(slope: float, stderr: float, r2: float, bent: float) -> str:
    if math.isnan(slope):
        return "–"
    return f"{slope:+.3g} ± {stderr:.1g} decades a step of lag, R² {r2:.2f}{', bent' if bent else ''}"


def _half_life(slope: float, steps: float) -> str:
    if math.isnan(slope):
        return "–"
    return f"the gradient {'halves' if slope < 0 else 'doubles'} every {number(steps)} steps back in time"


def _profile(step: int, norms: Norms, width: int) -> RenderableType:
    """The sparkline, oldest step on the left, and its scale beneath."""
    line = sparkline(norms, width)
    scale = f"▁ {line.low:.3g}  █ {line.high:.3g}  log10 ‖dL/dh_t‖" if not math.isnan(line.low) else "no gradient"
    notes = [scale, f"t = 0 to {len(norms.mean) - 1}", f"update {step}"]
    notes += ["blank: not measured"] * (UNMEASURED in line.text) + ["0: exactly zero"] * (ZERO in line.text)
    return Group(line.text, Text(", ".join(notes), style="dim"))
