"""How a sweep stands: counted right from outside, and nothing touched by looking."""

import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from optuna.trial import TrialState
from rich.console import Console
from survey import FOLDER, WriteSweep, keep

from rnnlab.common.errors import UserError
from rnnlab.common.locks import FileLock
from rnnlab.sweep.plan.definition import load_sweep_definition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.show.status import Status, print_status, read_status
from rnnlab.sweep.store.home import FolderHome
from rnnlab.sweep.store.journal import open_storage
from rnnlab.sweep.store.slots import INTERRUPTED, claim, fail
from rnnlab.sweep.work.supervisor import Supervisor
from rnnlab.tracking.store import tracking_uri
from rnnlab.tracking.writer import Writer

HOLDER = """
import sys, time
from pathlib import Path
from rnnlab.common.locks import FileLock
for path in map(Path, sys.argv[1:]):
    FileLock(path).acquire()
print("held", flush=True)
time.sleep(60)
"""


class ByHand(Supervisor):
    """A sweep whose slots are settled by hand."""

    def __init__(self, path: Path) -> None:
        definition, home = keep(path), FolderHome(FOLDER)
        super().__init__(definition, home, open_storage(FOLDER), tracking_uri(), Origin.of(path.name))
        self.open_studies()
        self._plan_slots()

    def settle(self, *values: float | None) -> None:
        """End the next waiting slots with these objectives; None fails."""
        for value in values:
            study, trial = self.claim()
            if value is None:
                trial.set_user_attr("reason", "it broke: badly")
            else:
                trial.set_user_attr("score", value)
            study.tell(trial, value, TrialState.FAIL if value is None else None)
            self._plan_slots()

    def deliver(self) -> None:
        """Bring MLflow up to date."""
        for entry in self.outbox.entries():
            Writer(self.uri).deliver(entry)

    def claim(self) -> Any:
        claimed = claim([*self.searches.values(), *self.finals.values()])
        assert claimed is not None
        claimed[1].suggest_float("optimizer.lr", 1e-4, 1e-2, log=True)
        return claimed


@pytest.fixture
def by_hand(workplace: Path, write_sweep: WriteSweep) -> ByHand:
    return ByHand(write_sweep())


@pytest.fixture
def holder() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes that hold locks, and ends them."""
    started: list[subprocess.Popen[str]] = []

    def start(*paths: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, *map(str, paths)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def shown(status: Status, width: int = 80, terminal: bool = False) -> list[str]:
    file = io.StringIO()
    print_status(status, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue().splitlines()


def files() -> dict[Path, tuple[int, bytes]]:
    """Every file below the working directory with its time stamp and content."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path().rglob("*") if path.is_file()}


def test_done_failed_and_running_are_counted_study_by_study(by_hand: ByHand, holder: Any) -> None:
    by_hand.settle(3.0, 2.0, None)  # slot by slot through both arms: lstm 0, tanh 0, lstm 1
    by_hand.claim()
    (FOLDER / "workers").mkdir()
    worker = holder(FOLDER / "lock", FOLDER / "workers" / "0.lock")
    (FOLDER / "workers" / "0.lock").write_text(str(worker.pid))
    (FOLDER / "workers" / "1.lock").write_text("1")  # of an earlier start, with a recycled id
    status = read_status("tiny")
    assert (status.parent, status.workers, status.word, status.exit_code) == (True, (str(worker.pid),), "running", 0)
    headline, workers, lstm, tanh, failed, _ = shown(status)
    assert headline.startswith("tiny: running, 2 of 10 runs done, 1 running, 1 failed, about 0:")
    assert headline.endswith(" left") and workers == f"workers alive: 1 (pid {worker.pid})"
    assert lstm == "adding-5/lstm: searching, search 1/3, final 0/2, running 0, failed 1, best in search 3"
    assert tanh == "adding-5/tanh: searching, search 1/3, final 0/2, running 1, failed 0, best in search 2"
    assert failed == "failed: adding-5/lstm search 1: it broke: badly"


def test_slots_that_a_worker_has_in_hand_are_told(by_hand: ByHand, holder: Any) -> None:
    for _ in range(2):
        by_hand.claim()
    (FOLDER / "workers").mkdir()
    worker = holder(FOLDER / "lock", FOLDER / "workers" / "0.lock")
    (FOLDER / "workers" / "0.lock").write_text(str(worker.pid))
    status = read_status("tiny")
    assert status.as_dict()["populations"] == [2]
    assert shown(status)[1] == f"workers alive: 1 (pid {worker.pid}), training 2 runs side by side"


def test_attempts_that_were_lost_are_told_with_their_reason(by_hand: ByHand) -> None:
    study, trial = by_hand.claim()
    fail(study, trial, "its worker was killed", retry=True, cost="crashes")
    by_hand._plan_slots()
    study, trial = by_hand.claim()
    fail(study, trial, INTERRUPTED, retry=True)  # as at every stop
    by_hand._plan_slots()
    status = read_status("tiny")
    assert status.as_dict()["retries"] == ["adding-5/lstm search 0: its worker was killed"]
    assert "tried again: adding-5/lstm search 0: its worker was killed" in shown(status)


