"""PyTorch's own suite of its recurrent layers, told in our words and run against ours.

The constructor arguments, inputs, references and expected errors are torch's: `torch.testing` describes every module
of torch.nn by them. What is asked of each is what PyTorch's tests of modules, recurrent layers and pruning ask.
"""

import copy
import functools
import importlib.util
import io
import sys
import types
import unittest
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils import _pytree as pytree

import rnnlab

PAIRS = {"RNN": (nn.RNN, rnnlab.RNN), "LSTM": (nn.LSTM, rnnlab.LSTM), "GRU": (nn.GRU, rnnlab.GRU)}
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}  # what "the same outputs" means here


@pytest.fixture(scope="module")
def database() -> dict[type, Any]:
    """torch's descriptions by class. Imported on use: it takes seconds."""
    if importlib.util.find_spec("expecttest") is None:  # imported there for snapshots, which nothing here takes
        stub: Any = types.ModuleType("expecttest")
        stub.TestCase = unittest.TestCase
        sys.modules["expecttest"] = stub
    from torch.testing._internal.common_modules import module_db

    # The import forbids the whole process to set torch.backends: allow it again.
    torch.backends.flags_frozen.__globals__["__allow_nonbracketed_mutation_flag"] = True
    assert not torch.backends.flags_frozen()
    return {info.module_cls: info for info in module_db}


def samples(database: dict[type, Any], name: str, dtype: torch.dtype, requires_grad: bool = False) -> list[Any]:
    info = database[PAIRS[name][0]]
    torch.manual_seed(0)
    found = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=requires_grad, training=True)
    assert len(found) >= 16
    return found


def build(name: str, sample: Any, dtype: torch.dtype, ours: bool = True) -> nn.RNNBase:
    torch.manual_seed(1)
    call = sample.constructor_input
    return PAIRS[name][ours](*call.args, **call.kwargs).to(dtype)


def run(layer: nn.Module, sample: Any) -> Any:
    return layer(*sample.forward_input.args, **sample.forward_input.kwargs)


def flat(tree: Any) -> list[Tensor]:
    return pytree.tree_flatten(tree)[0]


