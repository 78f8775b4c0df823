"""Every published result by name: a file in this folder, or a plug-in, that registers one is all it takes."""

from rnnlab.common.registry import Registry
from rnnlab.reproductions.base import Reproduction

REPRODUCTIONS: Registry[Reproduction] = Registry("reproduction", "rnnlab.reproductions")


def register(result: Reproduction) -> Reproduction:
    """Make a result known by its name."""
    REPRODUCTIONS.add(result.name, result, result.experiment.measure)
    return result
