"""Hyperband over slots: the same brackets in every arm, and restarts leave no trace."""

import math

from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from rnnlab.sweep.store.slots import latest


class Hyperband(BasePruner):
    """Successive halving in brackets, of which each starts to compare later than the one before.

    A trial that reaches a rung goes on where it is among the best of its bracket there, one in `reduction`, or the
    very first. Optuna's pruner hashes the trial's number and the study's name into a bracket, so that arms would be
    treated differently, and a trial that was cut short would change its bracket; here the slot decides.

    Args:
        first: updates at the first rung of the first bracket.
        last: updates of a whole run.
        reduction: one trial in so many passes a rung, and the next has so many times the updates.

    Reference: Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", algorithm 1;
    Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", on promotion without waiting.
    """

    def __init__(self, first: int, last: int, reduction: int) -> None:
        self.reduction = reduction
        self.rungs = [first]
        while self.rungs[-1] * reduction < last:
            self.rungs.append(self.rungs[-1] * reduction)
        brackets = len(self.rungs) + 1  # the last one compares nothing, which guards against slow starters
        later = [brackets - 1 - bracket for bracket in range(brackets)]
        self.shares = [math.ceil(brackets * reduction**s / (s + 1)) for s in later]

    def bracket(self, slot: int) -> int:
        """The bracket of a slot: each has its share of any number of slots, as nearly as whole slots allow."""
        credit = [0] * len(self.shares)
        bracket = 0
        for _ in range(slot + 1):
            credit = [have + share for have, share in zip(credit, self.shares, strict=True)]
            bracket = max(range(len(credit)), key=credit.__getitem__)
            credit[bracket] -= sum(self.shares)
        return bracket

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial stands at a rung and too many of its bracket were better there."""
        slot, step = trial.user_attrs["slot"], trial.last_step
        bracket = self.bracket(slot)
        if step not in self.rungs[bracket:]:
            return False
        value = trial.intermediate_values[step]
        rivals = [
            rival.intermediate_values[step]
            for other, rival in latest(study).items()
            if other != slot and self.bracket(other) == bracket and step in rival.intermediate_values
        ]
        kept = max(1, (len(rivals) + 1) // self.reduction)
        return sum(rival < value for rival in rivals) >= kept
