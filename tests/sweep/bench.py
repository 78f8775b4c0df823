"""One study of one arm, whose slots a test runs by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow.entities import Run

from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.plan.samplers import objectives
from rnnlab.sweep.store.journal import open_storage
from rnnlab.sweep.store.slots import claim, fill, latest, recover
from rnnlab.sweep.work import trial as trial_module
from rnnlab.sweep.work.trial import Job, outbox
from rnnlab.tracking.store import connect, experiment_id, tracking_uri
from rnnlab.tracking.writer import Writer, start_parent
from rnnlab.training.company import complete
from rnnlab.training.progress import Progress


class Bench:
    """One study of one arm, driven by hand."""

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.definition, self.uri = SweepDefinition.parse(data), tracking_uri()
        self.folder = folder / self.definition.name
        self.folder.mkdir()
        self.plan = self.definition.studies[0]
        self.study = optuna.create_study(
            study_name=f"{self.definition.name} {self.plan.name}",
            storage=open_storage(self.folder),
            directions=[optuna.study.StudyDirection.MINIMIZE] * objectives(self.definition.sampler),
        )
        self.study.set_user_attr(
            "parent_run", start_parent(self.uri, self.definition.name, "parent", {"rnnlab.kind": "study"}, "")
        )
        for key, value in Origin("sweeps/tiny.yaml").as_attributes().items():
            self.study.set_user_attr(key, value)
        self.fill()

    def fill(self) -> None:
        points = self.definition.planned_points(self.plan)
        fill(self.study, points, [{"phase": "search", "seed": 0}] * len(points))

    def claim(self) -> Job:
        claimed = claim([self.study])
        assert claimed is not None
        return Job(self.definition, self.plan, *claimed, self.folder)

    def interrupt(self) -> None:
        recover(self.study, lambda _: "interrupted")
        self.fill()

    def runs(self) -> list[Run]:
        """The slots' runs in MLflow, once everything that is on disk is delivered."""
        for entry in outbox(self.folder).entries():
            Writer(self.uri).deliver(entry)
        children = f"tags.`mlflow.parentRunId` = '{self.study.user_attrs['parent_run']}'"
        return connect(self.uri).search_runs([experiment_id(self.uri, self.definition.name)], children)

    def last(self) -> optuna.trial.FrozenTrial:
        return latest(self.study)[0]


MakeBench = Callable[..., Bench]


def never() -> bool:
    return False


def stop_after(updates: int) -> Callable[[], bool]:
    asked = iter(range(updates))
    return lambda: next(asked, None) is None


def execute(job: Job, should_stop: Callable[[], bool]) -> None:
    """Work on a claimed slot alone, to its end."""
    complete(trial_module.execute(job, should_stop))


def count_trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts runs that are begun or taken up, which still do their work."""
    begun: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        begun.append(1)
        return Progress(*args, **kwargs)

    monkeypatch.setattr(trial_module, "Progress", counted)
    return begun
