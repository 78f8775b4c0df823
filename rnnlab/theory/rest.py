"""A cell linearised where it comes to rest: one Jacobian for every step, every path through the step included."""

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights

SETTLING_STEPS = 200
"""Steps after which the state is taken to have settled under a constant input."""


def rest_jacobian(cell: Cell, w: Weights, x: Tensor) -> np.ndarray:
    """Jacobian of one step at the state that a constant input leads to.

    Args:
        cell: the equations.
        w: a layer's weights.
        x: (I,) the input.

    Returns:
        (N, N) derivative of all new states, one after the other, in all old ones; N is the sum of their sizes.

    Reference: Sussillo and Barak 2013, "Opening the Black Box: Low-Dimensional Dynamics in High-Dimensional Recurrent
    Neural Networks", section 2 (linearisation about a fixed point).
    """
    (u,) = cell.project(w, x.expand(1, 1, -1))
    sizes = list(cell.state_sizes)

    def step(joined: Tensor) -> Tensor:
        states: States = tuple(joined.unsqueeze(0).split(sizes, -1))
        return torch.cat(cell.step(w, u, states, 0), -1).squeeze(0)

    with torch.no_grad():
        rest = torch.cat(cell.initial_states(1, x), -1).squeeze(0)
        for _ in range(SETTLING_STEPS):
            rest = step(rest)
    jacobian = torch.autograd.functional.jacobian(step, rest)
    return jacobian.detach().double().numpy()  # type: ignore[union-attr]


def log10_rest_profile(jacobian: np.ndarray, entered: slice, state: slice, steps: int) -> np.ndarray:
    """Predict a profile from the same Jacobian J at every step.

    A gradient that enters one state at random has, k steps earlier, a root mean square norm of ‖(J^k) between the two
    states‖_F / √(units of the first).

    Args:
        jacobian: (N, N) from `rest_jacobian`.
        entered: the rows of the state that the loss reads.
        state: the columns of the state that is looked at.
        steps: K.

    Returns:
        (K,) log10 of the norm at lags 0 to K - 1; minus infinity where nothing arrives.
    """
    rows, decades, profile = np.eye(len(jacobian))[entered], 0.0, []
    units = len(rows)
    for _ in range(steps):
        with np.errstate(divide="ignore"):
            profile.append(decades + np.log10(np.linalg.norm(rows[:, state]) / np.sqrt(units)))
        rows = rows @ jacobian
        size = np.linalg.norm(rows)
        if size > 0:
            rows, decades = rows / size, decades + np.log10(size)
    return np.array(profile)
