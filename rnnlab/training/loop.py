"""Training: one run, or many of them together."""

from collections.abc import Callable
from pathlib import Path

from rnnlab.config.config import Config
from rnnlab.training.population import Population
from rnnlab.training.progress import OnEvaluation, OnProfile, Progress
from rnnlab.training.result import Result


def run(
    config: Config,
    *,
    checkpoint: Path | None = None,
    on_evaluation: OnEvaluation | None = None,
    on_profile: OnProfile | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Result:
    """Train once, exactly as the configuration says.

    Args:
        config: the experiment; the same one gives the same result on the same machine.
        checkpoint: file to save to now and then and to resume from where it exists; a resumed run ends bit-identical.
        on_evaluation: called after each look at the validation set with the step and all curves so far.
        on_profile: called after each recorded training step with the step, the norms of the hidden state at the
            top of the network, (T,) each, and their decay; they were computed anyway.
        should_stop: asked after every update; once true, the run saves its checkpoint and stops.

    Returns:
        Outcome, scores, curves, gradient profile and what the probes measured.

    Raises:
        Interrupted: if `should_stop` turned true.
        UserError: if data are missing, the checkpoint belongs to another configuration, or it cannot fit into memory.

    Example:
        >>> from rnnlab.config.config import Config
        >>> config = Config.parse({"task": {"kind": "adding", "length": 5}, "cell": {"kind": "gru", "hidden_size": 4},
        ...                        "training": {"steps": 10, "eval_every": 5}})
        >>> run(config).steps
        10
    """
    results: list[Result] = []

    def end(member: Progress, error: Exception | None) -> None:
        if error is not None:
            raise error
        results.append(member.finish())

    population = Population(end)
    population.join(Progress(config, checkpoint, on_evaluation, on_profile, should_stop))
    while population.members:
        population.advance()
    return results[0]
