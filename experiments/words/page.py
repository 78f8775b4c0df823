"""What the vectors of words show, as a page whose sentences follow from the numbers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rnnlab.common.text import chance, interval, markdown_table, number
from rnnlab.config.config import Config
from rnnlab.statistics.comparisons import SIGNIFICANT, paired_contest
from rnnlab.statistics.intervals import student_mean
from rnnlab.statistics.similarity import neighbours

from .lists import ASKED, KINDS, kinds
from .measure import VECTORS, Trained, analogies_table, kinds_table

INTRO = """# Vectors of words

Written by `python -m experiments.words --out docs/results/words`; every number and sentence follows from what was run
by the rules in `experiments/words`.

A network reads the plays of Shakespeare: windows of {length} words, the next one asked for at every step
(`experiments/words.yaml`, {updates} updates of {batch} windows). Words that occur fewer than {least} times in the
first nine tenths are one word, `<unk>`; the vocabulary has {size}. The first nine tenths train, the next twentieth
validates, the last one tests. Of each word the network learns two vectors: one by which it is read (*input*,
{embedding} numbers, a row of the embedding), and one by which it is foretold (*output*, {hidden} numbers, a row of
the readout). The learning rate of each cell is the best of {rates} by validation on a seed of its own ({chosen});
numbers are of {seeds} fresh seeds, with 95% intervals.
"""


@dataclass(frozen=True)
class Study:
    """What was run.

    Attributes:
        config: of the first fresh run.
        rates: the chosen learning rate, by cell.
        losses: bits per word on the validation part of the seed on which rates are chosen, by cell and rate.
        runs: those of fresh seeds, by cell, the same seeds in each.
    """

    config: Config
    rates: dict[str, float]
    losses: dict[tuple[str, float], float]
    runs: dict[str, list[Trained]]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The vocabulary."""
        return self.config.task.text().symbols  # type: ignore[attr-defined]

    @property
    def first(self) -> Trained:
        """The run whose words are shown."""
        return next(iter(self.runs.values()))[0]


