"""Converting changes what a layer tells, and nothing else; restoring undoes it."""

import copy
import io
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.rnn import pack_padded_sequence

import rnnlab
from rnnlab.common.errors import UserError

LAYERS: list[Any] = [
    lambda: nn.RNN(3, 5, 2, "relu", bias=False),
    lambda: nn.RNN(3, 5, bidirectional=True),
    lambda: nn.LSTM(3, 5, 2, batch_first=True, dropout=0.5),
    lambda: nn.LSTM(3, 5, 2, proj_size=2, bidirectional=True),
    lambda: nn.GRU(3, 5, 3, bias=False, bidirectional=True),
]


class Tagger(nn.Module):
    """Layers in containers, one of them twice, and one that only a plain list knows besides."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.ModuleDict({"a": nn.LSTM(3, 5, 2, batch_first=True), "b": nn.GRU(5, 4)})
        self.again = self.rnn["b"]
        self.listed = [self.rnn["a"]]
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.again(self.listed[0](x)[0])[0])


class Reversing(nn.LSTM):
    """Computes something else than its base."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(input.flip(0), hx)


def flat(output: Any) -> list[Tensor]:
    y, states = output
    return [y, *(states if isinstance(states, tuple) else (states,))]


@pytest.mark.parametrize("make", LAYERS)
def test_a_converted_layer_is_the_same_object_with_the_same_answers(make):
    torch.manual_seed(0)
    layer = make().double()
    original, attributes, parameters = type(layer), dict(vars(layer)), list(layer.parameters())
    x = torch.randn(6, 4, 3, dtype=torch.float64)

    def answers() -> list[Tensor]:
        torch.manual_seed(1)  # dropout
        output = flat(layer(x))
        layer.zero_grad()
        output[0].sin().sum().backward()
        lengths = [3, 1, 2, 4, 3, 1] if layer.batch_first else [6, 2, 3, 3]
        packed, states = layer(pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted=False))
        return [*output, *flat((packed.data, states)), *(p.grad.clone() for p in parameters if p.grad is not None)]

    before = answers()
    assert rnnlab.convert(layer) is layer
    assert type(layer) is getattr(rnnlab, original.__name__) and isinstance(layer, original)
    torch.testing.assert_close(answers(), before, rtol=1e-12, atol=1e-12)
    assert rnnlab.restore(layer) is layer
    assert type(layer) is original
    assert all(torch.equal(a, b) for a, b in zip(answers(), before, strict=True))
    assert vars(layer).keys() == attributes.keys()
    assert all(a is b for a, b in zip(parameters, layer.parameters(), strict=True))


def test_every_layer_of_a_model_wherever_it_is_referred_to():
    model = Tagger().double().eval()
    model.rnn["b"].train()
    x = torch.randn(6, 7, 3, dtype=torch.float64)
    before, names = model(x), [name for name, _ in model.named_parameters()]
    assert rnnlab.convert(model) is model
    assert isinstance(model.listed[0], rnnlab.LSTM) and model.listed[0] is model.rnn["a"]
    assert isinstance(model.again, rnnlab.GRU) and model.again is model.rnn["b"]
    assert model.again.training and not model.listed[0].training
    assert [name for name, _ in model.named_parameters()] == names
    torch.testing.assert_close(model(x), before, rtol=1e-12, atol=1e-12)
    with rnnlab.record(model) as log:
        model(x).sum().backward()
    assert log.dataset().sizes["layer"] == 3  # the layer that has two names counts once
    rnnlab.convert(model)
    rnnlab.restore(rnnlab.restore(model))
    assert [type(module) for module in model.modules()] == [type(module) for module in Tagger().modules()]
    assert torch.equal(model(x), before)


