"""One slot: whatever happens to it, Optuna and MLflow tell the same story, and nothing is trained twice."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from mlflow.entities import Run
from optuna.trial import TrialState

from rnnlab.sweep import trial as trial_module
from rnnlab.sweep.definition import SweepDefinition
from rnnlab.sweep.pruners import make_pruner
from rnnlab.sweep.samplers import objectives
from rnnlab.sweep.slots import claim, fill, latest, recover
from rnnlab.sweep.storage import open_storage
from rnnlab.sweep.trial import Job, execute, give_up, out_of_memory, outbox
from rnnlab.tracking.outbox import Entry
from rnnlab.tracking.record import OBJECTIVE
from rnnlab.tracking.store import connect, experiment_id, tracking_uri
from rnnlab.tracking.writer import Writer, start_parent
from rnnlab.training.loop import Interrupted, run


class Bench:
    """One study of one arm, driven by hand."""

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.definition, self.uri = SweepDefinition.parse(data), tracking_uri()
        self.folder = folder / self.definition.name
        self.folder.mkdir()
        self.plan = self.definition.plan()[0]
        self.study = optuna.create_study(
            study_name=f"{self.definition.name} {self.plan.name}",
            storage=open_storage(self.folder),
            directions=[optuna.study.StudyDirection.MINIMIZE] * objectives(self.definition.sampler),
        )
        self.study.set_user_attr(
            "parent_run", start_parent(self.uri, self.definition.name, "parent", {"rnnlab.kind": "study"}, "")
        )
        for key, value in {"source": "sweeps/tiny.yaml", "budget": None}.items():
            self.study.set_user_attr(key, value)
        self.fill()

    def fill(self) -> None:
        points = self.definition.planned_points(self.plan)
        fill(self.study, points, [{"phase": "search", "seed": 0}] * len(points))

    def claim(self) -> Job:
        claimed = claim([self.study])
        assert claimed is not None
        return Job(self.definition, self.plan, *claimed, self.folder)

    def interrupt(self) -> None:
        recover(self.study, lambda _: "interrupted")
        self.fill()

    def runs(self) -> list[Run]:
        """The slots' runs in MLflow, once everything that is on disk is delivered."""
        for entry in outbox(self.folder).entries():
            Writer(self.uri).deliver(entry)
        children = f"tags.`mlflow.parentRunId` = '{self.study.user_attrs['parent_run']}'"
        return connect(self.uri).search_runs([experiment_id(self.uri, self.definition.name)], children)

    def last(self) -> optuna.trial.FrozenTrial:
        return latest(self.study)[0]


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(workplace: Path, tiny: dict[str, Any]) -> MakeBench:
    def make(**fields: Any) -> Bench:
        return Bench(workplace, tiny | {"trials": 1} | fields)

    return make


def never() -> bool:
    return False


def stop_after(updates: int) -> Callable[[], bool]:
    asked = iter(range(updates))
    return lambda: next(asked, None) is None


