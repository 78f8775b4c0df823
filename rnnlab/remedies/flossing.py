"""Gradient flossing: Lyapunov exponents are pushed towards zero before training."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rnnlab.remedies.base import Penalty, Remedy, Unrolled
from rnnlab.remedies.registry import register


@register
class GradientFlossing(Remedy):
    """Before training, descends Σ λ_i² over the largest Lyapunov exponents λ_i of each layer, on batches of the task.

    λ_i = (1/T) Σ_t ln |R_t[i, i]| with Q_t R_t = J_t Q_{t-1}, for the first example of a batch, J_t the Jacobian of all
    states of a step. What Q, J and the states have of the weights is all followed. At zero the gradient neither
    vanishes nor explodes in that many directions.

    Reference: Engelken 2023, "Gradient Flossing: Improving Gradient Descent through Dynamic Control of Jacobians".
    """

    kind: Literal["flossing"] = "flossing"
    exponents: int = Field(default=16, ge=1)
    """How many of the largest, in each layer."""
    updates: int = Field(default=100, ge=1)
    lr: float = Field(default=1e-2, gt=0)
    """Rate of Adam, by which it descends."""
    steps: int = Field(default=50, ge=2)
    """Of the sequence that are followed, at most."""

    def check(self, config: Any) -> None:
        units = sum(config.cell.state_sizes)
        if self.exponents > units:
            raise ValueError(
                f"remedies.flossing.exponents = {self.exponents} are more than the {units} units of a layer's states: "
                f"choose at most {units}"
            )
        config.cell.check_repeatable("remedies.flossing")

    def prepare(self, model: nn.Module, penalise: Callable[[Penalty], None], generator: torch.Generator) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=self.lr)
        for _ in range(self.updates):
            penalise(self.squared_exponents)
            optimizer.step()

    def squared_exponents(self, layer: Unrolled) -> Tensor:
        """Σ λ_i², in natural logarithms per step."""
        return lyapunov_exponents(layer, self.exponents, self.steps).square().sum()


def lyapunov_exponents(layer: Unrolled, count: int, steps: int) -> Tensor:
    """The largest Lyapunov exponents of the first example, differentiable in the weights.

    Args:
        layer: as it ran.
        count: how many.
        steps: of the sequence, at most.

    Returns:
        (count,), in natural logarithms per step.

    Reference: Engelken et al. 2023, "Lyapunov Spectra of Chaotic Recurrent Neural Networks", section 2.
    """
    u = layer.projected[:steps, 0]  # (T, G*H)
    states = [torch.cat([state[0, :1] for state in layer.states], -1)]
    for now in u[:-1].split(1):
        states.append(_step(layer, now, states[-1]))
    s = torch.cat(states)  # (T, S)
    eye = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    with torch.no_grad():
        J = _push(layer, u, s, eye.expand(len(s), -1, -1))
        Q, _ = _orthogonalize(J, eye[:, :count])
    # J takes gradients from step to step. What it has of weights and states is followed along the few directions alone.
    pushed = _push(layer, u, s, Q)
    _, R = _orthogonalize(J, eye[:, :count], pushed - pushed.detach())
    return R.diagonal(dim1=-2, dim2=-1).abs().log().mean(0)


def _step(layer: Unrolled, u: Tensor, s: Tensor) -> Tensor:
    """Take steps from (N, S), all states side by side."""
    sizes = [state.shape[-1] for state in layer.states]
    return torch.cat(layer.step(u, s.split(sizes, -1)), -1)


def _push(layer: Unrolled, u: Tensor, s: Tensor, directions: Tensor) -> Tensor:
    """Products of the Jacobian of every step and its directions, (T, S, n)."""
    push = torch.vmap(lambda q: torch.func.jvp(partial(_step, layer, u), (s,), (q,))[1], -1, -1)
    return push(directions)


def _orthogonalize(J: Tensor, Q: Tensor, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Q_{t-1} and R_t of every step with Q_t R_t = J_t Q_{t-1}, (T, S, n) and (T, n, n).

    Args:
        J: (T, S, S).
        Q: (S, n), before the first step.
        beside: (T, S, n), added to the products.
    """
    before, found = [], []
    for t, now in enumerate(J):
        before.append(Q)
        Q, R = torch.linalg.qr(now @ Q if beside is None else now @ Q + beside[t])
        found.append(R)
    return torch.stack(before), torch.stack(found)
