"""Hold the searches of two samplers against each other, seed by seed."""

import numpy as np
import pandas as pd

from rnnlab.statistics.comparisons import Contest, paired_contest
from rnnlab.statistics.intervals import Interval, student_mean

from .searches import SAMPLERS


def found(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean score on fresh seeds of the best point of each search: a row a seed, a column a sampler."""
    return runs.loc[runs["phase"] == "final"].pivot_table(index="seed", columns="sampler", values="score")


def best_so_far(runs: pd.DataFrame) -> pd.DataFrame:
    """The least objective up to each search trial: columns sampler, seed, trial, best, cost (of all up to it)."""
    trials = runs.loc[runs["phase"] == "search"].sort_values(["sampler", "seed", "trial"])
    groups = trials.groupby(["sampler", "seed"])
    return trials.assign(best=groups["objective"].cummin(), cost=groups["cost"].cumsum())[
        ["sampler", "seed", "trial", "best", "cost"]
    ]


def best(runs: pd.DataFrame) -> pd.DataFrame:
    """The least objective of each search, as `found`."""
    return best_so_far(runs).pivot_table(index="seed", columns="sampler", values="best", aggfunc="min")


def best_within(runs: pd.DataFrame) -> pd.DataFrame:
    """The least objective of each search within the multiply-adds of the cheaper one of its seed, as `found`."""
    path = best_so_far(runs)
    limit = path.pivot_table(index="seed", columns="sampler", values="cost", aggfunc="max").min(axis=1)
    within = path["cost"].to_numpy() <= limit.loc[path["seed"]].to_numpy()
    return path.loc[within].pivot_table(index="seed", columns="sampler", values="best", aggfunc="min")


def spent(runs: pd.DataFrame) -> pd.DataFrame:
    """What the searches of each sampler took, a row each: searches, trials, updates, multiply_adds, seconds."""
    trials = runs.loc[runs["phase"] == "search"]
    groups = trials.groupby("sampler")
    return pd.DataFrame(
        {
            "searches": groups["seed"].nunique(),
            "trials": groups.size(),
            "updates": groups["steps"].sum(),
            "multiply_adds": groups["cost"].sum(),
            "seconds": groups["seconds"].sum(),
        }
    ).loc[list(SAMPLERS)]


def contest(values: pd.DataFrame) -> Contest:
    """Does the first sampler find lower values than the second? Paired by the seed of the search."""
    one, other = (-values[sampler].to_numpy(float) for sampler in SAMPLERS)
    return paired_contest(one, other, np.random.default_rng(0))


def means(values: pd.DataFrame) -> dict[str, Interval]:
    """The mean over searches by sampler, with its interval."""
    return {sampler: student_mean(values[sampler]) for sampler in SAMPLERS}
