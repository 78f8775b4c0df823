"""The reference scan: any cell over time, under autograd."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.normalization import pad_rows
from rnnlab.scan.observer import ScanObserver


def scan(
    cell: Cell, w: Weights, x: Tensor, history: Sequence[States], start: int = 0, observers: Sequence[ScanObserver] = ()
) -> tuple[Tensor, list[States]]:
    """Run a cell over a sequence.

    Args:
        cell: the equations.
        w: the layer's weights; where `w.sizes` is given, step k advances its first `w.sizes[k]` examples alone.
        x: (T, B, I).
        history: as many states as the layer is dilated, (B, S) each: a step at time t reads the one at t modulo the
            dilation and replaces it.
        start: absolute time of the first step.
        observers: see the states of every step as part of the graph.

    Returns:
        (T, B, output_size) the outputs, zero for examples that have ended, and the states after the last step.
    """
    firsts, history = steps(cell, w, cell.project(w, x, start), history, start, observers)
    outputs = cell.emit(w, firsts, x)
    if w.sizes is not None:
        outputs = without_padding(outputs, w.sizes)
    if observers:  # a view of its own tells the gradient from outside from that of the scan's own steps
        history = [tuple(s.view_as(s) for s in states) for states in history]
    for observer in observers:
        observer.end(outputs, history)
    return outputs, history


def steps(
    cell: Cell, w: Weights, u: Tensor, history: Sequence[States], start: int, observers: Sequence[ScanObserver]
) -> tuple[Tensor, list[States]]:
    """Take every step of a sequence that has been projected.

    Args:
        cell: the equations.
        w: the layer's weights.
        u: (T, B, G*H), what `cell.project` made of the inputs.
        history: as for `scan`.
        start: absolute time of the first step.
        observers: see the states of every step.

    Returns:
        (T, B, S) the first state at every step, zero for examples that have ended, and the states after the last.
    """
    history, B = list(history), u.shape[1]
    firsts = []
    for k, now in enumerate(u.unbind(0)):
        phase = (start + k) % len(history)
        old, active = history[phase], B if w.sizes is None else w.sizes[k]
        if active == B:
            new = cell.advance(w, now, old, start + k)
            new = _apart(new, old) if observers else new
            history[phase] = new
        else:
            new = cell.advance(w, now[:active], tuple(s[:active] for s in old), start + k)
            new = _apart(new, old) if observers else new
            history[phase] = tuple(torch.cat([n, o[active:]]) for n, o in zip(new, old, strict=True))
        for observer in observers:
            observer.step(k, new)
        firsts.append(pad_rows(new[0], B))
    return torch.stack(firsts), history


def _apart(new: States, old: States) -> States:
    """New states as tensors of their own: one that is handed on unchanged has another gradient at every step."""
    return tuple(s.view_as(s) if any(s is o for o in (*old, *new[:i])) else s for i, s in enumerate(new))


def without_padding(outputs: Tensor, sizes: list[int]) -> Tensor:
    """Zero the outputs of examples that have ended."""
    row = torch.arange(outputs.shape[-2], device=outputs.device)
    active = row < torch.tensor(sizes, device=outputs.device).unsqueeze(1)  # (T, B)
    return outputs.masked_fill(~active.unsqueeze(-1), 0.0)
