"""Training that takes known times; a PostgreSQL server of our own; commands of the command line as processes."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, MakeBench
from own_workers import ForkedPool, hurry
from ticking import EVALUATION, UPDATE, Clock

from benchmarks.servers import Postgres, postgres, postgres_binaries
from rnnlab.sweep import runner
from rnnlab.sweep.show import forecast as forecasting
from rnnlab.sweep.store.postgres import Database
from rnnlab.training.population import Population
from rnnlab.training.progress import Progress

Start = Callable[..., subprocess.Popen[str]]

IMPATIENT = """
import rnnlab.sweep.store.heartbeat as heartbeat
import rnnlab.sweep.work.join as join
heartbeat.BEAT_SECONDS, heartbeat.SILENT_SECONDS, join.ALONE_SECONDS, join.LOOK_SECONDS = 0.3, 6.0, 2.0, 0.5
from rnnlab.commands.cli import main
main()
"""
"""The command line, with all that it waits for in seconds rather than minutes."""


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A server that lasts for the session; a test that stops it starts it again."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the package psycopg is not installed")
    try:
        postgres_binaries()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    with postgres(durable=False) as running:
        yield running


@pytest.fixture
def database(server: Postgres) -> Database:
    """The sweep `tiny` in a database of its own."""
    return Database(server.fresh(), "tiny")


@pytest.fixture
def rnnlab(tmp_path: Path) -> Iterator[Start]:
    """Starts commands of the command line, and ends them; their output goes to `<first>.out`."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        with (tmp_path / f"{arguments[0]}.out").open("a") as out:
            process = subprocess.Popen([sys.executable, "-c", IMPATIENT, *arguments], stdout=out, stderr=out, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps whose workers are processes that need not import torch again."""
    monkeypatch.setattr(runner, "WorkerPool", ForkedPool)
    hurry(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Training takes known times on a clock of its own; the first update and evaluation take much longer."""
    clock = Clock()

    def advance(population: Population) -> None:
        members, first = population.members, not any(run.step for run in population.members)
        clock.now += len(members) * UPDATE + 100 * first
        for run in members:
            run.step += 1

    def evaluate(run: Progress) -> None:
        clock.now += EVALUATION + 50 * (run.steps_to_solve is None)
        run.steps_to_solve = 0

    monkeypatch.setattr(Population, "advance", advance)
    monkeypatch.setattr(Progress, "evaluate", evaluate)
    monkeypatch.setattr(forecasting, "time", clock)
    return clock


@pytest.fixture
def make_bench(workplace: Path, tiny: dict[str, Any]) -> MakeBench:
    def make(**fields: Any) -> Bench:
        return Bench(workplace, tiny | {"trials": 1} | fields)

    return make
