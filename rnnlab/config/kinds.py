"""Sections of a configuration whose type is the one that their `kind` names, looked up when they are read."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SerializeAsAny, SerializerFunctionWrapHandler, WrapSerializer

from rnnlab.cells import CELLS, Cell
from rnnlab.common.errors import nearest
from rnnlab.config.optimizers import OPTIMIZERS, Optimizer
from rnnlab.remedies import REMEDIES, Remedy
from rnnlab.tasks import TASKS, Task

AnyTask = Annotated[SerializeAsAny[Task], BeforeValidator(TASKS.read)]
AnyCell = Annotated[SerializeAsAny[Cell], BeforeValidator(CELLS.read)]
AnyOptimizer = Annotated[SerializeAsAny[Optimizer], BeforeValidator(OPTIMIZERS.read)]


def _with_kinds(remedies: Any) -> Any:
    """Turn options by kind into options that hold their kind; what is null is left out."""
    if not isinstance(remedies, dict):
        return remedies
    for kind, options in remedies.items():
        if kind not in REMEDIES:
            raise ValueError(f"there is no remedy '{kind}': {nearest(str(kind), REMEDIES)}")
        if isinstance(options, dict) and "kind" in options:
            raise ValueError(f"{kind}.kind = {options['kind']!r} is not allowed: its name says the kind, so drop it")
    return {
        kind: {"kind": kind, **options} if isinstance(options, dict) else options
        for kind, options in remedies.items()
        if options is not None
    }


def _by_kind(remedies: tuple[Remedy, ...], dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
    dumped = dump({remedy.kind: remedy for remedy in remedies})
    return {kind: {k: v for k, v in fields.items() if k != "kind"} for kind, fields in dumped.items()}


if TYPE_CHECKING:
    Remedies = tuple[Remedy, ...]
else:  # written as a mapping from kind to options, kept as values in the order written
    Remedies = Annotated[
        dict[str, Annotated[SerializeAsAny[Remedy], BeforeValidator(REMEDIES.read)]],
        BeforeValidator(_with_kinds),
        AfterValidator(lambda remedies: tuple(remedies.values())),
        WrapSerializer(_by_kind),
    ]
