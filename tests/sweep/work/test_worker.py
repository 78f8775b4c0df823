"""A worker process by itself; what it proposes is in test_samplers, what it runs in test_runner."""

from pathlib import Path
from typing import Any

import optuna
import yaml

from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.plan.outline import Phase
from rnnlab.sweep.store.home import FolderHome
from rnnlab.sweep.store.slots import fill, recover
from rnnlab.sweep.work.worker import Worker
from rnnlab.tracking.store import tracking_uri

PHASES: tuple[Phase, ...] = ("search", "final")


def test_a_worker_stops_without_its_parent(workplace: Path, tiny: dict[str, Any]) -> None:
    home = FolderHome(workplace)
    home.keep(yaml.safe_dump(tiny), SweepDefinition.parse(tiny).outline, "tiny.yaml")
    worker = Worker(home, tracking_uri(), orphaned=lambda: True)
    assert worker.should_stop()
    for study in worker.plans:
        optuna.create_study(study_name=study, storage=worker.storage)
    worker.work()  # returns


def test_slots_whose_worker_died_are_taken_up_a_few_at_a_time(workplace: Path, tiny: dict[str, Any]) -> None:
    """Whether the kernel wanted its memory nobody knows; with fewer in hand it takes less."""
    data = tiny | {"trials": 12, "population": 8, "workers": 1, "arms": {"tanh": {}}}
    definition, home, taken = SweepDefinition.parse(data), FolderHome(workplace), list[int]()
    home.keep(yaml.safe_dump(data), definition.outline, "tiny.yaml")
    (plan,), storage = definition.studies, home.open()
    search, _ = (optuna.create_study(study_name=plan.study_name(phase), storage=storage) for phase in PHASES)
    for key, value in {**Origin("tiny.yaml").as_attributes(), "parent_run": "of a store that is not asked"}.items():
        search.set_user_attr(key, value)
    points = definition.planned_points(plan)
    for _ in range(3):
        fill(search, points, [{"phase": "search", "seed": 0}] * len(points))
        worker = Worker(home, tracking_uri())
        worker.studies = worker.known_studies()
        worker._fill_up()
        taken.append(worker.company.size)
        recover(search, lambda _: "killed by SIGKILL", crashed=True)
    assert taken == [8, 2, 1]
