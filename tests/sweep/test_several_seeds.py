"""A search trial on several seeds: one run each, their mean, and what it cost."""

from typing import Any

import pytest
from bench import Bench, MakeBench, count_trainings, execute, never, stop_after
from optuna.trial import TrialState

from rnnlab.common.interrupts import Interrupted
from rnnlab.sweep.search.make import make_pruner
from rnnlab.sweep.store.slots import latest
from rnnlab.sweep.work.trial import give_up
from rnnlab.tracking.run_state import OBJECTIVE
from rnnlab.training.progress import Progress
from rnnlab.training.runs import run


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
    go_back = Progress.backpropagate

    def sometimes(self: Progress, batch: Any) -> Any:
        if self.config.seed == 1:
            raise RuntimeError("no such luck")
        return go_back(self, batch)

    monkeypatch.setattr(Progress, "backpropagate", sometimes)
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
