"""Every prediction that applies to one configuration, before training."""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch

from rnnlab.cells.activations import ActivationName
from rnnlab.cells.vanilla import VanillaCell
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.gradients.decay import fit_decay
from rnnlab.theory.bound import step_bound
from rnnlab.theory.linear import is_scaled_orthogonal, spectral_radius
from rnnlab.theory.mean_field import mean_field_slope
from rnnlab.theory.rest import log10_rest_profile, rest_jacobian
from rnnlab.training.models import Model, build_model

EXAMPLES = 64
"""Sequences of the task from which the variance of the input is taken."""


class Prediction(NamedTuple):
    """What one theory says about the slope of log10 ‖dL/ds_t‖ against lag.

    Attributes:
        name: short name for a legend.
        slope: decades per step of lag, negative where the gradient vanishes; NaN where the theory gives no number.
        kind: exact; a bound that the slope cannot exceed; an estimate under the assumptions; or an asymptote, reached
            at long lags.
        assumptions: what must hold.
        reference: paper and equation.
    """

    name: str
    slope: float
    kind: Literal["exact", "bound", "estimate", "asymptote"]
    assumptions: str
    reference: str


def predict(config: Config) -> list[Prediction]:
    """Collect the predictions for a configuration at its initial weights, those of its seed.

    They are about the forward direction of the top layer and the gradient of a loss at one step. Where an answer is
    due at every step, the profile adds up such losses, which hides the decay of each. Where there is a decoder, they
    are about the encoder.

    Args:
        config: the experiment.

    Returns:
        The predictions, best founded first; none for normalised cells, under zoneout, and for dilated layers.

    Raises:
        UserError: if the task's data are needed and missing.
    """
    cell, model = config.cell, build_model(config)
    if cell.is_normalized or cell.zoneout or model.recurrent.dilation[-1] != 1:
        return []
    found = _vanilla(config, cell, model) if isinstance(cell, VanillaCell) else []
    exact = any(prediction.kind in ("exact", "asymptote") for prediction in found)
    return found if exact or config.model.num_layers > 1 else [_at_rest(config, model), *found]


def _vanilla(config: Config, cell: VanillaCell, model: Model) -> list[Prediction]:
    W = _weight(model, "weight_hh")
    # modrelu starts with biases of zero, where it is the identity
    activation: ActivationName = "identity" if cell.activation == "modrelu" else cell.activation
    bound = step_bound(activation, float(np.linalg.norm(W, 2)), cell.residual)
    found = [
        Prediction(
            "norm bound",
            math.log10(bound),
            "bound",
            "none; below zero it is sufficient for vanishing, above zero it decides nothing",
            "Pascanu et al. 2013, eq. 6 and 7",
        )
    ]
    if activation == "identity":
        found.insert(0, _linear(W if cell.residual is None else np.eye(len(W)) + cell.residual * W))
    elif cell.residual is None and config.init.recurrent != "identity" and config.model.num_layers == 1:
        found.insert(0, _mean_field(config, activation, W, model))
    return found


def _linear(jacobian: np.ndarray) -> Prediction:
    slope = math.log10(spectral_radius(jacobian))
    if is_scaled_orthogonal(jacobian):
        return Prediction(
            "scaled orthogonal", slope, "exact", "linear recurrence, W = ρQ with Q orthogonal", "Saxe et al. 2014"
        )
    return Prediction("spectral radius", slope, "asymptote", "linear recurrence, long lags", "Gelfand's formula")


def _mean_field(config: Config, activation: ActivationName, W: np.ndarray, model: Model) -> Prediction:
    sigma_w = math.sqrt(len(W) * float(np.mean(W**2)))
    return Prediction(
        "mean field",
        mean_field_slope(activation, sigma_w, _sigma_in(config, model)),
        "estimate",
        "wide layer, zero-mean random weights, inputs of steady variance, pre-activations settled",
        "Chen et al. 2018",
    )


def _at_rest(config: Config, model: Model) -> Prediction:
    steps, size = config.task.steps, config.cell.state_sizes[0]
    inputs = _inputs(config, model).mean((0, 1))  # (I,)
    jacobian = rest_jacobian(config.cell, model.recurrent.weights(), inputs)
    profile = log10_rest_profile(jacobian, slice(0, size), slice(0, size), steps)
    return Prediction(
        "linearised at rest",
        fit_decay(profile, np.arange(steps)).slope,
        "estimate",
        "states near where the mean input of the task brings them to rest, fitted over the length of the task",
        "Sussillo and Barak 2013, section 2",
    )


def _sigma_in(config: Config, model: Model) -> float:
    """Root mean square, over units, steps and examples, of what input and biases add to the pre-activation."""
    u = _inputs(config, model).double().numpy() @ _weight(model, "weight_ih").T + _bias(model)  # (T, B, H)
    return float(np.sqrt(np.mean(u**2)))


@torch.no_grad()
def _inputs(config: Config, model: Model) -> torch.Tensor:
    """What the recurrent layers read of sequences of the task, (T, B, I)."""
    seen: list[torch.Tensor] = []
    hook = model.recurrent.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(config.task.sample(make_generator(config.seed, "theory"), EXAMPLES).inputs)
    hook.remove()
    return seen[0]


def _weight(model: Model, name: str) -> np.ndarray:
    """A weight of the top layer, forward direction, in double precision."""
    weight = getattr(model.recurrent, f"{name}_l{model.recurrent.num_layers - 1}")
    return weight.detach().double().numpy()


def _bias(model: Model) -> np.ndarray:
    """The sum of the biases that the equations have; some cells need only one."""
    names = [name for name in model.recurrent.cell.parameter_shapes(1) if name in ("bias_ih", "bias_hh")]
    return sum((_weight(model, name) for name in names), np.zeros(1))
