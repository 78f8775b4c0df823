"""Company changes nothing: a run is the same to the bit, alone or with others, in any order, whoever comes or goes."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from rnnlab.cells import CELLS
from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import Interrupted
from rnnlab.config.config import Config
from rnnlab.config.optimizers import OPTIMIZERS
from rnnlab.config.shape import is_joinable, shape
from rnnlab.tasks import TASKS
from rnnlab.training.loop import run
from rnnlab.training.loop import train as train_together
from rnnlab.training.population import Population
from rnnlab.training.program import Program
from rnnlab.training.progress import Progress
from rnnlab.training.result import Result

BASE: dict[str, Any] = {
    "task": {"kind": "adding", "length": 9},
    "cell": {"kind": "vanilla", "hidden_size": 7},
    "training": {"steps": 4, "eval_every": 2, "batch_size": 5, "eval_examples": 8, "test_examples": 8},
    "recording": {"points": 2},
}
REMEDIES: dict[str, Any] = {
    "none": {},
    "clipping": {"clipping": {"threshold": 0.1}},
    "by value": {"clipping": {"by": "value", "threshold": 0.01}},
    "truncation": {"truncation": {"window": 4}},
    "norm_preservation": {"norm_preservation": {"weight": 0.1}},
    "flossing": {"flossing": {"exponents": 2, "updates": 2, "steps": 5}},
}
LSTM: dict[str, Any] = {"kind": "lstm", "hidden_size": 6}
CELLS_OF = {"norm_preservation": {"kind": "vanilla", "hidden_size": 6}}
TASK_OPTIONS: dict[str, dict[str, Any]] = {
    "adding": {"length": 9},
    "temporal_order": {"length": 20},
    "copying": {"length": 5},
    "parity": {"length": 6},
}


def configs(count: int, **changes: Any) -> list[Config]:
    """Runs that differ in rate, seed and threshold; two share their data."""
    data = {**BASE, **changes}
    return [
        Config.parse({**data, "seed": k // 2, "optimizer": {**data.get("optimizer", {}), "lr": 10.0 ** -(1 + k % 4)}})
        for k in range(count)
    ]


def train(chosen: Sequence[Config]) -> list[Result]:
    """Train in one population."""
    ended: dict[int, Result] = {}

    def end(member: Progress, error: Exception | None) -> None:
        if error is not None:
            raise error
        ended[id(member)] = member.finish()

    population, members = Population(end), [Progress(config) for config in chosen]
    for member in members:
        population.join(member)
    while population.members:
        population.advance()
    return [ended[id(member)] for member in members]


def assert_same(one: Result, other: Result) -> None:
    assert one.model is not None and other.model is not None
    for (name, mine), theirs in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    assert str(one.history) == str(other.history)
    assert (one.outcome, one.steps, str(one.test_loss)) == (other.outcome, other.steps, str(other.test_loss))
    if one.profile is None or other.profile is None:
        assert one.profile is other.profile
    else:
        assert one.profile.equals(other.profile)


@pytest.fixture(autouse=True)
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Members of every pass that computed gradients together; one that fails is tried alone, and would go unnoticed."""
    members: list[int] = []
    go_back = Program.go_back_together

    def follow(self: Program, rows: Sequence[int], *rest: Any) -> Any:
        losses = go_back(self, rows, *rest)
        members.append(len(rows))
        return losses

    monkeypatch.setattr(Program, "go_back_together", follow)
    return members


