"""Words: read a text word by word, predict the next one."""

import re
from collections import Counter
from functools import cache
from typing import ClassVar, Literal

from pydantic import Field

from rnnlab.common.errors import UserError
from rnnlab.tasks.registry import register
from rnnlab.tasks.text import NextSymbol, Text, cut, encode, read_text

UNKNOWN = "<unk>"
"""Stands for every word that is too rare to learn, first in the vocabulary."""
WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
TIMES = 20


@register
class Words(NextSymbol):
    """Windows of `length` words of a text; at every step, answer the word that follows.

    Capitals are written small, a sign of punctuation is a word, and line breaks are none. The vocabulary is what occurs
    at least `min_count` times in the training part, most frequent first after `<unk>`, which stands for the rest and is
    asked for like any other word: scores compare at one `min_count` alone.

    The score is the mean number of bits for each word, 2 to its power the perplexity; a mean of perplexities of
    windows would be another number. Solved at 5.8 bits, a perplexity of 56: on the plays of Shakespeare with words that
    occur 20 times, smoothed counts of what follows the last one and two words reach 5.84 and 5.87. For another text or
    vocabulary `training.stop_at` is a criterion of one's own.

    Reference: Bengio et al. 2003, "A Neural Probabilistic Language Model".
    """

    kind: Literal["words"] = "words"
    length: int = Field(default=20, ge=1, le=10_000)
    min_count: int = Field(default=TIMES, ge=1)
    """Words that the training part holds fewer times are one word, `<unk>`."""

    units: ClassVar[str] = "words"
    score_name: ClassVar[str] = "bits_per_word"
    solved_at: ClassVar[float] = 5.8

    @property
    def variant(self) -> str:
        return f"{super().variant}, a vocabulary of words that occur {self.min_count} times or more"

    @property
    def label(self) -> str:
        kind, _, length = super().label.rpartition("-")
        return f"{kind}-{length}" if self.min_count == TIMES else f"{kind}_{self.min_count}times-{length}"

    def text(self) -> Text:
        return _load(self.path, self.min_count)


def split(text: str) -> list[str]:
    """Cut a text into words and signs of punctuation, all in small letters."""
    return WORD.findall(text.lower())


@cache
def _load(path: str | None, min_count: int) -> Text:
    words = split(read_text(path))
    counts = Counter(cut(words)["train"])
    often = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
    if not often:
        raise UserError(
            f"task.min_count = {min_count} leaves no word: the most frequent one of the training part occurs "
            f"{max(counts.values(), default=0)} times; choose a lower number or a longer text"
        )
    return encode(words, [UNKNOWN, *often])
