"""Swap torch's recurrent layers for their instrumented twins."""

from typing import Any, TypeVar, cast

from torch import nn

from rnnlab.errors import UserError
from rnnlab.layers import GRU, LSTM, RNN, Recurrent

M = TypeVar("M", bound=nn.Module)

TWINS: dict[type[nn.Module], Any] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}


def convert(module: M) -> M:
    """Swap every nn.RNN, nn.LSTM and nn.GRU inside a module, in place.

    The twins hold the very same parameters, so optimisers that were given them keep working.

    Args:
        module: any module.

    Returns:
        The module; its twin if it is itself a recurrent layer.

    Raises:
        UserError: if a layer projects its hidden state (`proj_size`).

    Example:
        >>> from torch import nn
        >>> type(convert(nn.Sequential(nn.LSTM(2, 8)))[0]).__name__
        'LSTM'
    """
    for name, child in module.named_children():
        setattr(module, name, convert(child))
    return cast(M, _twin(module)) if isinstance(module, nn.RNNBase) and type(module) in TWINS else module


def _twin(layer: nn.RNNBase) -> Recurrent:
    if layer.proj_size:
        raise UserError(f"proj_size = {layer.proj_size} has no instrumented twin: use a layer with proj_size = 0")
    options = {"nonlinearity": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
    twin = TWINS[type(layer)](
        layer.input_size,
        layer.hidden_size,
        num_layers=layer.num_layers,
        bias=layer.bias,
        batch_first=layer.batch_first,
        dropout=layer.dropout,
        bidirectional=layer.bidirectional,
        device="meta",
        **options,
    )
    for name, parameter in layer.named_parameters():
        setattr(twin, name, parameter)
    return twin.train(layer.training)
