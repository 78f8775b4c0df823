"""What goes into one call of a compiled step, and what comes out."""

import ctypes
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Setting:
    """What one call runs: everything but the tensors.

    Attributes:
        sizes: active examples of every step, if sequences differ in length.
        dilation: steps that a step reaches back.
        start: absolute time of the first step.
        slices: parts that each member's batch is split into.
        threads: threads to use.
    """

    sizes: tuple[int, ...] | None
    dilation: int
    start: int
    slices: int
    threads: int


@dataclass
class Operands:
    """The tensors of one call; members, if any, come before all other dimensions.

    Attributes:
        x: (T, B, I), any strides but the last.
        noise: (T, B, S) each, contiguous.
        statistics: (T, F) each, contiguous: running statistics of the step.
        hoisted: what the step reads of its weights; matrices by any strides, columns contiguous.
        numbers: options of the cell, and what follows from them; those of one member after the other.
        before: (D, B, S) each, contiguous; (B, S) where D is 1.
    """

    x: Tensor
    noise: list[Tensor]
    statistics: list[Tensor]
    hoisted: list[Tensor]
    numbers: "ctypes.Array[ctypes.c_double]"
    before: list[Tensor]


@dataclass
class Kept:
    """What a forward pass leaves for the way back.

    Attributes:
        histories: (T, B, padded S), a state at every step.
        slots: memory of the kept slots, one after the other.
        statistics: (T, F) mean and variance of the batch, by slot.
    """

    histories: list[Tensor]
    slots: Tensor
    statistics: dict[str, Tensor]
