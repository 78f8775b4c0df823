"""Truncated back-propagation carries the state and cuts the graph where it says."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.gradients.recorder import Recorder
from rnnlab.remedies import Remedy, cut_into_windows
from rnnlab.remedies.truncation import Truncation
from rnnlab.tasks import IGNORED, Batch
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import EncoderDecoder, SequenceModel

T, B = 12, 3


def experiment(kind: str, task: dict) -> tuple[Config, SequenceModel, Batch]:
    config = Config.parse(
        {
            "task": task,
            "cell": {"kind": kind, "hidden_size": 5},
            "dtype": "float64",
            "model": {"num_layers": 2},
        }
    )
    return config, SequenceModel(config), config.task.sample(torch.Generator().manual_seed(0), B)


LAST = {"kind": "adding", "length": T}
EVERY = {"kind": "copying", "length": 5}


def gradients(model: SequenceModel | EncoderDecoder) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def unrolled_loss(model: SequenceModel, config: Config, batch: Batch, cut: set[int]) -> Tensor:
    """The mean loss of a loop over single steps, with the states cut out of the graph before the steps in `cut`."""
    states, outputs = None, []
    for t, x in enumerate(batch.inputs):
        if t in cut and states is not None:
            states = tuple(s.detach() for s in states) if isinstance(states, tuple) else states.detach()
        y, states = model(x[None], states, t)
        outputs.append(y)
    answers = torch.cat(outputs) if config.task.answers == "every" else outputs[-1]
    return config.task.losses(answers, batch.targets).mean()


@pytest.mark.parametrize("task", [LAST, EVERY], ids=["last", "every"])
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_a_full_window_is_full_back_propagation(kind, task):
    config, model, batch = experiment(kind, task)
    full = backpropagate(model, config.task, batch)
    expected = gradients(model)
    model.zero_grad()
    truncated = backpropagate(model, config.task, batch, [Truncation(window=config.task.steps)])
    assert float(full) == pytest.approx(float(truncated), abs=1e-15)
    for a, b in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


@pytest.mark.parametrize("window", [1, 5])  # divisors of T: a shorter last stride would reach back over the cut
@pytest.mark.parametrize("kind", ["vanilla", "lstm"])
def test_windows_without_overlap_equal_a_loop_with_detached_states(kind, window):
    config, model, batch = experiment(kind, EVERY)
    loss = backpropagate(model, config.task, batch, [Truncation(window=window)])
    measured = gradients(model)
    model.zero_grad()
    reference = unrolled_loss(model, config, batch, cut=set(range(0, config.task.steps, window)))
    reference.backward()
    assert float(loss) == pytest.approx(reference.item(), abs=1e-14)  # the forward pass is not truncated
    for a, b in zip(measured, gradients(model), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("window", "stride"), [(4, 2), (6, 1), (7, 3), (25, 4)])
def test_overlapping_windows_equal_one_cut_for_every_stride(window, stride):
    config, model, batch = experiment("gru", EVERY)
    steps = config.task.steps
    backpropagate(model, config.task, batch, [Truncation(window=window, stride=stride)])
    measured = gradients(model)
    model.zero_grad()
    for first in range(0, steps, stride):  # each loss alone, cut `window` steps before the end of its stride
        stop = min(first + stride, steps)
        states = None
        answers = []
        for t in range(stop):
            if t == stop - window and states is not None:
                states = states.detach()
            y, states = model(batch.inputs[t : t + 1], states, t)
            answers.append(y)
        losses = config.task.losses(torch.cat(answers)[first:], batch.targets[first:stop])
        (losses.sum() / (steps * B)).backward()
    for a, b in zip(measured, gradients(model), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_last_step_loss_reaches_back_one_window_and_the_rest_is_not_measured():
    config, model, batch = experiment("lstm", LAST)
    recorder = Recorder()
    with recorder.one_step(model, 0, T, overlapping=True):
        backpropagate(model, config.task, batch, [Truncation(window=5)])
    measured = gradients(model)
    for name, quantity in recorder.dataset().isel(step=0).items():  # not measured is NaN, and no zero either
        by_lag = quantity.isel(lag=slice(None, None, -1)) if "lag" in quantity.dims else quantity
        assert np.isnan(by_lag[..., : T - 5]).all(), name
        known = by_lag[..., T - 5 : T - 4] if name == "log10_start_norm" else by_lag[..., T - 5 :]  # what is cut off
        assert np.isfinite(known).all(), name
    model.zero_grad()
    unrolled_loss(model, config, batch, cut={T - 5}).backward()
    for a, b in zip(measured, gradients(model), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_the_profile_of_overlapping_windows_that_cover_everything_is_the_full_one():
    config, model, batch = experiment("lstm", EVERY)
    profiles = []
    for remedies in ([], [Truncation(window=config.task.steps, stride=4)]):
        recorder = Recorder()
        with recorder.one_step(model, 0, config.task.steps, overlapping=True):
            backpropagate(model, config.task, batch, remedies)
        profiles.append(recorder.dataset()["log10_grad_norm"].values)
    np.testing.assert_allclose(profiles[0], profiles[1], atol=1e-10)


@pytest.mark.parametrize("K", [1, 2, 5, 20])
def test_scalar_linear_bias_matches_the_closed_form(K):
    """h_t = λ h_{t-1} + w x: the K-truncated dh_T/dw is short by the factor (λ^K - λ^T) / (1 - λ^T)."""
    lam, steps = 0.8, 20
    config = Config.parse(
        {
            "task": {"kind": "adding", "length": steps},
            "cell": {"kind": "vanilla", "hidden_size": 1, "activation": "identity"},
            "dtype": "float64",
        }
    )
    model = SequenceModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(lam if "weight_hh" in name else 1.0)
    batch = Batch(torch.ones(steps, 1, 2, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64))

    def input_gradient(*remedies: Remedy) -> float:
        model.zero_grad()
        backpropagate(model, config.task, batch, remedies)
        gradient = model.recurrent.weight_ih_l0.grad
        assert isinstance(gradient, Tensor)
        return float(gradient.sum())

    bias = 1 - input_gradient(Truncation(window=K)) / input_gradient()
    assert bias == pytest.approx((lam**K - lam**steps) / (1 - lam**steps), abs=1e-12)


def test_a_decoders_losses_count_once_each_and_those_not_due_never():
    config = Config.parse(
        {
            "task": {"kind": "reversal", "length": 6, "fillers": 0.5},
            "cell": {"kind": "gru", "hidden_size": 5},
            "dtype": "float64",
        }
    )
    model = EncoderDecoder(config)
    batch = config.task.sample(torch.Generator().manual_seed(0), B)
    loss = backpropagate(model, config.task, batch)
    measured = gradients(model)
    model.zero_grad()
    outputs, _ = model(batch.inputs, batch.targets)
    terms = [
        -outputs[s, b].log_softmax(-1)[batch.targets[s, b]]
        for s in range(7)
        for b in range(B)
        if batch.targets[s, b] != IGNORED
    ]
    mean = torch.stack(terms).mean()
    mean.backward()
    assert float(loss) == pytest.approx(mean.item(), abs=1e-14)
    for a, b in zip(measured, gradients(model), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_a_decoder_is_not_truncated():
    data = {"task": {"kind": "reversal"}, "cell": {"kind": "gru"}, "remedies": {"truncation": {"window": 3}}}
    with pytest.raises(UserError, match=r"all losses of reversal are in the decoder: set it to null"):
        Config.parse(data)


def test_windows_tile_the_sequence():
    for steps in (1, 7, 12):
        for window in range(1, steps + 1):
            for stride in range(1, window + 1):
                found = cut_into_windows(steps, [Truncation(window=window, stride=stride)])
                covered = [t for w in found for t in range(w.loss_start, w.stop)]
                assert covered == list(range(steps))
                assert all(w.stop - w.start == min(window, w.stop) and w.start <= w.loss_start for w in found)
