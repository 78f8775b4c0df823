"""The curse of memory: the longer a linear unit remembers, the more its state depends on its parameter."""

import math

import torch
from matplotlib.axes import Axes

from rnnlab.layers.recurrent import Recurrent
from rnnlab.plots.curves import curves
from rnnlab.reproductions.base import Computation, Fault, Reproduction
from rnnlab.reproductions.criteria import Exact, Findings, Values
from rnnlab.reproductions.registry import register

MEMORIES = (0.36, 0.68, 0.84, 0.92, 0.96, 0.98, 0.99)


def measure(seed: int, decay: float, steps: int, through_time: bool) -> Values:
    """E h² and E(dh/dλ)² of h ← λh + x over white noise x, each over its closed form.

    Both are sums of squares over the responses to a unit impulse at each step, so no noise has to be drawn: unit k of
    the layer gets the impulse at step k, and `seed` is not used.
    """
    layer = Recurrent("indrnn", steps, steps, activation="identity", growth=None, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.get_parameter("weight_ih_l0").copy_(torch.eye(steps))
        layer.get_parameter("weight_hh_l0").fill_(decay)
    impulses = torch.eye(steps, dtype=torch.float64)[:, None]  # (T, 1, T)
    if through_time:
        output, _ = layer(impulses)
    else:  # each state is taken for given: real-time recurrent learning without its past
        with torch.no_grad():
            _, states = layer(impulses[:-1])
        output, _ = layer(impulses[-1:], states)
    output[-1].sum().backward()
    gradient = layer.get_parameter("weight_hh_l0").grad
    assert gradient is not None
    state, sensitivity = float(output[-1].detach().square().sum()), float(gradient.square().sum())
    return {
        "state_ratio": state * (1 - decay**2),
        "sensitivity_ratio": sensitivity * (1 - decay**2) ** 3 / (1 + decay**2),
        "state": state,
        "sensitivity": sensitivity,
    }


def draw(found: Findings) -> Axes:
    x = [1 / (1 - decay) for decay in MEMORIES]
    lines = {
        label: [(x, [math.log10(float(found[_arm(decay)][0][name])) for decay in MEMORIES])]  # type: ignore[arg-type]
        for name, label in (("state", "E h²"), ("sensitivity", "E (dh/dλ)²"))
    }
    return curves(lines, "Variance of the state and of its sensitivity", "memory 1 / (1 - λ), steps", "log10")


def _arm(decay: float) -> str:
    return f"lambda {decay:g}"


WHY = "1e-9 of the closed form: rounding, and what sums leave out that end after 18/(1-λ) steps"

register(
    Reproduction(
        name="zucchet-curse",
        claim="E h² = 1/(1-λ²), and E(dh/dλ)² = (1+λ²)/(1-λ²)³ grows much faster with memory.",
        paper="Zucchet and Orvieto 2024, "
        "Recurrent Neural Networks: Vanishing and Exploding Gradients Are Not the End of the Story",
        place="section 2, diagonal linear recurrence",
        source="a derivation",
        experiment=Computation(
            arms={_arm(decay): {"decay": decay, "steps": int(18 / (1 - decay))} for decay in MEMORIES},
            base={"through_time": True},
            compute=measure,
        ),
        criteria=tuple(
            Exact(name, formula, WHY, _arm(decay), 1.0, 1e-9)
            for decay in MEMORIES
            for name, formula in (("state_ratio", "1/(1-λ²)"), ("sensitivity_ratio", "(1+λ²)/(1-λ²)³"))
        ),
        seeds=1,
        minutes=0.05,
        faults=(
            Fault("gradients that do not go through time", {"all": {"through_time": False}}),
            Fault("sequences of 20 steps, shorter than the memory", {"all": {"steps": 20}}),
        ),
        draw=draw,
    )
)
