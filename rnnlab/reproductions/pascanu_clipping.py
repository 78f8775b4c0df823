"""Gradient descent at the foot of a wall: thrown far away, unless the gradient is rescaled."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

import torch
from matplotlib.axes import Axes

from rnnlab.common.seeding import make_generator
from rnnlab.layers.recurrent import Recurrent
from rnnlab.plots.curves import curves
from rnnlab.remedies import Remedy, change_gradients
from rnnlab.remedies.clipping import Clipping
from rnnlab.reproductions.base import Computation, Fault, Reproduction
from rnnlab.reproductions.criteria import Findings, Ordering, Values
from rnnlab.reproductions.pascanu_wall import HIGH, LOW, START, TARGET, T
from rnnlab.reproductions.registry import register

STARTS, UPDATES, RATE = 8, 100, 0.3
FOOT = 0.3
"""Starts lie above the wall by up to so much in b."""


def measure(seed: int, threshold: float | None, updates: int) -> Values:
    """Median error of gradient descent on E = (σ(x_50) - 0.7)² from several starts, and the longest step of all."""
    generator = make_generator(seed, "pascanu clipping")
    remedies = [] if threshold is None else [Clipping(threshold=threshold)]
    errors, steps = [], []
    for _ in range(STARTS):
        w, above = (torch.rand(2, generator=generator) * torch.tensor([HIGH - LOW, FOOT])).tolist()
        error, path = _descend(LOW + w, above, remedies, updates)
        errors.append(error)
        steps += [math.dist(*two) for two in pairwise(path)]
    curve = [statistics.median(several) for several in zip(*errors, strict=True)]
    return {"median error": curve[-1], "longest step": max(steps), "curve": curve}


def _descend(
    w: float, above: float, remedies: Sequence[Remedy], updates: int
) -> tuple[list[float], list[tuple[float, float]]]:
    """The error before every update, and (w, b) before every update and after the last."""
    s = 1 / (1 + math.exp(-START))
    layer = Recurrent("vanilla", 1, 1, activation="sigmoid", dtype=torch.float64)
    weight, bias = layer.get_parameter("weight_hh_l0"), layer.get_parameter("bias_hh_l0")
    with torch.no_grad():
        weight.fill_(w)
        bias.fill_(START - s * w + above)
        layer.get_parameter("bias_ih_l0").zero_()
    optimizer = torch.optim.SGD([weight, bias], RATE)
    inputs, state = torch.zeros(T, 1, 1, dtype=torch.float64), torch.full((1, 1, 1), s, dtype=torch.float64)
    errors, path = [], [(weight.item(), bias.item())]
    for update in range(updates):
        optimizer.zero_grad()
        loss = (layer(inputs, state)[0][-1] - TARGET).square().sum()
        loss.backward()
        change_gradients([weight, bias], remedies, update, None)
        optimizer.step()
        errors.append(loss.item())
        path.append((weight.item(), bias.item()))
    return errors, path


def draw(found: Findings) -> Axes:
    lines = {arm: [_coarse(values["curve"]) for values in several] for arm, several in found.items()}  # type: ignore[arg-type]
    title = "Descent beside the wall, a line for the median of eight starts"
    return curves(lines, title, "update", "error E, median of ten updates", log=True)


def _coarse(curve: Sequence[float]) -> tuple[list[float], list[float]]:
    """Ten updates in one point: a descent that leaps to and fro across the wall cannot be read update by update."""
    firsts = range(0, len(curve), 10)
    return [first + 4.5 for first in firsts], [statistics.median(curve[first : first + 10]) for first in firsts]


WHY = "seeds 0, 1 and 100 to 104 ended at 0.055 to 0.090 without clipping, and at 0.001 to 0.013 with it"
FAR = "clipped steps are 0.3 at most; the longest of the same seeds without clipping were 5 to 160"

register(
    Reproduction(
        name="pascanu-clipping",
        claim="A wall throws gradient descent off its way; rescaled to norm 1 at most, it goes on downhill.",
        paper="Pascanu et al. 2013, On the Difficulty of Training Recurrent Neural Networks",
        place="figure 6 (a picture without numbers), 50 steps",
        source="recollection",
        experiment=Computation(
            arms={"clip": {"threshold": 1.0}, "plain": {"threshold": None}}, base={"updates": UPDATES}, compute=measure
        ),
        criteria=(
            Ordering("median error", "descends", WHY, "clip", "plain", 0.03),
            Ordering("longest step", "leaps away", FAR, 1.0, "plain"),
        ),
        seeds=5,
        minutes=0.2,
        faults=(
            Fault("a threshold of a million", {"clip": {"threshold": 1e6}}),
            Fault("two updates, too few to get anywhere", {"all": {"updates": 2}}),
        ),
        draw=draw,
    )
)
