"""The recurrent matrix: its eigenvalues and singular values beside the unit circle."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Annulus, Circle
from torch import nn

from rnnlab.common.errors import UserError
from rnnlab.layers.stacks import recurrent_layers
from rnnlab.plots.style import FAINT, INK, axes, dress, legend_below, looks

TITLE = r"Eigenvalues and singular values of $W_{hh}$"


def spectrum(model: nn.Module, layer: int = -1, direction: str = "forward", ax: Axes | None = None) -> Axes:
    """Draw eigenvalues of the recurrent matrix in the complex plane, and its singular values on the real axis.

    Eigenvalues say what many steps of a linear recurrence do, singular values what a single one may do at most: inside
    the unit circle gradients shrink. Every eigenvalue lies in the ring between the smallest and the largest singular
    value, which is shaded for a cell without gates. Each block of a gated cell has a marker of its own.

    Args:
        model: any module that holds rnnlab layers (see `rnnlab.convert`).
        layer: index of the layer, counted through the model, -1 the last.
        direction: `forward` or `reverse`.
        ax: where to draw.

    Returns:
        The axes, of equal scale.

    Raises:
        UserError: if the model has no such layer, or the layer no recurrent matrix of finite numbers.
    """
    blocks = _blocks(model, layer, direction)
    legend = len(blocks) + 2 + (len(blocks) == 1)  # lines: the circle, the blocks, the ring if there is one, the ticks
    ax = ax or axes(6.4, 7.0 + 0.22 * legend)
    ax.add_patch(Circle((0, 0), 1, fill=False, edgecolor=INK, linewidth=1.2))
    ax.plot([], [], "o", markerfacecolor="none", markeredgecolor=INK, markersize=10, label="unit circle")
    reach = 1.0
    for (name, matrix), look in zip(blocks.items(), looks(blocks).values(), strict=True):
        values, gains = np.linalg.eigvals(matrix), np.linalg.svd(matrix, compute_uv=False)
        radius, norm = float(abs(values).max()), float(gains.max())
        reach = max(reach, norm)
        if len(blocks) == 1 and gains.min() < gains.max():
            ring = norm - float(gains.min())
            label = "from the smallest to the largest singular value"
            ax.add_patch(Annulus((0, 0), norm, ring, color=look.color, alpha=0.09, linewidth=0, label=label))
        label = f"{name}: largest |eigenvalue| {radius:.2f}, largest singular value {norm:.2f}"
        ax.plot(
            values.real, values.imag, color=look.color, marker=look.marker, linestyle="none", markersize=5, label=label
        )
        ax.plot(gains, np.zeros_like(gains), color=look.color, marker="|", linestyle="none", markersize=13, alpha=0.8)
    ax.plot([], [], color=FAINT, marker="|", linestyle="none", markersize=9, label="singular values, on the real axis")
    ax.set_xlim(-1.08 * reach, 1.08 * reach)
    ax.set_ylim(-1.08 * reach, 1.08 * reach)
    ax.set_aspect("equal")
    dress(ax, TITLE, "real part", "imaginary part")
    legend_below(ax, ax.get_legend_handles_labels()[0], columns=1)
    return ax


def _blocks(model: nn.Module, layer: int, direction: str) -> dict[str, np.ndarray]:
    """The recurrent matrix of a layer, or of each of its gates, (H, H) by name."""
    stacks, first = recurrent_layers(model)
    every = [(stack, k) for stack in sorted(stacks, key=lambda s: first[id(s)]) for k in range(stack.num_layers)]
    if not -len(every) <= layer < len(every):
        raise UserError(f"layer = {layer} does not exist: choose from 0 to {len(every) - 1}, or -1 for the last")
    stack, number = every[layer]
    if direction not in stack.directions:
        raise UserError(f"direction = '{direction}' does not exist: choose from {', '.join(stack.directions)}")
    weights, cell = stack.weights(number, direction), stack.cell
    found = weights.get("weight_hh")
    matrix = torch.zeros(0) if found is None else found.detach().cpu().double()
    if not matrix.isfinite().all():
        raise UserError(
            f"the recurrent matrix of layer = {layer} holds NaN or infinite weights, which have no eigenvalues: draw "
            "it before the training diverges"
        )
    H = cell.hidden_size
    if matrix.shape == (H, H):
        return {"$W_{hh}$": matrix.numpy()}
    if matrix.shape == (len(cell.gates) * H, H):
        return {gate: block.numpy() for gate, block in zip(cell.gates, matrix.split(H), strict=True)}
    raise UserError(f"cell '{cell.kind}' has no square recurrent matrix, so that there are no eigenvalues to draw")
