"""Arms of equal size: the hidden size at which an arm has about as many trained parameters as the base."""

from collections.abc import Sequence

from rnnlab.config.config import Config
from rnnlab.training.models import count_parameters

WIDTH = "cell.hidden_size"


def matching_width(config: Config, base: Config) -> int:
    """The hidden size that brings an arm's number of trained parameters closest to the base's, the smaller of two.

    Args:
        config: the arm, at any hidden size.
        base: the configuration whose number is to be met.
    """
    target = count_parameters(base)
    above = 1
    while _parameters(config, above) <= target:
        above *= 2
    below = above // 2  # 0 is no width, and cannot win below
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if _parameters(config, middle) <= target else (below, middle)
    return min((width for width in (below, above) if width), key=lambda width: abs(_parameters(config, width) - target))


def check_same_size(configs: Sequence[Config], what: str) -> None:
    """Refuse a search that changes the number of trained parameters, which a width chosen beforehand cannot follow.

    Args:
        configs: points of the search of one arm on one task.
        what: names it in the message.

    Raises:
        ValueError: if their numbers differ.
    """
    numbers = sorted({count_parameters(config) for config in configs})
    if len(numbers) > 1:
        raise ValueError(
            f"{what} leads to {numbers[0]:,} to {numbers[-1]:,} parameters, and equal = 'parameters' asks for one "
            "number: make an arm of each size instead of searching it"
        )


def _parameters(config: Config, width: int) -> int:
    # A copy skips validation: a width on the way may be one that the cell refuses, such as below its projection.
    return count_parameters(config.model_copy(update={"cell": config.cell.model_copy(update={"hidden_size": width})}))
