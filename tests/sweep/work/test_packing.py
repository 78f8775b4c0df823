"""Slots in hand: what a worker packs together comes to the same as one slot after the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from bench import Bench, MakeBench, execute, never, stop_after
from optuna.trial import TrialState
from rich.console import Console
from survey import trials

from rnnlab.common.interrupts import Interrupted
from rnnlab.sweep.plan.definition import load_sweep_definition
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.store.slots import latest
from rnnlab.sweep.work import trial as trial_module
from rnnlab.sweep.work.worker import Worker
from rnnlab.training.company import Company
from rnnlab.training.memory import most_members
from rnnlab.training.population import Population
from rnnlab.training.progress import Progress

WriteSweep = Callable[..., Path]


def work_through(bench: Bench, count: int) -> None:
    """Work on several slots at once."""
    company = Company()
    for _ in range(count):
        company.take(trial_module.execute(bench.claim(), never))
    assert company.size == count
    while company.size:
        company.advance()


def told(bench: Bench) -> list[Any]:
    """State, value and reports of every slot."""
    return [(trial.state, trial.values, trial.intermediate_values) for trial in latest(bench.study).values()]


@pytest.mark.parametrize("fields", [{}, {"search_seeds": 2}, {"pruner": "median"}])
def test_slots_in_company_end_as_they_do_alone(make_bench: MakeBench, fields: dict[str, Any]) -> None:
    alone, together = (make_bench(trials=3, name=name, **fields) for name in ("alone", "together"))
    for _ in range(3):
        execute(alone.claim(), never)
    work_through(together, 3)
    if fields.get("pruner") is None:
        assert told(together) == told(alone)
        assert [run.info.status for run in together.runs()] == [run.info.status for run in alone.runs()]
        return
    done = {TrialState.COMPLETE, TrialState.PRUNED}  # whom the pruner cuts short depends on who has reported by then
    for one, other in zip(told(together), told(alone), strict=True):
        assert {one[0], other[0]} <= done and (one == other or one[0] != other[0])


def test_peers_are_judged_when_all_of_them_have_reported(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, seen = make_bench(trials=3, pruner="median"), []

    def look(trial: optuna.Trial) -> bool:
        peers = [other for other in bench.study.get_trials(deepcopy=False) if other.state == TrialState.RUNNING]
        seen.append([len(other.intermediate_values) for other in peers])
        return False

    monkeypatch.setattr(optuna.Trial, "should_prune", look)
    work_through(bench, 3)
    assert seen == [[1, 1, 1]] * 3


def test_one_that_is_stopped_in_company_goes_on_alone(make_bench: MakeBench) -> None:
    alone, bench = make_bench(trials=2, name="alone"), make_bench(trials=2)
    for _ in range(2):
        execute(alone.claim(), never)
    company, stopped = Company(), []

    def slot(stop: Callable[[], bool]) -> Any:
        try:
            yield from trial_module.execute(bench.claim(), stop)
        except Interrupted:
            stopped.append(1)

    company.take(slot(never))
    company.take(slot(stop_after(3)))
    while company.size:
        company.advance()
    assert stopped == [1]
    bench.interrupt()
    execute(bench.claim(), never)
    assert told(bench) == told(alone)


@pytest.mark.parametrize(("population", "arms"), [(None, ["tanh", "relu"]), (1, ["tanh"]), (2, ["tanh"])])
def test_a_worker_packs_as_many_as_it_may(
    workplace: Path,
    write_sweep: WriteSweep,
    own_workers: None,
    monkeypatch: pytest.MonkeyPatch,
    population: int | None,
    arms: list[str],
) -> None:
    sizes, trials_an_arm = [], 5 if population is None else 3
    advance = Population.advance

    def follow(self: Population) -> None:
        sizes.append(len(self.members))
        advance(self)

    monkeypatch.setattr(Population, "advance", follow)
    changes = {arm: {"cell.activation": arm} for arm in arms}
    path = write_sweep(trials=trials_an_arm, seeds=1, workers=1, arms=changes)
    definition = load_sweep_definition(path)
    path.write_text(path.read_text() + ("" if population is None else f"population: {population}\n"))
    assert load_sweep_definition(path).hash == definition.hash
    state = run_sweep(path, workers=1, console=Console(quiet=True))
    assert state.closed and state.all_slots.done == len(arms) * (trials_an_arm + 1)
    assert max(sizes) == (population or 5)
    assert len({trial.user_attrs["worker"] for trial in trials()}) == 1


def test_want_of_memory_in_company_makes_it_smaller_and_fails_nobody(
    workplace: Path, write_sweep: WriteSweep, own_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for two runs: the third that is built beside them finds none."""
    build, fill_up, run_short, workers, others = Progress._build, Worker._fill_up, Worker._run_short, list[Worker](), []

    def begin(self: Worker) -> None:
        workers.append(self)
        fill_up(self)

    def short(self: Progress, *rest: Any) -> None:
        if workers[-1].company.size > 1:
            raise MemoryError
        build(self, *rest)

    def told(self: Worker) -> bool:
        others.append(self.company.size)
        return run_short(self)

    for owner, name, patch in [(Worker, "_fill_up", begin), (Worker, "_run_short", told), (Progress, "_build", short)]:
        monkeypatch.setattr(owner, name, patch)
    path = write_sweep(trials=6, seeds=2, workers=1, arms={"tanh": {}})
    state = run_sweep(path, workers=1, console=Console(quiet=True))
    assert set(others) == {2} and workers[-1]._most == 1
    assert state.closed and state.all_slots.failed == 0 and state.all_slots.done == 8


def test_a_search_that_learns_has_four_trials_running_whatever_workers_were_planned(
    workplace: Path, write_sweep: WriteSweep, own_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    fill_up = Worker._fill_up

    def follow(self: Worker) -> None:
        fill_up(self)
        sizes.append(self.company.size)

    monkeypatch.setattr(Worker, "_fill_up", follow)
    path = write_sweep(sampler="tpe", trials=10, seeds=1, workers=2, arms={"tanh": {}})  # a share would be five
    assert run_sweep(path, workers=1, console=Console(quiet=True)).closed
    assert max(sizes) == 4


def test_every_worker_gets_its_share(workplace: Path, write_sweep: WriteSweep, own_workers: None) -> None:
    path = write_sweep(trials=6, seeds=1, workers=3, arms={"tanh": {}})
    claimed: list[int] = []
    fill_up = Worker._fill_up

    def follow(self: Worker) -> None:
        fill_up(self)
        claimed.append(self.company.size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_fill_up", follow)
        run_sweep(path, workers=3, console=Console(quiet=True))
    assert max(claimed) <= 2 + 1  # of six, and of what the others have left


def test_what_is_worth_training_together(write_sweep: WriteSweep) -> None:
    plans = {plan.arm: plan for plan in load_sweep_definition(write_sweep()).studies}
    small, large = (plans["lstm"].config({"cell.hidden_size": size}, 0) for size in (4, 4000))
    assert most_members(small) > most_members(large) >= 1
    assert plans["tanh"].shape is not None and plans["tanh"].shape != plans["lstm"].shape
    sized = {"cell.hidden_size": {"low": 2, "high": 5, "integer": True}}
    assert load_sweep_definition(write_sweep(search=sized)).studies[0].shape is None
