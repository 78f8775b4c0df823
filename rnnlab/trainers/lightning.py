"""A callback of Lightning that records gradient norms at every time step."""

import importlib
import sys
from typing import Any

from rnnlab.trainers.following import Following

NAMES = ("lightning.pytorch", "pytorch_lightning")
"""The library has two, with classes of their own; a trainer takes callbacks of either."""


def _callback_class() -> Any:
    """The base class in the one that the user has imported, as importing the other takes seconds."""
    for name in sorted(NAMES, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name).Callback
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(
        "rnnlab.trainers.lightning needs Lightning, which is not installed: pip install lightning"
    )


class RecordGradients(Following, _callback_class()):
    """Record the total gradient norm of every recurrent layer at every time step, of one update in `every`.

    `record` is what `rnnlab.record` gives, and everything said of that holds: `record.dataset()` is the result. Norms
    are those of the loss that Lightning back-propagates: before clipping, with the factor of a gradient scaler taken
    out, and, where k batches are accumulated, of loss / k, so that they are those of one batch k times as large; each
    of the k backward passes is a step of the record, of the same `train_step`. A model whose layers are torch's is
    converted for the training, one that holds rnnlab's is left as it is. Validation is not recorded. In distributed
    training, which is not tested, each process records its own share of the batch.

    Args:
        every: of so many updates of the optimiser one is recorded, from the first on; the others cost nothing.
        to: where each recorded profile is sent, such as `logger.experiment`; see `rnnlab.log_profile`.
        folder: keeps the record in files there instead of memory; it must hold no record yet.
        per_example: keep an `example` dimension.
        loss_reduction_scale: multiplies the gradients; the batch size undoes the mean over a batch.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Follow the model."""
        self._begin(pl_module, getattr(trainer.precision_plugin, "scaler", None))

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """Record a batch, if it is time to."""
        self._update(trainer.global_step)

    def on_before_optimizer_step(self, trainer: Any, *_: Any) -> None:
        """Send what came back in all backward passes of an update."""
        self._send(trainer.global_step)

    def on_train_batch_end(self, *_: Any) -> None:
        """Leave alone what follows."""
        self._rest()

    def on_train_end(self, *_: Any) -> None:
        """Leave the model as it was."""
        self.close()

    def on_exception(self, *_: Any) -> None:
        """Leave the model as it was, after Ctrl-C too."""
        self.close()
