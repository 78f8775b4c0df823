"""The laws of a sweep in PostgreSQL, against a real server: one claim a slot, one trial a try, one supervisor."""

import math
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier

import optuna
import pytest
from forked import FORKED
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy.pool import NullPool

from benchmarks.servers import PASSWORD, QUOTED, Postgres
from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import Interrupted
from rnnlab.sweep.store.database_url import describe
from rnnlab.sweep.store.optuna_private import storage_of, trial_id
from rnnlab.sweep.store.postgres import Database
from rnnlab.sweep.store.slots import (
    claim,
    claim_many,
    count_waiting,
    fill,
    latest,
    recover,
    settled,
    worker_name,
)

SLOTS, PROCESSES = 12, 3


def url_of(database: Database) -> str:
    return database._text


@pytest.fixture
def study(database: Database) -> optuna.Study:
    database.create()
    return optuna.create_study(study_name="a", storage=database.open())


def plan(study: optuna.Study) -> None:
    fill(study, [{}] * SLOTS, [{"phase": "search"}] * SLOTS)


together: list[Barrier] = []
"""Where the processes of a pool wait for each other."""


def meet_at(barrier: Barrier) -> None:
    together.append(barrier)


def enqueue_and_claim(url: str) -> list[int]:
    """What every process does at the same moment: enqueue all slots, then claim until none is left."""
    study = optuna.load_study(study_name="a", storage=Database(url, "tiny").open())
    together[0].wait()
    plan(study)
    claimed = []
    while found := claim_many([study], 3):
        claimed += [trial.number for _, trial in found]
    return claimed


def take_back(url: str) -> None:
    study = optuna.load_study(study_name="a", storage=Database(url, "tiny").open())
    together[0].wait()
    recover(study, lambda trial: "lost")
    plan(study)


def test_a_trial_read_in_one_statement_is_what_optuna_reads_in_six(database: Database) -> None:
    database.create()
    study = optuna.create_study(study_name="a", storage=database.open(), directions=["minimize", "maximize"])
    trial = study.ask()
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.suggest_int("width", 3, 300, step=3)
    trial.suggest_categorical("norm", ["none", None, True, 1, 0.1])
    trial.set_user_attr("note", {"a": [1, None, "ü'\"\\"], "b": 1e-320})
    study.tell(trial, [math.inf, 1 / 3])
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"rate": 0.1}}))
    reported = {step: value for step, value in enumerate([math.nan, math.inf, -math.inf, 0.1 + 0.2, 5e-324], start=8)}
    study.add_trial(create_trial(state=TrialState.FAIL, intermediate_values=reported))
    optuna.create_study(study_name="b", storage=database.open()).ask()
    plain = RDBStorage(database._text, database._options(poolclass=NullPool), skip_table_creation=True)
    storage = storage_of(study)
    asked = [each for summary in storage.get_all_studies() for each in storage.get_all_trials(summary._study_id)]
    assert len(asked) == 4
    for each in asked:
        expected, found = plain.get_trial(trial_id(each)), database.get_trial(trial_id(each))
        assert found is not None and repr(found) == repr(expected)  # so that NaN equals NaN
        assert list(found.params) == list(expected.params) and found.duration == expected.duration
    assert database.get_trial(10**6) is None


@pytest.mark.slow
def test_processes_at_once_double_nothing(study: optuna.Study, database: Database) -> None:
    """Enqueued, claimed and recovered by all of them at the same moment, every slot is there once."""
    barrier = FORKED.Barrier(PROCESSES, timeout=60)
    with ProcessPoolExecutor(PROCESSES, FORKED, meet_at, (barrier,)) as processes:
        urls = [url_of(database)] * PROCESSES
        claims = list(processes.map(enqueue_and_claim, urls))
        assert Counter(number for claimed in claims for number in claimed) == Counter(range(SLOTS))
        assert Counter(trial.user_attrs["slot"] for trial in study.trials) == Counter(range(SLOTS))
        list(processes.map(take_back, urls))
    assert Counter(trial.state for trial in study.trials) == {TrialState.FAIL: SLOTS, TrialState.WAITING: SLOTS}
    assert all(trial.state == TrialState.WAITING for trial in latest(study).values())


