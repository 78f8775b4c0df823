"""One line that sends what was recorded to the tracker of any loop."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr

from rnnlab.common.errors import UserError, check_type
from rnnlab.gradients.recorder import Recorder
from rnnlab.trainers.numbers import profile_numbers

SINKS = {
    ("mlflow", "Run"): "mlflow",
    ("torch", "SummaryWriter"): "tensorboard",
    ("wandb", "Run"): "wandb",
}
"""The file that knows a sink, by the package and the name of its class: to look does not import the package."""


def log_profile(log: Recorder | xr.Dataset, to: Any, step: int | np.integer) -> None:
    """Send the newest recorded profile to TensorBoard, MLflow or Weights & Biases.

    What arrives by step: the numbers of `rnnlab.trainers.numbers.profile_numbers` as `grad/decay_rate`,
    `grad/half_life` and so on, and a picture of the profile by lag, `grad/lag`.

    Args:
        log: what `rnnlab.record` gives, or a gradient profile.
        to: a `SummaryWriter`, a run of `wandb.init`, or a run of `mlflow.start_run` or `mlflow.get_run`.
        step: updates done so far, the axis of the curves.

    Raises:
        UserError: if nothing has been recorded yet, or `to` is something else.

    Example:
        >>> import rnnlab, torch
        >>> from torch.utils.tensorboard import SummaryWriter
        >>> net, writer = rnnlab.LSTM(2, 8), SummaryWriter("runs/tensorboard")
        >>> with rnnlab.record(net) as log:
        ...     net(torch.randn(20, 4, 2))[0][-1].sum().backward()
        ...     rnnlab.log_profile(log, writer, step=0)
    """
    from rnnlab.plots.lag import lag_plot  # late: a callback that records and sends nothing draws nothing either
    from rnnlab.plots.style import picture

    check_type("log", log, Recorder | xr.Dataset)
    check_type("step", step, int | np.integer)
    send, step = sink_of(to), int(step)
    profile = log.newest() if isinstance(log, Recorder) else log.isel(step=slice(-1, None))
    if not profile.sizes["step"]:
        raise UserError("log holds no recorded step: call log_profile after a backward pass inside the record block")
    send(to, profile_numbers(profile), picture(lag_plot(profile.assign_coords(train_step=("step", [step])))), step)


def sink_of(to: object) -> Callable[..., None]:
    """What sends to this object.

    Raises:
        UserError: if nothing does.
    """
    for kind in type(to).__mro__:
        known = SINKS.get((kind.__module__.partition(".")[0], kind.__name__))
        if known is not None:
            return import_module(f"rnnlab.trainers.{known}").send
    raise UserError(
        f"to is of type {type(to).__qualname__}: give a SummaryWriter of TensorBoard, a run of wandb.init, or a run of "
        "mlflow.start_run"
    )
