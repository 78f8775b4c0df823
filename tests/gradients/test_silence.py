"""Nothing is left out of a record without a word: what cannot be seen is named once, with what to do."""

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn

import rnnlab

T, B, I, H = 6, 3, 2, 4


class Chain(nn.Module):
    """A recurrent layer on top of another one."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = rnnlab.GRU(I, H), rnnlab.LSTM(H, H)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)[0])[0]


def frozen(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


def test_a_frozen_layer_under_a_trained_readout_is_named_once():
    net, readout = frozen(rnnlab.GRU(I, H)), nn.Linear(H, 1)
    with pytest.warns(UserWarning, match=r"nothing of the model .* requires_grad_\(\) on its input") as caught:
        with rnnlab.record(net) as log:
            for _ in range(3):
                readout(net(torch.randn(T, B, I))[0][-1]).sum().backward()
        assert log.dataset().sizes["step"] == 0
    assert len(caught) == 1


def test_its_advice_is_a_way_out():
    net, x = frozen(rnnlab.GRU(I, H)), torch.randn(T, B, I).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with rnnlab.record(net) as log:
            net(x)[0][-1].sum().backward()
        assert log.dataset().sizes["time"] == T


def test_a_frozen_layer_beside_a_trained_one_is_named_by_its_module():
    model = Chain()
    frozen(model.encoder)
    for observe in (rnnlab.record, rnnlab.trace):
        with pytest.warns(UserWarning, match="nothing of encoder is recorded") as caught, observe(model):
            model(torch.randn(T, B, I)).sum().backward()
        assert len(caught) == 1


def test_an_evaluation_beside_the_training_is_no_matter():
    model = Chain()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with rnnlab.record(model) as log:
            with torch.no_grad():
                model(torch.randn(T, B, I))
            model(torch.randn(T, B, I)).sum().backward()
        assert log.dataset().sizes["step"] == 1


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_a_pass_without_gradients_is_told_at_the_end_of_the_block(around):
    net = rnnlab.LSTM(I, H)
    with pytest.warns(UserWarning, match="it ran under torch.no_grad or inference_mode alone") as caught:
        with rnnlab.record(net) as log, around():
            net(torch.randn(T, B, I))
        log.dataset()
    assert len(caught) == 1 and caught[0].filename == __file__


def test_a_record_that_nothing_came_back_to_says_why_it_is_empty():
    model = Chain()
    with rnnlab.record(model) as log:
        pass
    with pytest.warns(UserWarning, match="encoder and decoder .* not called") as caught:
        log.dataset()
        log.dataset()
    assert len(caught) == 1 and caught[0].filename == __file__
    with rnnlab.record(model) as log:
        loss = model(torch.randn(T, B, I)).sum()
    with pytest.warns(UserWarning, match="encoder and decoder .* no backward pass"):
        assert log.dataset().sizes["step"] == 0
    loss.backward()  # after the block is as good
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert log.dataset().sizes["step"] == 1


def test_a_layer_that_the_loss_does_not_reach_is_named():
    model = Chain()
    with rnnlab.record(model) as log:
        model.decoder(model.encoder(torch.randn(T, B, I))[0].detach())[0].sum().backward()
    with pytest.warns(UserWarning, match="nothing of encoder is recorded, because no backward pass"):
        assert log.dataset().sizes["layer"] == 1


def test_a_block_that_fails_says_nothing_more():
    net = rnnlab.LSTM(I, H)
    with warnings.catch_warnings(), pytest.raises(KeyError):
        warnings.simplefilter("error")
        with rnnlab.record(net), torch.no_grad():
            net(torch.randn(T, B, I))
            raise KeyError


@pytest.mark.parametrize("observe", [rnnlab.record, rnnlab.trace])
def test_a_shallow_copy_counts_as_its_original(observe):
    net = rnnlab.GRU(I, H)
    with observe(net) as seen:
        copy.copy(net)(torch.randn(T, B, I))[0].sum().backward()
    assert len(seen.dataset()["layer"] if observe is rnnlab.record else seen.traces) == 1
