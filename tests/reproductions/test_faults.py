"""Every result says no once something is broken, and goes on saying yes on other seeds."""

from dataclasses import replace

import pytest

from rnnlab.reproductions.base import Fault, Reproduction, Training
from rnnlab.reproductions.registry import REPRODUCTIONS
from rnnlab.reproductions.run import examine

SMALL = [result for result in REPRODUCTIONS.values() if not result.full_scale]
QUICK = {"saxe-orthogonal", "influence-balancing", "pascanu-wall"}
"""A second or less; the others take seconds to minutes."""
UNDECIDED = {
    *("cooijmans-gradient", "arjovsky-gradient-norms", "chang-dilated-copying", "laurent-batch-norm"),
    *("greff-variants", "zucchet-linear-systems"),
}
"""Of these the deciding seeds themselves leave some statement inconclusive; a fault has to contradict them."""
REPETITIONS = range(1, 6)


def marked(result: Reproduction, *values: object):
    marks = [] if result.name in QUICK else [pytest.mark.long]
    return pytest.param(
        result, *values, marks=marks, id=" ".join([result.name, *(getattr(v, "name", "") for v in values)])
    )


@pytest.mark.parametrize("result", [marked(result) for result in SMALL])
def test_other_seeds_do_not_flip_the_verdict(result: Reproduction):
    for repetition in REPETITIONS:
        found = examine(replace(result.at_reduced_size(), first_seed=10_000 * repetition))
        allowed = ("reproduced", "inconclusive") if result.name in UNDECIDED else ("reproduced",)
        assert found.verdict in allowed, (repetition, found.decisions)


@pytest.mark.parametrize(("result", "fault"), [marked(result, fault) for result in SMALL for fault in result.faults])
def test_a_deliberate_fault_flips_the_verdict(result: Reproduction, fault: Fault):
    broken = examine(result.at_reduced_size().changed(fault.changes))
    flipped = ("contradicted",) if result.name in UNDECIDED else ("contradicted", "inconclusive")
    assert broken.verdict in flipped, broken.decisions


@pytest.mark.parametrize("result", REPRODUCTIONS.values(), ids=lambda result: result.name)
def test_every_configuration_is_valid_broken_and_reduced_too(result: Reproduction):
    variants = [result, result.at_reduced_size(), *(result.at_reduced_size().changed(f.changes) for f in result.faults)]
    for variant in variants:
        for arm in variant.experiment.arms:
            if isinstance(variant.experiment, Training):
                variant.experiment.config(arm, variant.first_seed)
    known = set(result.experiment.arms)
    for criterion in result.criteria:
        named = [getattr(criterion, field, None) for field in ("arm", "ahead", "behind")]
        assert {name for name in named if isinstance(name, str)} <= known


def test_every_result_names_a_fault_and_what_its_tolerance_comes_from():
    for result in REPRODUCTIONS.values():
        assert result.faults or result.full_scale, result.name
        assert all(criterion.why and criterion.published for criterion in result.criteria), result.name
        assert result.first_seed >= 1000  # below it settings are chosen
        arms = result.experiment.arms
        for fault in result.faults:
            assert set(fault.changes) <= {"all", *arms} and result.changed(fault.changes) != result