def same(a: Any, b: Any, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(flat(a), flat(b), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_forward(database, name, dtype, training):
    for sample in samples(database, name, dtype):
        ours, theirs = build(name, sample, dtype).train(training), build(name, sample, dtype, False).train(training)
        same(run(ours, sample), run(theirs, sample), TOLERANCE[dtype])
        args, kwargs = sample.forward_input.args, sample.forward_input.kwargs
        same(run(ours, sample), sample.reference_fn(ours, *args, **kwargs), TOLERANCE[dtype])


@pytest.mark.parametrize("name", PAIRS)
def test_construction_repr_dtypes_and_devices(database, name):
    for sample in samples(database, name, torch.float32):
        call = sample.constructor_input
        for options in ({"dtype": torch.float64}, {"device": "meta"}, {"device": "cpu", "dtype": torch.bfloat16}):
            theirs, ours = (cls(*call.args, **call.kwargs, **options) for cls in PAIRS[name])
            for (a, p), (b, q) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
                assert (a, p.shape, p.dtype, p.device) == (b, q.shape, q.dtype, q.device)
        ours, theirs = build(name, sample, torch.float32), build(name, sample, torch.float32, ours=False)
        assert repr(ours) == repr(theirs)
        for mine, its in zip(ours.all_weights, theirs.all_weights, strict=True):
            assert [p.shape for p in mine] == [p.shape for p in its]
        assert all(a is b for a, b in zip(ours.double()._flat_weights, ours.parameters(), strict=True))
        assert {p.dtype for p in ours.half().parameters()} == {torch.float16}
        with torch.device("meta"):
            lazy = PAIRS[name][1](*call.args, **call.kwargs)
        assert all(p.is_meta for p in lazy.parameters())
        lazy.to_empty(device="cpu").load_state_dict(theirs.state_dict())
        same(run(lazy, sample), run(theirs, sample), TOLERANCE[torch.float32])


@pytest.mark.parametrize("name", PAIRS)
def test_pickle_and_copy(database, name):
    for sample in samples(database, name, torch.float64):
        expected = run(layer := build(name, sample, torch.float64), sample)
        torch.save(layer, file := io.BytesIO())
        file.seek(0)
        for other in (torch.load(file, weights_only=False), copy.deepcopy(layer)):
            assert type(other) is type(layer)
            assert not {p.data_ptr() for p in other.parameters()} & {p.data_ptr() for p in layer.parameters()}
            same(run(other, sample), expected)


def gradients(layer: nn.Module, inputs: tuple[Any, ...], upstream: list[Tensor]) -> list[Tensor]:
    leaves = [*flat(inputs), *layer.parameters()]
    return list(torch.autograd.grad(flat(layer(*inputs)), leaves, upstream))


@pytest.mark.parametrize("name", PAIRS)
def test_non_contiguous_inputs_and_gradients(database, name):
    def strided(t: Tensor) -> Tensor:
        spread = t.detach().repeat_interleave(2, dim=-1)[..., ::2]
        return spread.requires_grad_(t.requires_grad)

    for sample in samples(database, name, torch.float64, requires_grad=True):
        layer, inputs = build(name, sample, torch.float64), sample.forward_input.args
        outputs = flat(layer(*inputs))
        assert all(y.is_contiguous() for y in outputs)
        upstream = [torch.randn_like(y) for y in outputs]
        expected = gradients(layer, inputs, upstream)
        assert all(g.is_contiguous() for g in expected)
        spread = pytree.tree_map(strided, inputs)
        assert not any(t.is_contiguous() for t in flat(spread))
        same(layer(*spread), outputs, 1e-14)
        same(gradients(layer, spread, [strided(g) for g in upstream]), expected, 1e-13)


@pytest.mark.parametrize("name", PAIRS)
def test_first_and_second_derivatives_are_torchs(database, name):
    """Of every output with respect to everything, and of all these with respect to everything once more."""
    for sample in samples(database, name, torch.float64, requires_grad=True):
        found = []
        for ours in (True, False):
            layer, inputs = build(name, sample, torch.float64, ours), sample.forward_input.args
            leaves, outputs = [*flat(inputs), *layer.parameters()], flat(layer(*inputs))
            torch.manual_seed(2)
            upstream = [torch.randn_like(y, requires_grad=True) for y in outputs]
            first = torch.autograd.grad(outputs, leaves, upstream, create_graph=True)
            again = [torch.randn_like(g) for g in first]
            # What a gradient does not depend on at all, as with relu, has a derivative of zero.
            second = torch.autograd.grad(first, [*leaves, *upstream], again, materialize_grads=True)
            found.append([*first, *second])
        same(*found, tolerance=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
@pytest.mark.parametrize("name", PAIRS)
def test_derivatives_are_finite_differences(database, name, check):
    """Of one sample with biases and states, since all have torch's; with those that do not come back left out, too."""
    sample = samples(database, name, torch.float64, requires_grad=True)[-5 if name == "LSTM" else -3]
    layer = build(name, sample, torch.float64)
    assert layer.bias and not layer.bidirectional and len(sample.forward_input.args) == 2
    leaves, spec = pytree.tree_flatten(sample.forward_input.args)
    names = [name for name, _ in layer.named_parameters()]

    def function(*tensors: Tensor) -> Any:
        weights = dict(zip(names, tensors[len(leaves) :], strict=True))
        inputs = pytree.tree_unflatten(tensors[: len(leaves)], spec)
        return tuple(flat(torch.func.functional_call(layer, weights, inputs)))

    assert check(function, (*leaves, *layer.parameters()), fast_mode=True)


@pytest.mark.parametrize("name", PAIRS)
def test_mistakes_that_torch_names(database, name):
    info = database[PAIRS[name][0]]
    errors = info.module_error_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=True)
    assert len(errors) >= 9
    for error in errors:
        call = error.module_error_input
        with pytest.raises(error.error_type, match=error.error_regex):
            layer = PAIRS[name][1](*call.constructor_input.args, **call.constructor_input.kwargs)
            assert error.error_on.name == "FORWARD_ERROR"
            run(layer, call)


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("name", PAIRS)
def test_wrong_sizes_are_runtime_errors(name, proj_size):
    if proj_size and name != "LSTM":
        with pytest.raises(ValueError, match="proj_size argument is only supported for LSTM, not RNN or GRU"):
            PAIRS[name][1](3, 5, 2, proj_size=proj_size)
        return
    layer = PAIRS[name][1](3, 5, 2, **({"proj_size": proj_size} if proj_size else {}))
    right = [(2, 4, proj_size or 5), (2, 4, 5)][: 1 + (name == "LSTM")]

    def call(x: tuple[int, ...], states: list[tuple[int, ...]]) -> None:
        zeros = tuple(torch.zeros(state) for state in states)
        layer(torch.zeros(x), zeros if name == "LSTM" else zeros[0])

    call((6, 4, 3), right)
    for state in range(len(right)):
        for dim in range(3):
            wrong = list(right)
            wrong[state] = (*right[state][:dim], 7, *right[state][dim + 1 :])
            with pytest.raises(RuntimeError, match=r"Expected hidden.*size.*got"):
                call((6, 4, 3), wrong)
    with pytest.raises(RuntimeError, match=r"Expected hidden.*size.*got"):
        call((6, 7, 3), right)
    with pytest.raises(RuntimeError, match=r"input.size\(-1\) must be equal to input_size. Expected 3, got 7"):
        call((6, 4, 7), right)
    with pytest.raises(RuntimeError, match=r"For unbatched 2-D input, hx (and cx )?should also be 2-D but got .?3-D"):
        call((6, 3), right)
    with pytest.raises(RuntimeError, match=r"For batched 3-D input, hx (and cx )?should also be 3-D but got .?2-D"):
        call((6, 4, 3), [shape[1:] for shape in right])
    with pytest.raises(ValueError, match=f"{name}: Expected input to be 2D or 3D, got 4D"):
        call((6, 4, 3, 1), right)
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0 in RNN"):
        call((0, 4, 3), right)


@pytest.mark.parametrize("name", PAIRS)
def test_an_empty_batch_has_empty_outputs(name):
    theirs, ours = (cls(3, 5, 2, bidirectional=True) for cls in PAIRS[name])
    x = torch.zeros(7, 0, 3)
    assert [t.shape for t in flat(ours(x))] == [t.shape for t in flat(theirs(x))]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("proj_size", [0, 10])
@pytest.mark.parametrize("name", PAIRS)
def test_states_start_at_zero(name, proj_size, bidirectional):
    if proj_size and name != "LSTM":
        return
    layer = PAIRS[name][1](30, 20, 2, bidirectional=bidirectional, **({"proj_size": 10} if proj_size else {}))
    x, count = torch.randn(10, 32, 30), 4 if bidirectional else 2
    h, c = torch.zeros(count, 32, proj_size or 20), torch.zeros(count, 32, 20)
    same(layer(x), layer(x, (h, c) if name == "LSTM" else h))
    if name == "LSTM":
        same(layer(x), layer(x, [h, c]))


def test_the_nonlinearity_by_position_and_by_name():
    torch.manual_seed(0)
    by_position = rnnlab.RNN(2, 3, 1, "relu")
    torch.manual_seed(0)
    by_name = rnnlab.RNN(2, 3, 1, nonlinearity="relu")
    x = torch.randn(2, 3, 2)
    same(by_position(x), by_name(x))
    assert (by_position(x)[0] >= 0).all()
    with pytest.raises(ValueError, match="Unknown nonlinearity 'garbage'"):
        rnnlab.RNN(1, 10, nonlinearity="garbage")


def test_dropout_of_nothing_and_of_everything():
    """Weights of one on an input of ones: the second layer sees the first or nothing."""
    for p, through in ((0.0, 1.0), (1.0, 0.0)):
        layer = rnnlab.RNN(10, 1000, 2, bias=False, nonlinearity="relu", dropout=p)
        for weight in layer.parameters():
            nn.init.ones_(weight)
        output, h = layer(torch.ones(1, 1, 10), torch.zeros(2, 1, 1000))
        assert (output == 10_000 * through).all() and (h[0] == 10).all()


def test_dropout_can_be_changed_and_needs_layers():
    layer, x = rnnlab.RNN(100, 100, 2, dropout=0.0), torch.rand(3, 2, 100)
    same(layer(x), layer(x))
    layer.dropout = 0.5
    assert not torch.equal(layer(x)[0], layer(x)[0])
    same(layer.eval()(x), layer(x))
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        rnnlab.LSTM(3, 5, dropout=0.2)


@pytest.mark.parametrize("name", PAIRS)
def test_tied_weights(name):
    layers = [cls(10, 20, bidirectional=True, dtype=torch.float64) for cls in PAIRS[name]]
    for layer in layers:
        layer.bias_ih_l0_reverse = layer.bias_ih_l0
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(5, 4, 10, dtype=torch.float64)
    for layer in layers:
        layer(x)[0].sin().sum().backward()
    assert len(list(layers[1].parameters())) == 7
    for theirs, ours in zip(*(layer.parameters() for layer in layers), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-11, atol=1e-11)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "weight_hr_l0"])
def test_flat_weights_follow_weight_norm_and_pruning(name):
    layer = rnnlab.LSTM(32, 32, proj_size=10)
    half = functools.partial(prune.l1_unstructured, amount=0.5)
    for apply, remove in ((nn.utils.weight_norm, nn.utils.remove_weight_norm), (half, prune.remove)):
        apply(layer, name)
        assert sum(isinstance(p, nn.Parameter) for p in layer._flat_weights) == 4
        layer(torch.randn(3, 2, 32))[0].sum().backward()
        remove(layer, name)
        assert sum(isinstance(p, nn.Parameter) for p in layer._flat_weights) == 5
        assert set(layer.state_dict()) == set(nn.LSTM(32, 32, proj_size=10).state_dict())
