"""A stream is truncated back-propagation with an update at every window, and stops and goes on without a trace."""

from typing import Any

import pytest
import torch

from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import Interrupted
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.training.backpropagation import backpropagate, backpropagate_piece
from rnnlab.training.models import SequenceModel
from rnnlab.training.runs import run
from rnnlab.training.stream import Stream

BASE: dict[str, Any] = {
    "task": {"kind": "continual_reber", "length": 60},
    "cell": {"kind": "lstm", "hidden_size": 5},
    "remedies": {"truncation": {"window": 8}},
    "training": {"steps": 20, "stream": True, "batch_size": 3, "eval_every": 5, "eval_examples": 4, "test_examples": 4},
    "recording": {"points": 3},
    "dtype": "float64",
}


def config(**changes: Any) -> Config:
    return Config.parse(override(BASE, {name.replace("__", "."): value for name, value in changes.items()}))


@pytest.mark.parametrize("kind", ["lstm", "vanilla"])
def test_gradients_of_pieces_add_up_to_the_truncated_gradient_of_the_sequence(kind):
    cfg = config(cell__kind=kind, task__length=40)
    model, batch = SequenceModel(cfg), cfg.task.sample(torch.Generator().manual_seed(0), 3)
    found = []
    for whole in (True, False):
        model.zero_grad()
        if whole:
            loss = backpropagate(model, cfg.task, batch, cfg.remedies)
        else:
            stream, losses = Stream(batch, 8), []
            while not stream.is_over:
                one, states = backpropagate_piece(model, cfg.task, stream.piece(), states=stream.states)
                stream.go_on(states)
                losses.append(one)
            assert len(losses) == 5
            loss = torch.stack(losses).mean(0)
        scale = 1 if whole else 5
        found.append([loss, *(p.grad.clone() / scale for p in model.parameters() if p.grad is not None)])
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-14)


def test_an_update_sees_one_window_and_the_state_that_the_last_one_left(monkeypatch):
    seen: list[tuple[torch.Tensor, Any, Any]] = []
    from rnnlab.training import progress

    def follow(model, task, piece, remedies, states, generator):
        loss, after = backpropagate_piece(model, task, piece, remedies, states, generator)
        seen.append((piece.inputs, states, after))
        return loss, after

    monkeypatch.setattr(progress, "backpropagate_piece", follow)
    result = run(config())
    assert result.steps == 20 and all(len(inputs) == 8 for inputs, _, _ in seen)
    for k, (_, before, _) in enumerate(seen):  # 60 steps hold seven windows of 8, then a fresh stream begins
        assert (before is None) == (k % 7 == 0)
        if before is not None:
            assert all(torch.equal(a, b) for a, b in zip(before, seen[k - 1][2], strict=True))
    assert result.profile is not None and result.profile.sizes["time"] == 8
    assert result.cost == result.weights * 8 * 20 * 3


@pytest.mark.parametrize("stop_after", [1, 7, 13])
def test_a_resumed_stream_is_bit_identical(tmp_path, stop_after):
    updates = 0

    def stop() -> bool:
        nonlocal updates
        updates += 1
        return updates == stop_after

    expected = run(config())
    with pytest.raises(Interrupted):
        run(config(), checkpoint=tmp_path / "checkpoint.pt", should_stop=stop)
    resumed = run(config(), checkpoint=tmp_path / "checkpoint.pt")
    assert resumed.test_loss == expected.test_loss
    assert resumed.history["train/loss"] == expected.history["train/loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remedies": {"truncation": None}}, "set remedies.truncation.window"),
        ({"remedies__truncation": {"window": 8, "stride": 4}}, "and no stride"),
        ({"task": {"kind": "adding", "length": 20}, "task__kind": "adding"}, "needs an answer at every step"),
        ({"recording__probes": "full"}, "recording.probes"),
        ({"cell__norm": "batch"}, "cell.norm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_stream_cannot_do_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        config(**changes)
