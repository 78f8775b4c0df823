"""A worker process by itself; what it proposes is in test_samplers, what it runs in test_runner."""

from pathlib import Path
from typing import Any

import optuna
import yaml

from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.store.home import FolderHome
from rnnlab.sweep.work.worker import Worker
from rnnlab.tracking.store import tracking_uri


def test_a_worker_stops_without_its_parent(workplace: Path, tiny: dict[str, Any]) -> None:
    home = FolderHome(workplace)
    home.keep(yaml.safe_dump(tiny), SweepDefinition.parse(tiny).outline, "tiny.yaml")
    worker = Worker(home, tracking_uri(), orphaned=lambda: True)
    assert worker.should_stop()
    for study in worker.plans:
        optuna.create_study(study_name=study, storage=worker.storage)
    worker.work()  # returns
