"""One training step of one recurrent layer, last-step loss, forward and backward: ours and torch's."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import rnnlab
from rnnlab.gradients.recorder import Recorder

BLOCKS = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Gate blocks of each of torch's layers."""


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
        return 3 * 2 * self.T * self.B * self.H * self.H * BLOCKS[self.kind]

    def __str__(self) -> str:
        return f"{self.kind} T={self.T} B={self.B} H={self.H}"


SIZES = ((784, 64, 128), (100, 20, 64), (400, 16, 100), (1000, 128, 256))
CASES = tuple(Case(kind, *size) for kind in BLOCKS for size in SIZES)


def contestants(case: Case) -> dict[str, Callable[[], None]]:
    """Everything that is compared on one case, on the same weights and inputs.

    Args:
        case: the sizes.

    Returns:
        `recorded` and `silent` (our layer, listened to or not), `plain` (torch.nn) and `loop` (torch's cell with
        retain_grad), by name.
    """
    torch.manual_seed(0)
    plain: nn.RNNBase = getattr(nn, case.kind)(case.I, case.H)
    x = torch.randn(case.T, case.B, case.I)
    layer = rnnlab.convert(copy.deepcopy(plain))
    single: nn.Module = getattr(nn, case.kind + "Cell")(case.I, case.H)
    single.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in plain.state_dict().items()})
    states = tuple(torch.zeros(case.B, case.H) for _ in range(2 if case.kind == "LSTM" else 1))
    recorder = Recorder()

    def silent() -> None:
        layer(x)[0][-1].sum().backward()

    def recorded() -> None:
        with recorder.attached(layer):
            silent()
        recorder.steps.clear()

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

    return {"recorded": recorded, "silent": silent, "plain": theirs, "loop": loop}
