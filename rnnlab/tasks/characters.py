"""Characters: read a text letter by letter, predict the next one."""

import hashlib
import math
import re
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.common.errors import UserError
from rnnlab.tasks.base import Answers, Baseline, Batch, Split, Task
from rnnlab.tasks.data import DataFile, read
from rnnlab.tasks.registry import register

SHAKESPEARE = DataFile(
    "tinyshakespeare",
    "input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",),
)
VALIDATION = TEST = 0.05
"""Shares of the text, at its end."""


class Text(NamedTuple):
    """One text, cut into contiguous parts.

    Attributes:
        alphabet: its distinct characters in order.
        parts: (N,) indices into the alphabet, by split.
    """

    alphabet: str
    parts: dict[str, Tensor]


@register
class Characters(Task):
    """Windows of `length` characters of a text; at every step, answer the character that follows.

    The first nine tenths of the text train, the next twentieth validates and the last one tests. Training windows start
    anywhere, evaluation windows are spread evenly over their part; every window starts from zero states. The score is
    the mean number of bits for each character, 2 to its power the perplexity. Solved at 2.5 bits: on the plays
    of Shakespeare, smoothed counts of what follows the last one, two, three and four characters reach 3.60, 3.04,
    2.68 and 2.55.

    Reference: Karpathy et al. 2016, "Visualizing and Understanding Recurrent Networks" (the text is that of the first
    author's char-rnn).
    """

    kind: Literal["characters"] = "characters"
    length: int = Field(default=50, ge=1, le=10_000)
    path: str | None = None
    """A text file in UTF-8; none is the plays of Shakespeare."""

    symbols: ClassVar[bool] = True
    predicts_inputs: ClassVar[bool] = True
    score_name: ClassVar[str] = "bits_per_character"
    higher_is_better: ClassVar[bool] = False
    solved_at: ClassVar[float] = 2.5

    @property
    def answers(self) -> Answers:
        return "every"

    @property
    def steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return len(self.text().alphabet)

    @property
    def output_size(self) -> int:
        return self.input_size

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length // 4, self.length // 2, self.length - 1}))

    @property
    def baseline(self) -> Baseline:
        counts = self.text().parts["test"].bincount(minlength=self.input_size).double()
        entropy = float(torch.special.entr(counts / counts.sum()).sum())
        return Baseline(
            entropy, entropy / math.log(2), "characters by their frequency alone: entropy of those of the test part"
        )

    @property
    def variant(self) -> str:
        text = f"file {self.path}" if self.path else "the plays of Shakespeare"
        return f"{text}, windows of {self.length} characters, 90% to train, 5% to validate, 5% to test"

    @property
    def label(self) -> str:
        stem = re.sub(r"[^A-Za-z0-9._+-]", "_", Path(self.path).stem) if self.path else ""
        return f"{self.kind}{stem and '_'}{stem}-{self.length}"

    @property
    def data(self) -> dict[str, str]:
        if self.path is None:
            return {f"{SHAKESPEARE.dataset}/{SHAKESPEARE.name}": SHAKESPEARE.sha256}
        return {self.path: hashlib.sha256(_read(self.path).encode()).hexdigest()}

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        part = self._part("train")
        return self._windows(part, torch.randint(len(part) - self.length, (batch_size,), generator=generator))

    def evaluation(self, split: Split, examples: int, generator: torch.Generator) -> Batch:
        part = self._part(split)
        return self._windows(part, torch.linspace(0, len(part) - self.length - 1, examples).long())

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.losses(outputs, targets).mean(0) / math.log(2)

    def text(self) -> Text:
        """The text, read on first use and kept for the life of the process."""
        return _load(self.path)

    def _part(self, split: str) -> Tensor:
        part = self.text().parts[split]
        if len(part) <= self.length:
            raise UserError(
                f"task.length = {self.length} is too long for the {split} part of the text, which has {len(part)} "
                "characters: choose a shorter length or a longer text"
            )
        return part

    def _windows(self, part: Tensor, starts: Tensor) -> Batch:
        window = part[starts + torch.arange(self.length + 1)[:, None]]  # (T + 1, B)
        return Batch(window[:-1], window[1:])


@cache
def _load(path: str | None) -> Text:
    text = read(SHAKESPEARE).decode() if path is None else _read(path)
    alphabet = "".join(sorted(set(text)))
    place = {character: index for index, character in enumerate(alphabet)}
    codes = torch.tensor([place[character] for character in text], dtype=torch.int64)
    first, second = round(len(codes) * (1 - VALIDATION - TEST)), round(len(codes) * (1 - TEST))
    return Text(alphabet, {"train": codes[:first], "validation": codes[first:second], "test": codes[second:]})


def _read(path: str) -> str:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"task.path = '{path}' cannot be read ({error.strerror}): name a text file") from None
    except UnicodeDecodeError:
        raise UserError(f"task.path = '{path}' is not a text in UTF-8: convert it or name another file") from None
    if not text:
        raise UserError(f"task.path = '{path}' is empty: name a file with a text in it")
    return text
