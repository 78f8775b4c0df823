"""Recurrent batch norm: statistics of their own at every time step.

Steps beyond the last one that has statistics share the last. The shift β of the two products is left to the
cell's own bias.

Reference: Cooijmans et al. 2017, "Recurrent Batch Normalization", eq. 4 to 8 and section 3.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from rnnlab.cells.base import Shapes
    from rnnlab.cells.weights import Weights

EPSILON = 1e-5
MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics, as in torch.nn.BatchNorm1d."""


def statistics_shapes(normalized: "Shapes", steps: int) -> "Shapes":
    """Name and shape of the running statistics of everything normalised.

    Args:
        normalized: size of each normalised quantity.
        steps: number of time steps with statistics of their own.

    Returns:
        `running_mean_*` and `running_var_*`, (steps, size) each.
    """
    shapes: Shapes = {}
    for what, size in normalized.items():
        shapes |= {f"running_mean_{what}": (steps, *size), f"running_var_{what}": (steps, *size)}
    return shapes


def normalize_step(w: "Weights", what: str, v: Tensor, t: int) -> Tensor:
    """Standardise one step's values over the batch, then scale by γ.

    Args:
        w: the layer's weights, statistics among them.
        what: which quantity, a key of the cell's `normalized`.
        v: (B, F) values.
        t: absolute time.

    Returns:
        (B, F).
    """
    mean, var = _statistics(w, what)
    t = min(t, mean.shape[0] - 1)
    gain, shift = getattr(w, f"norm_gain_{what}"), w.__dict__.get(f"norm_shift_{what}")
    from_batch = w.training and len(v) > 1  # the last example of a padded batch has no variance of its own
    return F.batch_norm(v, mean[t], var[t], gain, shift, from_batch, MOMENTUM, EPSILON)


def normalize_sequence(w: "Weights", what: str, v: Tensor, start: int) -> Tensor:
    """Standardise a whole sequence, every step over its own batch, in one call.

    Args:
        w: the layer's weights, statistics among them.
        what: which quantity, a key of the cell's `normalized`.
        v: (T, B, F) values.
        start: absolute time of the first step.

    Returns:
        (T, B, F).
    """
    if w.sizes is not None:  # padding must not enter the statistics
        rows = [normalize_step(w, what, v[k, :size], start + k) for k, size in enumerate(w.sizes)]
        return torch.stack([pad_rows(row, v.shape[1]) for row in rows])
    T, B, size = v.shape
    mean, var = _statistics(w, what)
    own = max(0, min(T, mean.shape[0] - start))  # steps that have statistics of their own
    head = v[:own].transpose(0, 1).reshape(B, own * size)  # every (step, unit) is one channel
    stop = start + own
    head = F.batch_norm(
        head,
        mean[start:stop].view(-1),
        var[start:stop].view(-1),
        getattr(w, f"norm_gain_{what}").repeat(own),
        None,
        w.training,
        MOMENTUM,
        EPSILON,
    )
    head = head.view(B, own, size).transpose(0, 1)
    if own == T:
        return head
    tail = [normalize_step(w, what, v[k], start + k) for k in range(own, T)]
    return torch.cat([head, torch.stack(tail)])


def pad_rows(v: Tensor, rows: int) -> Tensor:
    """Add examples of zeros: (b, F) to (rows, F)."""
    return v if len(v) == rows else F.pad(v, (0, 0, 0, rows - len(v)))


def _statistics(w: "Weights", what: str) -> tuple[Tensor, Tensor]:
    return getattr(w, f"running_mean_{what}"), getattr(w, f"running_var_{what}")
