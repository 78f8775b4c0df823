"""What every task declares: its data, loss, score, trivial baseline and what counts as solved."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.common.options import Options

Split = Literal["validation", "test"]
Answers = Literal["last", "every", "decoder"]

IGNORED = -100
"""Stands in integer targets where no answer is due: beyond the end of a short answer."""
VECTOR = 64
"""Bytes that fast instructions take at once. Of fewer classes torch computes a softmax one class at a time."""


class Batch(NamedTuple):
    """Examples side by side, time first.

    Attributes:
        inputs: (T, B, I) float features, or (T, B) int64 symbols.
        targets: (S, B, O) floats or (S, B) int64 classes; S = T where an answer is due at every step,
            S = 1 where it is due at the last, and the longest answer's length where a decoder gives it. Classes
            beyond the end of a shorter answer are `IGNORED`.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def answers(self) -> int:
        """Number of answers due, all examples together: what a mean loss divides by."""
        if self.targets.is_floating_point():
            return self.targets.shape[0] * self.targets.shape[1]
        return int((self.targets != IGNORED).sum())

    def answers_by_member(self, members: int) -> Tensor:
        """(P,) answers due of each of P batches that lie one after the other."""
        if self.targets.is_floating_point():
            return torch.full((members,), self.answers // members, device=self.targets.device)
        return (self.targets != IGNORED).unflatten(1, (members, -1)).sum((0, 2))

    def to(self, device: torch.device) -> "Batch":
        """The same in another place; on its way to a GPU nobody waits for it."""
        if device == self.inputs.device:
            return self
        if device.type != "cuda":
            return Batch(self.inputs.to(device), self.targets.to(device))
        return Batch(*(t.pin_memory().to(device, non_blocking=True) for t in self))

    def chunks(self, size: int) -> Iterator["Batch"]:
        """Cut the batch into batches of at most `size` examples."""
        for inputs, targets in zip(self.inputs.split(size, dim=1), self.targets.split(size, dim=1), strict=True):
            yield Batch(inputs, targets)


class Baseline(NamedTuple):
    """What a predictor without memory reaches.

    Attributes:
        loss: its expected loss.
        score: its expected score.
        formula: where the numbers come from, for readers.
    """

    loss: float
    score: float
    formula: str


class Task(Options, ABC):
    """One long-dependency problem; the configuration value is the task.

    A subclass adds its options as fields and answers the questions below. Every random draw comes from
    the generator handed in, so the same seed gives the same data whatever else runs.
    """

    kind: Any  # narrowed to its own literal by every subclass

    symbols: ClassVar[bool] = False
    """Whether inputs are int64 symbols below `input_size` rather than float features; a decoder's answers likewise."""
    predicts_inputs: ClassVar[bool] = False
    """Whether targets are later inputs, which a network that reads backwards too would simply copy."""
    score_name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    solved_at: ClassVar[float]
    """The score from which on the task counts as solved."""

    @property
    def answers(self) -> Answers:
        """Where answers are due: at the last step, at every step, or from a decoder once everything is read."""
        return "last"

    @property
    @abstractmethod
    def steps(self) -> int:
        """T, the number of time steps the network reads."""

    @property
    def asked_length(self) -> int:
        """The length that a label and tables of lengths name: T, where the options do not count something else."""
        return self.steps

    @property
    def answer_steps(self) -> int:
        """S, the number of steps of the longest answer; a task with a decoder says how many."""
        return self.steps if self.answers == "every" else 1

    @property
    def total_steps(self) -> int:
        """Time steps from the first input to the last answer: T, and with a decoder S more."""
        return self.steps + self.answer_steps if self.answers == "decoder" else self.steps

    @property
    @abstractmethod
    def input_size(self) -> int:
        """I, the number of features a step, or of distinct symbols."""

    @property
    @abstractmethod
    def output_size(self) -> int:
        """O, the number of outputs an answer."""

    @property
    @abstractmethod
    def lags(self) -> tuple[int, ...]:
        """The distances at which a summary of the gradient is worth a look, in steps before the last of
        `total_steps`."""

    @property
    @abstractmethod
    def baseline(self) -> Baseline:
        """The trivial baseline."""

    @property
    @abstractmethod
    def variant(self) -> str:
        """One line that tells this variant of the task from others of the same name."""

    @property
    def label(self) -> str:
        """A short name with the length, for tables and file names: `adding-100`."""
        return f"{self.kind}-{self.asked_length}"

    @property
    def data(self) -> dict[str, str]:
        """What finite data consist of: SHA-256 by file, or version by package; empty where examples are generated."""
        return {}

    @abstractmethod
    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        """Draw training examples."""

    def evaluation(self, split: Split, examples: int, generator: torch.Generator) -> Batch:
        """Return the examples of an evaluation set; fresh draws unless the data set is finite."""
        return self.sample(generator, examples)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of every answer: squared error for floats, cross-entropy for classes.

        Args:
            outputs: (..., S, B, O) from the readout, of one network or of several.
            targets: (..., S, B, O) floats or (..., S, B) classes.

        Returns:
            (..., S, B), zero where no answer is due; the training loss is its sum over the number of answers.
        """
        if targets.is_floating_point():
            return (outputs - targets).square().mean(-1)
        S, B, O = outputs.shape[-3:]
        if S > 1 and O * outputs.element_size() < VECTOR:
            # Few classes do not fill a vector, examples do. Those of one network lie between its own first and last.
            columns, classes = outputs.reshape(-1, S * B, O).transpose(1, 2), targets.reshape(-1, S * B)
        else:
            columns, classes = outputs.reshape(-1, O), targets.flatten()
        losses = F.cross_entropy(columns, classes, ignore_index=IGNORED, reduction="none")
        return losses.view(targets.shape)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Score of every example: its mean loss for floats, the share of right answers for classes.

        Args:
            outputs: (S, B, O) from the readout.
            targets: (S, B, O) floats or (S, B) classes.

        Returns:
            (B,); the score is its mean.
        """
        if targets.is_floating_point():
            return self.losses(outputs, targets).mean(0)
        return (outputs.argmax(-1) == targets).sum(0) / (targets != IGNORED).sum(0)

    def solved(self, score: float) -> bool:
        """Whether a score reaches the solved criterion."""
        return self.reaches(score, self.solved_at)

    def reaches(self, score: float, bound: float) -> bool:
        """Whether a score is as good as a bound."""
        return score >= bound if self.higher_is_better else score <= bound
