"""A callback of the Hugging Face Trainer that records gradient norms at every time step."""

from typing import Any

from rnnlab.trainers.following import Following

try:
    from transformers import TrainerCallback, TrainerState
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "rnnlab.trainers.huggingface needs transformers, which is not installed: pip install transformers accelerate"
    ) from None


class RecordGradients(Following, TrainerCallback):
    """Record the total gradient norm of every recurrent layer at every time step, of one update in `every`.

    `record` is what `rnnlab.record` gives, and everything said of that holds: `record.dataset()` is the result. Norms
    are those of the loss that the Trainer back-propagates: before clipping, with the factor of a gradient scaler taken
    out, and, where k batches are accumulated, of loss / k, so that they are those of one batch k times as large; each
    of the k backward passes is a step of the record, of the same `train_step`. A model whose layers are torch's is
    converted for the training, one that holds rnnlab's is left as it is. Evaluation is not recorded. After an
    interrupt, of which the Trainer tells nobody, the record is there, and `close()` leaves the model as it was. In
    distributed training, which is not tested, each process records its own share of the batch.

    Args:
        every: of so many updates of the optimiser one is recorded, from the first on; the others cost nothing.
        to: where each recorded profile is sent; see `rnnlab.log_profile`.
        folder: keeps the record in files there instead of memory; it must hold no record yet.
        per_example: keep an `example` dimension.
        loss_reduction_scale: multiplies the gradients; the batch size undoes the mean over a batch.
    """

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Follow the model."""
        self._begin(kwargs["model"], getattr(kwargs["optimizer"], "scaler", None))

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Record an update, if it is time to."""
        self._update(state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Send what came back in all backward passes of an update."""
        self._send(state.global_step)

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Leave alone what follows."""
        self._rest()

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Leave the model as it was."""
        self.close()
