"""What a remedy is: a frozen value that acts before training, on the loss, on the gradient or on the graph."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from rnnlab.common.errors import UserError
from rnnlab.common.options import Options


class Window(NamedTuple):
    """One pass back: the graph reaches from `start`, the loss covers [`loss_start`, `stop`)."""

    start: int
    loss_start: int
    stop: int


class Gradient(NamedTuple):
    """The gradient of all weights of one run together.

    Attributes:
        values: (N,), as one vector.
        norm: its Euclidean norm, in float64, so that squares neither vanish nor overflow.
        clipped: whether something was cut off it.
    """

    values: Tensor
    norm: Tensor
    clipped: Tensor

    @classmethod
    def of(cls, values: Tensor, clipped: Tensor | None = None) -> "Gradient":
        """A gradient whose norm is not known yet."""
        norm = torch.linalg.vector_norm(values, dtype=torch.float64)
        return cls(values, norm, torch.zeros_like(norm, dtype=torch.bool) if clipped is None else clipped)


class Unrolled(Protocol):
    """One direction of one layer as it ran on a batch, forward and back, and its steps to take again.

    N rows may be any steps of any examples: steps do not depend on each other but through their states.

    Attributes:
        projected: (T, B, G*H) what the steps read of their inputs; part of the graph of the weights.
        states: (T, B, S) for each state, what the steps read; detached.
        gradients: (T, B, S) for each state, total gradient dL/ds_t at what the steps made; detached.
    """

    projected: Tensor
    gradients: tuple[Tensor, ...]

    @property
    def states(self) -> tuple[Tensor, ...]: ...

    def step(self, projected: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Take N steps from (N, G*H) inputs and (N, S) states; differentiable in these and in the weights."""
        ...

    def recur(self, states: tuple[Tensor, ...]) -> Tensor:
        """What N steps read of (N, S) states, their recurrent product W_hh h with its bias, (N, G*H)."""
        ...


Penalty = Callable[[Unrolled], Tensor | None]


class Remedy(Options):
    """Something done against gradients that vanish or explode; several compose in the order of the configuration.

    A remedy overrides what it acts by. It keeps nothing between two calls: what it does is a function of its fields, of
    what it is handed, and of the generator, which belongs to the remedies of one run alone.
    """

    kind: Any  # narrowed to its own literal by every subclass

    def check(self, config: Any) -> None:
        """Raise ValueError, in one sentence, where it cannot work.

        Args:
            config: the experiment; see `rnnlab.config.config.Config`.
        """

    def prepare(self, model: nn.Module, penalise: Callable[[Penalty], None], generator: torch.Generator) -> None:
        """Act on a new model, before its first update.

        Args:
            model: the network as it was initialised, to be changed in place.
            penalise: replaces the model's gradient by that of a penalty, summed over its layers, on a fresh batch.
            generator: source of randomness.
        """

    def cut(self, windows: Sequence[Window]) -> Sequence[Window]:
        """Act on the graph: which passes back a sequence is cut into.

        Args:
            windows: those so far, whose loss ranges tile [0, T) in order.

        Returns:
            Windows that tile the same range.
        """
        return windows

    def penalty(self, layer: Unrolled, generator: torch.Generator | None) -> Tensor | None:
        """Act on the loss: a number that is added to it, after the loss itself has gone back.

        Args:
            layer: one direction of one recurrent layer; asked of each.
            generator: source of randomness; torch's global one if none.

        Returns:
            A scalar in the graph of the layer's weights; none where there is nothing to add.
        """
        del layer, generator
        return None

    def change(self, gradient: Gradient, step: int, generator: torch.Generator | None) -> Gradient:
        """Act on the gradient before the optimiser sees it.

        Args:
            gradient: finite, and left as it is.
            step: updates done.
            generator: source of randomness; torch's global one if none.

        Returns:
            The gradient to go on with. Choices are made by `torch.where`, not by `if`: no run waits for a number.
        """
        del step, generator
        return gradient

    @property
    def acts(self) -> bool:
        """Whether it overrides any of the methods by which a remedy acts; a misspelt one would go unnoticed."""
        return any(getattr(type(self), by) is not getattr(Remedy, by) for by in ("prepare", "cut", "penalty", "change"))

    @property
    def cuts(self) -> bool:
        """Whether it acts on the graph."""
        return type(self).cut is not Remedy.cut

    @property
    def changes(self) -> bool:
        """Whether it acts on the gradient."""
        return type(self).change is not Remedy.change

    @property
    def penalises(self) -> bool:
        """Whether it acts on the loss, for which every step is followed and taken again."""
        return type(self).penalty is not Remedy.penalty


class Changed(NamedTuple):
    """Norm of the whole gradient around the remedies.

    Attributes:
        before: Euclidean norm over all weights together.
        after: the same after the last remedy.
        clipped: whether something was cut off.
    """

    before: float
    after: float
    clipped: bool = False

    @property
    def coefficient(self) -> float:
        """What is left of the norm; 1 where nothing was changed."""
        return self.after / self.before if self.before else 1.0


def cut_into_windows(steps: int, remedies: Iterable[Remedy]) -> Sequence[Window]:
    """The passes back of a sequence of T steps: one over everything, cut by each remedy in turn."""
    windows: Sequence[Window] = [Window(0, 0, steps)]
    for remedy in remedies:
        windows = remedy.cut(windows)
    return windows


def change_gradients(
    parameters: Iterable[nn.Parameter],
    remedies: Iterable[Remedy],
    step: int = 0,
    generator: torch.Generator | None = None,
) -> Changed:
    """Let remedies act on gradients, in place.

    Args:
        parameters: whose `.grad` is changed.
        remedies: in order.
        step: updates done.
        generator: the remedies' source of randomness.

    Returns:
        The norm before and after. A norm that is not finite is reported and nothing is changed.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return Changed(0.0, 0.0)
    raw = Gradient.of(torch.cat([gradient.flatten() for gradient in gradients]))
    if not raw.norm.isfinite():
        return Changed(float(raw.norm), float(raw.norm))
    changed = change(raw, remedies, step, generator)
    if changed.values is not raw.values:
        parts = changed.values.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
    return Changed(float(raw.norm), float(changed.norm), bool(changed.clipped))


def change(gradient: Gradient, remedies: Iterable[Remedy], step: int, generator: torch.Generator | None) -> Gradient:
    """Let remedies act on a finite gradient, one after the other; see `Remedy.change`."""
    for remedy in remedies:
        gradient = remedy.change(gradient, step, generator)
        if not isinstance(gradient, Gradient):
            raise UserError(
                f"remedy '{remedy.kind}' gives a {type(gradient).__name__} in place of the gradient: "
                "return Gradient.of(values) from its method `change`"
            )
    return gradient
