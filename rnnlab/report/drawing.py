"""The figures of a sweep's tasks, drawn side by side: most of the time of a report of many tasks goes there."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rnnlab.common import plugins
from rnnlab.common.machine import usable_cores
from rnnlab.plots import save
from rnnlab.report.figures import Figure, glance_figures, task_figures
from rnnlab.statistics.ablation import task_of

WORTH = 20
"""Arms over all tasks from which on the processes save more than it takes to start them."""


class Drawn(NamedTuple):
    """A figure that lies in the folder of its report; name, title and caption are those of `Figure`."""

    name: str
    title: str
    caption: str


class TaskRows(NamedTuple):
    """What the figures of one task are drawn from, as in `rnnlab.report.analysis.Analysis`."""

    ablation: pd.DataFrame
    runs: pd.DataFrame
    comparisons: pd.DataFrame


@contextmanager
def drawers(runs: pd.DataFrame) -> Iterator[Executor | None]:
    """Processes that draw the figures of these runs.

    They start from a server that imports what they need while the tables are worked out here.

    Yields:
        The processes; None where this one alone is as good.
    """
    arms = runs[["task", "arm"]].drop_duplicates()
    processes = min(len(set(arms["task"])), usable_cores())
    if processes < 2 or len(arms) < WORTH:
        yield None
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    forkserver.ensure_running()  # and do not wait for it, as the first process would
    with ProcessPoolExecutor(processes, context, _begin, (plugins.files(),)) as pool:
        yield pool


def _begin(files: list[str]) -> None:
    """Know the tasks of the user's own, and leave Ctrl-C to the process that is waited for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plugins.import_files(files)


def draw_all(
    tasks: Iterable[TaskRows], glanced: pd.DataFrame, folder: Path, uri: str, pool: Executor | None
) -> tuple[list[list[Drawn]], list[Drawn]]:
    """Draw all figures of a report into `figures/` of a folder.

    Args:
        tasks: rows of each task.
        glanced: runs that are to be seen at a glance; none if it is empty.
        folder: that of the report.
        uri: where profiles are read from.
        pool: of `drawers`.

    Returns:
        For each task what was drawn, the most telling first; and what shows all tasks at a glance.
    """
    jobs: list[Callable[[], list[Drawn]]] = [partial(_draw_task, rows, folder, uri) for rows in tasks]
    jobs.append(partial(_draw_glance, glanced, folder))
    *drawn, glance = pool.map(_call, jobs) if pool else map(_call, jobs)
    return drawn, glance


def _call(job: Callable[[], list[Drawn]]) -> list[Drawn]:
    return job()


def _draw_task(rows: TaskRows, folder: Path, uri: str) -> list[Drawn]:
    task = task_of(rows.runs.iloc[0])
    return [keep(figure, folder) for figure in task_figures(rows.ablation, rows.runs, rows.comparisons, task, uri)]


def _draw_glance(runs: pd.DataFrame, folder: Path) -> list[Drawn]:
    return [keep(figure, folder) for figure in glance_figures(runs)] if len(runs) else []


def keep(figure: Figure, folder: Path) -> Drawn:
    """Save a figure, and let its axes go."""
    save(figure.axes, folder / "figures" / f"{figure.name}.png")
    return Drawn(figure.name, figure.title, figure.caption)
