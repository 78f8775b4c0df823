"""Profiles to a run of Weights & Biases: numbers, and an image with a slider over steps."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

STEP = "grad/step"


def send(run: Any, numbers: Mapping[str, float], picture: Image.Image, step: int) -> None:
    """Log them as a row of their own, with an axis of their own.

    A run has one counter, and drops what is logged at a number that it has left behind: the caller's if ours were the
    larger, ours if it were the smaller.
    """
    from wandb import Image as Shown

    row = {**numbers, "grad/lag": Shown(picture)}
    run.define_metric(STEP, hidden=True)
    for name in row:  # not grad/*, which may hold something of the caller's
        run.define_metric(name, step_metric=STEP)
    run.log({**row, STEP: step})
