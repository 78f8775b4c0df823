"""What a sampler promises: how many points, which, never twice, whoever asks; and that it learns."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from forked import FORKED
from optuna.storages import BaseStorage, InMemoryStorage

from rnnlab.common.locks import FileLock
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.samplers import Sampler, objectives, startup_trials
from rnnlab.sweep.plan.space import Point
from rnnlab.sweep.store.journal import open_storage
from rnnlab.sweep.store.slots import claim, fill, latest, recover
from rnnlab.sweep.work.worker import propose

LEARNING = ("tpe", "cmaes", "gp", "genetic", "nsga2")
CONTINUOUS = ("random", "qmc", *LEARNING)
PLANNED = ("random", "qmc", "grid", "brute_force")
PLANE = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "optimizer.beta1": {"low": 0.0, "high": 0.99}}
CELLS: dict[str, dict[str, Any]] = {
    "grid": {"optimizer.lr": PLANE["optimizer.lr"] | {"points": 4}, "cell.hidden_size": {"choices": [2, 3, 5]}},
    "brute_force": {
        "cell.hidden_size": {"low": 2, "high": 5, "integer": True},
        "optimizer.kind": {"choices": ["sgd", "adam", "rmsprop"]},
    },
}
TRIALS = 12
FEWER = {"gp": 6}
"""Trials where Gaussian processes are fitted anew for each, which takes a good part of a second."""


def definition_of(tiny: dict[str, Any], sampler: str, trials: int | None = None, **fields: Any) -> SweepDefinition:
    """A sweep of two arms over a plane, or over cells where the sampler needs some."""
    trials = trials or FEWER.get(sampler, TRIALS)
    search = {"search": CELLS[sampler], "trials": None} if sampler in CELLS else {"search": PLANE, "trials": trials}
    return SweepDefinition.parse(tiny | search | {"sampler": sampler} | fields)


def open_study(definition: SweepDefinition, storage: BaseStorage) -> optuna.Study:
    """The study of the first arm, its slots filled as a supervisor does."""
    plan = definition.studies[0]
    study = optuna.create_study(
        study_name=f"{definition.sampler} {plan.name}",
        storage=storage,
        directions=[optuna.study.StudyDirection.MINIMIZE] * objectives(definition.sampler),
        load_if_exists=True,
    )
    points = definition.planned_points(plan)
    fill(study, points, [{"phase": "search"}] * len(points))
    return study


def bowl(definition: SweepDefinition, point: Point) -> float:
    """A smooth objective with its least value, zero, off the centre of the plane."""
    shares = [definition.search[name].share(point[name]) for name in PLANE]
    return (shares[0] - 0.3) ** 2 + 2 * (shares[1] - 0.75) ** 2


def tell(study: optuna.Study, definition: SweepDefinition, trial: optuna.Trial) -> None:
    value = bowl(definition, trial.params) if definition.sampler not in CELLS else 1.0
    study.tell(trial, [value, trial.params.get("optimizer.beta1", 0.0)][: objectives(definition.sampler)])


def work(folder: Path, definitions: list[SweepDefinition], barrier: Any) -> None:
    """A worker process: takes slots of each sweep in turn until none is left."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(folder)
    for definition in definitions:
        plan = definition.studies[0]
        study = optuna.load_study(study_name=f"{definition.sampler} {plan.name}", storage=storage)
        barrier.wait()
        while (claimed := claim([study])) is not None:
            trial = propose(definition, plan, *claimed, FileLock(folder / "lock"))
            tell(trial.study, definition, trial)


def searched(folder: Path, definition: SweepDefinition, interrupt: bool = False) -> optuna.Study:
    """A whole search by one worker, or by one that dies after every other proposal."""
    plan, storage = definition.studies[0], InMemoryStorage()
    study = open_study(definition, storage)
    dies = itertools.cycle([interrupt, False])
    while (claimed := claim([study])) is not None:
        trial = propose(definition, plan, *claimed, FileLock(folder / "lock"))
        if next(dies):
            recover(study, lambda _: "interrupted")
            open_study(definition, storage)
        else:
            tell(trial.study, definition, trial)
    return study


def search(folder: Path, definition: SweepDefinition, interrupt: bool = False) -> list[Point]:
    """The points of a whole search, slot by slot."""
    return points_of(searched(folder, definition, interrupt))


def points_of(study: optuna.Study) -> list[Point]:
    trials = latest(study)
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials.values())
    return [trials[slot].params for slot in sorted(trials)]


def distinct(points: list[Point]) -> int:
    return len({tuple(sorted(point.items())) for point in points})


