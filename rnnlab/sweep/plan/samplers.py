"""Which points a search tries: the samplers, what each asks of the search space, and the points fixed beforehand."""

from typing import Literal

from rnnlab.common.seeding import derive_seed
from rnnlab.sweep.plan.space import Point, Space, every_point, grid_points, random_point, sobol_points

Sampler = Literal["random", "qmc", "tpe", "cmaes", "gp", "genetic", "nsga2", "grid", "brute_force"]

EXHAUSTIVE = ("grid", "brute_force")
"""Samplers that try everything there is, and so bring their own number of trials."""
MOST_STARTUP_TRIALS = 10


def check_space(sampler: Sampler, space: Space, trials: int | None) -> None:
    """Refuse a search space or a number of trials that the sampler cannot do with.

    Raises:
        ValueError: in one sentence.
    """
    for name, dimension in space.items():
        ranged = dimension.choices is None
        if sampler == "grid" and ranged and dimension.points is None:
            raise ValueError(f"search.{name} needs 'points', the number of values a grid tries")
        if sampler != "grid" and dimension.points is not None:
            raise ValueError(f"search.{name}.points is for sampler = 'grid': drop it")
        if sampler == "brute_force" and ranged and not dimension.integer:
            raise ValueError(
                f"search.{name} is a continuous range, which brute_force cannot exhaust: choose sampler = 'grid' and "
                "give the range 'points', or list 'choices'"
            )
    if sampler in EXHAUSTIVE:
        cells = len(exhaustive_points(sampler, space))
        if trials not in (None, cells):
            raise ValueError(f"trials = {trials}, but the grid has {cells} cells: drop trials or change the search")
    elif trials is None:
        raise ValueError(f"trials is missing: say how many points the {sampler} sampler tries in each arm")
    ranges = [name for name, dimension in space.items() if dimension.choices is None]
    if sampler == "cmaes" and len(ranges) < 2:
        found = f"there is only {ranges[0]}" if ranges else "there is none"
        raise ValueError(
            f"sampler = 'cmaes' adapts the directions between ranges and needs two of them in search, but {found}: "
            "search another range, or choose 'tpe' or 'gp'"
        )


def check_own_space(sampler: Sampler, own: Space, where: str) -> None:
    """Refuse hyperparameters of a single arm that the sampler cannot do with.

    Args:
        sampler: the sampler.
        own: what one arm searches besides.
        where: names it in the message.

    Raises:
        ValueError: in one sentence.
    """
    if own and sampler in EXHAUSTIVE:
        raise ValueError(
            f"{where} is for samplers with a number of trials, and sampler = '{sampler}' would try more points in this "
            "arm than in the others: choose sampler = 'random', or make an arm of each value"
        )
    for name, dimension in own.items():
        if dimension.points is not None:
            raise ValueError(f"{where}.{name}.points is for sampler = 'grid': drop it")


def exhaustive_points(sampler: Sampler, space: Space) -> list[Point]:
    """Every point of a sampler that tries everything, in a fixed order."""
    return grid_points(space) if sampler == "grid" else every_point(space)


def planned_points(sampler: Sampler, space: Space, trials: int, seed: int, task: str) -> list[Point]:
    """The point of every search slot; empty where the sampler is asked when the slot is taken up.

    They belong to seed, task and slot, so that every arm tries the same ones whoever runs it. Samplers that learn
    start from the points of the random sampler.

    Args:
        sampler: the sampler.
        space: what is searched.
        trials: number of slots.
        seed: the sweep's.
        task: the task's label.
    """
    if sampler in EXHAUSTIVE:
        return exhaustive_points(sampler, space)
    if sampler == "qmc":
        return sobol_points(space, trials, derive_seed(seed, "search", task))
    known = trials if sampler == "random" else startup_trials(trials)
    points = [random_point(space, derive_seed(seed, "search", task, slot)) for slot in range(known)]
    return points + [{}] * (trials - known)


def with_own(points: list[Point], own: Space, seed: int, study: str) -> list[Point]:
    """Add what one arm alone searches to the points of every arm, drawn at random from a stream of its own.

    Args:
        points: from `planned_points`; an empty one stays empty.
        own: what the arm searches besides.
        seed: the sweep's.
        study: name of the arm's study.
    """
    return [
        {**point, **random_point(own, derive_seed(seed, "own", study, slot))} if point else point
        for slot, point in enumerate(points)
    ]


MOST_LEARNING = 4
"""Search slots of one shape running, where points are proposed from what others came to: with more, they are worse."""


def learns(sampler: Sampler) -> bool:
    """Whether it proposes points from what others have come to."""
    return sampler not in ("random", "qmc", *EXHAUSTIVE)


def startup_trials(trials: int) -> int:
    """Random trials before a sampler or a pruner trusts what it has learnt: a third of the budget, ten at most."""
    return max(1, min(MOST_STARTUP_TRIALS, trials // 3))


def objectives(sampler: Sampler) -> int:
    """How many numbers the study minimises: the objective, and for `nsga2` the cost too."""
    return 2 if sampler == "nsga2" else 1
