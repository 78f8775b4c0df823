"""Gradients too small for their dtype, on their way from scan to scan.

Autograd carries gradients between the layers of a stack, and between the segments of a sequence, in the dtype of the
model: what lies below 1e-38 is zero in float32. So while somebody observes, each tensor that goes from scan to scan has
a shadow: zeros of the same shape, whose gradient is that of the tensor in double precision and times 2^448, which
reaches from 1e-427 to 1e173. Autograd sums and scales it as it does the other, because what is done to a tensor is
done to its shadow. A row of it that is NaN was not measured. The weights' gradients know nothing of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.scan.rows import largest

EXPONENT = 448
"""Shadows of gradients are these times two to this."""
_LEAST = 2.0 ** (-1022 + 52)
"""Below this a shadow has lost digits."""


@dataclass
class Shadows:
    """The shadows that one scan reads, and once it has run, of what it returns; none where there is none.

    Attributes:
        x: of its inputs.
        starts: of its states before the first step, in turn.
        y: of its outputs.
        finals: of the states that it leaves, in turn.
    """

    x: Tensor | None = None
    starts: Sequence[Tensor | None] = ()
    y: Tensor | None = None
    finals: Sequence[Tensor | None] = ()


def joined(function: Callable[[list[Tensor]], Tensor], shadows: Sequence[Tensor | None]) -> Tensor | None:
    """Make one shadow of several as their tensors are made one; none if one of them is missing."""
    there = [shadow for shadow in shadows if shadow is not None]
    return function(there) if len(there) == len(shadows) else None


def shadow_of(t: Tensor) -> Tensor:
    """The shadow of a new tensor, which takes no memory."""
    return torch.zeros((), dtype=torch.float64, device=t.device).expand(t.shape)


def entering(gradient: Tensor) -> Tensor:
    """A gradient that has come without a shadow, as one: NaN where it may have lost something."""
    found, scaled = _whole(gradient, None, stepwise=True), _scaled(gradient)
    if found is None:
        return scaled
    lost = largest(gradient).double().log2() < found.floor.unsqueeze(-2)
    return scaled.masked_fill(lost.unsqueeze(-1), torch.nan)


class Arrived(NamedTuple):
    """Gradients of outputs and final states as they are, before what was lost on the way.

    Attributes:
        exact: shadows of all of them; none where the gradients themselves tell as much.
        floor: (B,) norms of an example that fall below two to this are not known.
        where: whether `exact` tells more; of stacked members, (P,) of which.
        blind: (B,) examples of which something was lost before it came here, so that even a zero is not known.
    """

    exact: list[Tensor | None] | None
    floor: Tensor
    where: Tensor
    blind: Tensor

    def lost(self, log2: Tensor) -> Tensor:
        """Where norms, (T, B), are not known."""
        zero = torch.isneginf(log2)
        small = (log2 < self.floor.unsqueeze(-2)) & ~zero
        return small | reached_by_underflow(zero, small) | zero & self.blind.unsqueeze(-2)


def arrived(gradients: Sequence[Tensor | None], shadows: Sequence[Tensor | None]) -> Arrived | None:
    """Tell what gradients were before they became too small for their dtype.

    Args:
        gradients: of the outputs, (T, B, H), and the final states, (B, H) each; none is zero. Members, if any, come
            before all other dimensions.
        shadows: gradients of their shadows.

    Returns:
        None if nothing was too small.
    """
    found = [_whole(g, shadow, i == 0) for i, (g, shadow) in enumerate(zip(gradients, shadows, strict=True))]
    floors = [each.floor for each in found if each is not None]
    if not floors:
        return None
    floor = torch.stack(floors).amax(0)
    where = torch.stack([each.where for each in found if each is not None]).any(0)
    blind = torch.stack([each.blind for each in found if each is not None]).any(0)
    if all(each is None or each.exact is None for each in found):
        return Arrived(None, floor, where, blind) if floor.isfinite().any() else None
    exact = [
        None if g is None else _scaled(g) if each is None or each.exact is None else each.exact[0]
        for g, each in zip(gradients, found, strict=True)
    ]
    return Arrived(exact, floor, where, blind)


def underflowed(gradient: Tensor) -> Tensor:
    """Tell where a gradient that autograd carried through time has become too small for its dtype.

    Args:
        gradient: (T, B, H), in the order of the scan or of time; members, if any, come first.

    Returns:
        (T, B) where it is subnormal, or zero next to steps where it was nearly so.
    """
    kind, size = torch.finfo(gradient.dtype), largest(gradient)
    small = (size > 0) & (size < least_trusted(gradient.dtype))
    return small & (size < kind.tiny) | reached_by_underflow(size == 0, small)


def least_trusted(dtype: torch.dtype) -> float:
    """The smallest number of a dtype that what underflows beside it cannot change: that lies beyond its precision."""
    kind = torch.finfo(dtype)
    return kind.tiny / kind.eps


def reached_by_underflow(zero: Tensor, small: Tensor) -> Tensor:
    """Tell the zeros that may have been something from those that a loss does not reach.

    Args:
        zero: (T, B) where a gradient is exactly zero; members, if any, come first.
        small: (T, B) where it is so small that its neighbours may have underflowed.

    Returns:
        (T, B) the zeros of each run of them that has a small neighbour.
    """
    step = torch.arange(zero.shape[-2], device=zero.device).unsqueeze(1)

    def follows(zero: Tensor, small: Tensor) -> Tensor:
        latest = torch.where(zero, -1, step).cummax(-2).values
        return (latest >= 0) & small.gather(-2, latest.clamp(min=0))

    return zero & (follows(zero, small) | follows(zero.flip(-2), small.flip(-2)).flip(-2))


def _whole(gradient: Tensor | None, shadow: Tensor | None, stepwise: bool) -> Arrived | None:
    """One tensor's gradient, put together from both: rows large enough from itself, the others from its shadow.

    Args:
        gradient: (T, B, H), or without steps (B, H).
        shadow: that of its shadow.
        stepwise: whether it has steps.
    """
    if gradient is None:
        return None
    kind = torch.finfo(gradient.dtype)
    least = least_trusted(gradient.dtype)
    size = largest(gradient)  # (T, B)
    low = size < least
    beyond = low & (size > 0) if shadow is None else low | ~torch.isfinite(size)
    if not beyond.any():
        return None

    def over_steps(where: Tensor) -> Tensor:
        return where.any(-2) if stepwise else where

    if shadow is None:  # zero may be zero, or have been something: small ones beside it tell
        floor = _floor(over_steps(beyond), least)
        return Arrived(None, floor, torch.zeros_like(floor[..., 0], dtype=torch.bool), torch.isnan(floor))
    true = largest(shadow)
    known = torch.isfinite(true)
    blind = over_steps(low & ~known)
    # Somebody may have changed the one and not the other: a hook on a state that is handed on.
    apart = (shadow * 2.0**-EXPONENT - gradient).abs().amax(-1) > 1e-3 * size + 64 * kind.tiny
    differs = over_steps(apart & known)
    known = known & ~(differs.unsqueeze(-2) if stepwise else differs)
    lost, faint = over_steps(low & ~known), over_steps(low & known & (true > 0) & (true < _LEAST))
    floor = torch.maximum(_floor(lost, least), _floor(faint, _LEAST) - torch.where(faint, EXPONENT, 0))
    where = over_steps(beyond & known & (true > 0)).any(-1)
    if not where.any():
        return Arrived(None, floor, where, blind)
    return Arrived([torch.where((beyond & known).unsqueeze(-1), shadow, _scaled(gradient))], floor, where, blind)


def _scaled(gradient: Tensor) -> Tensor:
    return gradient.double() * 2.0**EXPONENT


def _floor(lost: Tensor, least: float) -> Tensor:
    """log2 of the least that is known of examples that have lost something; -inf for others."""
    return torch.where(lost, torch.tensor(least, dtype=torch.float64).log2(), -torch.inf)
