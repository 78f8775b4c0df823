"""Profiles to a run of MLflow: metrics, and a picture on the slider over steps."""

import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from PIL import Image


def send(run: Run, numbers: Mapping[str, float], picture: Image.Image, step: int) -> None:
    """Log them to a run of the store in use, whether it is active or not."""
    client, now = MlflowClient(), int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value in numbers.items()]
    client.log_batch(run.info.run_id, metrics, synchronous=True)
    client.log_image(run.info.run_id, picture, key="grad/lag", step=step, synchronous=True)
