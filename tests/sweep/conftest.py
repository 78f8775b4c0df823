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
from rnnlab.config.config import Config
from rnnlab.sweep import runner
from rnnlab.sweep.show import forecast as forecasting
from rnnlab.sweep.store.postgres import Database

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
    """Training takes known times on a clock of its own; the first update of a run costs 100 s more."""
    clock = Clock()

    def run_together(config: Config, members: int, should_stop: Callable[[], bool]) -> None:
        options = config.training
        clock.now += 30.0  # to build the model and the validation set, before the first update
        for step in range(options.steps):
            clock.now += members * UPDATE + 100 * (step == 0)
            if (step + 1) % options.eval_every == 0 or step + 1 == options.steps:
                clock.now += members * EVALUATION
            if should_stop():
                return

    monkeypatch.setattr(forecasting, "run_together", run_together)
    monkeypatch.setattr(forecasting, "time", clock)
    return clock


@pytest.fixture
def make_bench(workplace: Path, tiny: dict[str, Any]) -> MakeBench:
    def make(**fields: Any) -> Bench:
        return Bench(workplace, tiny | {"trials": 1} | fields)

    return make
