"""Optimisers of torch that start without its compiler."""

import inspect
from typing import TypeVar, cast

import torch

O = TypeVar("O", bound=torch.optim.Optimizer)
WRAPPED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def eager(kind: type[O]) -> type[O]:
    """The same optimiser, with the same updates to the bit, but for what its methods tell torch's compiler.

    torch wraps them so that a compiled training loop leaves them alone, and for that imports the whole compiler, which
    takes as long as half of torch itself.

    Args:
        kind: one of torch's optimisers.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in WRAPPED}
    made = type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))})
    return cast(type[O], made)
