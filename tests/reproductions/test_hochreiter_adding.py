"""The truncated gradient, written out, is autograd's where recurrent inputs of gates and cells are detached."""

import numpy as np
import torch

from rnnlab.reproductions.hochreiter_adding import Networks, draw_sequences, forward, train, truncated_gradient

P = 3


def drawn(length: int):
    chance = np.random.default_rng(0)
    nets = Networks(chance.uniform(-1, 1, (P, 8, 11)), chance.uniform(-1, 1, (P, 5)))
    return nets, *draw_sequences(length, P, chance)


def test_errors_end_at_pre_activations_and_go_on_along_the_cell_state():
    nets, inputs, targets = drawn(30)
    hidden, readout = (torch.tensor(weights, requires_grad=True) for weights in nets)
    h, c, one = torch.zeros(P, 8).double(), torch.zeros(P, 4).double(), torch.ones(P, 1).double()
    for x in torch.tensor(inputs):
        s = torch.einsum("pui,pi->pu", hidden, torch.cat([x, h.detach(), one], -1)).sigmoid()
        i, o = (gate.repeat_interleave(2, -1) for gate in (s[:, 4:6], s[:, 6:]))
        c = c + i * (4 * s[:, :4] - 2)
        h = torch.cat([o * (2 * c.sigmoid() - 1), s[:, 4:]], -1)
    answers = ((readout[:, :4] * h[:, :4]).sum(-1) + readout[:, 4]).sigmoid()
    (0.5 * (answers - torch.tensor(targets)).square().sum()).backward()
    done = forward(nets, inputs)
    found = truncated_gradient(nets, inputs, targets, done, None)
    np.testing.assert_allclose(done.answers, answers.detach().numpy(), rtol=1e-12)
    for ours, weights in zip(found, (hidden, readout), strict=True):
        assert weights.grad is not None
        np.testing.assert_allclose(ours, weights.grad.numpy(), rtol=0, atol=1e-14)


def test_sequences_are_those_of_the_paper():
    chance = np.random.default_rng(0)
    for _ in range(200):
        inputs, targets = draw_sequences(20, P, chance)
        values, markers = inputs[..., 0], inputs[..., 1]
        assert 20 <= len(values) <= 22 and (markers[[0, -1]] == -1).all()
        for k in range(P):
            marked = np.flatnonzero(markers[:, k] == 1)
            assert len(marked) == 2 or (len(marked) == 1 and values[0, k] == 0)
            assert marked.max() < 10
            assert targets[k] == 0.5 + values[marked, k].sum() / 4


def test_a_window_cuts_what_is_further_back_and_nothing_else():
    nets, inputs, targets = drawn(30)
    done = forward(nets, inputs)
    whole, same, cut = (truncated_gradient(nets, inputs, targets, done, w).hidden for w in (None, len(inputs), 10))
    np.testing.assert_array_equal(whole, same)
    assert np.abs(whole - cut)[:, :6].max() > 1e-4  # cells and input gates
    np.testing.assert_array_equal(whole[:, 6:], cut[:, 6:])  # output gates, which only the last step has shown


def test_what_is_not_learned_counts_as_the_limit():
    found = train(0, 20, networks=2, limit=100, rate=0.5, input_gate_biases=(-3.0, -6.0))
    assert found == {"sequences": 100.0, "curve": []}
