"""Which packages rnnlab needs, and which are installed."""

import functools
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def needed() -> "list[Requirement]":
    """What rnnlab declares to need on this machine, extras left out."""
    from packaging.requirements import Requirement

    declared = [Requirement(text) for text in metadata.requires("rnnlab") or []]
    return [item for item in declared if item.marker is None or item.marker.evaluate({"extra": ""})]


def fits(requirement: "Requirement") -> bool:
    """Whether a package is installed in a version that is allowed."""
    version = installed(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


@functools.cache
def installed(name: str) -> str | None:
    """Version of an installed package; kept, because its metadata are parsed whole to find it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
