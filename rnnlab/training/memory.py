"""What runs take of memory and cache: refuses what cannot fit, before anything is asked for, and tells what did not."""

from rnnlab.common.errors import UserError
from rnnlab.common.machine import usable_memory
from rnnlab.config.config import Config
from rnnlab.config.shape import is_joinable
from rnnlab.training.models import count_parameters

GIB = 2**30
MOST_MEMBERS = 32
CACHE = 64 * 2**20
"""Bytes that runs which train together may take between their way forward and back: beyond, some even get slower."""
MEMORY_SHARE = 8
"""Of the machine's memory all runs that train together may fill so small a part by the least that they take."""
OUTPUTS_OF_THEIR_OWN = 8
"""Outputs that are no state are computed and copied member by member: as if so many times as much were kept."""
SHORT_OF_MEMORY = ("can't allocate memory", "not enough memory", "std::bad_alloc", "out of memory")
"""How torch's allocators say it, in a RuntimeError."""


def least_memory(config: Config) -> dict[str, int]:
    """Bytes that a run takes at the very least, by the field that asks for most of them.

    Counted are weights with their gradients, and a number for every time step of the largest batch and of the sets
    that are evaluated; what lies between takes more.
    """
    size, steps, training = _size(config), config.task.steps, config.training
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


def out_of_memory(error: Exception) -> bool:
    """Whether a run failed for want of memory, which another time may be there; other errors would come again."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in SHORT_OF_MEMORY)
    )


def most_members(config: Config) -> int:
    """How many runs of a shape are worth training together: more gain little (`benchmarks.widths`)."""
    if not is_joinable(config):
        return 1
    each = sum(least_memory(config).values())  # sets that are evaluated, too
    return max(1, min(MOST_MEMBERS, CACHE // kept_bytes(config), usable_memory() // MEMORY_SHARE // each))


def kept_bytes(config: Config) -> int:
    """What one of several runs takes between its way forward and back, optimiser included."""
    model, cell = config.model, config.cell
    step = cell.blocks * cell.hidden_size + sum(cell.state_sizes)  # numbers that are kept of one example
    layers = model.num_layers * (1 + model.bidirectional)
    step *= 1 if cell.emits_state else OUTPUTS_OF_THEIR_OWN
    read = (1 + model.bidirectional) * cell.output_size if config.task.answers == "every" else 0  # by the readout
    kept = (step * layers + read) * config.steps_an_update * config.training.batch_size
    a_weight = 2 + len(config.optimizer.moments)  # itself, its gradient, and what follows from earlier ones
    return (kept + a_weight * count_parameters(config)) * _size(config)


def _size(config: Config) -> int:
    """Bytes of a number."""
    return 8 if config.dtype == "float64" else 4
