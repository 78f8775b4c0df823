"""Plain loops over time for the tests of single cells."""

from collections.abc import Callable

import torch
from torch import Tensor

import rnnlab
from rnnlab.layers.recurrent import Recurrent

Lists = dict[str, list]
Step = Callable[[list[float], tuple[list, ...]], tuple[list, ...]]


def weights_of(net: Recurrent) -> Lists:
    """The first layer's weights by the names that its cell uses, as nested lists of numbers."""
    return {name: value.tolist() for name, value in net.weights().tensors.items()}


def dot(row: list[float], vector: list[float]) -> float:
    return sum(a * b for a, b in zip(row, vector, strict=True))


def run(step: Step, x: Tensor, *sizes: int) -> Tensor:
    """First states, (T, B, S), one example after the other, from states of zeros of the given sizes."""
    examples = []
    for example in x.unbind(1):
        states, outputs = tuple([0.0] * size for size in sizes), []
        for x_t in example.tolist():
            states = step(x_t, states)
            outputs.append(states[0])
        examples.append(torch.tensor(outputs, dtype=x.dtype))
    return torch.stack(examples, 1)


def log10_norms(net: Recurrent, x: Tensor) -> Tensor:
    """(T, B) log10 of the norm of the total gradient in h, for a loss at the last step alone."""
    with rnnlab.record(net, per_example=True) as log:
        output = net(x)[0][-1]
        target = torch.randn(output.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
        (output * target).sum().backward()
    found = log.dataset()["log10_grad_norm_per_example"].isel(step=0, layer=0, direction=0).sel(state="h")
    return torch.from_numpy(found.transpose("time", "example").values)