def test_what_a_dead_worker_left_running_does_not_run(by_hand: ByHand, holder: Any) -> None:
    by_hand.settle(3.0, 2.0)
    by_hand.claim()
    (FOLDER / "workers").mkdir()
    parent, worker = holder(FOLDER / "lock"), holder(FOLDER / "workers" / "0.lock")
    (FOLDER / "workers" / "0.lock").write_text(str(worker.pid))
    found = []
    for process in (parent, worker):
        process.kill()
        process.wait()
        found.append(read_status("tiny"))
    assert [(status.word, status.running, status.exit_code) for status in found] == [
        ("ending", 1, 3),
        ("stopped", 0, 3),
    ]
    lines = shown(found[1])
    assert lines[0] == "tiny: stopped, 2 of 10 runs done"
    assert lines[1] == "adding-5/lstm: stopped, search 1/3, final 0/2, running 0, failed 0, best in search 3"
    assert lines[-1] == "nobody works on it; go on with: rnnlab sweep tiny.yaml"


def test_a_sweep_is_complete_once_its_last_study_is_closed(by_hand: ByHand) -> None:
    by_hand.settle(*[1.0] * 9)
    assert read_status("tiny").exit_code == 3
    study, trial = by_hand.claim()
    study.tell(trial, 1.0)
    unclosed = read_status("tiny")
    assert unclosed.state.complete and unclosed.exit_code == 3
    by_hand._plan_slots()
    status = read_status("tiny")
    assert (status.word, status.exit_code) == ("undelivered", 4)
    assert shown(status)[0] == "tiny: undelivered, 10 of 10 runs done, 2 not in MLflow yet"
    assert shown(status)[-1] == "every run is done; left on disk: 2 runs; deliver with: rnnlab sweep tiny.yaml"
    by_hand.deliver()
    status = read_status("tiny")
    assert (status.word, status.exit_code) == ("complete", 0)
    assert shown(status)[0] == "tiny: complete, 10 of 10 runs done"


def test_a_reason_is_named_once_however_often_it_struck(by_hand: ByHand) -> None:
    by_hand.settle(*[None] * 6)
    by_hand.deliver()
    status = read_status("tiny")
    assert [line for line in shown(status) if line.startswith("failed")] == [
        "failed: adding-5/lstm search 0 and 5 more: it broke: badly"
    ]
    assert status.word == "complete"  # nothing is left that could be retrained


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_the_command_names_the_kept_copy_where_the_file_will_not_do(
    by_hand: ByHand, write_sweep: WriteSweep, change: str
) -> None:
    assert read_status("tiny").command == "rnnlab sweep tiny.yaml"
    if change == "gone":
        Path("tiny.yaml").unlink()
    else:
        write_sweep(trials=4)
    command = read_status("tiny").command
    assert command == "rnnlab sweep runs/sweeps/tiny/sweep.yaml"
    assert load_sweep_definition(command.split()[-1]).hash == by_hand.definition.hash


def test_looking_imports_nothing_that_trains() -> None:
    code = "import sys, rnnlab.sweep.show.status; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "mlflow", "pandas", "xarray", "scipy"} & {*loaded}


def test_looking_changes_nothing_and_is_in_nobodys_way(by_hand: ByHand) -> None:
    by_hand.settle(3.0)
    with (FOLDER / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code":4,"wor')  # an append cut short
    before = files()
    assert read_status("tiny").state.all_slots.done == 1
    assert files() == before
    lock = FileLock(FOLDER / "lock")
    assert lock.acquire(wait=False)
    lock.release()


def test_before_the_first_line_of_the_journal_everything_waits(workplace: Path, write_sweep: WriteSweep) -> None:
    keep(write_sweep())
    status = read_status("tiny")
    assert (status.word, status.state.all_slots.open) == ("stopped", 10)
    assert {path.name for path in FOLDER.iterdir()} == {"sweep.yaml", "outline.json"}


@pytest.mark.parametrize("name", ["tinny", "../sweeps/tiny", "my/sweeps/tiny.yaml"])
def test_an_unknown_sweep_is_refused_with_the_nearest_name(by_hand: ByHand, name: str) -> None:
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        read_status(name)


def test_without_any_sweep_it_says_how_to_start_one(workplace: Path) -> None:
    with pytest.raises(UserError, match="no sweep 'tiny' in runs/sweeps: start one with"):
        read_status("tiny")


def test_the_table_says_stopped_where_nobody_works(by_hand: ByHand) -> None:
    by_hand.settle(0.00123456, 2.0)
    lines = [line.split() for line in shown(read_status("tiny"), terminal=True)]
    assert ["lstm", "1/3", "0/2", "0.001235", "stopped"] in lines and ["tanh", "1/3", "0/2", "2", "stopped"] in lines


def sweep(path: str) -> int:
    return run_sweep(path).exit_code


@pytest.mark.slow
def test_a_real_sweep_while_it_runs_and_after_a_kill(workplace: Path, write_sweep: WriteSweep) -> None:
    long = {"base.training.steps": 100_000, "base.training.eval_every": 1000, "base.training.stop_when_solved": False}
    path = write_sweep(long, arms={"tanh": {}}, trials=2, seeds=1)
    parent = Forked(sweep, path.name)
    deadline = time.monotonic() + 60
    try:
        while not FOLDER.joinpath("outline.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        seen = [read_status("tiny")]
        while seen[-1].running < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            seen.append(read_status("tiny"))
    finally:
        parent.kill()
        parent.wait()
    assert {(status.word, status.exit_code) for status in seen} == {("running", 0)}
    assert len(seen[-1].workers) == 2
    while (status := read_status("tiny")).workers:  # they notice by themselves that their parent is gone
        assert status.exit_code == 3 and time.monotonic() < deadline
        time.sleep(0.1)
    assert (status.word, status.running, status.exit_code) == ("stopped", 0, 3)
