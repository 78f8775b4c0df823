"""Three ways to standardise pre-activations; their gains and shifts are trained.

The shift β of the input and the recurrent product is left to the cell's own bias.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.cells.base import Shapes
from rnnlab.cells.weights import Weights

EPSILON = 1e-5
MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics, as in torch.nn.BatchNorm1d."""


def statistics_shapes(normalized: Shapes, steps: tuple[int, ...] = ()) -> Shapes:
    """Name and shape of the running statistics of everything normalised.

    Args:
        normalized: size of each normalised quantity.
        steps: the number of time steps with statistics of their own; none when all steps share them.

    Returns:
        `running_mean_*` and `running_var_*`, (*steps, *size) each.
    """
    return {
        f"running_{moment}_{what}": (*steps, *size) for what, size in normalized.items() for moment in ("mean", "var")
    }


def normalize_step(w: Weights, what: str, v: Tensor, t: int) -> Tensor:
    """Recurrent batch norm of one step: standardise over the batch, with statistics of that step alone.

    Steps beyond the last one that has statistics share the last. A single active example has no variance of its own:
    it is standardised by the running statistics and leaves them alone.

    Args:
        w: the layer's weights, statistics among them.
        what: which quantity, a key of the cell's `normalized`.
        v: (B, F) values.
        t: absolute time.

    Returns:
        (B, F).

    Reference: Cooijmans et al. 2017, "Recurrent Batch Normalization", eq. 4 to 8 and section 3.
    """
    mean, var = (w.at_step(name, t) for name in _statistics_names(what))
    gain, shift = _scale(w, what)
    return _batch_norm(w, v, mean, var, gain, shift)


def normalize_sequence(w: Weights, what: str, v: Tensor, start: int) -> Tensor:
    """Recurrent batch norm of a whole sequence, every step over its own batch, in one call.

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
    stop = start + own
    head = v[:own].transpose(0, 1).reshape(B, own * size)  # every (step, unit) is one channel
    gain, _ = _scale(w, what)
    head = _batch_norm(w, head, mean[start:stop].view(-1), var[start:stop].view(-1), gain.repeat(own), None)
    head = head.view(B, own, size).transpose(0, 1)
    if own == T:
        return head
    tail = [normalize_step(w, what, v[k], start + k) for k in range(own, T)]
    return torch.cat([head, torch.stack(tail)])


def normalize_rows(w: Weights, what: str, v: Tensor) -> Tensor:
    """Sequence-wise batch norm: standardise over all active steps of all examples together.

    Args:
        w: the layer's weights, statistics among them.
        what: which quantity, a key of the cell's `normalized`.
        v: (T, B, F) values.

    Returns:
        (T, B, F), zero for examples that have ended.

    Reference: Laurent et al. 2016, "Batch Normalized Recurrent Neural Networks", eq. 10 and 12 to 14.
    """
    norm = (*_statistics(w, what), *_scale(w, what))
    if w.sizes is None:
        return _batch_norm(w, v.flatten(0, 1), *norm).view_as(v)
    active = torch.arange(v.shape[1], device=v.device) < torch.tensor(w.sizes, device=v.device).unsqueeze(1)  # (T, B)
    return torch.zeros_like(v).index_put((active,), _batch_norm(w, v[active], *norm))


def normalize_units(w: Weights, what: str, v: Tensor, groups: Sequence[int]) -> Tensor:
    """Layer norm: standardise every example by itself, over its units.

    Args:
        w: the layer's weights.
        what: which quantity, a key of the cell's `normalized`.
        v: (..., F) values.
        groups: sizes of the groups of units that are standardised together; they add up to F.

    Returns:
        (..., F).

    Reference: Ba et al. 2016, "Layer Normalization", eq. 3 and supplementary eq. 20 to 27.
    """
    gain, shift = _scale(w, what)
    parts = zip(
        v.split(groups, -1), groups, strict=True
    )  # sizes read off the parts would be tensors to who writes ONNX
    scaled = gain * torch.cat([F.layer_norm(part, (size,), eps=EPSILON) for part, size in parts], -1)
    return scaled if shift is None else scaled + shift


def pad_rows(v: Tensor, rows: int) -> Tensor:
    """Add examples of zeros: (b, F) to (rows, F)."""
    return v if v.shape[0] == rows else F.pad(v, (0, 0, 0, rows - v.shape[0]))  # len() would fix an exported size


def _batch_norm(w: Weights, v: Tensor, mean: Tensor, var: Tensor, gain: Tensor, shift: Tensor | None) -> Tensor:
    from_batch = w.training and v.shape[0] > 1
    return F.batch_norm(v, mean, var, gain, shift, from_batch, MOMENTUM, EPSILON)


def _statistics_names(what: str) -> tuple[str, str]:
    return f"running_mean_{what}", f"running_var_{what}"


def _statistics(w: Weights, what: str) -> tuple[Tensor, Tensor]:
    mean, var = _statistics_names(what)
    return w.tensors[mean], w.tensors[var]


def _scale(w: Weights, what: str) -> tuple[Tensor, Tensor | None]:
    return w.tensors[f"norm_gain_{what}"], w.get(f"norm_shift_{what}")
