"""The private names of torch that rnnlab needs, and what happens where a torch has them no longer.

Nothing is looked up on import. Without these names the compiled kernels stand aside and layers run by the reference
scan; only `rnnlab.record` cannot do without the last one.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rnnlab.common.errors import UserError

if TYPE_CHECKING:
    from torch import fx

TRANSFORMING = "_C._are_functorch_transforms_active"
KERNEL_NAMES = (
    TRANSFORMING,
    "_C._functorch.TransformType.Vmap",
    "_C._functorch.get_interpreter_stack",
    "_C._functorch.is_batchedtensor",
    "_C._functorch.get_unwrapped",
    "_C._get_tracing_state",
    "_C._has_storage",
    "_C._len_torch_dispatch_stack",
    "Tensor._is_zerotensor",
    "Tensor._version",
    "autograd.forward_ad._current_level",
)
"""What tells a tensor that C code may read, below torch."""
GRAPH_TASK = "_C._current_graph_task_id"
KEEPS_GRAPH = "_C._autograd._get_current_graph_task_keep_graph"
END_OF_BACKWARD = "autograd.Variable._execution_engine.queue_callback"


@functools.cache
def missing_for_kernels() -> str | None:
    """The first name that this torch lacks to tell where compiled code may run; none if it has all."""
    return next((f"torch.{name}" for name in KERNEL_NAMES if not _has(name)), None)


def is_transforming() -> bool:
    """Whether vmap, grad or another transform of torch.func is active."""
    return _has(TRANSFORMING) and torch._C._are_functorch_transforms_active()


def is_differentiating_forward() -> bool:
    """Whether tangents are computed beside values."""
    return torch.autograd.forward_ad._current_level >= 0


def is_followed() -> bool:
    """Whether a mode traces, counts or fakes operations."""
    return torch._C._len_torch_dispatch_stack() > 0 or torch._C._get_tracing_state() is not None


def beneath_maps(tensors: Iterable[Tensor]) -> list[Tensor] | None:
    """What lies beneath all levels of `torch.vmap`; none inside another transform of torch.func."""
    functorch = torch._C._functorch  # type: ignore[attr-defined]
    levels = functorch.get_interpreter_stack()
    if not levels:
        return list(tensors)
    if any(level.key() != functorch.TransformType.Vmap for level in levels):
        return None
    beneath = []
    for t in tensors:
        while functorch.is_batchedtensor(t):
            t = functorch.get_unwrapped(t)
        beneath.append(t)
    return beneath


def has_members(tensors: Iterable[Tensor]) -> bool:
    """Whether `torch.vmap` hides a dimension of one of these."""
    return any(map(torch._C._functorch.is_batchedtensor, tensors))  # type: ignore[attr-defined]


def has_storage(t: Tensor) -> bool:
    """Whether a tensor has memory of its own: one of a batch of gradients has none."""
    return torch._C._has_storage(t)


def is_unwritten_zero(t: Tensor) -> bool:
    """Whether a tensor stands for zeros that nobody has written."""
    return t._is_zerotensor()


def version(t: Tensor) -> int:
    """How often a tensor has been written to; an inference tensor does not know."""
    return t._version


def has_hooks(t: Tensor) -> bool:
    """Whether somebody is told of the gradient of a tensor, and may change it."""
    return bool(t._backward_hooks)


def check_end_of_backward() -> None:
    """Refuse a torch that does not tell when a backward pass is over.

    Raises:
        UserError: if it does not.
    """
    if not _has(END_OF_BACKWARD):
        raise UserError(
            f"torch {torch.__version__} has no torch.{END_OF_BACKWARD}, by which rnnlab.record knows where a backward "
            "pass ends: install a version that rnnlab's requirements allow"
        )


def after_backward(function: Callable[[], None]) -> None:
    """Call a function when the backward pass that is running is over; one of several threads may do so."""
    attrgetter(END_OF_BACKWARD)(torch)(function)


def graph_task() -> int | None:
    """Number of the backward pass that is running in this thread; none if this torch does not tell."""
    return torch._C._current_graph_task_id() if _has(GRAPH_TASK) else None


def keeps_graph() -> bool:
    """Whether the backward pass that is running leaves its graph to another one; yes if this torch does not tell."""
    return attrgetter(KEEPS_GRAPH)(torch)() if _has(KEEPS_GRAPH) else True


def _has(name: str) -> bool:
    try:
        attrgetter(name)(torch)
    except AttributeError:
        return False
    return True


def write_down(function: Callable[..., object], arguments: Sequence[object], whole: Iterable[object]) -> "fx.Graph":
    """The operations of torch that a function does, taken apart into elementary ones.

    Args:
        function: of tensors, in lists or not.
        arguments: what it is called with.
        whole: operations that are not taken apart.

    Raises:
        AttributeError: if this torch has no such tracer; whatever the function raises.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    kept = set(whole)
    rules = {operation: rule for operation, rule in _decompositions().items() if operation not in kept}
    return make_fx(lambda *each: function(*each), decomposition_table=rules, tracing_mode="real")(*arguments).graph


@functools.cache
def _decompositions() -> dict[Any, Any]:
    """How torch takes operations apart: it asks every operation that there is, which takes as long as a trace."""
    return dict(attrgetter("_decomp.core_aten_decompositions")(torch)().items())


def is_repeatable(operation: object) -> bool:
    """Whether an operation of a graph gives the same whenever it is done."""
    return isinstance(operation, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded not in operation.tags
