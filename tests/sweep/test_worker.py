"""What a worker decides for itself: the sampler and the pruner of a slot."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from rnnlab.sweep.definition import SweepDefinition
from rnnlab.sweep.pruners import make_pruner
from rnnlab.sweep.samplers import make_sampler, startup_trials
from rnnlab.sweep.slots import claim, fill
from rnnlab.sweep.space import suggest
from rnnlab.sweep.storage import open_storage
from rnnlab.sweep.worker import Worker


def propose(folder: Path, data: dict[str, Any], at_once: int) -> list[float]:
    """The learning rates of a whole search in which so many workers propose before any of them is done."""
    definition = SweepDefinition.parse(data)
    plan = definition.plan()[0]
    study = optuna.create_study(study_name=plan.name, storage=open_storage(folder), load_if_exists=True)
    points = definition.planned_points(plan)
    fill(study, points, [{"phase": "search"}] * len(points))
    tried: dict[int, float] = {}
    while True:
        claims = [claimed for claimed in (claim([study]) for _ in range(at_once)) if claimed is not None]
        if not claims:
            return [tried[slot] for slot in sorted(tried)]
        for worker_study, trial in claims:
            slot = trial.user_attrs["slot"]
            worker_study.sampler = make_sampler(definition, plan, slot)
            tried[slot] = suggest(definition.search, trial)["optimizer.lr"]
        for worker_study, trial in claims:
            worker_study.tell(trial, abs(trial.params["optimizer.lr"] - 3e-3))


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_workers_never_propose_the_same_point(tmp_path: Path, tiny: dict[str, Any], sampler: str) -> None:
    tried = propose(tmp_path, tiny | {"sampler": sampler, "trials": 24}, at_once=4)
    assert len(set(tried)) == 24


def test_random_proposals_do_not_depend_on_the_number_of_workers(tmp_path: Path, tiny: dict[str, Any]) -> None:
    proposals = []
    for at_once in (1, 4):
        (tmp_path / str(at_once)).mkdir()
        proposals.append(propose(tmp_path / str(at_once), tiny | {"trials": 12}, at_once))
    assert proposals[0] == proposals[1]


def test_tpe_repeats_itself_and_learns(tmp_path: Path, tiny: dict[str, Any]) -> None:
    proposals = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        proposals.append(propose(tmp_path / name, tiny | {"sampler": "tpe", "trials": 30}, at_once=1))
    once, again = proposals
    assert once == again

    def distance(rates: list[float]) -> float:
        return sum(abs(rate - 3e-3) for rate in rates) / len(rates)

    assert distance(once[20:]) < distance(once[:10])


def test_median_pruner_waits_for_the_start(tiny: dict[str, Any]) -> None:
    definition = SweepDefinition.parse(tiny | {"pruner": "median", "trials": 12})
    plan = definition.plan()[0]
    study = optuna.create_study(pruner=make_pruner(definition, plan))
    good = [study.ask() for _ in range(startup_trials(definition.search_trials))]
    for trial in good:
        for step in (1, 5):
            trial.report(0.1, step)
    bad = study.ask()
    bad.report(9.0, 5)
    assert not bad.should_prune()  # nobody has finished
    for trial in good:
        study.tell(trial, 0.1)
    early = study.ask()
    early.report(9.0, 1)  # a quarter of ten updates have to be done first
    assert bad.should_prune() and not early.should_prune()


def test_a_worker_stops_without_its_parent(workplace: Path, tiny: dict[str, Any]) -> None:
    (workplace / "sweep.yaml").write_text(yaml.safe_dump(tiny))
    worker = Worker(workplace, parent=1 << 30)
    assert worker.should_stop()
    for study in worker.plans:
        optuna.create_study(study_name=study, storage=worker.storage)
    worker.work()  # returns
