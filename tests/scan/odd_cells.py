"""Cells of somebody's own: some that can be compiled, and some that cannot or must not be."""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.base import Shapes


class LeakyCell(Cell):
    """h_t = h_{t-1} + α (tanh(·) - h_{t-1})."""

    kind: Literal["leaky"] = "leaky"
    alpha: float = 0.3

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        return (h + self.alpha * (w.activate("hidden", u + self.recur(w, h, t)) - h),)


class Bounded(LeakyCell):
    """Of the operations beside those of any cell, one each."""

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        z = torch.maximum(u.clamp(-0.7, 0.6), u.sinh() / u.cosh()) + torch.minimum(states[0], 0.3 * u).abs()
        z = torch.where(z > 0.1, z, z.atan() + z.tan()) + 0.1 * z.clamp(min=0.2) ** 4
        return super().step(w, z - states[0].clamp(max=0.4), states, t)


class Soft(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u.softmax(-1), states, t)


class ByTime(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, -u if t % 2 else u, states, t)


class Noisy(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u + 0 * torch.rand_like(u), states, t)


class Branching(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u if u.sum() > 0 else -u, states, t)


class ByUnit(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u + u[:, :1], states, t)


class BySize(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u / math.sqrt(self.hidden_size), states, t)


class Stopped(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u, (states[0].detach(),), t)


class Reversing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        return v.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return -gradient


class Surrogate(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, Reversing.apply(u), states, t)


class OverTime(LeakyCell):
    def project(self, w: Weights, x: Tensor, start: int = 0) -> Tensor:
        return super().project(w, x - x.mean(0, keepdim=True), start)


class BySmallness(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u if self.hidden_size > 64 else -u, states, t)


class ByOwnGates(LeakyCell):
    leak: float = 0.5

    @property
    def gates(self) -> tuple[str, ...]:
        return ("new", "other") if self.leak > 0 else ("new",)

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        z = (u + self.recur(w, states[0], t)).split(self.hidden_size, -1)
        return (torch.tanh(z[0]) + torch.tanh(z[-1]),)


class ByGlobal(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, GAIN * u, states, t)


class HandedOn(LeakyCell):
    states: ClassVar[tuple[str, ...]] = ("h", "c")

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, c = states
        return torch.tanh(u + self.recur(w, h, t)) + 0.1 * c, h


GAIN = 1.0


class OneTrained(LeakyCell):
    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        return super().parameter_shapes(input_size, bias) | {"scale": (self.hidden_size,)}

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u * (1 + w.scale.mean()), states, t)


class ByBatch(LeakyCell):
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return super().step(w, u * (len(u) - 1), states, t)


REFUSED = {
    Soft: "the operation softmax",
    ByTime: "a step that depends on the time t",
    Noisy: "rand",
    Branching: "torch cannot trace",
    ByUnit: "a part of a block of units",
    BySize: "follows from the sizes",
    OneTrained: "a single number that is trained",
    Stopped: "other numbers",
    Surrogate: "other numbers",
    OverTime: "other numbers",
    BySmallness: "other numbers",
    ByBatch: "follows from the sizes",
}
