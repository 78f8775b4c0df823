"""Streams: a long sequence that is read piece by piece, an update each, with the state carried on."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from rnnlab.tasks import Batch


@dataclass
class Stream:
    """One batch of long sequences, and how far it has been read.

    Attributes:
        batch: all of it.
        size: steps of a piece.
        read: steps that have been read.
        states: those after them; none before the first.
    """

    batch: Batch
    size: int
    read: int = 0
    states: Any = None

    @classmethod
    def restored(cls, state: dict[str, Any], device: torch.device) -> Self:
        """From what a checkpoint has kept of one."""
        states = state["states"]
        moved = tuple(s.to(device) for s in states) if isinstance(states, tuple) else states
        moved = moved.to(device) if isinstance(moved, Tensor) else moved
        return cls(**{**state, "batch": Batch(*state["batch"]).to(device), "states": moved})

    @property
    def is_over(self) -> bool:
        """Whether there is no further piece of full size."""
        return self.read + self.size > len(self.batch.inputs)

    def piece(self) -> Batch:
        """The next steps."""
        stop = self.read + self.size
        return Batch(self.batch.inputs[self.read : stop], self.batch.targets[self.read : stop])

    def go_on(self, states: Any) -> None:
        """Note that the piece was read, and the states that it has left."""
        self.read, self.states = self.read + self.size, states
