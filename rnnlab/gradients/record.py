"""Record gradient norms while somebody else's training script runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from rnnlab.common import torch_private
from rnnlab.common.errors import check_type
from rnnlab.gradients.netcdf import RecordFolder
from rnnlab.gradients.recorder import Recorder
from rnnlab.gradients.silence import NO_GRAD


@contextmanager
def record(
    model: nn.Module,
    *,
    per_example: bool = False,
    loss_reduction_scale: float = 1.0,
    every: int = 1,
    optimizer: torch.optim.Optimizer | None = None,
    scaler: torch.amp.GradScaler | None = None,
    folder: str | Path | None = None,
) -> Iterator[Recorder]:
    """Record the total gradient norm of every recurrent layer at every time step.

    Nothing else in the training script changes: weights and random streams stay bit-identical (on a GPU, where torch's
    fused layers are fed in another way to be seen, up to the order of sums). Each backward pass through what was called
    inside the block makes one step. A layer that is called several times before backward has one place along `layer`
    for each, told apart by the coordinate `call`; calls that say with `start` that
    they go on where an earlier one ended are one sequence, and what was cut off is NaN. Norms are given by time and, in
    the variables `_by_lag`, by the distance to each example's own last step in the direction of the scan. A layer that
    nothing trains is left out, with a warning, as no gradient comes back through it: call `requires_grad_()` on its
    input to see it.

    Args:
        model: any module that holds rnnlab layers (see `rnnlab.convert`).
        per_example: keep an `example` dimension.
        loss_reduction_scale: multiplies the gradients; the batch size undoes the mean over a batch.
        every: of so many backward passes one is kept, from the first on, or with `optimizer` those of one update of so
            many.
        optimizer: whose steps are counted: the coordinate `train_step` says how many it had done.
        scaler: of a mixed-precision training; its factor is taken out of the norms.
        folder: keep steps in files there instead of memory, 500 a file; it must hold no record yet.

    Returns:
        A context manager that gives the recorder; `recorder.dataset()` is the result, `pause()` and `resume()` leave
        calls out.

    Raises:
        UserError: if the model holds no such layers, an argument is not allowed, or the folder holds a record.

    Example:
        >>> import rnnlab, torch
        >>> net = rnnlab.LSTM(2, 8)
        >>> with rnnlab.record(net) as log:
        ...     net(torch.randn(20, 4, 2))[0][-1].sum().backward()
        >>> dict(log.dataset().sizes)["time"]
        20
    """
    torch_private.check_end_of_backward()
    check_type("optimizer", optimizer, torch.optim.Optimizer | None)
    check_type("scaler", scaler, torch.amp.GradScaler | None)
    check_type("folder", folder, str | Path | None)
    place = None if folder is None else RecordFolder(Path(folder))
    updates = None if optimizer is None else 0
    recorder = Recorder(per_example, loss_reduction_scale, every=every, scaler=scaler, folder=place, updates=updates)
    counting = None if optimizer is None else optimizer.register_step_post_hook(recorder.count_update)
    try:
        with recorder.attached(model):
            yield recorder
        recorder.silence.explain({NO_GRAD}, stacklevel=3)
    finally:
        if counting is not None:
            counting.remove()
        recorder.flush()
