"""What was run is not run again, belongs to the settings that it was run with, and is doubted once the code differs."""

from dataclasses import replace
from typing import Any

import pytest

from rnnlab.common.interrupts import Interrupted
from rnnlab.plots.curves import points
from rnnlab.reproductions.base import Computation, Fault, Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Exact, Findings, Ordering, Values
from rnnlab.reproductions.run import carry_out, doubts, examine, stored
from rnnlab.tracking.outbox import Outbox

TINY: dict[str, Any] = {
    "task": {"kind": "adding", "length": 5},
    "cell": {"kind": "vanilla", "hidden_size": 4},
    "training": {"steps": 12, "eval_every": 6, "batch_size": 4, "eval_examples": 20, "test_examples": 20},
    "recording": {"points": 0},
}


def square(seed: int, x: float) -> Values:
    return {"y": x**2, "curve": [0.0, x]}


def draw(found: Findings):
    values = {arm: [float(v["y"]) for v in several] for arm, several in found.items()}  # type: ignore[arg-type]
    return points(values, {}, "squares", "y")


SQUARE = Reproduction(
    name="square",
    claim="The square of 3 is 9.",
    paper="Anybody 1900, Squares",
    place="table 1",
    source="a derivation",
    experiment=Computation({"three": {"x": 3.0}, "four": {"x": 4.0}}, {}, square),
    criteria=(Exact("y", "9", "rounding", "three", 9.0, 1e-12),),
    seeds=2,
    minutes=0.01,
    faults=(Fault("another number", {"three": {"x": 2.0}}),),
    draw=draw,
)
TRAINED = replace(
    SQUARE,
    name="trained",
    experiment=Training({"tanh": {}, "lstm": {"cell.kind": "lstm"}}, TINY, final_values),
    criteria=(Ordering("loss", "below", "large", "tanh", 100.0),),
)


def go_on(result: Reproduction, home, stop_after: int = 99) -> list[tuple[str, int]]:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > stop_after

    return [(arm, seed) for arm, seed, _ in carry_out(result, Outbox(home / "outbox"), "parent", stop, home)]


def test_seed_by_seed_and_only_what_is_missing(tmp_path):
    runs = [("three", 1000), ("four", 1000), ("three", 1001), ("four", 1001)]
    with pytest.raises(Interrupted):
        go_on(SQUARE, tmp_path, stop_after=1)
    assert list(stored(SQUARE, tmp_path).records) == runs[:1]
    assert stored(SQUARE, tmp_path).verdict == "not run"  # nothing is decided before every seed is there
    assert go_on(SQUARE, tmp_path) == runs[1:]
    finding = stored(SQUARE, tmp_path)
    assert finding.verdict == "reproduced" and finding.values["four"][0]["y"] == 16
    assert go_on(SQUARE, tmp_path) == []


def test_records_of_other_settings_do_not_count(tmp_path):
    go_on(SQUARE, tmp_path)
    other = SQUARE.changed({"three": {"x": 3.5}})
    assert [arm for arm, _ in stored(other, tmp_path).records] == ["four", "four"]
    assert go_on(other, tmp_path) == [("three", 1000), ("three", 1001)]
    assert stored(other, tmp_path).verdict == "contradicted"


def test_a_training_that_was_interrupted_ends_with_the_same_numbers(tmp_path):
    whole = examine(TRAINED)
    with pytest.raises(Interrupted):
        go_on(TRAINED, tmp_path, stop_after=7)
    go_on(TRAINED, tmp_path)
    assert stored(TRAINED, tmp_path).values == whole.values
    assert whole.verdict == "inconclusive" and whole.decisions[0].seeds == 5
    ended = Outbox(tmp_path / "outbox").entry("trained/tanh-1000").read()
    assert ended is not None and ended.status == "FINISHED" and ended.tags["rnnlab.arm"] == "tanh"
    assert ended.summary["loss"] == whole.values["tanh"][0]["loss"]


def test_the_present_code_is_held_against_what_is_stored(tmp_path, monkeypatch):
    for result in (SQUARE, TRAINED):
        go_on(result, tmp_path)
        assert doubts(result, tmp_path) == []
    assert doubts(SQUARE.changed({"four": {"x": 5.0}}), tmp_path) == [
        f"four, seed {seed}: its settings are others now" for seed in (1000, 1001)
    ]
    cubed = replace(SQUARE, experiment=replace(SQUARE.experiment, compute=lambda seed, x: {"y": x**3}))
    assert doubts(cubed, tmp_path) == [
        f"{arm}, seed 1000: the same settings give other numbers now" for arm in ("three", "four")
    ]
    # The same weights to the last bit: a rate that is wrong by one part in a million is seen after five updates.
    from rnnlab.config.optimizers import Adam

    rate = Adam.rate
    monkeypatch.setattr(Adam, "rate", lambda self, *args: rate(self, *args) * (1 + 1e-6))
    assert len(doubts(TRAINED, tmp_path)) == 2


def test_what_may_be_the_larger_one_by_a_little_says_so():
    little = Ordering("y", "no change", "rounding", "three", "four", margin=-0.5)
    assert little.statement == "y of three is not above that of four, or by less than 0.500"
    found = {"three": [{"y": 1.2}, {"y": 1.0}] * 3, "four": [{"y": 1.0}, {"y": 1.1}] * 3}
    assert little.decide(found).verdict == "reproduced"
    assert replace(little, margin=0.0).decide(found).verdict == "inconclusive"
    assert little.decide({**found, "three": [{"y": 1.6}, {"y": 1.7}] * 3}).verdict == "contradicted"
