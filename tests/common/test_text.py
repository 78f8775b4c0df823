"""Numbers in text keep three significant digits, and what is not a number is a dash."""

import math

import pytest

from rnnlab.common.text import chance, clock, count, duration, interval, listing, median, number, whole


@pytest.mark.parametrize("value", [0.00123456, 0.1, 1 / 6, 9.999, 123.456, 98765.4, -0.0314, 3e-9, 4.5e7])
def test_a_number_is_right_to_three_digits(value):
    assert float(number(value)) == pytest.approx(value, rel=5.001e-3)
    digits = number(value).partition("e")[0].lstrip("-0.").replace(".", "")
    assert len(digits.rstrip("0")) <= 3 and (len(digits) >= 3 or "e" in number(value))


def test_no_number_is_a_dash():
    assert number(math.nan) == whole(math.nan) == duration(math.nan) == "–"
    assert (number(0), whole(125.0)) == ("0", "125")


def test_an_unknown_interval_is_left_out():
    assert interval(0.5, 0.25, 0.75) == "0.500 [0.250, 0.750]"
    assert interval(0.5, math.nan, math.nan) == "0.500"


def test_a_median_that_was_not_reached_lies_beyond_the_limit():
    assert median(400, 250, 900, 1000) == "400 [250, 900]"
    assert median(400, 250, math.nan, 1000) == "400 [250, –]"
    assert median(math.nan, 700, math.nan, 1000) == "> 1000 [700, –]"
    assert median(math.nan, math.nan, math.nan, 1000) == "> 1000"
    assert median(math.nan, math.nan, math.nan, math.nan) == "–"


def test_a_p_value_is_never_zero():
    assert [chance(p) for p in (0.0312, 1e-9, 1.0, math.nan)] == ["0.031", "< 0.001", "1.0", "–"]


def test_time_is_told_in_the_unit_that_suits_it():
    assert [duration(s) for s in (3.217, 150, 9000)] == ["3.22 s", "2.5 min", "2.5 h"]


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "0:07"), (59.6, "1:00"), (750, "12:30"), (11045, "3:04:05")])
def test_a_clock_rounds_to_seconds(seconds, text):
    assert clock(seconds) == text


def test_words():
    assert [listing(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert [count(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
