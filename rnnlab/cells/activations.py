"""The activation functions a vanilla cell can use, by name."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

ActivationName = Literal[
    "identity",
    "tanh",
    "sigmoid",
    "relu",
    "leaky_relu",
    "elu",
    "softsign",
    "softplus",
    "gelu",
    "hard_tanh",
    "erf",
    "modrelu",
]


def modrelu(z: Tensor, bias: Tensor) -> Tensor:
    """Shrink or grow the modulus by a trained bias and keep the sign.

    Args:
        z: (B, H) pre-activations.
        bias: (H,) trained; negative values make a dead zone around zero.

    Returns:
        (B, H).

    Reference: Arjovsky et al. 2016, "Unitary Evolution Recurrent Neural Networks", eq. 8, on the real line.
    """
    return torch.sign(z) * F.relu(z.abs() + bias)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "softsign": F.softsign,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "hard_tanh": F.hardtanh,
    "erf": torch.erf,
}
"""Every activation that has no weights; modrelu has and is handled by the cell."""

assert set(ACTIVATIONS) | {"modrelu"} == set(get_args(ActivationName))
