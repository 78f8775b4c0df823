"""Fixed and slow points: where an undisturbed network stays, and what happens beside such a point."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells import Weights
from rnnlab.probes.base import probe
from rnnlab.probes.jacobian import in_double

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace

ROUNDS = 100
"""At most: from where Newton's steps help, half a dozen are enough."""
SETTLED = 1e-12
"""Largest movement of a unit, relative to the point, that counts as none."""
SAME = 1e-5
"""Distance, relative to the point, below which two points are the same."""

Step = Callable[[Tensor], Tensor]


@probe("full", cost="starts S³")
def fixed_points(trace: "Trace", starts: int = 32, u: Tensor | None = None) -> "dict[str, xr.DataArray]":
    """Points s* at which the speed ½ ‖F(s) - s‖² of the undisturbed step F is least, and the eigenvalues of F' there.

    A memory is a stable point, all |λ| < 1; a choice between two of them is a saddle. Least squares by Levenberg and
    Marquardt go down from states that the trace has visited, evenly spread over its steps and examples, all at once.
    Where the speed is zero the point is fixed, elsewhere slow: a place that is left slowly, often beside a fixed point
    that has just vanished. Points that are the same are given once, slowest first. All states of a cell together, in
    float64 and evaluation, with the last step's statistics where a cell keeps some. Nothing is returned where every
    start has overflown.

    Args:
        trace: one direction of one layer.
        starts: number of visited states to start from.
        u: (G*H,) projected input that is held; none for that of an input of zeros.

    Returns:
        `fixed_point`, the state: (point, unit); `log10_fixed_point_speed`, -inf where nothing moves, and
        `unstable_directions`, the number of |λ| ≥ 1: (point); `fixed_point_modulus` |λ|, largest first, and
        `fixed_point_angle`, in radians a step: (point, index).

    Reference: Sussillo and Barak 2013, "Opening the Black Box: Low-Dimensional Dynamics in High-Dimensional Recurrent
    Neural Networks", section 3.
    """
    import xarray as xr

    precise = in_double(trace)
    step = _undisturbed(precise, u)
    points, speeds = _distinct(*_settle(step, _visited(precise, starts)))
    if not len(points):
        return {}
    eigenvalues = torch.linalg.eigvals(_jacobian(step, points)[1]).cpu().numpy()
    eigenvalues = np.take_along_axis(eigenvalues, np.argsort(-np.abs(eigenvalues), -1), -1)
    with np.errstate(divide="ignore"):
        speed = np.log10(speeds.cpu().numpy())
    arrays = {
        "fixed_point": (points.cpu().numpy(), "unit", "state at a fixed or slow point"),
        "fixed_point_modulus": (np.abs(eigenvalues), "index", "modulus of an eigenvalue at a fixed or slow point"),
        "fixed_point_angle": (np.angle(eigenvalues), "index", "angle of an eigenvalue at a fixed or slow point"),
        "log10_fixed_point_speed": (speed, None, "log10 speed at a fixed or slow point"),
        "unstable_directions": ((np.abs(eigenvalues) >= 1).sum(1), None, "directions that a point does not hold"),
    }
    coords = {"point": np.arange(len(points)), "unit": np.arange(points.shape[1]), "index": np.arange(points.shape[1])}
    return {
        name: xr.DataArray(values, {d: coords[d] for d in dims}, dims, attrs={"long_name": title})
        for name, (values, other, title) in arrays.items()
        for dims in [("point", other) if other else ("point",)]
    }


def _undisturbed(trace: "Trace", u: Tensor | None) -> Step:
    """The step of the cell, (N, S) to (N, S), under an input that is held."""
    cell, sizes, last = trace.cell, list(trace.cell.state_sizes), trace.start + trace.steps - 1
    w = Weights(trace.weights, training=False)
    if u is None:
        u = cell.project(w, torch.zeros_like(trace.x[:1, :1]), last)[0, 0]
    held = u.to(trace.u)

    def step(s: Tensor) -> Tensor:
        return torch.cat(cell.advance(w, held.expand(len(s), -1), s.split(sizes, -1), last), -1)

    return step


def _visited(trace: "Trace", starts: int) -> Tensor:
    """(N, S) states after steps of the trace, evenly spread."""
    sizes = torch.tensor(trace.sizes)
    states = torch.cat([torch.cat([s[k, :size] for s in trace.after], -1) for k, size in enumerate(sizes.tolist())])
    chosen = torch.linspace(0, len(states) - 1, min(starts, len(states))).round().long()
    return states[chosen].double()


def _jacobian(step: Step, s: Tensor) -> tuple[Tensor, Tensor]:
    """Value F(s), (N, S), and F'(s), (N, S, S)."""
    s = s.detach().requires_grad_()
    with torch.enable_grad():
        after = step(s)
    size = s.shape[1]
    units = torch.eye(size, dtype=s.dtype, device=s.device).unsqueeze(1).expand(size, *s.shape)
    (found,) = torch.autograd.grad(after, s, units, is_grads_batched=True)
    return after.detach(), found.transpose(0, 1)


def _settle(step: Step, s: Tensor) -> tuple[Tensor, Tensor]:
    """Go down from every start, (N, S), to a least speed: points (N, S) and speeds (N,)."""
    damping = s.new_full((len(s), 1, 1), 1e-3)
    eye = torch.eye(s.shape[1], dtype=s.dtype, device=s.device)
    for _ in range(ROUNDS):
        after, J = _jacobian(step, s)
        away, slope = (after - s).unsqueeze(-1), J - eye
        # Where no number comes of a singular system, the trial is no better, and the damping grows.
        down = torch.linalg.solve_ex(slope.mT @ slope + damping * eye, slope.mT @ away).result
        trial = s - down.squeeze(-1)
        with torch.no_grad():
            better = (step(trial) - trial).norm(dim=-1) < away.squeeze(-1).norm(dim=-1)
        damping = (torch.where(better[:, None, None], damping / 10, damping * 10)).clamp(1e-15, 1e15)
        moved = ((trial - s).abs().amax(-1) > SETTLED * (1 + s.abs().amax(-1))) & better
        s = torch.where(better[:, None], trial, s)
        if not (moved | (~better & (damping[:, 0, 0] < 1e15))).any():
            break
    with torch.no_grad():
        return s, 0.5 * (step(s) - s).square().sum(-1)


def _distinct(points: Tensor, speeds: Tensor) -> tuple[Tensor, Tensor]:
    """One of each, slowest first."""
    order = speeds.argsort()
    kept: list[int] = []
    for i in order.tolist():
        near = (points[kept] - points[i]).norm(dim=-1) < SAME * (1 + points[i].norm())
        if not near.any() and speeds[i].isfinite() and points[i].isfinite().all():
            kept.append(i)
    return points[kept], speeds[kept]
