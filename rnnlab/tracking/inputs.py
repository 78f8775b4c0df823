"""The data of a run as MLflow's dataset inputs."""

import hashlib
import json

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.exceptions import MlflowException

from rnnlab.tasks import Task

DIGEST = 12
"""Hexadecimal digits of a digest, as in the hash of a configuration."""


def log_task(client: MlflowClient, run_id: str, task: Task) -> None:
    """Name the data of a run; once more does no harm.

    Args:
        client: of the store.
        run_id: MLflow's id of the run.
        task: where its examples come from.
    """
    inputs = [DatasetInput(dataset(task), [InputTag("mlflow.data.context", "training")])]
    try:
        client.log_inputs(run_id, inputs)
    except MlflowException:
        # MLflow looks first and then creates, so of two processes that name the same data at once one is refused.
        client.log_inputs(run_id, inputs)


def dataset(task: Task) -> Dataset:
    """Describe where the examples of a task come from.

    Args:
        task: what is drawn or read.

    Returns:
        A dataset named by the task's label. Its digest stands for the task's fields and, where the data are finite,
        for their checksums: equal digests mean equal data for equal seeds.
    """
    fields = task.model_dump(mode="json")
    identity = json.dumps({"task": fields, "data": task.data}, sort_keys=True)
    profile = {"variant": task.variant, "time_steps": task.steps, "score": task.score_name}
    return Dataset(
        name=task.label,
        digest=hashlib.sha256(identity.encode()).hexdigest()[:DIGEST],
        source_type="file" if task.data else "generated",
        source=json.dumps(task.data or {"task": fields}),
        profile=json.dumps(profile),
    )
