"""What of a sweep may change after its start: it can grow, and nothing that is finished is falsified by that."""

import json
from collections.abc import Callable
from dataclasses import replace

from rnnlab.common.errors import UserError
from rnnlab.common.text import count, listing
from rnnlab.sweep.plan.outline import Outline

GROWING = ("arms.", "tasks.")
"""Settings of which there may be more."""
MOST_NAMES = 8
"""Arms or tasks that are named when they are added; more are counted."""


def check_growth(kept: Outline, given: Outline, source: str, mend: str, retrained: Callable[[], bool]) -> None:
    """Refuse a definition that would falsify what was planned by the one before it.

    More seeds, trials, arms and tasks extend the plan. A sampler whose points are fixed gives a larger plan the same
    ones to begin with, and one that learns goes on from what it knows. Final runs belong to the best point of a whole
    search, so once some are planned the search cannot go on.

    Args:
        kept: the outline of the sweep as it was started.
        given: what is to take its place.
        source: the file that it comes from, for the message.
        mend: how to be rid of what was started, for the message.
        retrained: whether final runs are planned; asked where it matters.

    Raises:
        UserError: in one sentence, which names the first such field.
    """
    if kept.hash == given.hash:
        return
    file = next((path for path, digest in kept.imports.items() if digest not in given.imports.values()), None)
    if file is not None:
        raise UserError(
            f"{file} has changed since sweep '{given.name}' was started, or is imported no more: put it back, choose "
            f"another name for the sweep, or {mend} to start anew"
        )
    why = _smaller(kept, given) or _changed(kept, given)
    if not why and kept.search_trials != given.search_trials and retrained():
        why = (
            f"trials = {given.search_trials} instead of {kept.search_trials} might find other best points than those "
            "that final runs have been planned at"
        )
    if why:
        raise UserError(
            f"{source} has changed since sweep '{given.name}' was started, and not by growing alone: {why}; put it "
            f"back, choose another name for the sweep, or {mend} to start anew"
        )


def grown(kept: Outline, given: Outline) -> Outline:
    """The outline of a sweep that goes on, with how it came to it.

    Args:
        kept: as it was before.
        given: as it is to be, checked, with the present start as its history.
    """
    added = _added(kept, given)
    return replace(given, history=kept.history + tuple(replace(now, added=added) for now in given.history if added))


def _added(kept: Outline, given: Outline) -> str:
    """What comes to the plan, in words; nothing where it is the same."""
    parts = []
    for noun, before, after in (
        ("arm", [key.arm for key in kept.studies], [key.arm for key in given.studies]),
        ("task", [key.task for key in kept.studies], [key.task for key in given.studies]),
    ):
        new = [name for name in dict.fromkeys(after) if name not in before]
        if new:
            named = f"{noun}{'s' * (len(new) > 1)} {listing(new)}"
            parts.append(named if len(new) <= MOST_NAMES else count(len(new), noun))
    numbers = (
        ("fresh seed", kept.seeds, given.seeds),
        ("search trial", kept.search_trials, given.search_trials),
    )
    parts += [f"{count(new, noun)} instead of {old}" for noun, old, new in numbers if new != old]
    return listing(parts)


def _smaller(kept: Outline, given: Outline) -> str:
    """Which of the numbers has become smaller."""
    numbers = (("trials", kept.search_trials, given.search_trials), ("seeds", kept.seeds, given.seeds))
    return next((f"{name} = {new} is less than {old}" for name, old, new in numbers if new < old), "")


def _changed(kept: Outline, given: Outline) -> str:
    """Which setting is another one; the order of what stands inside arms, base and search counts."""
    for name, value in kept.settings.items():
        if name not in given.settings:
            return f"{name} is gone"
        if json.dumps(given.settings[name]) != json.dumps(value):
            return f"{name} = {json.dumps(given.settings[name])} instead of {json.dumps(value)}"
    new = [name for name in given.settings if name not in kept.settings and not name.startswith(GROWING)]
    if new:
        return f"{new[0]} = {json.dumps(given.settings[new[0]])} is new"
    ordered = [[name for name in outline.settings if not name.startswith(GROWING)] for outline in (kept, given)]
    if ordered[0] != ordered[1]:
        moved = next(new for old, new in zip(*ordered, strict=True) if old != new)
        return f"{moved} stands in another place"
    return ""