@pytest.fixture(scope="module")
def three_workers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Point]]:
    """The points that three processes at once try with each sampler."""
    from tests.conftest import TINY

    folder = tmp_path_factory.mktemp("three")
    definitions = [definition_of(TINY, sampler) for sampler in get_args(Sampler)]
    storage = open_storage(folder)
    studies = {definition.sampler: open_study(definition, storage) for definition in definitions}
    barrier = FORKED.Barrier(3)
    workers = [FORKED.Process(target=work, args=(folder, definitions, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
        assert worker.exitcode == 0
    return {sampler: points_of(study) for sampler, study in studies.items()}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_planned_point_is_tried_once(
    tmp_path: Path, tiny: dict[str, Any], three_workers: dict[str, list[Point]], sampler: str
) -> None:
    """With one worker and with three; a space of cells is visited whole."""
    definition = definition_of(tiny, sampler)
    for points in (search(tmp_path, definition), three_workers[sampler]):
        assert len(points) == distinct(points) == definition.search_trials == FEWER.get(sampler, TRIALS)
        if sampler in CELLS:
            values = (definition.search[name] for name in CELLS[sampler])
            cells = itertools.product(*(d.grid() if sampler == "grid" else d.every() for d in values))
            assert {tuple(point.values()) for point in points} == set(cells)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", PLANNED)
def test_planned_points_depend_neither_on_the_workers_nor_on_interruptions(
    tmp_path: Path, tiny: dict[str, Any], three_workers: dict[str, list[Point]], sampler: str
) -> None:
    definition = definition_of(tiny, sampler)
    points = search(tmp_path, definition)
    assert points == three_workers[sampler] == search(tmp_path, definition, interrupt=True)
    assert all(points == definition.planned_points(plan) for plan in definition.studies)


@pytest.mark.parametrize("sampler", LEARNING)
def test_a_learning_sampler_starts_from_shared_points_and_survives_interruptions(
    tmp_path: Path, tiny: dict[str, Any], sampler: str
) -> None:
    """One worker that is interrupted tries what one that is not would have tried."""
    definition = definition_of(tiny, sampler)
    points = search(tmp_path, definition)
    assert points == search(tmp_path, definition, interrupt=True)
    known = [point for point in definition.planned_points(definition.studies[0]) if point]
    assert points[: len(known)] == known and len(known) == startup_trials(len(points)) == len(points) // 3


def batches(study: optuna.Study, at_once: int) -> Iterator[list[tuple[optuna.Study, optuna.Trial]]]:
    while claims := [claimed for claimed in (claim([study]) for _ in range(at_once)) if claimed is not None]:
        yield claims


@pytest.mark.parametrize("sampler", CONTINUOUS)
def test_workers_that_all_propose_before_any_is_done_never_agree(
    tmp_path: Path, tiny: dict[str, Any], sampler: str
) -> None:
    """The best point lies in a corner, where a sampler would like to go again and again."""
    definition = definition_of(tiny, sampler, trials=20)
    study = open_study(definition, InMemoryStorage())
    for claims in batches(study, at_once=4):
        lock = FileLock(tmp_path / "lock")
        for trial in [propose(definition, definition.studies[0], *claimed, lock) for claimed in claims]:
            value = sum(definition.search[name].share(trial.params[name]) for name in PLANE)
            trial.study.tell(trial, [value, value][: objectives(definition.sampler)])
    assert distinct(points_of(study)) == 20


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 30), ("cmaes", 30), ("gp", 12)])
def test_a_learning_sampler_finds_the_bottom_of_a_bowl_better_than_chance(
    tmp_path: Path, tiny: dict[str, Any], sampler: str, trials: int
) -> None:
    """By the least value found, geometric mean over two sweeps, at least by a factor of two."""

    def lowest(kind: str) -> float:
        definitions = [definition_of(tiny, kind, trials, seed=seed) for seed in range(2)]
        found = [min(bowl(each, point) for point in search(tmp_path, each)) for each in definitions]
        return math.sqrt(math.prod(found))

    assert lowest(sampler) < lowest("random") / 2


def test_children_of_a_genetic_algorithm_are_better_than_the_first_generation(
    tmp_path: Path, tiny: dict[str, Any]
) -> None:
    """By the mean of a generation, at least by a factor of two; one objective knows nothing of cost."""
    definition = definition_of(tiny, "genetic", trials=60)
    values = [bowl(definition, point) for point in search(tmp_path, definition)]
    assert sum(values[-10:]) < sum(values[:10]) / 2


@pytest.mark.parametrize("sampler", ["genetic", "nsga2"])
@pytest.mark.parametrize("interrupt", [False, True])
def test_every_trial_of_a_genetic_algorithm_belongs_to_a_generation(
    tmp_path: Path, tiny: dict[str, Any], sampler: str, interrupt: bool
) -> None:
    """Planned points, of which Optuna's sampler is never asked, and trials that were taken up again, too."""
    trials = latest(searched(tmp_path, definition_of(tiny, sampler), interrupt))
    assert [trials[slot].system_attrs["Genetic:generation"] for slot in range(TRIALS)] == [0] * 4 + [1] * 4 + [2] * 4


def pruned_below(folder: Path, definition: SweepDefinition) -> optuna.Study:
    """A search in which every trial in the lower half of the plane is pruned."""
    study = open_study(definition, InMemoryStorage())
    while (claimed := claim([study])) is not None:
        trial = propose(definition, definition.studies[0], *claimed, FileLock(folder / "lock"))
        if trial.params["optimizer.beta1"] < 0.5:
            trial.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            tell(trial.study, definition, trial)
    return study


def test_a_pruned_trial_has_no_children(tmp_path: Path, tiny: dict[str, Any]) -> None:
    study = pruned_below(tmp_path, definition_of(tiny, "genetic", trials=30))
    states = [trial.state for trial in study.trials]
    parents = [
        number
        for name, numbers in study._storage.get_study_system_attrs(study._study_id).items()
        if "parent" in name
        for number in numbers
    ]
    assert optuna.trial.TrialState.PRUNED in states and parents
    assert {states[number] for number in parents} == {optuna.trial.TrialState.COMPLETE}


def test_cmaes_ranks_pruned_trials_last_and_keeps_nothing_pickled(tmp_path: Path, tiny: dict[str, Any]) -> None:
    study = pruned_below(tmp_path, definition_of(tiny, "cmaes", trials=30))
    late = [trial for trial in study.trials if trial.number >= 22]
    assert sum(trial.state == optuna.trial.TrialState.PRUNED for trial in late) <= 1
    assert {key for trial in study.trials for key in trial.system_attrs} == {"fixed_params"}
