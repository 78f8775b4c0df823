"""The journal survives kills: torn lines are cut and kept, locks die with their holder, damage is refused by name."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from rnnlab.common.errors import UserError
from rnnlab.common.locks import FileLock
from rnnlab.sweep.store.journal import Journal, open_storage

TORN = b'{"op_code":4,"worker_id":"x","study'


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal that holds a study with three waiting trials."""
    study = optuna.create_study(storage=open_storage(tmp_path), study_name="s")
    for slot in range(3):
        study.enqueue_trial({}, user_attrs={"slot": slot})
    return tmp_path / "journal.log"


def slots(folder: Path, repair: bool = False) -> list[int]:
    study = optuna.load_study(study_name="s", storage=open_storage(folder, repair))
    return [trial.user_attrs["slot"] for trial in study.trials]


def test_line_without_its_end_is_cut_by_whoever_appends_next(journal: Path) -> None:
    study = optuna.load_study(study_name="s", storage=open_storage(journal.parent))
    journal.write_bytes(journal.read_bytes() + TORN)
    study.enqueue_trial({}, user_attrs={"slot": 3})
    assert slots(journal.parent) == [0, 1, 2, 3]
    assert journal.with_name("journal.log.torn-1").read_bytes() == TORN


def test_a_reader_that_saw_the_torn_line_goes_on(journal: Path) -> None:
    reader = optuna.load_study(study_name="s", storage=open_storage(journal.parent))
    journal.write_bytes(journal.read_bytes() + TORN)
    assert len(reader.trials) == 3
    optuna.load_study(study_name="s", storage=open_storage(journal.parent)).enqueue_trial({}, user_attrs={"slot": 3})
    assert [trial.user_attrs["slot"] for trial in reader.trials] == [0, 1, 2, 3]


@pytest.mark.parametrize("torn", [TORN, b"\0" * 64, TORN + b"\n", b"[]\n"])
def test_repair_sets_a_torn_last_line_aside(journal: Path, torn: bytes) -> None:
    good = journal.read_bytes()
    for number in (1, 2):
        journal.write_bytes(good + torn)
        assert slots(journal.parent, repair=True) == [0, 1, 2]
        assert journal.read_bytes() == good
        assert journal.with_name(f"journal.log.torn-{number}").read_bytes() == torn


def test_repair_leaves_a_good_journal_alone(journal: Path) -> None:
    good = journal.read_bytes()
    assert slots(journal.parent, repair=True) == [0, 1, 2]
    assert journal.read_bytes() == good and not list(journal.parent.glob("*torn*"))


def test_damage_in_the_middle_is_refused_by_file_and_line(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:2], b"?" + lines[2], *lines[3:]])
    journal.write_bytes(damaged)
    with pytest.raises(UserError) as error:
        open_storage(journal.parent, repair=True)
    assert f"journal {journal} is unreadable at line 3" in str(error.value) and "\n" not in str(error.value)
    assert journal.read_bytes() == damaged and not list(journal.parent.glob("*torn*"))


def test_lines_that_make_no_sense_are_refused(journal: Path) -> None:
    line = json.dumps({"op_code": 4, "worker_id": "x"}) + "\n"
    journal.write_bytes(journal.read_bytes() + line.encode())
    with pytest.raises(UserError, match="cannot be replayed"):
        open_storage(journal.parent, repair=True)


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import time; from pathlib import Path; from rnnlab.common.locks import FileLock\n"
    code += f"FileLock(Path({str(path)!r})).acquire(); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    assert not FileLock(path).acquire(wait=False)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert FileLock(path).acquire(wait=False)


def test_appending_waits_for_the_lock(journal: Path) -> None:
    held = Journal(journal)
    held.lock.acquire()
    code = "import sys; from pathlib import Path; from rnnlab.sweep.store.journal import Journal\n"
    code += f"journal = Journal(Path({str(journal)!r})); print('ready', flush=True)\n"
    code += "journal.append_logs([{'op_code': 10}])"
    size = journal.stat().st_size
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    time.sleep(0.3)
    assert writer.poll() is None and journal.stat().st_size == size
    held.lock.release()
    assert writer.wait(timeout=30) == 0 and journal.stat().st_size > size
