"""To tools that write down what a model does our layers are torch's, or they say in one sentence what to do."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 4, 3, 2, 5
NAMES = ["RNN", "LSTM", "GRU"]


class Classifier(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn, self.out = rnn, nn.Linear(H, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][-1])


def exported(model: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    return torch.export.export(model, (x,), dynamic_shapes=({1: torch.export.Dim("batch")},)).module()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "tool", [exported, lambda model, x: torch.jit.trace(model, (x,)), lambda m, _: torch.fx.symbolic_trace(m)]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_model_written_down_computes_the_same_for_any_batch(name, tool):
    model = Classifier(getattr(rnnlab, name)(I, H, num_layers=2)).eval()
    written = tool(model, torch.randn(T, B, I))
    for batch in (B, B + 2):
        x = torch.randn(T, batch, I)
        torch.testing.assert_close(written(x), model(x))


def test_a_symbolic_trace_still_holds_our_layer():
    written = torch.fx.symbolic_trace(Classifier(rnnlab.GRU(I, H)))
    with rnnlab.record(written) as log:
        written(torch.randn(T, B, I)).sum().backward()
    assert log.dataset().sizes["time"] == T


@pytest.mark.parametrize(
    ("cell", "options"), [("indrnn", {}), ("lstm", {"norm": "layer"}), ("gru", {"bidirectional": True})]
)
def test_any_cell_is_exported_with_a_batch_of_any_size(cell, options):
    net = Recurrent(cell, I, H, **options).eval()
    written = torch.export.export(
        net, (torch.randn(T, B, I),), dynamic_shapes={"input": {1: torch.export.Dim("batch")}}
    )
    x = torch.randn(T, B + 2, I)
    torch.testing.assert_close(written.module()(x)[0], net(x)[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_norm_is_traced_with_constants_for_its_sizes():
    """ONNX knows no others."""
    net = Recurrent("lstm", I, H, norm="layer").eval()
    written: Any = torch.jit.trace(net, (torch.randn(T, B, I),), check_trace=False)
    nodes = (graph := written.inlined_graph).findAllNodes("aten::layer_norm")
    sizes = [size.node().kind() for node in nodes for size in list(node.inputs())[1].node().inputs()]
    assert graph is not None and set(sizes) == {"prim::Constant"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_script_takes_torchs_layers_alone_and_says_so(name):
    model, x = Classifier(getattr(rnnlab, name)(I, H)).eval(), torch.randn(T, B, I)
    with pytest.raises(UserError, match=r"rnnlab\.restore\(model\) first"):
        torch.jit.script(model)
    expected = model(x)
    torch.testing.assert_close(torch.jit.script(rnnlab.restore(model))(x), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_quantising_what_was_converted_says_that_it_stays_as_it_is(name):
    model, x = Classifier(getattr(rnnlab, name)(I, H)).eval(), torch.randn(T, B, I)
    with pytest.warns(UserWarning, match=r"leaves rnnlab.* in floating point: call rnnlab\.restore\(model\) first"):
        ours = torch.ao.quantization.quantize_dynamic(model)
    torch.testing.assert_close(ours.rnn(x)[0], model.rnn(x)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        theirs = torch.ao.quantization.quantize_dynamic(rnnlab.restore(model))
    assert type(theirs.rnn).__module__.startswith("torch.ao.nn.quantized")
    torch.testing.assert_close(theirs(x), model(x), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_single_steps_are_named_when_converted_and_the_sentence_is_a_way_out(kind):
    torch.manual_seed(0)
    cell, x = kind(I, H), torch.randn(T, B, I)
    with pytest.warns(UserWarning, match=f"0 is a {kind.__name__}, a single step") as caught:
        rnnlab.convert(nn.Sequential(cell))
    assert len(caught) == 1 and caught[0].filename == __file__
    layer = getattr(nn, kind.__name__.removesuffix("Cell"))(I, H)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rnnlab.convert(layer)
    y, expected, state = x, None, None
    with rnnlab.record(layer) as log:
        for t in range(T):
            expected = cell(x[t], expected)
            y, state = layer(x[t : t + 1], state, start=t)
        y.sum().backward()
    torch.testing.assert_close(y[0], expected[0] if isinstance(expected, tuple) else expected)
    assert log.dataset().sizes["time"] == T
