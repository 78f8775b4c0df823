"""Zoneout: what is kept, what is expected, and where its noise comes from."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnlab
from rnnlab.cells import CELLS
from rnnlab.common.interrupts import Interrupted
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.layers.recurrent import Recurrent
from rnnlab.training.result import Result
from rnnlab.training.runs import run

T, B, I, H = 6, 4, 3, 5


def layer(kind: str, zoneout: float, seed: int = 0, **options: Any) -> Recurrent:
    net = Recurrent(kind, I, H, zoneout=zoneout, generator=torch.Generator().manual_seed(0), **options).double()
    net.noise = torch.Generator().manual_seed(seed)
    return net


def inputs() -> Tensor:
    return torch.randn(T, B, I, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru", "cornn"])
def test_evaluation_takes_the_expectation_over_all_masks(kind):
    """Σ over all masks of probability times outcome, each mask laid on the step in place of its noise."""
    p, units = 0.3, 2
    net = Recurrent(kind, I, units, zoneout=p, dtype=torch.float64)
    cell, w = net.cell, net.weights()
    old = tuple(torch.randn(1, size, dtype=torch.float64) for size in cell.state_sizes)
    u = cell.project(w, torch.randn(1, 1, I, dtype=torch.float64))[0]
    expected = [torch.zeros_like(s) for s in old]
    for noise in itertools.product([0.0, 0.99], repeat=units * len(old)):  # kept or new, unit by unit
        w.training = True
        w.replayed = list(torch.tensor(noise).view(len(old), 1, units))
        probability = p ** noise.count(0.0) * (1 - p) ** noise.count(0.99)
        for total, state in zip(expected, cell.advance(w, u, old, 0), strict=True):
            total += probability * state.detach()
    w.training = False
    torch.testing.assert_close(cell.advance(w, u, old, 0), tuple(expected), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_every_unit_is_kept_or_new_and_kept_as_often_as_asked(kind):
    net = Recurrent(kind, I, 250, zoneout=0.2)
    cell, w = net.cell, net.weights()
    w.generator = torch.Generator().manual_seed(0)
    old = tuple(torch.randn(8, size) for size in cell.state_sizes)
    u = cell.project(w, torch.randn(1, 8, I))[0]
    new = cell.step(w, u, old, 0)
    for name, before, fresh, state in zip(cell.states, old, new, cell.advance(w, u, old, 0), strict=True):
        kept = state == before
        assert torch.equal(state, torch.where(kept, before, fresh))
        wanted = 0.0 if name in cell.copies else 0.2
        assert abs(float(kept.float().mean()) - wanted) < 0.036  # four standard errors, 0.009 each
        assert bool(kept.any()) == bool(wanted)


@pytest.mark.parametrize("phase", ["train", "eval"])
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_a_probability_of_next_to_nothing_is_no_zoneout(kind, phase):
    never, plain = layer(kind, 1e-18), layer(kind, 0.0)
    for net in (never, plain):
        net.train(phase == "train")
    # To rounding: without zoneout the layer runs compiled.
    torch.testing.assert_close(never(inputs())[0], plain(inputs())[0], rtol=0, atol=1e-15)


def test_the_same_generator_gives_the_same_masks_and_the_global_one_has_no_say():
    first = layer("lstm", 0.3)(inputs())[0]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = layer("lstm", 0.3)(inputs())[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, layer("lstm", 0.3, seed=1)(inputs())[0])


def test_recording_and_tracing_draw_nothing():
    """States of the generator after a pass, and the outputs, with nobody, a recorder and a trace listening."""
    found = []
    for listen in (None, rnnlab.record, rnnlab.trace):
        net = layer("gru", 0.3)
        assert net.noise is not None
        if listen is None:
            output, _ = net(inputs())
            output.square().sum().backward()
        else:
            with listen(net):
                output, _ = net(inputs())
                output.square().sum().backward()
        found.append((output.detach(), net.noise.get_state()))
    for output, state in found[1:]:
        assert torch.equal(output, found[0][0])
        assert torch.equal(state, found[0][1])


def test_a_delay_line_holds_what_was_even_where_units_are_kept():
    net = layer("skip", 0.5, span=4)
    outputs, (_, delay) = net(inputs())
    assert torch.equal(delay[0], torch.cat([outputs[-2], outputs[-3], outputs[-4]], -1))
    with rnnlab.trace(net) as tape:
        net(inputs())[0].square().sum().backward()
    (trace,) = tape.traces
    for block in trace.blocks():
        torch.testing.assert_close(trace.replay(block).after, trace.gather(block, trace.after), rtol=0, atol=1e-13)


BASE = {
    "task": {"kind": "adding", "length": 8},
    "cell": {"kind": "lstm", "hidden_size": 6, "zoneout": 0.2},
    "training": {"steps": 10, "batch_size": 8, "eval_every": 5, "eval_examples": 10, "test_examples": 10},
    "recording": {"points": 4},
}
CHANGES = [
    {},
    {"task": {"kind": "reversal", "length": 4}},
    {"task": {"kind": "copying", "length": 3}, "remedies.truncation": {"window": 6, "stride": 3}},
]


def config(changes: dict[str, object]) -> Config:
    return Config.parse(override(BASE, changes))


def assert_same(a: Result, b: Result) -> None:
    """Bit for bit."""
    assert (a.test_loss, a.test_score) == (b.test_loss, b.test_score)
    assert a.history["train/loss"].values == b.history["train/loss"].values


@pytest.mark.parametrize("changes", CHANGES, ids=["adding", "encoder and decoder", "truncated"])
def test_a_run_repeats_resumes_and_is_recorded_bit_for_bit(changes, tmp_path):
    result = run(config(changes))
    torch.rand(5)  # the global stream has no say
    assert_same(run(config(changes)), result)
    updates = itertools.count(1)
    with pytest.raises(Interrupted):
        run(config(changes), checkpoint=tmp_path / "c.pt", should_stop=lambda: next(updates) == 7)
    assert_same(run(config(changes), checkpoint=tmp_path / "c.pt"), result)
    assert_same(run(config(changes | {"recording.points": 0})), result)
    assert run(config(changes | {"cell.zoneout": 0.0})).test_loss != result.test_loss
