"""Refuses what cannot fit into memory, before anything is asked for."""

from rnnlab.common.errors import UserError
from rnnlab.common.machine import usable_memory
from rnnlab.config.config import Config
from rnnlab.training.models import count_parameters

GIB = 2**30


def least_memory(config: Config) -> dict[str, int]:
    """Bytes that a run takes at the very least, by the field that asks for most of them.

    Counted are weights with their gradients, and a number for every time step of the largest batch and of the sets
    that are evaluated; what lies between takes more.
    """
    size, steps, training = 8 if config.dtype == "float64" else 4, config.task.steps, config.training
    return {
        "cell.hidden_size": 2 * size * count_parameters(config),
        "training.batch_size": size * steps * training.batch_size,
        "training.eval_examples": size * steps * training.eval_examples,
        "training.test_examples": size * steps * training.test_examples,
    }


def check_memory(config: Config) -> None:
    """Refuse a run that this machine has not got the memory for.

    Raises:
        UserError: if it needs more than there is; names the field that asks for most.
    """
    parts, there = least_memory(config), usable_memory()
    if sum(parts.values()) <= there:
        return
    field = max(parts, key=parts.__getitem__)
    section, name = field.split(".")
    raise UserError(
        f"{field} = {getattr(getattr(config, section), name)} would take {parts[field] / GIB:,.0f} GiB of memory at "
        f"least, and this machine has {there / GIB:,.0f} GiB: lower it"
    )