def count_trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts calls of the training loop, which still does its work."""
    calls: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return run(*args, **kwargs)

    monkeypatch.setattr(trial_module, "run", counted)
    return calls


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

    from rnnlab.experiment import resolve

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
            broken.setattr(trial_module, "run", exhaust)
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


def test_want_of_memory_is_told_from_other_errors() -> None:
    for hungry in (lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50), lambda: bytearray(1 << 60)):
        with pytest.raises((MemoryError, RuntimeError)) as error:
            hungry()
        assert out_of_memory(error.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied")) and not out_of_memory(ValueError("memory"))


def test_an_error_fails_the_trial_with_its_reason(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(trial_module, "run", broken)
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


def interrupted_between(bench: Bench, monkeypatch: pytest.MonkeyPatch, trainings: int) -> None:
    """Run the next slot until so many trainings are over, and be killed in the middle of the one after them."""
    trained = count_trainings(monkeypatch)
    with pytest.raises(Interrupted):
        execute(bench.claim(), lambda: len(trained) > trainings)
    bench.interrupt()


def test_a_trial_on_several_seeds_is_one_run_each_and_their_mean(make_bench: MakeBench) -> None:
    bench = make_bench(search_seeds=3)
    execute(bench.claim(), never)
    results = [run(bench.plan.config(bench.last().params, seed)) for seed in range(3)]
    assert bench.last().value == pytest.approx(sum(result.objective for result in results) / 3, rel=1e-12)
    assert bench.last().user_attrs["score"] == pytest.approx(sum(result.test_score for result in results) / 3)
    stored = {stored.data.tags["rnnlab.seed"]: stored for stored in bench.runs()}
    assert sorted(stored) == ["0", "1", "2"] and len(bench.runs()) == 3
    for seed, result in enumerate(results):
        tags = stored[str(seed)].data.tags
        assert tags["rnnlab.trial"] == "0" and float(tags[OBJECTIVE]) == result.objective
        assert tags["rnnlab.command"].endswith(f"seed={seed}")


@pytest.mark.parametrize("sampler", ["random", "nsga2"])
def test_finished_seeds_are_not_trained_again(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    """Killed within the second seed of three, and again within the third."""
    whole, bench = (make_bench(search_seeds=3, sampler=sampler, name=name) for name in ("whole", "tiny"))
    execute(whole.claim(), never)
    with monkeypatch.context() as kill:
        interrupted_between(bench, kill, trainings=1)
        assert [stored.info.status for stored in bench.runs()].count("FINISHED") == 1
    with monkeypatch.context() as kill:
        interrupted_between(bench, kill, trainings=1)
        assert [stored.info.status for stored in bench.runs()].count("FINISHED") == 2
    trained = count_trainings(monkeypatch)
    execute(bench.claim(), never)
    assert len(trained) == 1 and len(bench.runs()) == 3
    assert bench.last().values == whole.last().values
    assert not (bench.folder / "slots").exists() or not list((bench.folder / "slots").rglob("*.pt"))


def test_cost_counts_weights_time_steps_and_examples(make_bench: MakeBench) -> None:
    bench = make_bench(sampler="nsga2")
    execute(bench.claim(), never)
    weights = 4 * (2 + 4) + 2 * 4 + (4 + 1)  # two inputs, four units with two biases, one readout
    examples = 10 * 4
    assert bench.last().values[1] == weights * 5 * examples
    (stored,) = bench.runs()
    assert stored.data.metrics["cost"] == weights * 5 * examples


def test_to_diverge_early_is_not_cheap(make_bench: MakeBench) -> None:
    search = {"optimizer.lr": {"choices": [1e30]}, "cell.hidden_size": {"choices": [4]}}
    bench = make_bench(sampler="nsga2", search=search)
    execute(bench.claim(), never)
    config = bench.plan.config(bench.last().params, 0)
    assert run(config).steps < config.training.steps
    assert bench.last().values[1] == 37 * 5 * config.training.steps * 4


def test_a_slot_given_up_on_keeps_the_seeds_that_are_done(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(search_seeds=3)
    with monkeypatch.context() as kill:
        interrupted_between(bench, kill, trainings=1)
    give_up(bench.claim(), "its worker was killed by SIGKILL")
    found = {stored.data.tags["rnnlab.seed"]: stored.data.tags["rnnlab.outcome"] for stored in bench.runs()}
    assert found == {"0": "finished", "1": "failed"}


def test_an_error_on_one_seed_ends_the_trial(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def sometimes(config: Any, **kwargs: Any) -> Any:
        if config.seed == 1:
            raise RuntimeError("no such luck")
        return run(config, **kwargs)

    monkeypatch.setattr(trial_module, "run", sometimes)
    bench = make_bench(search_seeds=3)
    execute(bench.claim(), never)
    assert bench.last().state == TrialState.FAIL and len(bench.runs()) == 2


def test_wilcoxon_spares_the_last_seed_of_a_hopeless_trial(make_bench: MakeBench) -> None:
    """A rate of a thousand diverges on every seed, which four seeds are enough to tell; also over an interruption."""
    rates = {"optimizer.lr": {"choices": [1e-3, 1e3]}}
    bench = make_bench(search=rates, trials=None, sampler="grid", pruner="wilcoxon", search_seeds=5)
    bench.study.pruner = make_pruner(bench.definition, bench.plan)
    execute(bench.claim(), never)
    job = bench.claim()
    with pytest.raises(Interrupted):
        execute(job, stop_after(25))
    bench.interrupt()
    execute(bench.claim(), never)
    good, bad = (latest(bench.study)[slot] for slot in (0, 1))
    assert (good.state, bad.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert list(good.intermediate_values) == [0, 1, 2, 3, 4] and list(bad.intermediate_values) == [0, 1, 2, 3]
    assert len(bench.runs()) == 5 + 4
