"""What the searches show, as a page whose sentences follow from the numbers."""

import numpy as np
import pandas as pd

from rnnlab.common.text import chance, duration, interval, listing, number
from rnnlab.statistics.comparisons import SIGNIFICANT, Contest, least_p
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.samplers import startup_trials

from .compare import best, best_within, contest, found, means, spent

NARROW = (
    "Where an interval leaves out 0 and the test does not reach 5%, the test decides. A bootstrap over few pairs gives "
    "too narrow an interval (over 10 normally distributed differences it covers their mean about 9 times in 10, not 19 "
    "in 20), while the permutation test, which asks how often the mean would be as far from 0 if each difference could "
    "as well have the other sign, keeps its 5% over any number of pairs."
)
"""Said where that happens."""

INTRO = """# Genetic against random search

Written by `python -m experiments.genetic_search --out docs/results/genetic`; every sentence follows from the numbers
by the rules in `experiments/genetic_search/page.py`, and what every trial came to is in `trials.csv`.

An LSTM on {task}, {updates} updates a trial. Searched are {space} (`experiments/genetic_search/sweep.yaml`).

Each search makes {trials} trials and trains its best point, by validation loss, on {seeds} fresh seeds, whose mean
{score} is what the search has found; lower is better. There are {searches} searches with the sampler `genetic` and as
many with `random`, from the same seeds. Two of one seed begin with the same {startup} points, so they are compared in
pairs. Nothing is pruned and nothing stops early: all searches make the same number of trials and updates.
"""


def page(definition: SweepDefinition, runs: pd.DataFrame) -> str:
    """The whole page as Markdown.

    Args:
        definition: of one of the searches.
        runs: of all of them, from `experiments.genetic_search.searches.search`.
    """
    task = definition.studies[0].config({}, 0).task
    scores = found(runs)
    intro = INTRO.format(
        task=f"`{task.label}`",
        updates=definition.base["training"]["steps"],
        space=listing([f"`{name}`" for name in definition.search]),
        trials=definition.search_trials,
        seeds=definition.seeds,
        score=task.score_name,
        searches=len(scores),
        startup=startup_trials(definition.search_trials),
    )
    by_search = "\n".join(
        f"| {seed} | {number(genetic)} | {number(random)} |" for seed, genetic, random in scores.itertuples()
    )
    return "\n".join(
        [
            intro,
            "## Verdict\n",
            *(f"* {sentence}" for sentence in verdict(runs)),
            "\n![Best validation loss so far against trials](best.png)\n",
            "## What was spent\n",
            _table(spent(runs)),
            "\nMultiply-adds are weights × time steps × examples, summed over all trials; time is that of training, on",
            "a machine that others used too.\n",
            f"## By search\n\nMean {task.score_name} on the fresh seeds of the best point.\n",
            f"| seed | genetic | random |\n| --- | --- | --- |\n{by_search}\n",
        ]
    )


def verdict(runs: pd.DataFrame) -> list[str]:
    """What holds and what does not, in sentences."""
    scores, within, cost = found(runs), best_within(runs), spent(runs)
    ratio_fresh = float(np.median((scores / best(runs)).to_numpy(float)))
    ratio = cost.loc["genetic", "multiply_adds"] / cost.loc["random", "multiply_adds"]
    luck = ": the best of so many trials on one seed is partly a lucky one" if ratio_fresh > 1 else ""
    least = least_p(len(scores), 1)
    fresh, validated, cut = held = [contest(values) for values in (scores, best(runs), within)]
    return [
        f"At equal trials and updates, on fresh seeds: {_judged(fresh)}. Genetic search finds "
        f"{interval(*means(scores)['genetic'])}, random search {interval(*means(scores)['random'])}.",
        "At equal trials and updates, by the best validation loss, which is what a search lowers: "
        f"{_judged(validated)}.",
        f"On fresh seeds the loss of what is found is {number(ratio_fresh, 2)} times the validation loss it was chosen "
        f"for, in the median{luck}.",
        f"By multiply-adds the two are not equal: genetic search spends {ratio:.2f} times those of random "
        "search, as a wider network and a larger batch cost more. Where the dearer search of each pair is cut off at "
        f"the multiply-adds of the cheaper one, by the best validation loss: {_judged(cut)}.",
        f"{len(scores)} pairs can show a difference with p = {chance(least)} at the least"
        f"{'' if least < SIGNIFICANT else ', so they can show none'}; intervals are 95%: of differences by a bootstrap "
        "(BCa) over pairs, of shares by Wilson's formula, of means by Student's t.",
        *([NARROW] if any(map(_disagree, held)) else []),
    ]


def _judged(held: Contest) -> str:
    better = held.difference.value > 0
    name = ("**genetic search is better**" if better else "**random search is better**") if held.p < SIGNIFICANT else ""
    said = name or "**a difference is not shown**"
    won, low, high = held.probability
    return (
        f"{said} (random minus genetic {interval(*held.difference)}, p = {chance(held.p)} by a permutation test; "
        f"genetic wins {won:.0%} [{low:.0%}, {high:.0%}] of the pairs)"
    )


def _disagree(held: Contest) -> bool:
    """Whether the interval leaves out 0 and the test does not reach its level."""
    return held.p >= SIGNIFICANT and not held.difference.low <= 0 <= held.difference.high


def _table(cost: pd.DataFrame) -> str:
    rows = [
        f"| {sampler} | {searches} | {trials:,} | {updates:,.0f} | {number(products)} | {duration(seconds)} |"
        for sampler, searches, trials, updates, products, seconds in cost.itertuples()
    ]
    header = "| sampler | searches | trials | updates | multiply-adds | time |\n| --- | --- | --- | --- | --- | --- |"
    return "\n".join([header, *rows])
