"""What comes back through a scan by a kernel: gradients as the user sees them, and what observers and shadows get."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.shadow import arrived

Maybe = Sequence[Tensor | None]


@dataclass
class Gradients:
    """What one backward pass yields; lists hold one entry a state, members, if any, come before all other dimensions.

    Attributes:
        x: (T, B, I), if asked for.
        weights: those of what the kernel reads; none where that was none, or if not asked for.
        starts: of the first states, shaped like them.
        log2_norms: (T, B) float64, if asked for.
        mantissas: (T, B, S), if asked for.
        exponents: (T, B) int32, if asked for.
        x_shadow: like `x`, as a shadow, if asked for.
        start_shadows: like `starts`, as shadows, if asked for.
        underflowed: (T, B) where norms are too small to be known; empty for a kernel that rescales as it goes.
    """

    x: Tensor | None
    weights: list[Tensor | None]
    starts: list[Tensor]
    log2_norms: list[Tensor]
    mantissas: list[Tensor]
    exponents: list[Tensor]
    x_shadow: Tensor | None
    start_shadows: list[Tensor]
    underflowed: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Wanted:
    """Which gradients a backward pass computes: of the inputs, of the weights, norms of the states, whole vectors, and
    those of the inputs and the first states as shadows."""

    inputs: bool = False
    weights: bool = False
    norms: bool = False
    vectors: bool = False
    input_shadow: bool = False
    start_shadows: bool = False


class Back(Protocol):
    """A kernel's backward pass."""

    def __call__(self, upstream: Maybe, wanted: Wanted, shadowed: bool = False) -> Gradients: ...


def go_back(
    back: Back,
    upstream: Maybe,
    shadows: Maybe,
    wanted: Wanted,
    shadows_needed: Sequence[bool],
    states: Sequence[str],
    observers: Sequence[ScanObserver],
) -> tuple[Gradients, Gradients, list[Tensor] | None]:
    """Go back through a scan, twice where gradients have come that are too small for their dtype, and tell observers.

    Args:
        back: the backward pass.
        upstream: gradients of the outputs and the final states; none is zero.
        shadows: gradients of their shadows; empty if there are none.
        wanted: what the user needs: inputs, weights.
        shadows_needed: which shadows need a gradient, that of the inputs first.
        states: names of the states.
        observers: get norms, and gradients where they want them.

    Returns:
        The gradients for the user, those that were measured, and where these are not known, (T, B) for each state;
        none if they all are. Each member is measured as it would be alone.
    """
    observed = Wanted(
        norms=bool(observers),
        vectors=any(observer.vectors for observer in observers),
        input_shadow=any(shadows_needed[:1]),
        start_shadows=any(shadows_needed[1:]),
    )
    whole = arrived(upstream, shadows or [None] * len(upstream)) if observers else None
    both = dataclasses.replace(observed, inputs=wanted.inputs, weights=wanted.weights)
    if whole is None or whole.exact is None:
        grads = measured = back(upstream, both)
    elif whole.where.dim() == 0:  # the weights' gradients are those of a pass that nobody observes
        grads, measured = back(upstream, wanted), back(whole.exact, observed, shadowed=True)
    else:
        grads = back(upstream, both)
        measured = _chosen(whole.where, back(whole.exact, observed, shadowed=True), grads)
    lost = None if whole is None else [whole.lost(log2) for log2 in measured.log2_norms]
    if any(where.any() for where in measured.underflowed):
        before = lost or measured.underflowed
        lost = [here | there for here, there in zip(measured.underflowed, before, strict=True)]
    for observer in observers:
        for s, name in enumerate(states):
            observer.norms(name, measured.log2_norms[s])
            if observer.vectors:
                observer.gradients(name, measured.mantissas[s], measured.exponents[s])
            if lost is not None:
                observer.underflowed(name, lost[s])
    return grads, measured, lost


def _chosen(where: Tensor, one: Gradients, other: Gradients) -> Gradients:
    """What was measured of the members for which (P,) holds, and otherwise of the others."""

    def each(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(where.view(-1, *[1] * (a.dim() - 1)), a, b)

    def all_of(name: str) -> list[Tensor]:
        return [each(a, b) for a, b in zip(getattr(one, name), getattr(other, name), strict=True)]

    found = {name: all_of(name) for name in ("log2_norms", "mantissas", "exponents", "start_shadows")}
    x_shadow = None if one.x_shadow is None or other.x_shadow is None else each(one.x_shadow, other.x_shadow)
    return dataclasses.replace(other, x_shadow=x_shadow, **found)


def shadow_gradients(
    x: Tensor | None,
    starts: Maybe,
    lost: list[Tensor] | None,
    needed: Sequence[bool],
    first_steps: Sequence[int] = (0,),
) -> Maybe:
    """Gradients of the shadows of inputs and first states: NaN where those of the states at that step are not known.

    Args:
        x: that of the inputs.
        starts: those of the first states, in the order in which autograd knows them; empty if not measured.
        lost: as `go_back` returns it.
        needed: which of them are needed.
        first_steps: of each phase of a dilated layer, the step that reads its first states.
    """
    if not needed:
        return []
    found = [x, *(starts or [None] * (len(needed) - 1))]
    if lost is not None:
        unknown = torch.stack(lost).any(0)  # (T, B)
        firsts = [unknown[..., first, :] for first in first_steps for _ in range((len(found) - 1) // len(first_steps))]
        for shadow, where in zip(found, (unknown, *firsts), strict=True):
            if shadow is not None:
                shadow.masked_fill_(where.unsqueeze(-1), torch.nan)
    return [shadow if need else None for shadow, need in zip(found, needed, strict=True)]
