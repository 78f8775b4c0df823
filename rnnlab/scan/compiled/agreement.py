"""A compiled step is held against the reference scan before it serves: a trace does not show all that a step may do."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnlab.cells import Cell, Weights
from rnnlab.scan import reference
from rnnlab.scan.compiled.kernel import Kernel
from rnnlab.scan.compiled.operation import run_kernel

INPUTS, STEPS, EXAMPLES = 4, 4, 3
SIZES = [3, 3, 3, 2]
"""Active examples of each step."""


def agrees(kernel: Kernel, cell: Cell, names: Sequence[str], training: bool) -> bool:
    """Tell whether a few steps give the same outputs and gradients both ways.

    Where a step stops or changes a gradient, looks at its sizes or at the world around it, or projects over time, they
    do not.

    Args:
        kernel: the compiled step.
        cell: the equations.
        names: of the layer's tensors.
        training: whether the layer is being trained.
    """
    tolerance = 1e-9 if kernel.dtype == torch.float64 else 5e-3
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        try:
            expected = _results(None, kernel.dtype, cell, names, training)
            found = _results(kernel, kernel.dtype, cell, names, training)
        except Exception:  # of a step that fails: the reference scan, which serves then, will tell the user
            return False
    return all(
        torch.allclose(a, b, rtol=0, atol=tolerance * max(1e-12, float(b.abs().nan_to_num().max())), equal_nan=True)
        for a, b in zip(found, expected, strict=True)
    )


def _results(
    kernel: Kernel | None, dtype: torch.dtype, cell: Cell, names: Sequence[str], training: bool
) -> list[Tensor]:
    """Outputs, final states, and the gradients of inputs, weights and first states."""
    chance = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=chance, dtype=torch.float64).to(dtype)

    shapes = cell.parameter_shapes(INPUTS)
    weights = {name: (0.4 * draw(*shapes[name])).requires_grad_() for name in names}
    kept = {n: torch.full(shape, float("var" in n), dtype=dtype) for n, shape in cell.buffer_shapes(STEPS).items()}
    x = draw(STEPS, EXAMPLES, INPUTS).requires_grad_()
    states = tuple((0.5 * draw(EXAMPLES, size)).requires_grad_() for size in cell.state_sizes)
    w = Weights(weights | kept, training, list(SIZES), torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    if kernel is None:
        y, (ends,) = reference.scan(cell, w, x, [states])
    else:
        y, (ends,) = run_kernel(cell, kernel, w, x, [states])
    outputs, inputs = [y, *ends], [x, *weights.values(), *states]
    # Of a sum: given gradients instead, torch imports its symbolic shapes and sympy, which takes half a second.
    loss = torch.stack([(t * draw(*t.shape)).sum() for t in outputs]).sum()
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    gradients = [torch.zeros_like(t) if g is None else g for t, g in zip(inputs, found, strict=True)]
    return [t.detach() for t in [*outputs, *gradients]]
