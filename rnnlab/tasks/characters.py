"""Characters: read a text letter by letter, predict the next one."""

from functools import cache
from typing import ClassVar, Literal

from rnnlab.tasks.registry import register
from rnnlab.tasks.text import NextSymbol, Text, encode, read_text


@register
class Characters(NextSymbol):
    """Windows of `length` characters of a text; at every step, answer the character that follows.

    The score is the mean number of bits for each character, 2 to its power the perplexity. Solved at 2.5 bits: on the
    plays of Shakespeare, smoothed counts of what follows the last one, two, three and four characters reach 3.60, 3.04,
    2.68 and 2.55.

    Reference: Karpathy et al. 2016, "Visualizing and Understanding Recurrent Networks" (the text is that of the first
    author's char-rnn).
    """

    kind: Literal["characters"] = "characters"

    units: ClassVar[str] = "characters"
    score_name: ClassVar[str] = "bits_per_character"
    solved_at: ClassVar[float] = 2.5

    def text(self) -> Text:
        return _load(self.path)


@cache
def _load(path: str | None) -> Text:
    text = read_text(path)
    return encode(text, sorted(set(text)))
