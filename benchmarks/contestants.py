"""One training step of one recurrent layer, last-step loss, forward and backward: ours and torch's."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnlab.cells import States, Weights, make_cell
from rnnlab.scan.native import run

KINDS = {"LSTM": ("lstm", 4), "GRU": ("gru", 3), "RNN": ("vanilla", 1)}
"""torch's name, ours, and the number of gate blocks."""


@dataclass(frozen=True)
class Case:
    """Sizes of one comparison."""

    kind: str
    T: int
    B: int
    H: int
    I: int = 1

    @property
    def recurrent_work(self) -> int:
        """Multiplications and additions of the three recurrent products: forward, states, weights."""
        return 3 * 2 * self.T * self.B * self.H * self.H * KINDS[self.kind][1]

    def __str__(self) -> str:
        return f"{self.kind} T={self.T} B={self.B} H={self.H}"


SIZES = ((784, 64, 128), (100, 20, 64), (400, 16, 100), (1000, 128, 256))
CASES = tuple(Case(kind, *size) for kind in KINDS for size in SIZES)


class Norms:
    """Takes the norms of every step and does nothing with them."""

    every_step, vectors = False, False

    def step(self, k: int, states: States) -> None:
        """Not called by kernels."""

    def end(self, outputs: Tensor, history: list[States]) -> None:
        """Not called by kernels."""

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        """Keep the newest."""
        self.newest = log2

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        """Not asked for."""


def contestants(case: Case) -> dict[str, Callable[[], None]]:
    """Everything that is compared on one case, on the same weights and inputs.

    Args:
        case: the sizes.

    Returns:
        `recorded` and `silent` (ours), `plain` (torch.nn) and `loop` (torch's cell with retain_grad), by name.
    """
    torch.manual_seed(0)
    plain: nn.RNNBase = getattr(nn, case.kind)(case.I, case.H)
    x = torch.randn(case.T, case.B, case.I)
    cell = make_cell(KINDS[case.kind][0], hidden_size=case.H)
    weights = {name.removesuffix("_l0"): tensor for name, tensor in plain.named_parameters()}
    states = tuple(torch.zeros(case.B, case.H) for _ in cell.states)
    watch = Norms()
    single: nn.Module = getattr(nn, case.kind + "Cell")(case.I, case.H)
    single.load_state_dict({name: tensor.detach() for name, tensor in weights.items()})

    def ours(*watches: Norms) -> None:
        run(cell, Weights(weights, True), x, states, watches)[0][-1].sum().backward()

    def theirs() -> None:
        plain(x)[0][-1].sum().backward()

    def loop() -> None:
        state: tuple[Tensor, ...] = states
        kept, two = [], len(states) == 2
        for x_t in x.unbind(0):
            new = single(x_t, state if two else state[0])
            state = new if isinstance(new, tuple) else (new,)
            for s in state:
                s.retain_grad()
            kept.append(state)
        kept[-1][0].sum().backward()
        for step in kept:
            for s in step:
                if s.grad is not None:
                    torch.linalg.vector_norm(s.grad, dim=-1)

    return {"recorded": lambda: ours(watch), "silent": ours, "plain": theirs, "loop": loop}
