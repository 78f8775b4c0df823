"""Measure what a sweep costs beside its training, and how many workers a storage bears.

`python -m benchmarks.scaling [--short] [--write]`; only --write changes docs/scaling.md. Keep the machine quiet.
"""

import argparse
import math
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import yaml
from rich.console import Console
from sqlalchemy import Engine, event

from benchmarks.servers import Postgres, postgres
from rnnlab.common.machine import usable_cores
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.store.database_url import describe
from rnnlab.sweep.store.home import Home, find_home
from rnnlab.sweep.store.journal import Journal
from rnnlab.sweep.store.slots import claim_many, count_waiting, fill
from rnnlab.tracking.reader import load_sweep
from rnnlab.tracking.store import tracking_uri

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
NOTES = Path(__file__).parent / "scaling-notes.md"
STORAGES = ("journal", "PostgreSQL")


@dataclass(frozen=True)
class Size:
    """How much is measured: trials without length a run, workers, and updates and number of real trials."""

    empty: int
    workers: tuple[int, ...]
    steps: int
    trials: int


FULL = Size(empty=320, workers=(2, 4, 8, 16), steps=6000, trials=8)
SHORT = Size(empty=64, workers=(2, 4), steps=900, trials=4)


def main() -> None:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a smaller form, to see that everything works")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name}")
    chosen = parser.parse_args()
    size = SHORT if chosen.short else FULL
    began = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        workplace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rnnlab-scaling-")))
        os.chdir(workplace)
        rates = [line for storage in STORAGES for line in storage_lines(storage, server, size)]
        costs = [line for storage in STORAGES for line in sweep_lines(storage, server, size)]
        about = f"{machine()}; {describe(server.url).split(': ')[1]}"
    text = page(about, size, rates, costs, time.monotonic() - began)
    print(text)
    if chosen.write:
        PAGE.write_text(text, encoding="utf-8")


def home_of(storage: str, server: Postgres, name: str) -> tuple[str, str | None]:
    """A folder that is empty, and for PostgreSQL a database that is."""
    return str(Path(f"{storage}-{name}").absolute()), server.fresh() if storage == "PostgreSQL" else None


def storage_lines(storage: str, server: Postgres, size: Size) -> Iterator[str]:
    """A row for each number of workers: trials without length that they claim and tell in a second."""
    for workers in size.workers:
        root, url = home_of(storage, server, str(workers))
        home = open_home(root, url)
        if url is not None:
            find_database(home).create()
        home.folder.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(study_name="empty", storage=home.open())
        fill(study, [{}] * size.empty, [{"phase": "search"}] * size.empty)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, meet, (context.Barrier(workers),)) as processes:
            done = list(processes.map(drain, [root] * workers, [url] * workers, [workers] * workers))
        assert sum(count for count, *_ in done) == size.empty
        seconds = max(end for *_, end, _ in done) - min(begin for _, begin, *_ in done)
        rate, each = size.empty / seconds, sum(operations for *_, operations in done) / size.empty
        yield f"| {storage} | {workers} | {rate:.1f} | {each:.0f} | {rate * each:.0f} |"


_barrier: Barrier | None = None


def meet(barrier: Barrier) -> None:
    """Have this process know where all of them wait for the last, which has to import what it needs."""
    global _barrier
    _barrier = barrier


def drain(root: str, url: str | None, workers: int) -> tuple[int, float, float, int]:
    """Claim a worker's share, suggest and tell until nothing is left, and count what that asks of the storage."""
    storage = open_home(root, url).open()
    study, operations = optuna.load_study(study_name="empty", storage=storage), Counter()
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    assert _barrier is not None
    _barrier.wait()
    began, count = time.time(), 0
    while claimed := claim_many([study], math.ceil(count_waiting([study]) / workers)):
        for _, trial in claimed:
            trial.set_user_attr("score", trial.suggest_float("lr", 1e-4, 1e-1, log=True))
            study.tell(trial, 0.0)
        count += len(claimed)
    return count, began, time.time(), operations.count


