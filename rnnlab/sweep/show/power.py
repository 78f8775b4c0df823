"""What the planned seeds can show, whatever comes of the runs."""

from rnnlab.common.text import chance, count
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.factors import plain_arm


def power(definition: SweepDefinition, arms: int, seeds: int) -> tuple[bool, str]:
    """Whether the corrected test could show a difference from the plain arm, or else between any two.

    Args:
        definition: the sweep.
        arms: how many of its arms are compared.
        seeds: fresh seeds of each.

    Returns:
        Whether it could, and a sentence that says so; an empty one where nothing is compared.
    """
    from rnnlab.statistics.comparisons import SIGNIFICANT, least_p, seeds_needed  # late: it brings scipy.stats

    reference = plain_arm(definition)
    tests = arms - 1 if reference else arms * (arms - 1) // 2
    if tests == 0 or seeds == 0:
        return True, ""
    among = f"with {reference}" if reference else "between arms"
    best = (
        f"winning on every seed gives p = {chance(least_p(seeds, tests))} after correction for "
        f"{count(tests, 'comparison')}"
    )
    if least_p(seeds, tests) <= SIGNIFICANT:
        return True, f"{count(seeds, 'seed')} an arm can show a difference {among}: {best}."
    return False, (
        f"{count(seeds, 'seed')} an arm cannot show any difference {among}, however large: {best}. "
        f"{seeds_needed(tests)} seeds could."
    )
