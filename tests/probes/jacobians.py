"""Jacobians of single steps the slow way, and traces to compare them with."""

from typing import Any

import torch
from torch import Tensor
from unrolled import unroll

from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.tape import trace
from rnnlab.probes.trace import Trace

T, B, I, H = 6, 3, 3, 4


def layer(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return Recurrent(kind, I, H, dtype=torch.float64, **options)


def sequence(steps: int = T, examples: int = B) -> Tensor:
    return torch.randn(steps, examples, I, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def traced(net: Recurrent, x: Tensor) -> Trace:
    with trace(net) as tape:
        net(x)[0][-1].sum().backward()
    return tape.traces[0]


def linear(matrix: Tensor, steps: int, **options: Any) -> Trace:
    """A linear recurrence without input, in the dtype of its matrix."""
    net: Any = Recurrent("vanilla", 1, len(matrix), bias=False, activation="identity", dtype=matrix.dtype, **options)
    with torch.no_grad():
        net.weight_hh_l0.copy_(matrix)
    return traced(net, torch.zeros(steps, 1, 1, dtype=matrix.dtype))


def orthogonal(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(2)).double()).Q


def slow_jacobians(net: Recurrent, x: Tensor) -> list[Tensor]:
    """(S, S) at every step, of the forward direction of one example (T, 1, I), one entry after the other."""
    made = [net.cell.initial_states(1, x)] * net.dilation[0] + unroll(net, x).states
    found = []
    for t in range(len(x)):
        w, old = net.weights(), tuple(s.detach().requires_grad_() for s in made[t])
        new = torch.cat(net.cell.advance(w, net.cell.project(w, x[t : t + 1], t)[0], old, t), 1)[0]
        rows = [torch.autograd.grad(entry, old, retain_graph=True, allow_unused=True) for entry in new]
        full = [[torch.zeros_like(s) if g is None else g for g, s in zip(row, old, strict=True)] for row in rows]
        found.append(torch.stack([torch.cat(row, 1)[0] for row in full]))
    return found
