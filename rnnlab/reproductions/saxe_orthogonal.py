"""A linear recurrence by a scaled orthogonal matrix changes every norm by the same factor at every step."""

import math

import numpy as np
import torch
from matplotlib.axes import Axes

from rnnlab.common.seeding import make_generator
from rnnlab.gradients.decay import fit_decay
from rnnlab.gradients.record import record
from rnnlab.layers.initialization import Initialization
from rnnlab.layers.recurrent import Recurrent
from rnnlab.plots.curves import curves
from rnnlab.reproductions.base import Computation, Fault, Reproduction
from rnnlab.reproductions.criteria import Exact, Findings, Values
from rnnlab.reproductions.registry import register

SCALES = {"orthogonal": 1.0, "orthogonal x 0.9": 0.9, "orthogonal x 1.1": 1.1}
T, B, I, H = 400, 4, 2, 32


def measure(seed: int, scheme: str, activation: str, scale: float) -> Values:
    """Slope of the gradient profile, and the largest distance of a norm from the line."""
    generator = make_generator(seed, "saxe")
    init = Initialization.parse({"recurrent": scheme, "recurrent_scale": scale})
    options = {"activation": activation, "init": init, "generator": generator, "dtype": torch.float64}
    layer = Recurrent("vanilla", I, H, **options)
    x = torch.randn(T, B, I, generator=generator, dtype=torch.float64)
    v = torch.randn(B, H, generator=generator, dtype=torch.float64)
    with record(layer) as log:
        (layer(x)[0][-1] * v).sum().backward()
    profile = log.dataset()
    lag = profile["lag"].values
    norms = profile["log10_grad_norm_by_lag"].values.reshape(-1)
    residual = np.abs(norms - norms[0] - math.log10(scale) * lag).max()
    return {
        "slope": fit_decay(norms, lag).slope,
        "residual": float(residual),
        "lag": lag.tolist(),
        "norms": (norms - norms[0]).tolist(),
    }


def draw(found: Findings) -> Axes:
    lines = {arm: [(values["lag"], values["norms"]) for values in several] for arm, several in found.items()}
    return curves(lines, "Gradient norm of a linear recurrence", "lag", "log10 of the norm over that at lag 0")  # type: ignore[arg-type]


ROUNDING = "float64 rounds each of the 400 steps at 1e-16; the recorder keeps norms in float64"

register(
    Reproduction(
        name="saxe-orthogonal",
        claim="A linear recurrence by ρQ, Q orthogonal, multiplies the gradient norm by exactly ρ at every step.",
        paper="Saxe et al. 2014, Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Neural Networks",
        place="section 3",
        source="a derivation",
        experiment=Computation(
            arms={name: {"scale": scale} for name, scale in SCALES.items()},
            base={"scheme": "orthogonal", "activation": "identity"},
            compute=measure,
        ),
        criteria=(
            *(
                Exact("slope", f"log10 {scale:g}", ROUNDING, name, math.log10(scale), 1e-12)
                for name, scale in SCALES.items()
            ),
            *(Exact("residual", "0 at every lag", ROUNDING, name, 0.0, 1e-10) for name in SCALES),
        ),
        seeds=5,
        minutes=0.05,
        faults=(
            Fault("uniform matrices in the place of orthogonal ones", {"all": {"scheme": "torch"}}),
            Fault("a tanh between the steps", {"all": {"activation": "tanh"}}),
        ),
        draw=draw,
    )
)
