"""Swap torch's recurrent layers for their instrumented twins, and back."""

import warnings
from typing import TypeVar, cast

from torch import nn
from torch.nn.utils import parametrize

from rnnlab.common.errors import UserError, check_type
from rnnlab.layers.dropin import GRU, LSTM, RNN, Instrumented
from rnnlab.scan.observer import Observers

M = TypeVar("M", bound=nn.Module)

TWINS: dict[type[nn.Module], type[Instrumented]] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}
ORIGINALS: dict[type[nn.Module], type[nn.Module]] = {twin: original for original, twin in TWINS.items()}


def convert(module: M) -> M:
    """Swap every nn.RNN, nn.LSTM and nn.GRU inside a module for its instrumented twin, in place.

    A layer stays the object that it was and only changes its class: parameters, hooks, parametrisations, the
    training flag and all references to it remain, so optimisers that hold the parameters keep working.
    A subclass may compute something else, so it is left as it is, with a warning; so are nn.RNNCell, LSTMCell and
    GRUCell, which know nothing of the steps before and after.

    Args:
        module: any module, or a recurrent layer itself.

    Returns:
        The same module.

    Raises:
        UserError: if it is no module.

    Example:
        >>> from torch import nn
        >>> type(convert(nn.Sequential(nn.LSTM(2, 8)))[0])
        <class 'rnnlab.layers.dropin.LSTM'>
    """
    check_type("module", module, nn.Module)
    for name, layer in module.named_modules():
        kind = _class_of(layer)
        if kind in TWINS:
            _change_class(layer, TWINS[kind])
            cast(Instrumented, layer).observers = Observers()
        elif isinstance(layer, nn.RNNBase) and not isinstance(layer, Instrumented):
            warnings.warn(
                f"{name or 'the module'} is a {kind.__name__}, a class of its own below torch.nn.RNNBase, and stays as "
                "it is: nothing of it will be recorded; derive it from rnnlab.RNN, LSTM or GRU to change that",
                stacklevel=2,
            )
        elif isinstance(layer, nn.RNNCellBase):
            warnings.warn(
                f"{name or 'the module'} is a {kind.__name__}, a single step that your own loop joins, and stays as it "
                f"is: nothing of it will be recorded; call nn.{kind.__name__.removesuffix('Cell')} in the loop on "
                "sequences of one step, `y, state = layer(x[t : t + 1], state, start=t)`, to change that",
                stacklevel=2,
            )
    return module


def restore(module: M) -> M:
    """Undo `convert`: swap every rnnlab.RNN, LSTM and GRU inside a module for torch's layer, in place.

    Args:
        module: any module, or a recurrent layer itself.

    Returns:
        The same module.

    Raises:
        UserError: if a layer is being recorded, or the module is none.

    Example:
        >>> from torch import nn
        >>> type(restore(convert(nn.Sequential(nn.LSTM(2, 8))))[0])
        <class 'torch.nn.modules.rnn.LSTM'>
    """
    check_type("module", module, nn.Module)
    layers = [layer for layer in module.modules() if _class_of(layer) in ORIGINALS]
    if any(layer.observers for layer in layers):
        raise UserError("a layer of the module is being recorded: restore it after the `with` block")
    for layer in layers:
        _change_class(layer, ORIGINALS[_class_of(layer)])
        del layer.observers
    return module


def _class_of(layer: nn.Module) -> type[nn.Module]:
    """The class of a layer, below the one of its own that torch gives to a parametrised layer."""
    return type(layer).__bases__[0] if parametrize.is_parametrized(layer) else type(layer)


def _change_class(layer: nn.Module, base: type[nn.Module]) -> None:
    """Give a layer another class, and its parametrisations with it."""
    if parametrize.is_parametrized(layer):
        kind = type(layer)
        body = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
        base = type(f"Parametrized{base.__name__}", (base,), body)
    layer.__class__ = base