def assert_company_changes_nothing(chosen: Sequence[Config], passes: list[int]) -> None:
    assert len({shape(config) for config in chosen}) == 1
    together, reversed_ = train(chosen), train(chosen[::-1])[::-1]
    assert (max(passes, default=0) == len(chosen)) == is_joinable(chosen[0])
    for k in sorted({0, 1, 2, len(chosen) // 2, len(chosen) - 1} & set(range(len(chosen)))):
        alone = run(chosen[k])
        assert_same(alone, together[k])
        assert_same(alone, reversed_[k])


EVERYTHING: dict[str, dict[str, Any]] = {
    **{f"cell {kind}": {"cell": {"kind": kind, "hidden_size": 8 if kind == "unitary" else 7}} for kind in CELLS},
    **{f"task {kind}": {"task": {"kind": kind, **TASK_OPTIONS.get(kind, {})}} for kind in TASKS if kind != "mnist"},
    **{
        f"remedy {name}": {"remedies": remedies, "cell": CELLS_OF.get(name, LSTM)}
        for name, remedies in REMEDIES.items()
    },
    **{
        f"optimizer {kind}, recurrent {factor}": {
            "optimizer": {"kind": kind, "recurrent": factor, "schedule": "cosine", "warmup": 2}
        }
        for kind in OPTIMIZERS
        for factor in (1.0, 0.1)
    },
}
"""What to change of a run so that everything there is has its turn."""


def with_its_data(what: str) -> dict[str, Any]:
    """What to change; the test is skipped where its data are not on this machine."""
    changes = EVERYTHING[what]
    try:
        configs(1, **changes)[0].task.sample(torch.Generator(), 1)
    except UserError as missing:
        pytest.skip(str(missing))
    return changes


@pytest.mark.parametrize("what", list(EVERYTHING))
def test_everything_there_is(what: str, passes: list[int]) -> None:
    changes = with_its_data(what)
    assert_company_changes_nothing(configs(2 if "task" in changes else 3, **changes), passes)


@pytest.mark.long
@pytest.mark.parametrize("members", [2, 8, 33])
@pytest.mark.parametrize("what", list(EVERYTHING))
def test_everything_there_is_in_company_of_any_size(what: str, members: int, passes: list[int]) -> None:
    changes = with_its_data(what)
    training = {**BASE["training"], "batch_size": 3}
    assert_company_changes_nothing(
        configs(members, **{**changes, "training": training, "recording": {"points": 0}}), passes
    )


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
@pytest.mark.parametrize(("members", "B", "H"), [(2, 31, 33), (8, 5, 16), (33, 3, 5)])
def test_cells_with_kernels_at_odd_sizes(kind: str, members: int, B: int, H: int, passes: list[int]) -> None:
    training = {**BASE["training"], "batch_size": B, "steps": 4, "eval_every": 4}
    changes = {"cell": {"kind": kind, "hidden_size": H}, "training": training, "recording": {"points": 0}}
    chosen = configs(members, **changes)
    assert is_joinable(chosen[0])
    assert_company_changes_nothing(chosen, passes)


@pytest.mark.parametrize(
    "model", [{"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "residual_layers": True}, {"dilation": 2}]
)
def test_every_kind_of_stack(model: dict[str, Any], passes: list[int]) -> None:
    assert_company_changes_nothing(configs(3, model=model, cell={"kind": "gru", "hidden_size": 7}), passes)


@pytest.mark.parametrize("model", [{"num_layers": 2}, {"dilation": 3}], ids=["two layers", "dilated"])
@pytest.mark.parametrize(
    "cell", [{"kind": "vanilla"}, {"kind": "gru"}, {"kind": "orthogonal"}, {"kind": "lstm", "norm": "layer"}], ids=str
)
def test_states_that_are_carried_on_in_a_stack(model: dict[str, Any], cell: dict[str, Any], passes: list[int]) -> None:
    """The states of a layer do not end where 16 bytes do, so those of the next begin elsewhere when in company."""
    chosen = {"task": {"kind": "adding", "length": 17}, "cell": {"hidden_size": 5, **cell}, "model": model}
    training = {**BASE["training"], "batch_size": 3}
    assert_company_changes_nothing(
        configs(3, **chosen, training=training, remedies={"truncation": {"window": 7}}), passes
    )


@pytest.mark.parametrize("cell", [{"norm": "batch"}, {"norm": "layer"}, {"zoneout": 0.2}])
def test_norms_and_noise(cell: dict[str, Any], passes: list[int]) -> None:
    assert_company_changes_nothing(configs(3, cell={"kind": "lstm", "hidden_size": 6, **cell}), passes)


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("cornn", "dt", [0.01, 0.1, 0.5]),
        ("antisymmetric", "epsilon", [0.01, 0.1, 0.5]),
        ("lstm", "forget_bias", [None, 1.0, -1.0]),
        ("gru", "zoneout", [0.1, 0.3, 0.5]),
    ],
)
def test_numbers_of_a_cell_may_differ(kind: str, name: str, values: list[Any], passes: list[int]) -> None:
    chosen = [Config.parse({**BASE, "cell": {"kind": kind, "hidden_size": 6, name: value}}) for value in values]
    assert_company_changes_nothing(chosen, passes)


@pytest.mark.parametrize("kind", ["copying", "parity"])
def test_a_single_example_answered_at_every_step(kind: str, passes: list[int]) -> None:
    task = {"kind": kind, **TASK_OPTIONS[kind], **({"every_step": True} if kind == "parity" else {})}
    training = {**BASE["training"], "batch_size": 1}
    assert_company_changes_nothing(configs(3, task=task, training=training, recording={"points": 0}), passes)


def test_want_of_memory_makes_passes_smaller_for_good(monkeypatch: pytest.MonkeyPatch, passes: list[int]) -> None:
    go_back, asked, chosen = Program.go_back_together, list[int](), configs(7, remedies=REMEDIES["clipping"])

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
    chosen = configs(3, remedies=REMEDIES["clipping"], cell={"kind": "lstm", "hidden_size": 5})
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


def test_the_answer_at_the_last_step_goes_by_the_final_state() -> None:
    """And gives what a readout of the outputs gives, the gradient at every step included."""
    member = Progress(Config.parse({**BASE, "dtype": "float64"}))
    batch, task = member.next_batch(), member.config.task
    member.backpropagate(batch)
    ours = {name: p.grad.clone() for name, p in member.model.named_parameters() if p.grad is not None}
    member.model.zero_grad()
    model: Any = member.model
    hidden, _ = model.recurrent(model.encode(batch.inputs))
    outputs = nn.functional.linear(hidden[-1:], model.readout.weight, model.readout.bias)
    (task.losses(outputs, batch.targets).sum() / batch.answers).backward()
    assert ours.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-12, atol=1e-15)
