"""An encoder hands its final states to a decoder."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnlab
from rnnlab.config.config import Config
from rnnlab.gradients.recorder import Recorder
from rnnlab.layers.recurrent import Recurrent
from rnnlab.tasks import IGNORED, Batch
from rnnlab.training.models import EncoderDecoder, SequenceModel, build_model

T, B, H, L = 5, 4, 6, 2
SYMBOLS = {"kind": "reversal", "length": T, "fillers": 0.4}
NUMBERS = {"kind": "autoencoding", "length": T, "features": 2}


def build(task: dict, kind: str = "lstm", **model: object) -> tuple[EncoderDecoder, Batch]:
    """A model in double precision and a batch of four examples."""
    config = Config.parse(
        {
            "task": task,
            "cell": {"kind": kind, "hidden_size": H},
            "model": {"num_layers": L, **model},
            "dtype": "float64",
        }
    )
    network = build_model(config)
    assert isinstance(network, EncoderDecoder)
    return network, config.task.sample(torch.Generator().manual_seed(0), B)


def twin(layers: Recurrent) -> nn.Module:
    """The torch.nn layer with the same weights."""
    kinds = {"vanilla": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    other = kinds[layers.cell.kind](layers.input_size, H, L, bidirectional=layers.bidirectional, dtype=torch.float64)
    other.load_state_dict(layers.state_dict())
    return other


def by_hand(model: EncoderDecoder, inputs: Tensor, targets: Tensor) -> Tensor:
    """Teacher forcing of one example with torch.nn's layers, one step at a time."""
    _, states = twin(model.recurrent)(model.encode(inputs))
    decoder, outputs = twin(model.decoder), []
    symbols = not targets.is_floating_point()
    before = torch.tensor([[9]]) if symbols else torch.zeros(1, 1, 2)  # the start
    for target in targets:
        hidden, states = decoder(model.encode_answer(before), states)
        outputs.append(model.readout(hidden))
        before = target[None]
    return torch.cat(outputs)


@pytest.mark.parametrize("input", ["auto", "embedding"])
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_teacher_forcing_equals_a_loop_over_torchs_layers_for_each_example_alone(kind: str, input: str):
    model, batch = build(SYMBOLS, kind, input=input)
    outputs, _ = model(batch.inputs, batch.targets)
    assert outputs.shape == (T + 1, B, 9)
    lengths = (batch.targets != IGNORED).sum(0).tolist()
    assert len(set(lengths)) > 1  # or padding would not be tested
    for b, length in enumerate(lengths):
        expected = by_hand(model, batch.inputs[:, b : b + 1], batch.targets[:length, b : b + 1])
        torch.testing.assert_close(outputs[:length, b : b + 1], expected, rtol=0, atol=1e-12)


