"""The median rule among peers: trials that train side by side are compared at the same update."""

from statistics import median

from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState


class Median(BasePruner):
    """Prunes a trial whose best value so far is worse than the median of the others at this update.

    Optuna's pruner asks trials that are complete, of which there are none while all of a study train together.

    Args:
        startup: others that have come to this update before anything is pruned.
        warmup: updates before which nothing is.
    """

    def __init__(self, startup: int, warmup: int) -> None:
        self.startup, self.warmup = startup, warmup

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial falls behind."""
        step = trial.last_step
        if step is None or step < self.warmup:
            return False
        peers = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
        values = [
            peer.intermediate_values[step]
            for peer in peers
            if peer.number != trial.number and step in peer.intermediate_values
        ]
        return len(values) >= self.startup and min(trial.intermediate_values.values()) > median(values)