def test_several_are_claimed_at_once_in_the_order_of_slots(study: optuna.Study, database: Database) -> None:
    final = optuna.create_study(study_name="a/final", storage=storage_of(study))
    fill(study, [{}] * 12, [{"phase": "search"}] * 12)
    fill(final, [{}] * 2, [{"phase": "final"}] * 2)
    assert count_waiting([study, final]) == 14 and claim_many([study, final], 0) == []
    claims = [claim_many([study, final], most) for most in (3, 1, 20, 20)]
    assert [[(s.study_name, t.user_attrs["slot"]) for s, t in claimed] for claimed in claims] == [
        [("a/final", 0), ("a/final", 1), ("a", 0)],
        [("a", 1)],
        [("a", slot) for slot in range(2, 12)],  # as numbers: 10 after 9
        [],
    ]
    assert count_waiting([study, final]) == 0
    study_, trial = claims[0][2]
    assert trial.suggest_float("x", 0, 1) == study_.trials[0].params["x"]
    assert {pulse.worker for pulse in database.pulses().values()} == {worker_name()}
    study_.tell(trial, 1.0)
    assert study_.trials[0].state == TrialState.COMPLETE and study_.trials[0].datetime_start is not None


def test_sweeps_of_one_database_do_not_see_each_other(database: Database) -> None:
    other = Database(url_of(database), "other+1")
    for place in (database, other):
        place.create()
        optuna.create_study(study_name="a", storage=place.open())
    assert database.known() == ["other+1", "tiny"]
    assert [study.study_name for study in other.open().get_all_studies()] == ["a"]


def test_a_second_supervisor_is_refused_until_the_first_is_gone(database: Database) -> None:
    first, second = database.lock(), database.lock()
    assert not database.is_supervised()
    assert first.acquire() and not second.acquire() and first.keep() and database.is_supervised()
    first.release()
    assert second.acquire() and not first.acquire()


@pytest.mark.slow
def test_a_supervisor_that_lost_its_connection_takes_the_lock_again_or_gives_way(
    database: Database, server: Postgres
) -> None:
    first, second = database.lock(), database.lock()
    assert first.acquire()
    server.stop()
    assert first.keep()  # while the server is away, nobody else can take it
    server.start()
    assert first.keep() and not second.acquire()
    server.stop()
    server.start()
    assert second.acquire() and not first.keep()


@pytest.mark.slow
def test_a_storage_waits_for_its_database(study: optuna.Study, database: Database, server: Postgres) -> None:
    plan(study)
    asked: list[int] = []

    def told_to_stop() -> bool:
        """Yes at first; then the server comes back while it is asked."""
        asked.append(1)
        if len(asked) == 4:
            server.start()
        return len(asked) == 1

    storage = database.open(told_to_stop)
    server.stop()
    with pytest.raises(Interrupted, match="stopped while the database did not answer"):
        storage.get_all_studies()
    assert [found.study_name for found in storage.get_all_studies()] == ["a"]
    assert len(asked) >= 4 and len(study.trials) == SLOTS


def test_a_trial_taken_away_beats_no_more(study: optuna.Study, database: Database) -> None:
    plan(study)
    claimed = claim([study])
    assert claimed is not None
    trial = claimed[1]
    assert database.beat(trial._trial_id) and database.beat(trial._trial_id)
    (pulse,) = database.pulses().values()
    assert pulse.worker == trial.user_attrs["worker"] and pulse.age is not None and 0 <= pulse.age < 60
    recover(study, lambda running: "lost")
    assert not database.beat(trial._trial_id) and not database.pulses()
    assert not settled(latest(study)[0])


@pytest.mark.parametrize("wrong", ["password", "host", "url", "port", "backend", "parameter", "at", "slash"])
def test_no_message_holds_a_password(server: Postgres, wrong: str) -> None:
    secret = f"{QUOTED}x"
    good = server.url.replace(QUOTED, secret)
    url = {
        "password": good,
        "host": good.replace("127.0.0.1", "nowhere.invalid"),
        "url": f"worker:{secret}@host/db",
        "port": good.replace(str(server.port), "port"),
        "backend": good.replace("postgresql+psycopg", "mysql"),
        "at": good.replace(secret, f"hun@{secret}"),
        "slash": good.replace(secret, f"hun@{secret}/1"),
        "parameter": f"postgresql://127.0.0.1:{server.port}/postgres?user=worker&password={secret}",
    }[wrong]
    for attempt in (lambda: Database(url, "tiny").create(), lambda: describe(url)):
        with pytest.raises(UserError) as error:
            attempt()
        assert secret not in str(error.value) and f"{PASSWORD}x" not in str(error.value)
        assert "\n" not in str(error.value) and "storage" in str(error.value).lower()


def test_a_name_too_long_for_postgresql_is_refused(server: Postgres) -> None:
    with pytest.raises(UserError, match="a name of 57 characters"):
        Database(server.url, "n" * 57)