def test_training_goes_on_as_if_nothing_had_happened():
    def train(convert: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = Tagger().double()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for step in range(9):
            if convert and step == 3:
                rnnlab.convert(model)
            if convert and step == 6:
                rnnlab.restore(model)
            optimizer.zero_grad()
            model(torch.randn(6, 7, 3, dtype=torch.float64)).square().mean().backward()
            optimizer.step()
        return list(model.parameters())

    torch.testing.assert_close(train(True), train(False), rtol=1e-12, atol=1e-12)


def test_hooks_stay():
    layer, heard = nn.GRU(3, 5), []
    layer.register_forward_pre_hook(lambda *_: heard.append("before"))
    layer.register_forward_hook(lambda *_: heard.append("after"))
    layer.register_full_backward_hook(lambda *_: heard.append("back"))
    layer.all_weights[0][1].register_hook(lambda g: heard.append("weight"))
    layer.register_state_dict_post_hook(lambda *_: heard.append("state"))
    for change in (rnnlab.convert, rnnlab.restore):
        heard.clear()
        change(layer)(torch.randn(4, 2, 3, requires_grad=True))[0].sum().backward()
        layer.state_dict()
        assert sorted(heard) == ["after", "back", "before", "state", "weight"]


@pytest.mark.parametrize("constrain", [parametrizations.weight_norm, parametrizations.orthogonal])
def test_parametrised_layers_keep_their_parametrisations(constrain):
    layer = constrain(nn.LSTM(3, 5).double(), "weight_hh_l0")
    copied = copy.deepcopy(layer)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    before = layer(x)
    rnnlab.convert(layer)
    assert isinstance(layer, rnnlab.LSTM) and parametrize.is_parametrized(layer, "weight_hh_l0")
    torch.testing.assert_close(layer(x), before, rtol=1e-12, atol=1e-12)
    assert not isinstance(copied, rnnlab.LSTM) and torch.equal(copied(x)[0], before[0])
    with rnnlab.record(layer) as log:
        layer(x)[0].sum().backward()
    assert log.dataset().sizes["time"] == 6
    rnnlab.restore(layer)
    assert torch.equal(layer(x)[0], before[0])
    parametrize.remove_parametrizations(rnnlab.convert(layer), "weight_hh_l0")
    assert type(layer) is rnnlab.LSTM
    torch.testing.assert_close(layer(x), before, rtol=1e-12, atol=1e-12)


def test_subclasses_are_left_alone_and_named():
    class Named(nn.LSTM):
        pass

    model = nn.Sequential(Reversing(3, 5), Named(3, 5), nn.GRU(3, 5))
    with pytest.warns(UserWarning) as caught:
        rnnlab.convert(model)
    messages = [str(warning.message) for warning in caught]
    assert ["0 is a Reversing" in messages[0], "1 is a Named" in messages[1], len(messages)] == [True, True, 2]
    assert [type(layer) for layer in model] == [Reversing, Named, rnnlab.GRU]
    assert all(warning.filename == __file__ for warning in caught)


def test_a_class_derived_from_ours_is_neither_named_nor_restored():
    class Mine(rnnlab.LSTM):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = rnnlab.restore(rnnlab.convert(nn.Sequential(Mine(3, 5), nn.Linear(5, 5))))[0]
    with rnnlab.record(layer) as log:
        layer(torch.randn(4, 2, 3))[0].sum().backward()
    assert log.dataset().sizes["time"] == 4


def test_restoring_waits_for_the_end_of_a_recording():
    model = rnnlab.convert(nn.Sequential(nn.GRU(3, 5), nn.GRU(5, 5)))
    with rnnlab.record(model[1]):
        with pytest.raises(UserError, match="is being recorded"):
            rnnlab.restore(model)
        assert isinstance(model[0], rnnlab.GRU)
    assert type(rnnlab.restore(model)[0]) is nn.GRU


def test_converted_models_are_saved_whole_and_as_state_dicts():
    model, plain = rnnlab.convert(Tagger().double()), Tagger().double()
    x = torch.randn(6, 7, 3, dtype=torch.float64)
    plain.load_state_dict(model.state_dict())
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert type(loaded.again) is rnnlab.GRU
    assert torch.equal(loaded(x), model(x))
    torch.testing.assert_close(plain(x), model(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(rnnlab.restore(loaded)(x), plain(x))
