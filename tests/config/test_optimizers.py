"""The rules of optimisers, for rows of weights, against torch's own."""

from typing import Any

import pytest
import torch

from rnnlab.config.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Optimizer, RMSprop

EQUAL: list[tuple[Optimizer, Any]] = [
    (SGD(momentum=0.9, lr=0.1), lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9)),
    (SGD(lr=0.1), lambda ps: torch.optim.SGD(ps, lr=0.1)),
    (RMSprop(momentum=0.5, decay=0.9, lr=0.1), lambda ps: torch.optim.RMSprop(ps, lr=0.1, alpha=0.9, momentum=0.5)),
    (RMSprop(lr=0.1), lambda ps: torch.optim.RMSprop(ps, lr=0.1)),
    (Adam(beta1=0.8, lr=0.1), lambda ps: torch.optim.Adam(ps, lr=0.1, betas=(0.8, 0.999))),
    (AdamW(weight_decay=0.3, lr=0.1), lambda ps: torch.optim.AdamW(ps, lr=0.1, weight_decay=0.3)),
]


def updated(optimizers: list[Optimizer], weights: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """(P, N) weights after a few updates by (K, P, N) gradients."""
    weights, moments = weights.clone(), tuple(torch.zeros_like(weights) for _ in optimizers[0].moments)
    for count, gradient in enumerate(gradients, start=1):
        numbers = torch.tensor([o.numbers(o.lr, count) for o in optimizers], dtype=torch.float64).to(weights.dtype)
        optimizers[0].update(weights, gradient, moments, numbers.split(1, 1))
    return weights


@pytest.mark.parametrize(("optimizer", "of_torch"), EQUAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_updates_are_those_of_torch(optimizer: Optimizer, of_torch: Any, dtype: torch.dtype) -> None:
    start, gradients = torch.randn(7, 5, dtype=dtype), torch.randn(6, 7, 5, dtype=dtype)
    weight = torch.nn.Parameter(start.clone())
    theirs = of_torch([weight])
    for gradient in gradients:
        weight.grad = gradient.clone()
        theirs.step()
    ours = updated([optimizer], start.view(1, -1), gradients.flatten(1).unsqueeze(1)).view_as(start)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(ours, weight.detach(), rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize("kind", list(OPTIMIZERS))
@pytest.mark.parametrize("members", [2, 3, 8, 33])
def test_a_row_is_updated_as_if_it_were_alone(kind: str, members: int) -> None:
    optimizers = [OPTIMIZERS[kind].parse({"lr": 10.0 ** -(k % 4)}) for k in range(members)]
    start, gradients = torch.randn(members, 37), torch.randn(5, members, 37)
    together = updated(optimizers, start, gradients)
    for k, optimizer in enumerate(optimizers):
        alone = updated([optimizer], start[k : k + 1], gradients[:, k : k + 1])
        assert torch.equal(alone[0], together[k])
