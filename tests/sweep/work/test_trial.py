"""One slot: whatever happens to it, Optuna and MLflow tell the same story, and nothing is trained twice."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from bench import MakeBench, count_trainings, execute, never, stop_after
from optuna.trial import TrialState

from rnnlab.common.interrupts import Interrupted
from rnnlab.sweep.store.slots import claim, latest
from rnnlab.sweep.work import trial as trial_module
from rnnlab.sweep.work.trial import give_up
from rnnlab.tracking.outbox import Entry
from rnnlab.tracking.provenance import CONFIG
from rnnlab.tracking.run_state import OBJECTIVE
from rnnlab.tracking.store import connect
from rnnlab.training.progress import Progress
from rnnlab.training.runs import run


def test_a_finished_trial_is_told_everywhere(make_bench: MakeBench) -> None:
    bench = make_bench()
    job = bench.claim()
    execute(job, never)
    config = job.plan.config(bench.last().params, 0)
    (stored,) = bench.runs()
    assert bench.last().state == TrialState.COMPLETE and stored.info.status == "FINISHED"
    assert bench.last().value == float(stored.data.tags[OBJECTIVE]) == run(config).objective
    assert bench.last().user_attrs["score"] == run(config).test_score
    assert stored.data.tags["rnnlab.config_hash"] == config.hash
    assert stored.data.tags["rnnlab.arm"] == "tanh" and stored.data.tags["rnnlab.phase"] == "search"
    assert stored.data.params["optimizer.lr"] == repr(config.optimizer.lr)
    assert not job.scratch.exists()


def test_a_run_is_named_by_its_task_where_the_sweep_has_several(make_bench: MakeBench) -> None:
    tasks = [{"kind": "adding", "length": 5}, {"kind": "adding", "length": 6}]
    for k, name in enumerate(["tanh search 0", "adding-5 tanh search 0"], start=1):
        bench = make_bench(name=f"tasks-{k}", tasks=tasks[:k])
        assert give_up(bench.claim(), "lost")
        (stored,) = bench.runs()
        assert stored.info.run_name == name


def test_the_noted_command_repeats_the_run(make_bench: MakeBench, write_sweep: Callable[..., Path]) -> None:
    import shlex

    from rnnlab.commands.resolve import resolve

    bench = make_bench()
    execute(bench.claim(), never)
    (stored,) = bench.runs()
    words = shlex.split(stored.data.tags["rnnlab.command"])
    assert words[:7] == ["rnnlab", "run", "sweeps/tiny.yaml", "--task", "adding-5", "--arm", "tanh"]
    config = resolve(write_sweep(), words[7:], "adding-5", "tanh")
    assert config.hash == stored.data.tags["rnnlab.config_hash"]


def test_an_interrupted_trial_ends_as_if_nothing_had_been(make_bench: MakeBench) -> None:
    bench = make_bench()
    job = bench.claim()
    for updates in (3, 4):
        with pytest.raises(Interrupted):
            execute(job, stop_after(updates))
        assert job.checkpoint(0).exists()
        assert [stored.info.status for stored in bench.runs()] == ["RUNNING"]
        bench.interrupt()
        job = bench.claim()
    execute(job, never)
    (stored,) = bench.runs()
    assert stored.info.status == "FINISHED" and not job.scratch.exists()
    assert bench.last().value == run(job.plan.config(bench.last().params, 0)).objective
    steps = [metric.step for metric in connect(bench.uri).get_metric_history(stored.info.run_id, "val/loss")]
    assert steps == [5, 10]


@pytest.mark.parametrize("delivered", [True, False])
def test_a_stored_result_is_not_trained_again(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, delivered: bool
) -> None:
    bench = make_bench()
    with monkeypatch.context() as kill:
        kill.setattr(trial_module, "_tell", lambda *_: (_ for _ in ()).throw(SystemExit("killed before telling")))
        with pytest.raises(SystemExit):
            execute(bench.claim(), never)
    if delivered:
        bench.runs()
    bench.interrupt()
    trainings = count_trainings(monkeypatch)
    execute(bench.claim(), never)
    assert not trainings
    (stored,) = bench.runs()
    assert bench.last().state == TrialState.COMPLETE
    assert bench.last().value == float(stored.data.tags[OBJECTIVE])
    assert math.isfinite(bench.last().user_attrs["score"])


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("moment", ["open", "follow", "end"])
def test_a_kill_while_writing_gives_one_run_and_no_step_twice(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, moment: str, delivered: bool
) -> None:
    bench = make_bench()
    with monkeypatch.context() as kill:
        original = getattr(Entry, moment)

        def die(*args: Any, **kwargs: Any) -> None:
            if moment != "end":
                original(*args, **kwargs)
            raise SystemExit("killed")

        kill.setattr(Entry, moment, die)
        with pytest.raises(SystemExit):
            execute(bench.claim(), never)
    if delivered:
        assert [stored.info.status for stored in bench.runs()] == ["RUNNING"]
    bench.interrupt()
    execute(bench.claim(), never)
    (stored,) = bench.runs()
    assert stored.info.status == "FINISHED" and stored.data.params["cell.kind"] == "vanilla"
    history = connect(bench.uri).get_metric_history(stored.info.run_id, "val/loss")
    assert [metric.step for metric in history] == [5, 10]


def test_a_slot_whose_worker_died_with_its_result_on_disk_is_not_given_up(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    job = bench.claim()
    monkeypatch.setattr(trial_module, "_tell", lambda *_: (_ for _ in ()).throw(SystemExit("killed before telling")))
    with pytest.raises(SystemExit):
        execute(job, never)
    assert not give_up(job, "its worker was killed by SIGKILL")
    (stored,) = bench.runs()
    assert stored.info.status == "FINISHED"


@pytest.mark.parametrize("started", [True, False])
def test_a_slot_given_up_on_is_in_mlflow_once(make_bench: MakeBench, started: bool) -> None:
    bench = make_bench()
    job = bench.claim()
    if started:
        with pytest.raises(Interrupted):
            execute(job, stop_after(1))
    assert give_up(job, "its worker was killed by SIGKILL")
    (stored,) = bench.runs()
    assert stored.info.status == "FAILED" and stored.data.tags["rnnlab.outcome"] == "failed"
    assert stored.data.tags["rnnlab.reason"] == "its worker was killed by SIGKILL"
    assert stored.data.tags["rnnlab.trial"] == "0" and stored.data.params["optimizer.lr"]


def exhaust(*_: Any, **__: Any) -> None:
    torch.empty(1 << 50)  # a petabyte


@pytest.mark.parametrize("times", [1, 2])
def test_a_trial_that_runs_out_of_memory_is_tried_once_more(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    bench = make_bench()
    for _ in range(times):
        with monkeypatch.context() as broken:
            broken.setattr(Progress, "backpropagate", exhaust)
            execute(bench.claim(), never)
        assert bench.last().state == TrialState.FAIL and "can't allocate memory" in bench.last().user_attrs["reason"]
        bench.fill()
    if times == 2:
        assert claim([bench.study]) is None
        (stored,) = bench.runs()
        assert stored.info.status == "FAILED" and "can't allocate memory" in stored.data.tags["rnnlab.reason"]
        return
    execute(bench.claim(), never)
    (stored,) = bench.runs()
    assert bench.last().state == TrialState.COMPLETE and stored.info.status == "FINISHED"


def test_an_error_fails_the_trial_with_its_reason(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(Progress, "backpropagate", broken)
    bench = make_bench()
    execute(bench.claim(), never)
    (stored,) = bench.runs()
    assert bench.last().state == TrialState.FAIL
    assert bench.last().user_attrs["reason"] == stored.data.tags["rnnlab.reason"] == "RuntimeError: no such luck"
    assert stored.info.status == "FAILED"
    bench.fill()  # an error of the trial's own is not tried again
    assert claim([bench.study]) is None


def test_a_diverged_run_is_complete_and_counts_as_bad(make_bench: MakeBench) -> None:
    bench = make_bench(search={"optimizer.lr": {"choices": [1e30]}})
    execute(bench.claim(), never)
    (stored,) = bench.runs()
    assert stored.data.tags["rnnlab.outcome"] == "diverged" and stored.info.status == "FINISHED"
    assert bench.last().state == TrialState.COMPLETE
    assert (bench.last().value or 0.0) >= 1 / 6


def test_a_pruned_trial_keeps_its_curves(make_bench: MakeBench) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    bench = make_bench(pruner="median")
    bench.study.pruner = Always()
    execute(bench.claim(), never)
    (stored,) = bench.runs()
    assert bench.last().state == TrialState.PRUNED and stored.data.tags["rnnlab.outcome"] == "pruned"
    history = connect(bench.uri).get_metric_history(stored.info.run_id, "val/loss")
    assert [(metric.step, metric.value) for metric in history] == list(bench.last().intermediate_values.items())
    assert [metric.step for metric in history] == [5]
    assert stored.data.metrics["steps"] == 5 and stored.data.metrics["seconds"] > 0


@pytest.mark.parametrize("given_up", [False, True])
def test_a_point_that_the_configuration_refuses_fails_its_slot(make_bench: MakeBench, given_up: bool) -> None:
    """Each choice is possible beside the first of the other; together the last ones are not."""
    search = {"cell.norm": {"choices": ["none", "batch"]}, "training.batch_size": {"choices": [4, 1]}}
    bench = make_bench(sampler="grid", trials=None, search=search)
    jobs = [bench.claim() for _ in range(4)]
    assert give_up(jobs[3], "lost") if given_up else execute(jobs[3], never) is None
    (stored,) = bench.runs()
    assert stored.info.status == "FAILED"
    assert (stored.data.params["training.batch_size"], stored.data.tags["rnnlab.config_hash"]) == ("1", "refused")
    if not given_up:
        assert latest(bench.study)[3].user_attrs["reason"].startswith("arm 'tanh' on adding-5: cell.norm = 'batch'")
    refused = json.loads(stored.data.tags[CONFIG])
    assert (refused["cell"]["norm"], refused["training"]["batch_size"]) == ("batch", 1)
