"""Laws that hold for every cell of the library, in float64 against a plain loop over its equations."""

import pytest
import torch
from torch import Tensor

import rnnlab
from rnnlab.cells import CELLS
from rnnlab.config.config import Config
from rnnlab.layers.recurrent import Recurrent
from rnnlab.remedies.truncation import Truncation
from rnnlab.tasks import Task
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import SequenceModel

T, B, I, H = 9, 4, 3, 6


def plain_loop(net: Recurrent, x: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
    """The cell's step in a Python loop that keeps the gradient of every state."""
    w, cell = net.weights(), net.cell
    states, kept = tuple(s.requires_grad_() for s in cell.initial_states(B, x)), []
    for t in range(len(x)):
        states = cell.step(w, cell.project(w, x[t : t + 1], t)[0], states, t)
        for state in states:
            state.retain_grad()
        kept.append(list(states))
    return cell.emit(w, torch.stack([states[0] for states in kept]), x), kept


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_total_gradients_are_those_that_retain_grad_keeps_in_a_loop(kind):
    torch.manual_seed(3)
    net = Recurrent(kind, I, H, dtype=torch.float64)
    x, target = torch.randn(T, B, I, dtype=torch.float64), torch.randn(T, B, 1, dtype=torch.float64)
    with rnnlab.record(net, per_example=True) as log:
        output = net(x)[0]
        (output * target).sin().mean().backward()
    measured = log.dataset()["log10_grad_norm_per_example"].isel(step=0, layer=0, direction=0)
    weights = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    expected, kept = plain_loop(net, x)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
    (expected * target).sin().mean().backward()
    for i, state in enumerate(net.cell.states):
        gradients = [states[i].grad for states in kept]
        norms = torch.stack([torch.zeros(B).double() if g is None else g.norm(dim=-1) for g in gradients])
        found = torch.from_numpy(measured.sel(state=state).values)
        assert (found.isnan() == (norms == 0)).all() or (found.isneginf() == (norms == 0)).all()
        known = norms > 0
        torch.testing.assert_close(found[known], norms[known].log10(), rtol=0, atol=1e-10)
    for a, b in zip(weights, [p.grad for p in net.parameters() if p.grad is not None], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_two_directions_are_two_runs_one_of_them_on_the_reversed_input(kind):
    both = Recurrent(kind, I, H, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    for suffix, half, turn in (
        ("", slice(None, both.cell.output_size), False),
        ("_reverse", slice(both.cell.output_size, None), True),
    ):
        one = Recurrent(kind, I, H, dtype=torch.float64)
        one.load_state_dict({name: both.state_dict()[_of(name, suffix)] for name in one.state_dict()})
        y = one(x.flip(0) if turn else x)[0]
        torch.testing.assert_close(both(x)[0][..., half], y.flip(0) if turn else y, rtol=0, atol=1e-13)


def _of(name: str, suffix: str) -> str:
    """The reverse direction's name of a weight, parametrised ones included."""
    return name.replace("_l0", f"_l0{suffix}")


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_every_cell_carries_its_states_from_piece_to_piece(kind):
    net = Recurrent(kind, I, H, num_layers=2, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    whole, final = net(x)
    first, state = net(x[:4])
    second, last = net(x[4:], state, start=4)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-13)
    torch.testing.assert_close(last, final, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_sequences_of_unequal_length_run_as_if_each_were_alone(kind):
    net = Recurrent(kind, I, H, bidirectional=True, dtype=torch.float64)
    lengths = torch.tensor([3, T, 1, 5])
    x = torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(net, per_example=True) as log:
        output, _ = net(x, lengths=lengths)
        output.square().sum().backward()
    norms = log.dataset()["log10_grad_norm_per_example"].isel(step=0, layer=0)
    for b, n in enumerate(lengths.tolist()):
        with rnnlab.record(net) as alone:
            y, _ = net(x[:n, b : b + 1])
            y.square().sum().backward()
        torch.testing.assert_close(output[:n, b : b + 1], y, rtol=0, atol=1e-13)
        assert (output[n:, b] == 0).all()
        expected = alone.dataset()["log10_grad_norm"].isel(step=0, layer=0)
        found = norms.isel(example=b)
        assert found.isel(time=slice(n, None)).isnull().all()  # padding is not measured, and no zero either
        difference = abs(found.isel(time=slice(n)) - expected)
        assert float(difference.max()) < 1e-10


def test_a_window_of_one_step_leaves_the_outer_product_of_each_steps_own_error():
    """Truncated to one step, dE/dW_hh is the sum over t of (dE_t/dh_t φ'(z_t)) h_{t-1}ᵀ."""
    config = Config.parse(
        {
            "task": {"kind": "copying", "length": 1},
            "cell": {"kind": "vanilla", "hidden_size": H},
            "dtype": "float64",
        }
    )
    task: Task = config.task
    model, batch = SequenceModel(config), task.sample(torch.Generator().manual_seed(0), B)
    backpropagate(model, task, batch, [Truncation(window=1)])
    with torch.no_grad():
        h, _ = model.recurrent(torch.nn.functional.one_hot(batch.inputs, task.input_size).double())
        error = (
            model.readout(h).softmax(-1) - torch.nn.functional.one_hot(batch.targets, task.output_size)
        ) / batch.targets.numel()
        delta = error @ model.readout.weight * (1 - h**2)  # (T, B, H)
        before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
        expected = torch.einsum("tbi,tbj->ij", delta, before)
    torch.testing.assert_close(model.recurrent.get_parameter("weight_hh_l0").grad, expected, rtol=0, atol=1e-14)
