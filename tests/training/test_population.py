"""Who comes, goes, breaks or fails in a population touches no other: each run is to the bit what it is alone."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from in_company import BASE, assert_same, configs, train

from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import Interrupted
from rnnlab.config.config import Config
from rnnlab.training.population import Population
from rnnlab.training.program import Program
from rnnlab.training.progress import Progress
from rnnlab.training.result import Result
from rnnlab.training.runs import run
from rnnlab.training.runs import train as train_together

CLIPPING = {"clipping": {"threshold": 0.1}}


def test_want_of_memory_makes_passes_smaller_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    go_back, asked, chosen = Program.go_back_together, list[int](), configs(7, remedies=CLIPPING)

    def short(self: Program, rows: Sequence[int], *rest: Any) -> Any:
        asked.append(len(rows))
        if len(rows) > 3:
            go_back(self, rows, *rest)  # noise is drawn and statistics are moved before memory ends
            raise MemoryError
        return go_back(self, rows, *rest)

    monkeypatch.setattr(Program, "go_back_together", short)
    with pytest.warns(UserWarning, match="7 runs in one pass: from now on 3 at most"):
        together = train(chosen)
    assert asked[:3] == [7, 3, 3] and asked.count(7) == 1
    for config, result in zip(chosen, together, strict=True):
        assert_same(run(config), result)


def test_what_one_draws_badly_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Progress.next_batch

    def sometimes(self: Progress) -> Any:
        if self.config.seed == 1 and self.step == 2:
            raise ZeroDivisionError
        return draw(self)

    monkeypatch.setattr(Progress, "next_batch", sometimes)
    chosen, errors = configs(3), list[Exception | None]()
    population = Population(lambda _, error: errors.append(error))
    for config in chosen:
        population.join(Progress(config))
    while population.members:
        population.advance()
    assert sorted(type(error).__name__ for error in errors) == ["NoneType", "NoneType", "ZeroDivisionError"]


def test_what_cannot_begin_keeps_no_other_from_its_end() -> None:
    told: list[Result] = []

    def begin(config: Config) -> Progress:
        if config.seed == 1:
            raise ZeroDivisionError
        return Progress(config)

    with pytest.raises(ZeroDivisionError):
        train_together(configs(4), begin, told.append)
    assert len(told) == 2 and all(result.steps == 4 for result in told)
    with pytest.raises(UserError, match=r"configs\[1\]"):
        train_together([configs(1)[0], "no config"])  # type: ignore[list-item]


def test_those_who_come_late_and_go_early() -> None:
    lengths = [2, 6, 4, 6, 3]
    chosen = [
        Config.parse({**BASE, "seed": k, "training": {**BASE["training"], "steps": steps}})
        for k, steps in enumerate(lengths)
    ]
    ended: dict[int, Result] = {}
    population = Population(lambda member, _: ended.update({member.config.seed: member.finish()}))
    waiting = [Progress(config) for config in chosen]
    while waiting or population.members:
        if waiting:
            population.join(waiting.pop())
        population.advance()
    for k, config in enumerate(chosen):
        assert_same(run(config), ended[k])


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
@pytest.mark.parametrize("where", ["recurrent.weight_hh_l0", "readout.weight"])
def test_one_that_breaks_touches_no_other(value: float, where: str) -> None:
    chosen = configs(3)
    ended: dict[int, Result] = {}
    population = Population(lambda member, _: ended.update({id(member): member.finish()}))
    members = [Progress(config) for config in chosen]
    with torch.no_grad():
        members[1].model.get_parameter(where)[0, 0] = value
    for member in members:
        population.join(member)
    while population.members:
        population.advance()
    for k in (0, 2):
        assert_same(run(chosen[k]), ended[id(members[k])])


def test_an_interruption_in_company_goes_on_alone(tmp_path: Any) -> None:
    chosen = configs(3, remedies=CLIPPING, cell={"kind": "lstm", "hidden_size": 5})
    stopped: list[Exception | None] = []
    population = Population(lambda _, error: stopped.append(error))
    for k, config in enumerate(chosen):
        asked: list[int] = []

        def stop(asked: list[int] = asked) -> bool:
            asked.append(1)
            return len(asked) == 3

        population.join(Progress(config, tmp_path / f"{k}.pt", should_stop=stop))
    while population.members:
        population.advance()
    assert [type(error) for error in stopped] == [Interrupted] * 3
    for k, config in enumerate(chosen):
        assert_same(run(config), run(config, checkpoint=tmp_path / f"{k}.pt"))


def test_one_that_is_stopped_as_it_diverges_stays_diverged(tmp_path: Any) -> None:
    (chosen,) = configs(1, optimizer={"kind": "sgd", "lr": 1e30})
    chosen = chosen.model_copy(update={"optimizer": chosen.optimizer.model_copy(update={"lr": 1e30})})
    whole = run(chosen)
    assert whole.outcome == "diverged"
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == whole.steps

    with pytest.raises(Interrupted):
        run(chosen, checkpoint=tmp_path / "checkpoint.pt", should_stop=stop)
    assert_same(whole, run(chosen, checkpoint=tmp_path / "checkpoint.pt"))


@pytest.mark.filterwarnings("ignore:.*in one pass")
def test_weights_without_an_inverse_have_diverged_and_touch_no_other() -> None:
    """A skew matrix of odd size is singular; once its numbers are large, so is 1 plus it, and Cayley's map ends."""
    cell = {"kind": "orthogonal", "map": "cayley", "hidden_size": 3}
    rates = [1e20, 1e-3, 1e20, 1e12]
    chosen = [
        config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"lr": lr})})
        for config, lr in zip(configs(4, cell=cell), rates, strict=True)
    ]
    results = train(chosen)
    assert [result.outcome for result in results] == ["diverged", "finished", "diverged", "diverged"]
    for config, result in zip(chosen, results, strict=True):
        assert_same(run(config), result)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_one_that_cannot_join_leaves_the_others_as_they_are(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    chosen, ended, cat, calls = configs(4), dict[int, Result](), torch.cat, list[int]()

    def short(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == nth:
            raise MemoryError
        return cat(*args, **kwargs)

    population = Population(lambda member, _: ended.update({chosen.index(member.config): member.finish()}))
    members = [Progress(config) for config in chosen]
    population.join(members[0])
    population.advance()
    with monkeypatch.context() as little:
        little.setattr(torch, "cat", short)
        with pytest.raises(MemoryError):
            population.join(members[1])
    population.join(members[2])
    population.join(members[3])
    while population.members:
        population.advance()
    assert sorted(ended) == [0, 2, 3]
    for k, result in ended.items():
        assert_same(run(chosen[k]), result)


def test_a_pass_that_fails_is_said_and_each_is_computed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Program, *_: Any) -> Any:
        raise TypeError("no such pass")

    chosen = configs(3)
    monkeypatch.setattr(Program, "go_back_together", broken)
    with pytest.warns(UserWarning, match=r"3 runs cannot be computed in one pass \(TypeError: no such pass\)"):
        together = train(chosen)
    for config, result in zip(chosen, together, strict=True):
        assert_same(run(config), result)


def test_an_error_of_one_is_its_own() -> None:
    def fail(step: int, curves: Any) -> None:
        raise ZeroDivisionError

    errors: dict[int, Exception | None] = {}
    chosen = configs(3)
    population = Population(lambda member, error: errors.update({chosen.index(member.config): error}))
    for k, config in enumerate(chosen):
        population.join(Progress(config, on_evaluation=fail if k == 1 else None))
    while population.members:
        population.advance()
    assert errors[0] is errors[2] is None and isinstance(errors[1], ZeroDivisionError)
