"""What an observer of a layer is told of one scan."""

from typing import NamedTuple, Protocol, Self

from torch import Tensor, nn

from rnnlab.cells import Cell, States, Weights
from rnnlab.scan.order import Order


class ScanCall(NamedTuple):
    """One run of one direction of one layer.

    Attributes:
        module: the stack that the layer belongs to, to tell it from others.
        cell: the equations.
        layer: its index in the stack.
        direction: forward or reverse.
        w: its weights.
        x: (T, B, I) its inputs, in the order of the scan.
        history: the states before the first step, in the order of the scan; as many as the layer is dilated.
        start: absolute time of the first step.
        order: leads from the scan's order of examples and steps back to the caller's.
    """

    module: nn.Module
    cell: Cell
    layer: int
    direction: str
    w: Weights
    x: Tensor
    history: list[States]
    start: int
    order: Order


class ScanObserver(Protocol):
    """Follows one scan.

    The reference scan shows every step; compiled kernels hand over norms from their own backward pass instead. Who
    says `every_step` gets the reference scan.
    """

    every_step: bool
    """Whether the states of every step must be seen as part of the graph."""
    vectors: bool
    """Whether the total gradients themselves are wanted of a kernel, beside their norms."""

    def step(self, k: int, states: States) -> None:
        """Called after every step, in order of processing, with the new states of the active examples."""

    def end(self, outputs: Tensor, history: list[States]) -> None:
        """Called when a scan is over, with (T, B, O) outputs and the states it leaves, in its own order."""

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        """Called from a kernel's backward pass with (K, B) log2 ‖dL/ds_t‖ of K steps from the first on, in the order
        of the scan: -inf for zero, NaN where not active."""

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        """Called likewise with total gradients: (K, B, S) mantissas times two to (K, B) exponents."""

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        """Called after `norms` with a (K, B) mask, if gradients may have lost parts before they came here: where true
        the norm is too small to be known."""


class Observer(Protocol):
    """Follows the scans of a layer, each with a `ScanObserver` of its own; see `Recurrent.observers`."""

    def observe(self, call: ScanCall) -> ScanObserver:
        """Called when a scan begins."""
        ...

    def leave(self, module: nn.Module, outputs: Tensor, finals: States) -> None:
        """Called when all layers of a stack have run, with (T, B, D*H) outputs and stacked states that have a graph."""

    def miss(self, module: nn.Module) -> None:
        """Called instead of both where a stack runs that no gradient can come back through."""


class Observers(list[Observer]):
    """The observers of one layer, and not of its copies."""

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()
