"""Training: one run, or many of them together."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rnnlab.common.errors import check_type
from rnnlab.config.config import Config
from rnnlab.config.shape import shape
from rnnlab.training.company import Company, Slot
from rnnlab.training.memory import most_members
from rnnlab.training.progress import OnEvaluation, OnProfile, Progress
from rnnlab.training.result import Result


def run(
    config: Config,
    *,
    checkpoint: str | Path | None = None,
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
        UserError: if `config` is none, data or memory are missing, or the checkpoint belongs to another configuration.

    Example:
        >>> from rnnlab.config.config import Config
        >>> config = Config.parse({"task": {"kind": "adding", "length": 5}, "cell": {"kind": "gru", "hidden_size": 4},
        ...                        "training": {"steps": 10, "eval_every": 5}})
        >>> run(config).steps
        10
    """
    check_type("config", config, Config)
    check_type("checkpoint", checkpoint, str | Path | None)
    path = None if checkpoint is None else Path(checkpoint)
    (result,) = train([config], lambda _: Progress(config, path, on_evaluation, on_profile, should_stop))
    return result


def train(
    configs: Sequence[Config],
    begin: Callable[[Config], Progress] = Progress,
    on_result: Callable[[Result], object] = lambda result: None,
) -> list[Result]:
    """Train many runs, together where they differ in numbers alone: rates, thresholds, starting values, seeds, budgets.

    Each gives the very bits that `run` gives.

    Args:
        configs: the experiments.
        begin: starts one of them, or takes it up.
        on_result: told of each run as it ends.

    Returns:
        Their results, in the order of `configs`.

    Raises:
        Exception: the first that a run raises, with its place, once those that train beside it are over; `on_result`
            has been told of them.

    Example:
        >>> from rnnlab.config.config import Config
        >>> config = Config.parse({"task": {"kind": "adding", "length": 5}, "training": {"steps": 4, "eval_every": 2},
        ...                        "cell": {"kind": "lstm", "hidden_size": 4}})
        >>> [result.steps for result in train([config.model_copy(update={"seed": seed}) for seed in range(3)])]
        [4, 4, 4]
    """
    check_type("configs", configs, list | tuple)
    for k, config in enumerate(configs):
        check_type(f"configs[{k}]", config, Config)
    results: dict[int, Result] = {}

    def slot(place: int, config: Config) -> Slot:
        try:
            results[place] = yield begin(config)
            on_result(results[place])
        except Exception as error:
            error.add_note(f"raised by configs[{place}]")
            raise

    work_through((config, slot(place, config)) for place, config in enumerate(configs))
    return [results[place] for place in range(len(configs))]


def work_through(slots: Iterable[tuple[Config, Slot]]) -> None:
    """Work on slots of one run each, as many of one shape side by side as is worth it.

    Args:
        slots: each with the experiment that it is about to run.

    Raises:
        Exception: the first that a slot raises, once those beside it are over; none is begun after it.
    """
    by_shape: dict[str, list[tuple[Config, Slot]]] = {}
    failures: list[Exception] = []
    for config, slot in slots:
        by_shape.setdefault(shape(config), []).append((config, slot))

    def guarded(slot: Slot) -> Slot:
        try:
            yield from slot
        except Exception as failed:
            failures.append(failed)

    for alike in by_shape.values():
        company, waiting, most = Company(), [slot for _, slot in alike], most_members(alike[0][0])
        while company.size or (waiting and not failures):
            while waiting and not failures and company.size < most:
                company.take(guarded(waiting.pop(0)))
            company.advance()
    if failures:
        raise failures[0]
