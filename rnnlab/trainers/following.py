"""What the callbacks of all trainers share: a record of the updates that are due."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rnnlab.common.errors import UserError, check_type
from rnnlab.gradients import record as recording
from rnnlab.gradients.recorder import Recorder, check_scale
from rnnlab.layers.conversion import convert, restore
from rnnlab.layers.recurrent import Recurrent
from rnnlab.trainers.sending import log_profile, sink_of


class Following:
    """Follows the updates of somebody else's trainer.

    Args:
        every: of so many updates of the optimiser one is recorded, from the first on; the others cost nothing.
        to: where each recorded profile is sent, see `rnnlab.log_profile`; nowhere if not given.
        folder: keeps the record in files there instead of memory; it must hold no record yet.
        per_example: keep an `example` dimension.
        loss_reduction_scale: multiplies the gradients.
    """

    def __init__(
        self,
        every: int = 100,
        to: Any = None,
        *,
        folder: str | Path | None = None,
        per_example: bool = False,
        loss_reduction_scale: float = 1.0,
    ) -> None:
        if type(every) is not int or every < 1:
            raise UserError(f"every = {every!r} must be a whole number of updates, at least 1")
        if to is not None:
            sink_of(to)
        check_type("folder", folder, str | Path | None)
        check_scale(loss_reduction_scale)
        self._every, self._to = every, to
        self._options = {"folder": folder, "per_example": per_example, "loss_reduction_scale": loss_reduction_scale}
        self._open, self._record = ExitStack(), None

    @property
    def record(self) -> Recorder:
        """What `rnnlab.record` gives: `record.dataset()` is all of the newest training, finished or not.

        Raises:
            UserError: before the first.
        """
        if self._record is None:
            raise UserError("record is there once training has begun: hand the callback to a trainer, and train")
        return self._record

    def close(self) -> None:
        """Leave the model as it was. What was recorded stays.

        Called at the end of training; to be called where the Hugging Face Trainer was interrupted, which tells nobody.
        """
        self._open.close()

    def _begin(self, model: nn.Module, scaler: torch.amp.GradScaler | None) -> None:
        """Training begins: a model without a layer that can be recorded is converted until it ends."""
        self.close()
        if not any(isinstance(module, Recurrent) for module in model.modules()):
            convert(model)
            self._open.callback(restore, model)
        if not any(isinstance(module, Recurrent) for module in model.modules()):
            kind = type(model).__qualname__
            raise UserError(
                f"{kind} holds no recurrent layer to record: it needs an nn.RNN, nn.LSTM, nn.GRU or rnnlab's own"
            )
        self._record = self._open.enter_context(recording.record(model, scaler=scaler, **self._options))
        self._record.pause()

    def _update(self, step: int) -> None:
        """A batch comes, after so many updates."""
        self.record.updates = step
        if step % self._every == 0:
            self.record.resume()

    def _rest(self) -> None:
        """Batch or update is done: what follows, such as an evaluation, is none of ours."""
        self.record.pause()

    def _send(self, step: int) -> None:
        """All gradients of an update are there."""
        if self._to is None or step % self._every:
            return
        profile = self.record.newest()
        if profile.sizes["step"] and profile["train_step"].item() == step:
            log_profile(profile, self._to, step)
