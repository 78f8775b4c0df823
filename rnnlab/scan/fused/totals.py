"""Total gradients of states from those of pre-activations, for all steps at once."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.cells import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.weights import Weights


def totals(
    cell: Cell, w: Weights, z: Tensor, starts: Sequence[Tensor], y: Tensor, delta: Tensor, direct: Sequence[Tensor]
) -> list[Tensor]:
    """dL/ds_t of every state, over every path, zero where an example has ended.

    Of the hidden state it is what enters at t, and what comes back from the step after it: δ_{t+1} W_hh, in a GRU
    z_{t+1} dL/dh_{t+1} besides. Of the memory of an LSTM it is a recurrence too, dc_t = dh_t o (1 - tanh² c_t) +
    f_{t+1} dc_{t+1}. What a gate's δ divided by its slope gives as well is lost where the gate saturates.

    Args:
        cell: the equations.
        w: the layer's weights.
        z: (T, B, G*H) W_ih x_t.
        starts: (B, S) the states before the first step.
        y: (T, B, S) the hidden states.
        delta: (T, B, G*H) δ, gradients of the pre-activations; of a GRU's new state that of W_ih x_t.
        direct: (T, B, S) for each state, what comes to it from outside the scan.
    """
    before = torch.cat([starts[0].unsqueeze(0), y[:-1]])
    if isinstance(cell, LSTMCell):
        return _of_lstm(w, z, before, starts[1], delta, direct)
    if not isinstance(cell, GRUCell):
        return [direct[0] + _later(delta) @ w.weight_hh]
    H = cell.hidden_size
    recurrent = F.linear(before, w.weight_hh[: 2 * H], _part(w, "bias_hh", 2 * H))
    r, u = torch.sigmoid(_biased(w, z)[..., : 2 * H] + recurrent).chunk(2, -1)
    back = torch.cat([delta[..., : 2 * H], r * delta[..., 2 * H :]], -1)
    return [_from_the_end(u, direct[0] + _later(back) @ w.weight_hh)]


def _of_lstm(
    w: Weights, z: Tensor, before: Tensor, start: Tensor, delta: Tensor, direct: Sequence[Tensor]
) -> list[Tensor]:
    """Of h and c."""
    dh = direct[0] + _later(delta) @ w.weight_hh
    sums = _biased(w, z) + F.linear(before, w.weight_hh, w.get("bias_hh"))
    i, f, g, o = sums.chunk(4, -1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = accumulate(f, torch.cat([(i * g)[:1] + f[:1] * start, (i * g)[1:]]))
    projection = w.get("weight_hr")
    dm = dh if projection is None else dh @ projection
    return [dh, _from_the_end(f, direct[1] + dm * o * (1 - torch.tanh(c).square()))]


def accumulate(decay: Tensor, entering: Tensor) -> Tensor:
    """s_t = decay_t s_{t-1} + entering_t from s_{-1} = 0, in log2 T operations over all steps.

    Args:
        decay: (T, ...).
        entering: (T, ...).

    Reference: Hillis and Steele 1986, "Data Parallel Algorithms".
    """
    span, total = 1, entering
    while span < len(total):
        total = torch.cat([total[:span], total[span:] + decay[span:] * total[:-span]])
        decay = torch.cat([decay[:span], decay[span:] * decay[:-span]])
        span *= 2
    return total


def _from_the_end(decay: Tensor, entering: Tensor) -> Tensor:
    """s_t = entering_t + decay_{t+1} s_{t+1}, in double precision: a product of decays alone may have no number in
    float32 where what it is multiplied by is large."""
    return accumulate(_later(decay).flip(0).double(), entering.flip(0).double()).flip(0).to(entering.dtype)


def _later(t: Tensor) -> Tensor:
    """What stands at the step after each, zero after the last."""
    return torch.cat([t[1:], torch.zeros_like(t[:1])])


def _biased(w: Weights, z: Tensor) -> Tensor:
    bias = w.get("bias_ih")
    return z if bias is None else z + bias


def _part(w: Weights, name: str, rows: int) -> Tensor | None:
    bias = w.get(name)
    return None if bias is None else bias[:rows]
