"""The long-run slope of the gradient profile is the largest Lyapunov exponent of the same trajectory."""

import torch
from matplotlib.axes import Axes

from rnnlab.common.seeding import make_generator
from rnnlab.gradients.norms import log10_norm
from rnnlab.layers.recurrent import Recurrent
from rnnlab.plots.curves import points
from rnnlab.probes.lyapunov import lyapunov
from rnnlab.probes.tape import trace
from rnnlab.reproductions.base import Computation, Fault, Reproduction
from rnnlab.reproductions.criteria import Exponent, Findings, Values
from rnnlab.reproductions.registry import register

KINDS = ("vanilla", "lstm", "gru")
I, H = 2, 8


def measure(seed: int, kind: str, steps: int, exponent: int) -> Values:
    """Slope of the profile of a random network from end to end, less its Lyapunov exponent."""
    generator = make_generator(seed, "lyapunov", kind)
    net = Recurrent(kind, I, H, dtype=torch.float64, generator=generator)
    x = torch.randn(steps, 1, I, generator=generator, dtype=torch.float64)
    v = torch.randn(1, H, generator=generator, dtype=torch.float64)
    with trace(net) as tape:
        (net(x)[0][-1] * v).sum().backward()
    (found,) = tape.traces
    profile = log10_norm(found.total[0])[:, 0]
    slope = float(profile[0] - profile[-1]) / (steps - 1)
    exponents = lyapunov(found)["lyapunov_exponent"].values[0]
    return {"slope": slope, "exponent": float(exponents[exponent]), "difference": slope - float(exponents[exponent])}


def draw(found: Findings) -> Axes:
    values = {arm: [float(v["difference"]) for v in several] for arm, several in found.items()}  # type: ignore[arg-type]
    return points(values, dict.fromkeys(found, 0.0), "Slope of the profile less the largest exponent", "decades a step")


WHY = "± 0.004 decades a step: the two ends of the profile add a decade or so in 500 steps"

register(
    Reproduction(
        name="lyapunov-slope",
        claim="In the long run the gradient decays at the largest Lyapunov exponent of the trajectory.",
        paper="Engelken et al. 2023, Lyapunov Spectra of Chaotic Recurrent Neural Networks",
        place="definition of the exponents; Vogt et al. 2022 for trained networks",
        source="a derivation",
        experiment=Computation(
            arms={kind: {"kind": kind} for kind in KINDS}, base={"steps": 500, "exponent": 0}, compute=measure
        ),
        criteria=tuple(Exponent("difference", "0 as T grows", WHY, kind, -0.004, 0.004) for kind in KINDS),
        seeds=5,
        minutes=0.5,
        faults=(
            Fault("the second exponent in the place of the first", {"all": {"exponent": 1}}),
            Fault("six steps, too few for a long run", {"all": {"steps": 6}}),
        ),
        reduced={"all": {"steps": 300}},
        draw=draw,
    )
)
