"""One scan by the compiled step and the same by the reference, with everything that they yield."""

from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan import compiled, reference

CELLS: list[tuple[str, dict]] = [
    ("antisymmetric", {}),
    ("antisymmetric", {"gated": True}),
    ("cornn", {}),
    ("cornn", {"damping": "implicit"}),
    ("gru", {"norm": "layer"}),
    ("gru", {"norm": "batch"}),
    ("highway", {}),
    ("highway", {"coupled": False}),
    ("indrnn", {}),
    ("irnn", {}),
    ("lem", {"dt": 0.5}),
    ("linoss", {}),
    ("linoss", {"scheme": "imex"}),
    ("lru", {}),
    ("lstm", {"coupled": True}),
    ("lstm", {"norm": "batch"}),
    ("lstm", {"norm": "layer"}),
    ("lstm", {"peepholes": True, "zoneout": 0.2}),
    ("lstm", {"proj_size": 4}),
    ("mgu", {}),
    ("mingru", {}),
    ("minlstm", {}),
    ("orthogonal", {}),
    ("rglru", {}),
    ("s5", {}),
    ("skip", {"span": 3}),
    ("slstm", {}),
    ("slstm", {"zoneout": 0.2}),
    ("vanilla", {"norm": "batch"}),
    ("vanilla", {"norm": "batch_input"}),
    ("vanilla", {"norm": "batch_sum"}),
    ("vanilla", {"norm": "layer", "residual": 0.3}),
    ("vanilla", {"zoneout": 0.3, "bias": False}),
]
"""Every cell that is compiled, and options that change its step."""


class Totals:
    """Total gradients by hooks on the states of the reference scan."""

    every_step, vectors = False, True

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], Tensor] = {}

    def step(self, k: int, states: States) -> None:
        for i, state in enumerate(states):
            state.register_hook(lambda g, i=i, k=k: self.found.__setitem__((i, k), g))

    def end(self, outputs: Tensor, history: list[States]) -> None:
        pass


class Log:
    """What a compiled step tells its observer."""

    every_step, vectors = False, True

    def __init__(self) -> None:
        self.log2: dict[str, Tensor] = {}
        self.vector: dict[str, Tensor] = {}

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        self.log2[state] = log2

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        self.vector[state] = torch.ldexp(mantissa.double(), exponent.unsqueeze(-1).double())

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        pass


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Numbers that are the same whatever else was drawn."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Both:
    """The same scan twice.

    Args:
        net: a single layer in float64.
        x: (T, B, I).
        scale: of the gradients that come back.
        sizes: active examples of each step.
        dilation: steps that a step reaches back.
        start: absolute time of the first step.
    """

    def __init__(
        self,
        net: Recurrent,
        x: Tensor,
        scale: float = 1.0,
        sizes: list[int] | None = None,
        dilation: int = 1,
        start: int = 0,
    ) -> None:
        self.net, self.cell, self.x, self.scale, self.sizes, self.start = net, net.cell, x, scale, sizes, start
        like = self.cell.initial_states(x.shape[1], x)
        self.history = [
            tuple(0.3 * draw(*s.shape, seed=p + 7 * i) for i, s in enumerate(like)) for p in range(dilation)
        ]

    def run(self, by_reference: bool) -> tuple[dict[str, Tensor], Any]:
        """All results by name, and who observed."""
        net, x = self.net, self.x.clone().requires_grad_()
        net.zero_grad()
        for name, buffer in net.named_buffers():
            buffer.fill_(1.0 if "var" in name else 0.0)
        history = [tuple(s.clone().requires_grad_() for s in states) for states in self.history]
        w = self._weights()
        if by_reference:
            observer: Any = Totals()
            y, after = reference.scan(self.cell, w, x, history, self.start, [observer])
        else:
            observer = Log()
            assert compiled.supports(self.cell, w, x, history)
            y, after = compiled.run(self.cell, w, x, history, self.start, [observer])
        ends = [s for states in after for s in states]
        loss = (y * draw(*y.shape, seed=1) * self.scale).sum()
        loss = loss + sum((s * draw(*s.shape, seed=2 + i) * self.scale).sum() for i, s in enumerate(ends))
        loss.backward()
        found = {"y": y.detach(), "x": x.grad} | {f"end {i}": s.detach() for i, s in enumerate(ends)}
        found |= {f"start {i}": s.grad for i, s in enumerate(s for states in history for s in states)}
        found |= {name: p.grad for name, p in net.named_parameters()}
        nothing = torch.zeros((), dtype=x.dtype)
        found = {k: nothing if v is None else v for k, v in found.items()}
        return found | {n: b.clone() for n, b in net.named_buffers()}, observer

    def _weights(self) -> Weights:
        w = self.net.weights()
        w.sizes, w.generator = self.sizes, torch.Generator().manual_seed(5)
        return w

    def check(self, tolerance: float = 1e-10) -> None:
        """All results agree, total gradients and norms included."""
        expected, totals = self.run(True)
        found, log = self.run(False)
        assert expected.keys() == found.keys()
        for name, right in expected.items():
            size = right.abs().max()
            assert (found[name] - right).abs().max() <= tolerance * size, name
        for i, name in enumerate(self.cell.states):
            for k in range(len(self.x)):
                n = len(self.x[k]) if self.sizes is None else self.sizes[k]
                right = totals.found.get((i, k), torch.zeros_like(log.vector[name][k, :n]))
                vector = log.vector[name][k, :n]
                assert (vector - right).abs().max() <= tolerance * right.abs().max()
                log2 = (right / self.scale).norm(dim=-1).log2() + torch.tensor(self.scale, dtype=torch.float64).log2()
                assert (log.log2[name][k, :n] - log2).nan_to_num().abs().max() < 1e-9  # none is -inf
                assert log.log2[name][k, n:].isnan().all()


def layer(cell: Cell | str, inputs: int = 3, hidden: int = 20, steps: int = 12, **options: Any) -> Recurrent:
    """A layer in float64 whose weights depend on nothing else."""
    sizes = {} if isinstance(cell, Cell) else {"hidden_size": hidden}
    generator = torch.Generator().manual_seed(0)
    return Recurrent(cell, inputs, steps=steps, dtype=torch.float64, generator=generator, **sizes, **options)