def page(study: Study) -> str:
    """The whole page as Markdown."""
    config, task = study.config, study.config.task
    first, seed = next(iter(study.runs)), config.seed
    intro = INTRO.format(
        length=task.steps,
        updates=f"{config.training.steps:,}",
        batch=config.training.batch_size,
        least=task.min_count,  # type: ignore[attr-defined]
        size=f"{len(study.symbols):,}",
        embedding=config.model.embedding_size,
        hidden=config.cell.hidden_size,
        rates=", ".join(f"{rate:g}" for _, rate in list(study.losses)[: len(study.losses) // len(study.runs)]),
        chosen=", ".join(f"{cell} {rate:g}" for cell, rate in study.rates.items()),
        seeds=len(study.runs[first]),
    )
    return "\n".join(
        [
            intro,
            f"## How well the next word is foretold\n\n{_scores(study)}\n",
            f"## Who is near whom\n\n{_kinds(study)}\n",
            f"Nearest by cosine, {first}, seed {seed}:\n\n{_neighbours(study)}\n",
            "The same run by t-SNE: near means alike, distances between far ones mean nothing.\n",
            *(f"{name.capitalize()} vectors:\n\n![{name} vectors by t-SNE]({name}.png)\n" for name in VECTORS),
            f"## Does a difference carry over?\n\n{_analogies(study)}\n",
        ]
    )


def _scores(study: Study) -> str:
    """Bits and perplexity by cell, the baseline, and whether the cells differ."""
    task = study.config.task
    base = task.baseline.score
    rows = [("words by their frequency alone", number(base), number(2**base))]
    for cell, runs in study.runs.items():
        bits = student_mean([run.score for run in runs])
        rows.append((cell, interval(*bits), interval(*(2**b for b in bits))))
    shown = _between([np.array([-run.score for run in runs]) for runs in study.runs.values()], list(study.runs))
    return (
        markdown_table([["predictor", "bits per word", "perplexity"], *rows])
        + f"\n\nPerplexity is 2 to the power of the bits. Between the cells, in bits: {shown}."
    )


def _between(goodness: list[np.ndarray], cells: list[str]) -> str:
    """Which of two cells is better, paired by seed."""
    one, other = goodness
    held = paired_contest(one, other, np.random.default_rng(0))
    first, second = cells
    better = first if held.difference.value > 0 else second
    said = f"{better} is better" if held.p < SIGNIFICANT else "a difference is not shown"
    return (
        f"{said} ({first} by {interval(*held.difference)} better than {second}, p = {chance(held.p)}, paired by seed)"
    )


def _kinds(study: Study) -> str:
    """How often a word and its nearest neighbour are of one kind."""
    tables = {cell: kinds_table(runs, study.symbols) for cell, runs in study.runs.items()}
    rows = []
    for cell, table in tables.items():
        for name, group in table.groupby("vectors", sort=False):
            start, trained = (student_mean(group[when]) for when in ("start", "trained"))
            rows.append((cell, str(name), interval(*start), interval(*trained)))
    lot = number(float(next(iter(tables.values()))["chance"].iloc[0]))
    listed = sum(map(len, kinds().values()))
    text = (
        f"{listed} words were sorted into {len(KINDS)} kinds by hand ({', '.join(KINDS)}; "
        f"`experiments/words/lists.py`). Share of them whose nearest neighbour among the {listed} is of their own "
        f"kind; by lot {lot}."
    )
    trained = {
        name: [t.loc[t["vectors"] == name, "trained"].to_numpy(float) for t in tables.values()] for name in VECTORS
    }
    between = "\n".join(f"* {name}: {_between(shares, list(tables))}." for name, shares in trained.items())
    drawn = markdown_table([["cell", "vectors", "before training", "after"], *rows])
    return f"{text}\n\n{drawn}\n\nBetween the cells, after training:\n\n{between}"


def _neighbours(study: Study) -> str:
    rows = []
    tables = {name: neighbours(study.first.vectors[name], study.symbols, ASKED) for name in VECTORS}
    for word in ASKED:
        shown = []
        for table in tables.values():
            near = table.loc[table["symbol"] == word]
            shown.append(", ".join(f"{n} {c:.2f}" for n, c in zip(near["neighbour"], near["cosine"], strict=True)))
        rows.append((word, *shown))
    return markdown_table([["word", *VECTORS], *rows])


def _analogies(study: Study) -> str:
    """Share of questions answered right, with the difference of vectors and without."""
    rows, totals = [], {}
    for cell, runs in study.runs.items():
        table = analogies_table(runs, study.symbols)
        table = table.assign(carried=table["rank"] == 1, plain=table["plain_rank"] == 1)
        for name, group in table.groupby("vectors", sort=False):
            for relation, asked in [*group.groupby("relation", sort=False), ("all", group)]:
                right, plain = (student_mean(asked.groupby("run")[column].mean()) for column in ("carried", "plain"))
                rank = asked["rank"].median()
                count = len(asked) // len(runs)
                rows.append((cell, name, relation, str(count), interval(*right), interval(*plain), f"{rank:.0f}"))
                if relation == "all":
                    totals[f"{cell}, {name}"] = (asked.groupby("run")[["carried", "plain"]].sum(), count)
    sentences = "\n".join(f"* {_carried(who, solved, asked)}" for who, (solved, asked) in totals.items())
    text = (
        "*he : him* asks: as *him* is to *he*, so what is to *she*? Every two pairs of a relation make a question, and "
        "the answer is the word nearest to him - he + she, all of length one. The three given words are no answers; "
        "*plain* is the share that the neighbour of the third word alone gets right, without any difference, and one "
        f"in {len(study.symbols) - 3} is right by lot. *Rank* is the median place of the right answer."
    )
    header = ["cell", "vectors", "relation", "questions", "right", "plain", "rank"]
    return f"{text}\n\n{markdown_table([header, *rows])}\n\n{sentences}"


def _carried(who: str, solved: pd.DataFrame, asked: int) -> str:
    """Whether the difference adds anything, and whether most questions fail."""
    with_it, without = (solved[column].to_numpy(float) for column in ("carried", "plain"))
    held = paired_contest(with_it, without, np.random.default_rng(0))
    helps = "the difference helps" if held.difference.value > 0 else "the difference harms"
    said = helps if held.p < SIGNIFICANT else "that the difference helps is not shown"
    most = "most questions fail" if with_it.mean() < asked / 2 else "most questions are answered"
    more = f"{interval(*held.difference)} of {asked} more right than plain, p = {chance(held.p)}"
    return f"{who}: {most}, and {said} ({more})."
