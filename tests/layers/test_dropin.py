"""With the same weights our layers are torch.nn's: outputs, states, gradients and random stream."""

import contextlib
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import rnnlab

T, B, I, H = 7, 4, 3, 5
LENGTHS = torch.tensor([3, 7, 1, 5])
NAMES = ["RNN", "LSTM", "GRU"]
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("LSTM", {"proj_size": 2}), ("GRU", {})]
# Sums in another order: a few ulp of outputs near 1; gradients add up T of them.
OUTPUTS, GRADIENTS = {torch.float32: 1e-6, torch.float64: 1e-12}, {torch.float32: 2e-5, torch.float64: 1e-12}


def twins(name: str, dtype: torch.dtype = torch.float64, **options: Any) -> tuple[nn.RNNBase, nn.RNNBase]:
    """The same layer twice, from the same seed and so with the same weights."""
    layers = []
    for library in (nn, rnnlab):
        torch.manual_seed(0)
        layers.append(getattr(library, name)(I, H, dtype=dtype, **options))
    return layers[0], layers[1]


def states_for(layer: nn.RNNBase, batch: tuple[int, ...]) -> Any:
    """Random states that require gradients."""
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    kind: dict[str, Any] = {"dtype": layer.all_weights[0][0].dtype, "requires_grad": True}
    h = torch.randn(count, *batch, layer.proj_size or H, **kind)
    return (h, torch.randn(count, *batch, H, **kind)) if isinstance(layer, nn.LSTM) else h


def flat(output: Any, states: Any) -> list[Tensor]:
    output = output.data if isinstance(output, PackedSequence) else output
    return [output, *(states if isinstance(states, tuple) else (states,))]


