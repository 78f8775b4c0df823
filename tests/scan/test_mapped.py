"""Many layers at once: torch.vmap over stacked weights equals a loop over the members."""

from collections.abc import Sequence

import pytest
import torch
from native_calls import supports
from torch import Tensor

from rnnlab.cells import Cell, States, Weights, make_cell
from rnnlab.scan import scan
from rnnlab.scan.native.build import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")

P, T, B, I, H = 5, 6, 4, 3, 9


def stacked(cell: Cell, *leading: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = cell.parameter_shapes(I)
    return {n: torch.randn(*leading, *s, generator=generator).double().requires_grad_() for n, s in shapes.items()}


def outputs(cell: Cell, weights: dict[str, Tensor], x: Tensor, states: States) -> tuple[Tensor, ...]:
    w = Weights(weights, True)
    assert supports(cell, w, x, states)
    y, (finals,) = scan(cell, w, x, [states])
    return y, *finals


def _energy(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors]).square().sum()


@pytest.mark.parametrize("x_dim", [None, 0, 2])
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_vmap_equals_a_loop(kind, x_dim):
    cell = make_cell(kind, hidden_size=H)
    weights = stacked(cell, P)
    x = torch.randn(P, T, B, I, generator=torch.Generator().manual_seed(1)).double()
    x = (x[0] if x_dim is None else x.movedim(0, x_dim)).requires_grad_()
    states = tuple(torch.ones(B, H).double().requires_grad_() for _ in cell.states)

    def member(weights: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
        return outputs(cell, weights, x, states)

    together = torch.vmap(member, in_dims=(0, x_dim))(weights, x)
    apart = [
        member({n: w[p] for n, w in weights.items()}, x if x_dim is None else x.select(x_dim, p)) for p in range(P)
    ]
    expected = [torch.stack(parts) for parts in zip(*apart, strict=True)]
    torch.testing.assert_close(list(together), expected, rtol=1e-12, atol=1e-12)
    sources = [x, *weights.values(), *states]
    found = torch.autograd.grad(_energy(together), sources)
    torch.testing.assert_close(found, torch.autograd.grad(_energy(expected), sources), rtol=1e-10, atol=1e-10)


def test_maps_can_be_nested():
    cell = make_cell("gru", hidden_size=H)
    weights = stacked(cell, 2, 3)
    x = torch.randn(3, T, B, I, generator=torch.Generator().manual_seed(1)).double()
    states = (torch.zeros(B, H).double(),)
    inner = torch.vmap(lambda w, x: outputs(cell, w, x, states)[0])
    together = torch.vmap(inner, in_dims=(0, None))(weights, x)
    for i in range(2):
        for j in range(3):
            alone, _ = outputs(cell, {n: w[i, j] for n, w in weights.items()}, x[j], states)
            torch.testing.assert_close(together[i, j], alone, rtol=1e-12, atol=1e-12)


def test_the_report_covers_all_members():
    class Log:
        every_step, vectors = False, True

        def __init__(self) -> None:
            self.log2: list[Tensor] = []
            self.shapes: list[torch.Size] = []

        def step(self, k: int, states: States) -> None: ...

        def end(self, outputs: Tensor, history: list[States]) -> None: ...

        def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
            self.log2.append(log2)

        def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
            self.shapes += [mantissa.shape, exponent.shape]

        def underflowed(self, state: str, where: Tensor, first: int = 0) -> None: ...

    cell = make_cell("vanilla", hidden_size=H)
    weights, log = stacked(cell, P), Log()
    x, h = torch.ones(T, B, I).double(), torch.zeros(B, H).double()

    def member(w: dict[str, Tensor], observer: Log) -> Tensor:
        return scan(cell, Weights(w, True), x, [(h,)], 0, [observer])[0]

    torch.vmap(lambda w: member(w, log))(weights)[:, -1].sum().backward()
    assert log.shapes == [(P, T, B, H), (P, T, B)]
    for p in range(P):
        alone = Log()
        member({n: w[p] for n, w in weights.items()}, alone)[-1].sum().backward()
        torch.testing.assert_close(log.log2[0][p], alone.log2[0], rtol=0, atol=1e-10)
