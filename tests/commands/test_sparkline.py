"""A profile in one line: a character for a step, the scale stated, what was not measured left blank."""

import numpy as np
import pytest

from rnnlab.commands.sparkline import BLOCKS, sparkline
from rnnlab.gradients.norms import Norms


def norms(mean, zero=None) -> Norms:
    mean = np.asarray(mean, dtype=float)
    zero = np.where(np.isnan(mean), np.nan, 0.0) if zero is None else np.asarray(zero, dtype=float)
    return Norms(mean, mean, mean, zero, np.zeros(len(mean)))


def test_a_vanishing_gradient_climbs_to_the_right_from_the_lowest_to_the_highest_block():
    line = sparkline(norms(np.linspace(-7, 0, 8)), width=40)
    assert line == (BLOCKS, -7.0, 0.0)


@pytest.mark.parametrize("steps", [1, 7, 39, 40, 41, 784])
def test_a_line_is_never_wider_than_asked_and_every_step_counts(steps):
    line = sparkline(norms(np.linspace(-3, 0, steps)), width=40)
    assert len(line.text) == min(steps, 40)
    levels = [BLOCKS.index(block) for block in line.text]
    assert levels == sorted(levels)


def test_a_flat_profile_looks_flat():
    line = sparkline(norms(-2 + 0.01 * np.sin(np.arange(30))), width=40)
    assert set(line.text) == {BLOCKS[0]}
    assert line.high - line.low == pytest.approx(1.0)


def test_what_was_not_measured_is_blank_and_what_is_exactly_zero_says_so():
    line = sparkline(norms([np.nan, np.nan, np.nan, -1, 0], zero=[np.nan, np.nan, 1, 0, 0]), width=40)
    assert line.text == f"  0{BLOCKS[0]}{BLOCKS[-1]}"
    nothing = sparkline(norms([np.nan, np.nan], zero=[1, np.nan]), width=40)
    assert nothing.text == "0 " and np.isnan(nothing.low)
