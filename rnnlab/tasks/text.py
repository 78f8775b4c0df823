"""What the text tasks share: a row of symbols, cut into parts and read in windows; the next symbol is asked for."""

import hashlib
import math
import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.common.errors import UserError
from rnnlab.tasks.base import Answers, Baseline, Batch, Split, Task
from rnnlab.tasks.data import DataFile, read

SHAKESPEARE = DataFile(
    "tinyshakespeare",
    "input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",),
)
VALIDATION = TEST = 0.05
"""Shares of the text, at its end."""

S = TypeVar("S", list[str], Tensor)


class Text(NamedTuple):
    """One text, cut into contiguous parts.

    Attributes:
        symbols: its distinct symbols in order.
        parts: (N,) places among the symbols, by split.
    """

    symbols: tuple[str, ...]
    parts: dict[str, Tensor]


class NextSymbol(Task):
    """Windows of `length` symbols of a text; at every step, answer the symbol that follows.

    The first nine tenths of the text train, the next twentieth validates and the last one tests. Training windows start
    anywhere, evaluation windows are spread evenly over their part; every window starts from zero states.
    """

    length: int = Field(default=50, ge=1, le=10_000)
    path: str | None = None
    """A text file in UTF-8; none is the plays of Shakespeare."""

    symbols: ClassVar[bool] = True
    predicts_inputs: ClassVar[bool] = True
    higher_is_better: ClassVar[bool] = False
    units: ClassVar[str]
    """What a symbol is, in the plural."""

    @abstractmethod
    def text(self) -> Text:
        """The text, read on first use and kept for the life of the process."""

    @property
    def answers(self) -> Answers:
        return "every"

    @property
    def steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return len(self.text().symbols)

    @property
    def output_size(self) -> int:
        return self.input_size

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length // 4, self.length // 2, self.length - 1}))

    @property
    def baseline(self) -> Baseline:
        parts = self.text().parts
        seen, asked = (parts[name].bincount(minlength=self.input_size).double() for name in ("train", "test"))
        frequencies = (seen + 1) / (seen + 1).sum()  # nothing that is asked for has frequency zero
        loss = -float(asked @ frequencies.log() / asked.sum())
        formula = f"{self.units} by their frequency alone: of the training part, one added to each count"
        return Baseline(loss, loss / math.log(2), formula)

    @property
    def variant(self) -> str:
        text = f"file {self.path}" if self.path else "the plays of Shakespeare"
        return f"{text}, windows of {self.length} {self.units}, 90% to train, 5% to validate, 5% to test"

    @property
    def label(self) -> str:
        stem = re.sub(r"[^A-Za-z0-9._+-]", "_", Path(self.path).stem) if self.path else ""
        return f"{self.kind}{stem and '_'}{stem}-{self.length}"

    @property
    def data(self) -> dict[str, str]:
        if self.path is None:
            return {f"{SHAKESPEARE.dataset}/{SHAKESPEARE.name}": SHAKESPEARE.sha256}
        return {self.path: hashlib.sha256(read_text(self.path).encode()).hexdigest()}

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        part = self._part("train")
        return self._windows(part, torch.randint(len(part) - self.length, (batch_size,), generator=generator))

    def evaluation(self, split: Split, examples: int, generator: torch.Generator) -> Batch:
        part = self._part(split)
        return self._windows(part, torch.linspace(0, len(part) - self.length - 1, examples).long())

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.losses(outputs, targets).mean(0) / math.log(2)

    def _part(self, split: str) -> Tensor:
        part = self.text().parts[split]
        if len(part) <= self.length:
            raise UserError(
                f"task.length = {self.length} is too long for the {split} part of the text, which has {len(part)} "
                f"{self.units}: choose a shorter length or a longer text"
            )
        return part

    def _windows(self, part: Tensor, starts: Tensor) -> Batch:
        window = part[starts + torch.arange(self.length + 1)[:, None]]  # (T + 1, B)
        return Batch(window[:-1], window[1:])


def cut(text: S) -> dict[str, S]:
    """Cut a row of symbols into its contiguous parts, by split."""
    first, second = round(len(text) * (1 - VALIDATION - TEST)), round(len(text) * (1 - TEST))
    return {"train": text[:first], "validation": text[first:second], "test": text[second:]}


def encode(text: Sequence[str], symbols: Iterable[str]) -> Text:
    """Write a row of symbols as numbers.

    Args:
        text: the symbols in their order.
        symbols: those that are told apart, of which the first stands for all others.
    """
    known = tuple(symbols)
    place = {symbol: index for index, symbol in enumerate(known)}
    codes = torch.tensor([place.get(symbol, 0) for symbol in text], dtype=torch.int64)
    return Text(known, cut(codes))


def read_text(path: str | None) -> str:
    """Read a text file in UTF-8, or the plays of Shakespeare.

    Raises:
        UserError: if there is none, or it is no text.
    """
    if path is None:
        return read(SHAKESPEARE).decode()
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"task.path = '{path}' cannot be read ({error.strerror}): name a text file") from None
    except UnicodeDecodeError:
        raise UserError(f"task.path = '{path}' is not a text in UTF-8: convert it or name another file") from None
    if not text:
        raise UserError(f"task.path = '{path}' is empty: name a file with a text in it")
    return text