class Counter:
    """Counts what this process asks of storages: statements to a database, looks at a journal and lines added to it."""

    def __init__(self) -> None:
        self.count = 0
        event.listen(Engine, "before_cursor_execute", self._note)
        for name in ("append_logs", "read_logs"):
            setattr(Journal, name, self._counted(getattr(Journal, name)))

    def _note(self, *_: Any) -> None:
        self.count += 1

    def _counted(self, function: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            self.count += 1
            return function(*arguments)

        return counted


def sweep_lines(storage: str, server: Postgres, size: Size) -> Iterator[str]:
    """A row for one and for two workers: what a trial costs beside its training, and trials an hour."""
    first = 0.0
    for workers in (1, 2):
        name = f"scaling-{storage.lower()}-{workers}"
        root, url = home_of(storage, server, f"sweep-{workers}")
        Path(f"{name}.yaml").write_text(yaml.safe_dump(definition(name, size)))
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{root}/mlflow.db"
        began = time.monotonic()
        state = run_sweep(f"{name}.yaml", workers=workers, root=root, storage=url, console=Console(quiet=True))
        if state.exit_code:
            raise SystemExit(state.exit_code)
        wall = time.monotonic() - began
        runs = claimed(root, url, name)
        spent = max(run.ended for run in runs) - min(run.began for run in runs)
        trained = fmean(run.trained for run in runs)
        opening, later = ([run.beside for run in runs if run.opening == opening] for opening in (True, False))
        gaps = spent * workers / sum(run.ended - run.began for run in runs) - 1
        hourly = 3600 * len(runs) / spent
        first = first or hourly
        yield (
            f"| {storage} | {workers} | {trained:.1f} | {fmean(opening):.2f} | {fmean(later):.2f} | "
            f"{100 * fmean(later) / trained:.1f}% | {100 * gaps:.1f}% | {hourly:.0f} | {hourly / first:.2f} | "
            f"{wall - spent:.1f} |"
        )


def definition(name: str, size: Size) -> dict[str, Any]:
    """One arm; search and fresh seeds are trials of the same length."""
    return {
        "name": name,
        "base": {
            "cell": {"kind": "lstm", "hidden_size": 50},
            "training": {"steps": size.steps, "batch_size": 20, "stop_when_solved": False},
        },
        "tasks": [{"kind": "adding", "length": 100}],
        "arms": {"lstm": {}},
        "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-3, "log": True}},
        "trials": size.trials,
        "seeds": 1,
    }


@dataclass(frozen=True)
class Claimed:
    """A trial of the search: when it was claimed and told, how long it trained, in seconds, and whether it was its
    worker's first, which imports what training needs."""

    began: float
    ended: float
    trained: float
    opening: bool

    @property
    def beside(self) -> float:
        """What it took beside its training."""
        return self.ended - self.began - self.trained


def claimed(root: str, url: str | None, name: str) -> list[Claimed]:
    """The trials of the search, in the order in which they were claimed."""
    frame = load_sweep(name, tracking_uri())
    search = frame[frame["phase"] == "search"]
    trained = dict(zip(search["trial"].tolist(), search["seconds"].tolist(), strict=True))
    storage = find_home(root, name, url).open_to_read()
    (study,) = (study for study in optuna.get_all_study_names(storage) if study.endswith("/lstm"))
    known, runs = set[str](), []
    for trial in sorted(
        optuna.load_study(study_name=study, storage=storage).trials, key=lambda t: str(t.datetime_start)
    ):
        assert trial.datetime_start is not None and trial.datetime_complete is not None
        began, ended = trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()
        worker = trial.user_attrs["worker"]
        runs.append(Claimed(began, ended, trained[trial.user_attrs["slot"]], worker not in known))
        known.add(worker)
    return runs


def open_home(root: str, url: str | None) -> Home:
    """The home of the sweep without trials of any length."""
    return find_home(root, "empty", url)


def find_database(home: Home) -> Any:
    """The database of a home that has one."""
    return home.database  # type: ignore[attr-defined]


def machine() -> str:
    """Processor, cores, versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "optuna", "mlflow", "psycopg", "ray"))
    return f"{model}, {usable_cores()} usable cores; Python {platform.python_version()}, {versions}"


def page(about: str, size: Size, rates: list[str], costs: list[str], seconds: float) -> str:
    """The page, notes included."""
    form = "" if size is FULL else " The short form: too few trials, and too short ones, to trust any of the numbers."
    return "\n".join(
        [
            "# Scaling",
            "",
            "Made by `make scaling` (`python -m benchmarks.scaling --write`); the notes are from "
            "`benchmarks/scaling-notes.md`.",
            "",
            NOTES.read_text(encoding="utf-8").strip(),
            "",
            "## Measured",
            "",
            f"{about}.{form} It took {seconds / 60:.0f} minutes.",
            "",
            f"Claim, suggest, note a score and tell, {size.empty} trials without any training:",
            "",
            "| storage | workers | trials a second | operations a trial | operations a second |",
            "|---|---|---|---|---|",
            *rates,
            "",
            f"An LSTM of 50 units on the adding problem (T = 100, batch 20), {size.steps} updates, "
            f"{size.trials} trials. "
            "Beside: from claim to result without the training loop, for the first trial of a worker, which imports "
            "what training needs, and for every later one. Between: of workers from one result to the next "
            "claim, and of one that has nothing left while the other works. All of the search alone; start and end of "
            "the sweep, with one run on a fresh seed, are apart.",
            "",
            "| storage | workers | training, s | beside, first, s | beside, later, s | of the training | between | "
            "trials/h | of one worker | start and end, s |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *costs,
            "",
        ]
    )


if __name__ == "__main__":
    main()
