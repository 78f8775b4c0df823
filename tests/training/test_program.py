"""One pass for many runs gives each the bits that it has alone: every cell, task, remedy and optimiser."""

from typing import Any

import pytest
import torch
from in_company import BASE, assert_company_changes_nothing, configs
from torch import nn

from rnnlab.cells import CELLS
from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.config.optimizers import OPTIMIZERS
from rnnlab.config.shape import is_joinable
from rnnlab.tasks import TASKS
from rnnlab.training.progress import Progress

REMEDIES: dict[str, Any] = {
    "none": {},
    "clipping": {"clipping": {"threshold": 0.1}},
    "by value": {"clipping": {"by": "value", "threshold": 0.01}},
    "truncation": {"truncation": {"window": 4}},
    "norm_preservation": {"norm_preservation": {"weight": 0.1}},
    "flossing": {"flossing": {"exponents": 2, "updates": 2, "steps": 5}},
}
UNSEEN: dict[str, Any] = {"recording": {"points": 0}}
"""Updates that are recorded are computed alone."""
LSTM: dict[str, Any] = {"kind": "lstm", "hidden_size": 6}
CELLS_OF = {"norm_preservation": {"kind": "vanilla", "hidden_size": 6}}
TASK_OPTIONS: dict[str, dict[str, Any]] = {
    "adding": {"length": 9},
    "temporal_order": {"length": 20},
    "copying": {"length": 5},
    "parity": {"length": 6},
}


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
    "model",
    [
        {"num_layers": 2},
        {"num_layers": 2, "bidirectional": True},
        {"num_layers": 2, "residual_layers": True},
        {"num_layers": 3, "bidirectional": True, "residual_layers": True, "dilation": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["gru", "lru", "linoss"])
def test_every_kind_of_stack(kind: str, model: dict[str, Any], passes: list[int]) -> None:
    """Inputs have several readers there, and cells whose outputs are no states read them twice."""
    assert_company_changes_nothing(configs(3, model=model, cell={"kind": kind, "hidden_size": 7}, **UNSEEN), passes)


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


def test_inputs_that_are_standardised_lie_as_they_do_alone(passes: list[int]) -> None:
    """Outputs of 7 units are stored in rows of 8, of which a copy for each member has none."""
    cell = {"kind": "vanilla", "hidden_size": 7, "norm": "batch_input"}
    chosen = {"task": {"kind": "adding", "length": 17}, "cell": cell, "model": {"num_layers": 2}}
    assert_company_changes_nothing(configs(3, **chosen, **UNSEEN), passes)


@pytest.mark.parametrize("cell", [{"kind": "vanilla", "norm": "layer"}, {"kind": "linoss"}], ids=str)
@pytest.mark.parametrize("window", [{"window": 5, "stride": 3}, {"window": 3, "stride": 2}, {"window": 7}], ids=str)
def test_windows_and_ways_to_them_of_a_single_step(
    cell: dict[str, Any], window: dict[str, int], passes: list[int]
) -> None:
    """A dimension of one has whatever stride it had, and torch multiplies by that."""
    task = {"kind": "parity", "length": 8, "every_step": True}
    chosen = {"task": task, "cell": {"hidden_size": 8, **cell}, "model": {"num_layers": 2}}
    assert_company_changes_nothing(configs(3, **chosen, remedies={"truncation": window}, **UNSEEN), passes)


@pytest.mark.parametrize("cell", [{"norm": "batch"}, {"norm": "layer"}, {"zoneout": 0.2}])
def test_norms_and_noise(cell: dict[str, Any], passes: list[int]) -> None:
    assert_company_changes_nothing(configs(3, cell={"kind": "lstm", "hidden_size": 6, **cell}), passes)


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("cornn", "dt", [0.01, 0.1, 0.5]),
        ("antisymmetric", "epsilon", [0.01, 0.1, 0.5]),
        ("lstm", "forget_bias", [None, 1.0, -1.0]),
        ("lstm with peepholes", "forget_bias", [None, 1.0, -1.0]),
        ("gru", "zoneout", [0.1, 0.3, 0.5]),
    ],
)
def test_numbers_of_a_cell_may_differ(kind: str, name: str, values: list[Any], passes: list[int]) -> None:
    cell = {"kind": kind.split()[0], "hidden_size": 6, **({"peepholes": True} if "peepholes" in kind else {})}
    chosen = [Config.parse({**BASE, "cell": {**cell, name: value}}) for value in values]
    assert_company_changes_nothing(chosen, passes)


@pytest.mark.parametrize("kind", ["copying", "parity"])
def test_a_single_example_answered_at_every_step(kind: str, passes: list[int]) -> None:
    task = {"kind": kind, **TASK_OPTIONS[kind], **({"every_step": True} if kind == "parity" else {})}
    training = {**BASE["training"], "batch_size": 1}
    assert_company_changes_nothing(configs(3, task=task, training=training, recording={"points": 0}), passes)


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


def test_remedies_that_act_on_each_gradient_need_not_be_alike(passes: list[int]) -> None:
    each = [{}, *({"clipping": {"by": by, "threshold": 0.01}} for by in ("norm", "value")), REMEDIES["flossing"]]
    chosen = [Config.parse({**BASE, "seed": k, "remedies": remedies}) for k, remedies in enumerate(each)]
    assert_company_changes_nothing(chosen, passes)