def test_numbers_are_read_and_written_as_they_are():
    model, batch = build(NUMBERS)
    outputs, _ = model(batch.inputs, batch.targets)
    for b in range(B):
        expected = by_hand(model, batch.inputs[:, b : b + 1], batch.targets[:, b : b + 1].double())
        torch.testing.assert_close(outputs[:, b : b + 1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("task", [SYMBOLS, NUMBERS], ids=["symbols", "numbers"])
def test_running_freely_is_being_taught_ones_own_answers(task: dict):
    model, batch = build(task)
    free, _ = model(batch.inputs)
    own = free.argmax(-1) if task is SYMBOLS else free
    guided, _ = model(batch.inputs, own)
    torch.testing.assert_close(free, guided, rtol=0, atol=1e-12)
    for_loss, for_score = model.evaluate(batch)
    assert torch.equal(for_loss, model(batch.inputs, batch.targets)[0]) and torch.equal(for_score, free)
    assert not torch.equal(for_loss, for_score)


@pytest.mark.parametrize("task", [SYMBOLS, NUMBERS], ids=["symbols", "numbers"])
def test_an_answer_is_read_after_it_is_due_and_never_before(task: dict):
    task = {**task, "fillers": 0.0} if task is SYMBOLS else task
    model, batch = build(task)
    before, _ = model(batch.inputs, batch.targets)
    for k in range(len(batch.targets) - 1):
        changed = batch.targets.clone()
        changed[k] = (changed[k] + 1) % 9
        after, _ = model(batch.inputs, changed)
        assert torch.equal(before[: k + 1], after[: k + 1])
        assert (before[k + 1 :] != after[k + 1 :]).any(-1).all()


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_bidirectional_encoder_hands_over_the_mean_of_its_directions(kind: str):
    model, batch = build(SYMBOLS, kind, bidirectional=True)
    _, states = twin(model.recurrent)(model.encode(batch.inputs))
    means = [torch.stack([s[2 * k : 2 * k + 2].mean(0) for k in range(L)]) for s in _each(states)]
    hidden, _ = twin(model.decoder)(model.encode_answer(torch.full((1, B), 9)), _as_given(states, means))
    outputs, _ = model(batch.inputs, batch.targets)
    torch.testing.assert_close(outputs[:1], model.readout(hidden), rtol=0, atol=1e-12)


def test_dilated_layers_hand_over_each_of_their_states():
    model, batch = build(NUMBERS, "gru", bidirectional=True, dilation=[1, 3])
    _, found = model.recurrent(model.encode(batch.inputs))
    forward_0, reverse_0, *rest = found.unbind(0)
    means = torch.stack([(forward_0 + reverse_0) / 2, *((rest[k] + rest[k + 3]) / 2 for k in range(3))])
    hidden, _ = model.decoder(torch.zeros(1, B, 2, dtype=torch.float64), means, start=T)
    torch.testing.assert_close(model(batch.inputs)[0][:1], model.readout(hidden), rtol=0, atol=1e-12)


def _each(states: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return states if isinstance(states, tuple) else (states,)


def _as_given(states: Tensor | tuple[Tensor, ...], values: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
    return tuple(values) if isinstance(states, tuple) else values[0]


def test_both_embeddings_are_trained_and_the_start_symbol_too():
    model, batch = build(SYMBOLS, input="embedding", embedding_size=3)
    outputs, _ = model(batch.inputs, batch.targets)
    outputs.sum().backward()
    for encoding, rows in ((model.encode, 9), (model.encode_answer, 10)):
        assert encoding.embedding is not None and encoding.embedding.weight.shape == (rows, 3)
        assert encoding.embedding.weight.grad is not None
    assert model.encode_answer.embedding is not None
    grad = model.encode_answer.embedding.weight.grad
    assert grad is not None and (grad[9] != 0).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_profile_goes_from_the_encoders_first_step_to_the_decoders_last():
    model, batch = build(SYMBOLS, "gru")
    lengths = (batch.targets != IGNORED).sum(0)
    recorder = Recorder(per_example=True)
    with recorder.one_step(model, 0, T + T + 1):
        model(batch.inputs, batch.targets)[0].square().sum().backward()
    profile = recorder.dataset().isel(step=0, direction=0, state=0)
    assert profile.sizes["layer"] == 2 * L and profile.sizes["time"] == 2 * T + 1
    norms = profile["log10_grad_norm_per_example"].values  # (layer, time, example)
    for b, length in enumerate(lengths.tolist()):
        measured = np.isfinite(norms[..., b])
        assert measured[:L, :T].all() and not measured[:L, T:].any()
        assert measured[L:, T : T + length].all() and not measured[L:, :T].any()
        assert not measured[L:, T + length :].any()
    # Lag counts from the last answer of each example, in the encoder too.
    by_lag = profile["log10_grad_norm_by_lag"].values  # (layer, lag)
    for lag in range(int(lengths.max()) + T):
        at = [(T + length - 1 - lag, b) for b, length in enumerate(lengths.tolist()) if T + length > lag]
        for layer in range(2 * L):
            known = [norms[layer, t, b] for t, b in at if np.isfinite(norms[layer, t, b])]
            expected = np.mean(known) if known else np.nan
            assert by_lag[layer, lag] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    # What reaches the last step of the encoder's top layer is what the decoder sends back through its first states.
    _, states = model.recurrent(model.encode(batch.inputs))
    handed = states.detach().requires_grad_()
    hidden, _ = model.decoder(
        model.encode_answer(torch.cat([torch.full((1, B), 9), batch.targets[:-1].clamp(min=0)])), handed, start=T
    )
    due = torch.arange(T + 1)[:, None] < lengths
    model.readout(hidden)[due].square().sum().backward()
    assert handed.grad is not None
    expected = handed.grad[-1].norm(dim=-1).log10()
    np.testing.assert_allclose(norms[L - 1, T - 1], expected.numpy(), atol=1e-10)


def test_anyones_training_script_can_record_it():
    model, batch = build(NUMBERS)
    with rnnlab.record(model) as log:
        (model(batch.inputs, batch.targets)[0] - batch.targets).square().mean().backward()
    norms = log.dataset()["log10_grad_norm"]
    assert dict(norms.sizes) == {"step": 1, "layer": 4, "direction": 1, "state": 2, "time": 2 * T}
    measured = np.isfinite(norms.squeeze().values)  # the decoder's clock starts where the encoder's ends
    assert measured[:2, :, :T].all() and not measured[:2, :, T:].any()
    assert measured[2:, :, T:].all() and not measured[2:, :, :T].any()


def test_the_task_chooses_the_model():
    for kind, expected in (("adding", SequenceModel), ("copying", SequenceModel), ("reversal", EncoderDecoder)):
        config = Config.parse({"task": {"kind": kind}, "cell": {"kind": "gru"}})
        assert type(build_model(config)) is expected


def test_encoder_and_decoder_start_differently_and_the_readout_as_ever():
    model, _ = build(NUMBERS, "gru")  # encoder and decoder have weights of the same shapes
    other, _ = build(NUMBERS, "vanilla")
    assert not torch.equal(model.recurrent.get_parameter("weight_hh_l0"), model.decoder.get_parameter("weight_hh_l0"))
    assert torch.equal(model.readout.weight, other.readout.weight)
