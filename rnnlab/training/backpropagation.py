"""Back-propagation through time, whole or truncated."""

from typing import Any

import torch
from torch import Tensor

from rnnlab.remedies.truncation import Truncation, windows
from rnnlab.tasks import Batch, Task
from rnnlab.training.models import EncoderDecoder, SequenceModel


def backpropagate(
    model: SequenceModel | EncoderDecoder,
    task: Task,
    batch: Batch,
    truncation: Truncation | None,
    states: Any = None,
) -> Tensor:
    """Accumulate the gradient of the batch's mean loss in the weights.

    Windows of one sequence add their gradients up and share one optimiser step, so that every arm of a comparison
    makes the same number of updates. State is carried from window to window and cut out of the graph there.

    Args:
        model: the network; its `.grad` fields are added to.
        task: gives the loss.
        batch: one batch of whole sequences.
        truncation: how far gradients go back; none is all the way, the only way for a decoder.
        states: those before the first step; zeros if none.

    Returns:
        The mean loss over all answers, detached.
    """
    if isinstance(model, EncoderDecoder):
        outputs, _ = model(batch.inputs, batch.targets, states)
        loss = task.losses(outputs, batch.targets).sum() / batch.answers
        loss.backward()
        return loss.detach().double()
    passes = list(windows(task.steps, truncation))
    if task.answers == "last":
        passes = passes[-1:]  # no other loss exists
    answers = batch.answers
    total = torch.zeros((), dtype=torch.float64)
    reached = 0  # `states` are those before this step
    for window, following in zip(passes, [*passes[1:], None], strict=True):
        if window.start > reached:
            with torch.no_grad():
                _, states = model(batch.inputs[reached : window.start], states, reached)
            reached = window.start
        outputs, after = model(batch.inputs[window.start : window.stop], states, window.start)
        targets = batch.targets
        if task.answers == "every":
            outputs = outputs[window.loss_start - window.start :]
            targets = targets[window.loss_start : window.stop]
        loss = task.losses(outputs, targets).sum() / answers
        loss.backward()
        total += loss.detach().double()
        if following is not None and following.start == window.stop:
            states, reached = _detach(after), window.stop
    return total


def _detach(states: Any) -> Any:
    return tuple(state.detach() for state in states) if isinstance(states, tuple) else states.detach()
