"""The page of a sweep that is running: how far it is, and what its fresh seeds have come to."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import jinja2
import pandas as pd

from rnnlab.common.errors import UserError
from rnnlab.common.text import interval, median, number
from rnnlab.plots import ablation_forest, save
from rnnlab.report.figures import Figure
from rnnlab.report.html import to_html
from rnnlab.report.publish import publish
from rnnlab.report.tables import Cells, fraction
from rnnlab.statistics.ablation import ablation_table, has_failed, has_result
from rnnlab.sweep.show.status import Status, advice, by_reason, headline
from rnnlab.sweep.store.state import StudyState
from rnnlab.tracking.reader import load_sweep

PAGE = "live.html"
CAPTION = "Means over the fresh seeds that are done, with 95% bootstrap intervals."


class LivePage:
    """Writes the page of one sweep again and again; what has not changed since is not worked out anew.

    Args:
        name: name of the sweep.
        out: folder for live.html.
        uri: MLflow tracking URI, where results are read.
        draft: empty folder for what is drawn.
    """

    def __init__(self, name: str, out: Path, uri: str, draft: Path) -> None:
        self.name, self.out, self.uri, self.draft = name, out, uri, draft
        self._sections: dict[str, tuple[Any, dict[str, Any]]] = {}
        loader = jinja2.PackageLoader("rnnlab.report", ".")
        environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)
        self._template = environment.get_template("live.md.j2")

    @classmethod
    @contextmanager
    def of(cls, name: str, out: Path, uri: str) -> Iterator[Self]:
        """A page, for as long as it is renewed."""
        with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
            yield cls(name, out, uri, Path(folder))

    def renew(self, status: Status, every: float | None) -> Path:
        """Write the page.

        Args:
            status: how the sweep stands.
            every: seconds after which a browser is to look again; None if nobody will renew the page.

        Returns:
            Its path.

        Raises:
            UserError: if the folder cannot be written to.
        """
        problem, tasks = "", []
        try:
            tasks = self._tasks(status)
        except UserError as error:  # such as a server that is away; how far the sweep is can be told all the same
            problem = str(error)
        told = headline(status).partition(": ")[2]
        markdown = self._template.render(
            name=self.name,
            word=status.word,
            headline=told[0].upper() + told[1:],
            looked=_looked(status, every),
            progress=progress_cells(status.state.studies),
            failures=by_reason(status.state.failures),
            problem=problem,
            tasks=tasks,
            running=bool(every),
        )
        with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
            Path(folder, PAGE).write_text(to_html(markdown, self.draft, every), encoding="utf-8")
            publish(Path(folder), self.out)
        return self.out / PAGE

    def _tasks(self, status: Status) -> list[dict[str, Any]]:
        """What there is to say of every task that has a result, in the order of the plan."""
        if not any(study.final.done for study in status.state.studies):
            return []
        runs = load_sweep(self.name, self.uri)
        planned = {study.plan.name for study in status.state.studies}  # an arm of an earlier start may be gone
        runs = runs.loc[[f"{task}/{arm}" in planned for task, arm in zip(runs["task"], runs["arm"], strict=True)]]
        final = runs.loc[(runs["phase"] == "final") & (has_result(runs) | has_failed(runs))]
        with_result = set(final.loc[has_result(final), "task"])
        labels = dict.fromkeys(study.plan.task for study in status.state.studies)
        return [self._task(label, status, final) for label in labels if label in with_result]

    def _task(self, label: str, status: Status, final: pd.DataFrame) -> dict[str, Any]:
        """Table and figure of one task, drawn anew where something has ended since."""
        runs = final.loc[final["task"] == label]
        studies = [study for study in status.state.studies if study.plan.task == label]
        known = (tuple(runs["run_id"]), tuple((study.word, study.final) for study in studies))
        if label not in self._sections or self._sections[label][0] != known:
            figure = Figure(f"forest-{label}", f"Score by arm, {label}", CAPTION, ablation_forest(runs))
            (self.draft / "figures").mkdir(exist_ok=True)
            save(figure.axes, self.draft / "figures" / f"{figure.name}.png")
            section = {"label": label, "table": result_cells(ablation_table(runs), studies), "figure": figure}
            self._sections[label] = known, section
        return self._sections[label][1]


def _looked(status: Status, every: float | None) -> str:
    """As of when the page is, and what comes next."""
    now = f"Looked at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if every:
        return f"{now}, and again every {every:g} seconds."
    if status.word == "complete":
        return f"{now}. The [report](report.html) has tests and more figures."
    return f"{now}; {advice(status)}"


def progress_cells(studies: tuple[StudyState, ...]) -> Cells:
    """How far every arm is on every task."""
    tasks = list(dict.fromkeys(study.plan.task for study in studies))
    cells = [["Arm", *tasks]]
    for arm in dict.fromkeys(study.plan.arm for study in studies):
        of_arm = {study.plan.task: study for study in studies if study.plan.arm == arm}
        cells.append([arm, *(_progress(of_arm[task]) for task in tasks)])
    return cells


def _progress(study: StudyState) -> str:
    """How far one arm is on one task."""
    search, final = study.search, study.final
    shown = {"searching": f"search {search.done}/{search.planned}", "retraining": f"seeds {final.done}/{final.planned}"}
    failed = study.all_slots.failed
    return shown.get(study.word, study.word) + f", {failed} failed" * bool(failed)


def result_cells(rows: pd.DataFrame, studies: list[StudyState]) -> Cells:
    """What the arms of one task have come to so far, best first, and those that have not come to anything yet.

    Args:
        rows: of that task, from `ablation_table`.
        studies: of that task.
    """
    head = ["Arm", "Fresh seeds", f"{rows['score_name'].iloc[0]} [95%]", "Solved [95%]", "Steps to solve", "Diverged"]
    cells = [[*head, "Failed", "Decay at start", "Decay at end"]]
    by_arm = {study.plan.arm: study for study in studies}
    for row in rows.to_dict("records"):
        cells.append(
            [
                row["arm"],
                _seeds(row["seeds"], by_arm[row["arm"]]),
                interval(row["score"], row["low"], row["high"]),
                fraction(row["solved"], row["seeds"], row["solved_low"], row["solved_high"]),
                median(row["steps_to_solve"], float("nan"), float("nan"), row["updates"]),
                str(row["diverged"]),
                str(row["failed"]),
                number(row["decay_rate_init"]),
                number(row["decay_rate"]),
            ]
        )
    waiting = [arm for arm in by_arm if arm not in set(rows["arm"])]
    return cells + [[arm, _seeds(0, by_arm[arm]), *["–"] * (len(cells[0]) - 2)] for arm in waiting]


def _seeds(done: int, study: StudyState) -> str:
    """How many fresh seeds an arm has a result of, and what is going on where that is not all."""
    word = "on the way to MLflow" if study.word == "done" else study.word
    return f"{done}" if done >= study.final.planned else f"{done} of {study.final.planned}, {word}"
