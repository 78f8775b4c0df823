"""Influence balancing: truncated back-propagation goes the wrong way until the window is long enough."""

import torch
from matplotlib.axes import Axes

from rnnlab.layers.recurrent import Recurrent
from rnnlab.plots.curves import curves
from rnnlab.remedies import cut_into_windows
from rnnlab.remedies.truncation import Truncation
from rnnlab.reproductions.base import Computation, Fault, Reproduction
from rnnlab.reproductions.criteria import Exact, Findings, Values
from rnnlab.reproductions.registry import register

N, POSITIVE, T = 23, 10, 400
EXPECTED = {1: 1.0, 10: 10.0, 20: 16.476, 40: 0.566, 50: -4.753, 100: -6.0}
"""dx_0/dθ by window: that of the last K terms of the Neumann series Σ Aᵏ s, and -6 = [(I - A)⁻¹ s]_0 in the end."""


def measure(seed: int, window: int, positive: int) -> Values:
    """Derivative of x_0 in θ that truncated back-propagation sees; x ← A x + θ s, A = ½ I + ½ superdiagonal.

    The system has no randomness; `seed` is not used.
    """
    signs = torch.ones(N, 1, dtype=torch.float64)
    signs[positive:] = -1
    layer = Recurrent("vanilla", 1, N, activation="identity", bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").copy_(0.5 * torch.eye(N) + 0.5 * torch.eye(N).roll(1, 1).triu())
        weight = layer.get_parameter("weight_ih_l0")
        weight.copy_(signs)  # θ = 1; the loss ½ (x_0 - 1)² has its optimum at θ = -1/6
    x = torch.ones(T, 1, 1, dtype=torch.float64)
    last = cut_into_windows(T, [Truncation(window=window)])[-1]
    with torch.no_grad():
        _, states = layer(x[: last.start])
    output, _ = layer(x[last.start :], states)
    output[-1, 0, 0].backward()
    assert weight.grad is not None
    return {"sensitivity": float((weight.grad * signs).sum()), "window": float(window)}


def draw(found: Findings) -> Axes:
    several = [values[0] for values in found.values()]
    line = ([v["window"] for v in several], [v["sensitivity"] for v in several])
    title = "Derivative of x₀ in θ that a window sees"
    return curves({"truncated": [line]}, title, "window K", "dx₀/dθ", {"whole": -6.0, "no influence": 0.0})  # type: ignore[dict-item]


WHY = "half a unit of the last digit given; the system is deterministic and float64 exact to 1e-12"

register(
    Reproduction(
        name="influence-balancing",
        claim="Truncated gradients point the wrong way up to a window of 40, and the right way from 50.",
        paper="Tallec and Ollivier 2017, Unbiasing Truncated Backpropagation Through Time",
        place="section 5, influence balancing (n = 23, 10 positive signs)",
        source="a derivation",
        experiment=Computation(
            arms={f"window {K}": {"window": K} for K in EXPECTED}, base={"positive": POSITIVE}, compute=measure
        ),
        criteria=tuple(
            Exact("sensitivity", f"{value:g}", WHY, f"window {K}", value, 5e-4) for K, value in EXPECTED.items()
        ),
        seeds=1,
        minutes=0.02,
        faults=(
            Fault("one more positive sign", {"all": {"positive": POSITIVE + 1}}),
            Fault("windows longer by one step", {f"window {K}": {"window": K + 1} for K in EXPECTED}),
        ),
        draw=draw,
    )
)
