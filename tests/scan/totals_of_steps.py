"""Total gradients of every step: as a scan reports them, and as autograd adds them up."""

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.scan.reference import scan


class Log:
    """Keeps what a backward pass reports."""

    every_step = False

    def __init__(self, vectors: bool = False) -> None:
        self.vectors = vectors
        self.log2: dict[str, Tensor] = {}
        self.total: dict[str, Tensor] = {}

    def step(self, k: int, states: States) -> None: ...

    def end(self, outputs: Tensor, history: list[States]) -> None: ...

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        assert state not in self.log2
        self.log2[state] = log2

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        self.total[state] = torch.ldexp(mantissa.double(), exponent.unsqueeze(-1))

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None: ...


def in_float64(w: Weights) -> Weights:
    tensors = {n: t.detach().double().requires_grad_() for n, t in w.tensors.items()}
    return Weights(tensors, True, w.sizes)


def totals_by_autograd(
    cell: Cell, w: Weights, x: Tensor, states: States, dy: Tensor, dfinals: States
) -> dict[str, Tensor]:
    """The oracle: autograd's own sum over all paths at every state, (T, B, H); zero where inactive."""
    seen: list[States] = []

    class Oracle(Log):
        def step(self, k: int, states: States) -> None:
            for state in states:
                state.retain_grad()
            seen.append(states)

    y, [finals] = scan(cell, w, x, [states], observers=[Oracle()])
    torch.autograd.backward([y, *finals], [dy, *dfinals])

    def total(step: States, s: int) -> Tensor:
        grad = step[s].grad
        assert grad is not None
        return torch.nn.functional.pad(grad, (0, 0, 0, x.shape[1] - len(grad)))

    return {name: torch.stack([total(step, s) for step in seen]) for s, name in enumerate(cell.states)}


def log2_norm(total: Tensor) -> Tensor:
    """Norms in float64 whose squares may be too small for it."""
    largest = total.abs().amax(-1, keepdim=True)
    return (torch.linalg.vector_norm(total / largest, dim=-1) * largest.squeeze(-1)).log2()
