"""The recurrent layers of a model."""

from torch import nn

from rnnlab.common.errors import UserError, check_type
from rnnlab.layers.recurrent import Recurrent


def recurrent_layers(model: nn.Module) -> tuple[list[Recurrent], dict[int, int]]:
    """Find the recurrent layers of a model.

    Args:
        model: any module.

    Returns:
        Its stacks of layers, and for the `id` of each the number of its first layer, counted through the model.

    Raises:
        UserError: if there are none, or the model is no module.
    """
    check_type("model", model, nn.Module)
    stacks = [module for module in model.modules() if isinstance(module, Recurrent)]
    if not stacks:
        raise UserError(
            f"{type(model).__name__} holds no rnnlab layer to record: swap its torch layers with rnnlab.convert"
        )
    first, count = {}, 0
    for stack in stacks:
        first[id(stack)] = count
        count += stack.num_layers
    return stacks, first
