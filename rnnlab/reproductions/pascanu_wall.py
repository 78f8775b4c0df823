"""The error surface of one recurrent unit has a wall: along it the gradient grows exponentially, beside it hardly."""

import math

import torch
from matplotlib.axes import Axes

from rnnlab.common.seeding import make_generator
from rnnlab.layers.recurrent import Recurrent
from rnnlab.plots.curves import curves
from rnnlab.reproductions.base import Computation, Fault, Reproduction
from rnnlab.reproductions.criteria import Exact, Findings, Ordering, Values
from rnnlab.reproductions.registry import register

T, START, TARGET = 50, 0.5, 0.7
LOW, HIGH = 4.5, 6.5
"""Between which w is drawn; from 1/σ'(½) = 4.26 on the wall is there."""
UNITS = 100
BESIDE = 0.1


def measure(seed: int, above: float, steps: int, activation: str) -> Values:
    """Gradient of E = (σ(x_50) - 0.7)² in w and b, x ← w σ(x) + b from x = ½, for units on the wall or beside it.

    Where b = ½ - w σ(½), x stays at ½, a fixed point that repels by r = w σ'(½): ∂x_T/∂b = Σ_{k<T} r^k, and
    ∂x_T/∂w is σ(½) times that. `above` is added to that b. The units are those of one layer without links between them.
    """
    generator = make_generator(seed, "pascanu wall")
    w = LOW + (HIGH - LOW) * torch.rand(UNITS, generator=generator, dtype=torch.float64).sort().values
    s = 1 / (1 + math.exp(-START))
    layer = Recurrent("vanilla", 1, UNITS, activation=activation, dtype=torch.float64)
    weight, bias = layer.get_parameter("weight_hh_l0"), layer.get_parameter("bias_hh_l0")
    with torch.no_grad():
        weight.copy_(torch.diag(w))
        bias.copy_(START - s * w + above)
        layer.get_parameter("bias_ih_l0").zero_()
    state = torch.full((1, 1, UNITS), s, dtype=torch.float64)  # the layer holds σ(x)
    output, _ = layer(torch.zeros(steps, 1, 1, dtype=torch.float64), state)
    (output[-1] - TARGET).square().sum().backward()
    assert weight.grad is not None and bias.grad is not None
    norms = torch.hypot(weight.grad.diagonal(), bias.grad)
    r = w * s * (1 - s)
    law = 2 * abs(s - TARGET) * s * (1 - s) * (r**T - 1) / (r - 1) * math.hypot(1, s)
    return {
        "off the law": float((norms / law - 1).abs().max()),
        "log10 gradient": float(norms.log10().median()),
        "w": w.tolist(),
        "profile": norms.log10().tolist(),
    }


def draw(found: Findings) -> Axes:
    lines = {arm: [(values["w"], values["profile"]) for values in several] for arm, several in found.items()}
    return curves(lines, "Gradient of one unit, 50 steps", "recurrent weight w", "log10 ‖∂E/∂(w, b)‖")  # type: ignore[arg-type]


WHY = "r^50 is 2e9 at most, by which rounding at 1e-16 grows; seen up to 6e-6 on seeds 0 to 2"
BY = "two decades; seen were six, on seeds 0 to 2"
ON, BELOW, ABOVE = "on the wall", "0.1 below", "0.1 above"

register(
    Reproduction(
        name="pascanu-wall",
        claim="Where one unit's trajectory starts at its repelling fixed point, the error surface is a wall.",
        paper="Pascanu et al. 2013, On the Difficulty of Training Recurrent Neural Networks",
        place="figure 6 (a picture without numbers), 50 steps",
        source="a derivation",
        experiment=Computation(
            arms={ON: {"above": 0.0}, BELOW: {"above": -BESIDE}, ABOVE: {"above": BESIDE}},
            base={"steps": T, "activation": "sigmoid"},
            compute=measure,
        ),
        criteria=(
            Exact("off the law", "‖∇E‖ = 2 (0.7 - σ) σ' √(1 + σ²) (r^50 - 1)/(r - 1)", WHY, ON, 0.0, 3e-5),
            Ordering("log10 gradient", "a wall", BY, BELOW, ON, 2.0),
            Ordering("log10 gradient", "a wall", BY, ABOVE, ON, 2.0),
        ),
        seeds=5,
        minutes=0.02,
        faults=(
            Fault("thirty steps", {"all": {"steps": 30}}),
            Fault("a wall that is looked for a thousandth beside", {ON: {"above": 1e-3}}),
            Fault("tanh in the place of σ", {"all": {"activation": "tanh"}}),
        ),
        draw=draw,
    )
)
