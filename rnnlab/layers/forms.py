"""The forms in which sequences come to a layer and leave it: time or batch first, single, or packed."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnlab.cells import States
from rnnlab.common.errors import UserError
from rnnlab.layers.checks import check_call, check_rank

Run = Callable[[Tensor, States | None, int, Tensor | Sequence[int] | None], tuple[Tensor, States]]
"""Runs (T, B, I) from states, a first step and lengths on; returns (T, B, D*H) and the states after the last step."""


def run_in_form(
    run: Run,
    kind: str,
    batch_first: bool,
    input: Tensor | PackedSequence,
    hx: Tensor | States | None,
    start: int,
    lengths: Tensor | Sequence[int] | None,
) -> tuple[Any, Any]:
    """Run sequences as they come, and give the outputs the same form; see `rnnlab.layers.recurrent.Recurrent.forward`.

    Args:
        run: the layer on (T, B, I).
        kind: its name in messages.
        batch_first: whether sequences are (B, T, I).
        input: the sequences.
        hx: states before the first step.
        start: absolute time of the first step.
        lengths: of padded sequences.
    """
    states = None if hx is None else tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    check_call(input, states, start)
    if isinstance(input, PackedSequence):
        if lengths is not None:
            raise UserError("lengths are given twice: packed sequences bring their own, so leave `lengths` out")
        y, finals = _run_packed(run, input, states, start)
        return y, finals[0] if len(finals) == 1 else finals
    check_rank(kind, input, states)
    unbatched = input.dim() == 2
    x = input.unsqueeze(1) if unbatched else input.transpose(0, 1) if batch_first else input
    if unbatched and states is not None:
        states = tuple(state.unsqueeze(1) for state in states)
    y, finals = run(x, states, start, lengths)
    if unbatched:
        y, finals = y.squeeze(1), tuple(state.squeeze(1) for state in finals)
    elif batch_first:
        y = y.transpose(0, 1)
    return y, finals[0] if len(finals) == 1 else finals


def _run_packed(run: Run, input: PackedSequence, hx: States | None, start: int) -> tuple[PackedSequence, States]:
    """Pad, run, and pack the outputs just as the inputs were packed."""
    x, lengths = pad_packed_sequence(input)
    y, finals = run(x, hx, start, lengths)
    rows = input.sorted_indices
    if rows is not None:
        y, lengths = y.index_select(1, rows), lengths[rows.cpu()]
    return PackedSequence(pack_padded_sequence(y, lengths).data, *input[1:]), finals
