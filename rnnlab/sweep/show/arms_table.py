"""The table of a sweep's arms, while it runs and when it is asked how it stands."""

from rich import box
from rich.table import Table

from rnnlab.sweep.store.state import Counts, StudyState, SweepState, total

MOST_SCORE_COLUMNS = 2
"""Best scores are shown for this many tasks; more would not fit 80 columns."""


def arms_table(state: SweepState, stopped: bool = False) -> Table:
    """One row an arm: slots over all tasks, the best score of the search on each task, what is going on.

    Args:
        state: how far the sweep is.
        stopped: whether nobody works on it.
    """
    tasks = list(dict.fromkeys(study.plan.task for study in state.studies))
    scored = tasks if len(tasks) <= MOST_SCORE_COLUMNS else []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm", no_wrap=True, overflow="ellipsis", max_width=18)
    for name in ("search", "final", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for task in scored:
        table.add_column(f"{task}\nbest in search", justify="right", overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    for arm in dict.fromkeys(study.plan.arm for study in state.studies):
        studies = [study for study in state.studies if study.plan.arm == arm]
        search, final = (total(study.search for study in studies), total(study.final for study in studies))
        best = {study.plan.task: score(study.best) for study in studies}
        failed = str(search.failed + final.failed or "")
        word = study_word(_earliest(studies), stopped)
        table.add_row(arm, _counts(search), _counts(final), failed, *(best[task] for task in scored), word)
    return table


def study_word(word: str, stopped: bool) -> str:
    """What is going on; where nobody works, it is not searching or retraining but stopped."""
    return "stopped" if stopped and word in ("searching", "retraining") else word


def score(value: float | None) -> str:
    """Write a score; a dash where there is none yet."""
    return "-" if value is None else f"{value:.4g}"


def _counts(counts: Counts) -> str:
    return f"{counts.done}/{counts.planned}"


def _earliest(studies: list[StudyState]) -> str:
    """One word for an arm on all its tasks: the earliest phase that any of them is in."""
    words = [study.word for study in studies]
    order = ("searching", "retraining", "waiting", "all failed", "done")
    if "waiting" in words and "done" in words:
        return "searching"
    return min(words, key=order.index)
