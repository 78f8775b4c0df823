"""A wide random tanh network multiplies the gradient norm by √χ₁ at every step."""

import math

import numpy as np
import torch
from matplotlib.axes import Axes

from rnnlab.common.seeding import make_generator
from rnnlab.gradients.decay import fit_decay
from rnnlab.gradients.record import record
from rnnlab.layers.recurrent import Recurrent
from rnnlab.plots.curves import points
from rnnlab.reproductions.base import Computation, Fault, Reproduction
from rnnlab.reproductions.criteria import Exponent, Findings, Values
from rnnlab.reproductions.registry import register
from rnnlab.theory import mean_field_slope

PAIRS = {"0.7, 0.3": (0.7, 0.3), "1.0, 0.5": (1.0, 0.5), "1.8, 0.2": (1.8, 0.2)}
"""σ_w and σ_in by arm: ordered, ordered by its input alone, and chaotic."""
T, B, I, H = 40, 4, 400, 600
NEAR = 25
"""Lags that are fitted; before them the state still settles."""
TOLERANCE = 0.006
"""Decades a step. A network of 600 units scatters by 1/√600 = 4% of a step's factor at most, which is 0.017."""


def measure(seed: int, sigma_w: float, sigma_in: float, activation: str) -> Values:
    """Slope of the gradient profile of one network with Gaussian weights on Gaussian noise."""
    generator = make_generator(seed, "mean field")
    layer = Recurrent("vanilla", I, H, bias=False, activation=activation)
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").copy_(sigma_w / math.sqrt(H) * torch.randn(H, H, generator=generator))
        layer.get_parameter("weight_ih_l0").copy_(sigma_in / math.sqrt(I) * torch.randn(H, I, generator=generator))
    x, v = torch.randn(T, B, I, generator=generator), torch.randn(B, H, generator=generator)
    with record(layer) as log:
        (layer(x)[0][-1] * v).sum().backward()
    profile = log.dataset()
    lag, norms = profile["lag"].values, profile["log10_grad_norm_by_lag"].values.reshape(-1)
    near = lag <= NEAR
    return {"slope": fit_decay(np.asarray(norms[near]), lag[near]).slope}


def draw(found: Findings) -> Axes:
    values = {arm: [float(v["slope"]) for v in several] for arm, several in found.items()}  # type: ignore[arg-type]
    expected = {arm: mean_field_slope("tanh", *PAIRS[arm]) for arm in found}
    return points(values, expected, "Decay of the gradient against σ_w, σ_in", "slope, decades a step")


def _near(arm: str) -> Exponent:
    slope = mean_field_slope("tanh", *PAIRS[arm])
    published = f"log10 √χ₁ = {slope:.4f}"
    why = f"± {TOLERANCE:g} decades a step: a network of {H} units scatters by 1/√{H} of a step's factor at most"
    return Exponent("slope", published, why, arm, slope - TOLERANCE, slope + TOLERANCE)


register(
    Reproduction(
        name="chen-mean-field",
        claim="The gradient norm of a wide random tanh network changes by √χ₁ a step, for each (σ_w, σ_in).",
        paper="Chen et al. 2018, Dynamical Isometry and a Mean Field Theory of RNNs",
        place="χ₁ = σ_w² E[φ'(√q* z)²]",
        source="the paper",
        experiment=Computation(
            arms={arm: {"sigma_w": w, "sigma_in": i} for arm, (w, i) in PAIRS.items()},
            base={"activation": "tanh"},
            compute=measure,
        ),
        criteria=tuple(map(_near, PAIRS)),
        seeds=8,
        minutes=0.2,
        faults=(
            Fault("recurrent weights 5% too large", {arm: {"sigma_w": 1.05 * w} for arm, (w, _) in PAIRS.items()}),
            Fault("softsign in the place of tanh", {"all": {"activation": "softsign"}}),
        ),
        draw=draw,
    )
)