def run(layer: nn.RNNBase, x: Any, hx: Any, leaves: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and states, and the gradients of an uneven loss of them all."""
    found = flat(*layer(x, hx))
    loss = torch.stack([(t.sin() * torch.arange(t.numel()).view_as(t).cos()).sum() for t in found]).sum()
    return found, list(torch.autograd.grad(loss, [*leaves, *layer.parameters()], retain_graph=True))


def inputs(layer: nn.RNNBase, shape: str, with_states: bool) -> tuple[Any, Any, list[Tensor]]:
    """A batch, a single sequence or packed sequences; states; and all tensors in them that require gradients."""
    dtype = layer.all_weights[0][0].dtype
    size = (T, I) if shape == "single" else (B, T, I) if layer.batch_first else (T, B, I)
    x = torch.randn(size, dtype=dtype, requires_grad=True)
    hx = states_for(layer, () if shape == "single" else (B,)) if with_states else None
    leaves = [x, *(hx if isinstance(hx, tuple) else () if hx is None else (hx,))]
    if shape == "packed":
        return pack_padded_sequence(x, LENGTHS, layer.batch_first, enforce_sorted=False), hx, leaves
    if shape == "sorted":
        lengths = LENGTHS.sort(descending=True).values
        return pack_padded_sequence(x, lengths, layer.batch_first), hx, leaves
    return x, hx, leaves


@pytest.mark.parametrize("shape", ["batch", "single", "packed", "sorted"])
@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_outputs_states_and_gradients(name, options, shape):
    """Six switches, two of which follow from the parity of three others: any three meet in all eight ways."""
    for deep, both, first, with_states in itertools.product((False, True), repeat=4):
        bias, dtype = deep ^ both ^ first, torch.float64 if both ^ first ^ with_states else torch.float32
        stack = {"num_layers": 3 if deep else 1, "bidirectional": both, "batch_first": first, "bias": bias}
        theirs, ours = twins(name, dtype, **options, **stack)
        x, hx, leaves = inputs(theirs, shape, with_states)
        expected, found = run(theirs, x, hx, leaves), run(ours, x, hx, leaves)
        case = f"{stack}, states {with_states}, {dtype}"
        for kind, (a, b) in enumerate(zip(expected, found, strict=True)):
            tolerance = (GRADIENTS if kind else OUTPUTS)[dtype]
            torch.testing.assert_close(b, a, rtol=tolerance, atol=tolerance, msg=lambda m, case=case: f"{case}: {m}")


@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_outputs_are_packed_like_the_inputs(enforce_sorted):
    lengths = LENGTHS.sort(descending=True).values if enforce_sorted else LENGTHS
    packed = pack_padded_sequence(torch.randn(T, B, I).double(), lengths, enforce_sorted=enforce_sorted)
    theirs, ours = (layer(packed)[0] for layer in twins("GRU"))
    for a, b in zip(theirs[1:], ours[1:], strict=True):
        assert torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a is b is None


@pytest.mark.parametrize("name", NAMES)
def test_construction_is_torchs(name):
    theirs, ours = getattr(nn, name), getattr(rnnlab, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert {theirs, rnnlab.Recurrent} <= set(ours.__mro__)
    positional: Any = (I, H, 2, "relu", False, True, 0.5, True) if name == "RNN" else (I, H, 2, False, True, 0.5, True)
    a, b = theirs(*positional), ours(*positional)
    assert {key: value for key, value in vars(a).items() if isinstance(value, int | float | str)} == {
        key: value for key, value in vars(b).items() if isinstance(value, int | float | str)
    }
    assert [n for n, _ in a.named_parameters()] == [n for n, _ in b.named_parameters()]
    for method in ("flatten_parameters", "check_forward_args", "permute_hidden", "get_expected_hidden_size"):
        assert getattr(ours, method) is getattr(theirs, method)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_dropout_draws_what_torch_draws(name, options, packed):
    theirs, ours = twins(name, num_layers=3, dropout=0.4, bidirectional=True, **options)
    x: Any = torch.randn(T, B, I, dtype=torch.float64)
    if packed:
        x = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    results, streams = [], []
    for layer in (theirs, ours):
        torch.manual_seed(1)
        results.append(flat(*layer(x)))
        streams.append(torch.rand(3))
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)
    assert torch.equal(*streams)
    assert not torch.equal(flat(*ours(x))[0], results[1][0])  # it does drop something


@pytest.mark.filterwarnings("ignore:nothing of the model is recorded")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(name, mode):
    theirs, ours = twins(name, num_layers=2)
    x = torch.randn(T, B, I, dtype=torch.float64)
    with mode(), rnnlab.record(ours) as log:
        a, b = flat(*theirs(x)), flat(*ours(x))
    torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-12)
    assert not any(t.requires_grad for t in b) and [t.is_inference() for t in a] == [t.is_inference() for t in b]
    assert log.dataset().sizes["step"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives_are_torchs_and_recording_keeps_them(name):
    """The gradient penalty of Gulrajani et al. 2017: a loss of the gradient with respect to the input."""
    theirs, ours = twins(name, bidirectional=True)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)

    def penalty(layer: nn.RNNBase) -> list[Tensor]:
        (gradient,) = torch.autograd.grad(layer(x)[0].sin().sum(), x, create_graph=True)
        return list(torch.autograd.grad(gradient.square().sum(), list(layer.parameters())[:2]))

    expected = penalty(theirs)
    torch.testing.assert_close(penalty(ours), expected, rtol=1e-11, atol=1e-11)
    with rnnlab.record(ours) as log:
        recorded = penalty(ours)
    torch.testing.assert_close(recorded, expected, rtol=1e-11, atol=1e-11)
    assert log.dataset().sizes["step"] >= 1


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_load_both_ways(name):
    theirs, ours = twins(name, num_layers=2)
    other_theirs, other_ours = (getattr(library, name)(I, H, 2).double() for library in (nn, rnnlab))
    x = torch.randn(T, B, I, dtype=torch.float64)
    assert str(other_ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    assert str(other_theirs.load_state_dict(ours.state_dict())) == "<All keys matched successfully>"
    torch.testing.assert_close(other_ours(x), other_theirs(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_shapes_without_data(kind):
    net = getattr(rnnlab, kind)(4, 5, device="meta")
    assert net(torch.empty(3, 2, 4, device="meta"))[0].shape == (3, 2, 5)


def change_in_place(change: Callable[[Tensor], object], output: Any, states: Any) -> Tensor:
    """A loss of outputs and states that were changed where they are."""
    found = flat(output, states)
    torch.manual_seed(1)
    for t in found:
        change(t)
    return torch.stack([t.sin().sum() for t in found]).sum()


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("shape", ["batch", "sorted"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "batch_first": True}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_states_may_be_changed_in_place(name, options, shape, recorded):
    theirs, ours = twins(name, **options)
    x, hx, leaves = inputs(theirs, shape, with_states=True)
    changes = [Tensor.relu_, lambda t: t[0].zero_(), lambda t: nn.functional.dropout(t, 0.3, inplace=True)]
    for change in changes:
        given = [*leaves, *theirs.parameters()]
        expected = torch.autograd.grad(change_in_place(change, *theirs(x, hx)), given, retain_graph=True)
        with rnnlab.record(ours) if recorded else contextlib.nullcontext():
            given = [*leaves, *ours.parameters()]
            found = torch.autograd.grad(change_in_place(change, *ours(x, hx)), given, retain_graph=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=GRADIENTS[torch.float64])
