"""Sections of a configuration whose type is the one that their `kind` names, looked up when they are read."""

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializationInfo, SerializeAsAny, TypeAdapter

from rnnlab.cells import CELLS, Cell
from rnnlab.common.errors import nearest
from rnnlab.config.optimizers import OPTIMIZERS, Optimizer
from rnnlab.remedies import REMEDIES, Remedy
from rnnlab.tasks import TASKS, Task

AnyTask = Annotated[SerializeAsAny[Task], BeforeValidator(TASKS.read)]
AnyCell = Annotated[SerializeAsAny[Cell], BeforeValidator(CELLS.read)]
AnyOptimizer = Annotated[SerializeAsAny[Optimizer], BeforeValidator(OPTIMIZERS.read)]
BY_KIND = TypeAdapter(dict[str, Annotated[Remedy, BeforeValidator(REMEDIES.read)]])
"""Remedies as they are written; a mistake is named by its place in the mapping."""


def read_remedies(written: Any) -> Any:
    """Remedies from a mapping of kinds to options, in the order written; what is null is left out.

    What is no mapping is left to the type of the field.
    """
    if not isinstance(written, dict):
        return written
    with_kinds = {}
    for kind, options in written.items():
        if kind not in REMEDIES:
            raise ValueError(f"there is no remedy '{kind}': {nearest(str(kind), REMEDIES)}")
        if isinstance(options, dict) and "kind" in options:
            raise ValueError(f"{kind}.kind = {options['kind']!r} is not allowed: its name says the kind, so drop it")
        if options is not None:
            with_kinds[kind] = {"kind": kind, **options} if isinstance(options, dict) else options
    return tuple(BY_KIND.validate_python(with_kinds).values())


def dump_remedies(remedies: tuple[Remedy, ...], how: SerializationInfo) -> dict[str, dict[str, Any]]:
    """The mapping that `read_remedies` reads, as far as it is asked for."""
    only = {"exclude_unset": how.exclude_unset, "exclude_defaults": how.exclude_defaults, "exclude": {"kind"}}
    return {remedy.kind: remedy.model_dump(mode=how.mode, **only) for remedy in remedies}
