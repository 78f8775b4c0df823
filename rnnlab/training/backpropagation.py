"""Back-propagation through time, whole or truncated, with what remedies add to the loss."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnlab.remedies import Remedy, cut_into_windows
from rnnlab.tasks import Batch, Task
from rnnlab.training.models import EncoderDecoder, SequenceModel
from rnnlab.training.penalties import follow, penalise


def backpropagate(
    model: SequenceModel | EncoderDecoder | Callable[..., Any],
    task: Task,
    batch: Batch,
    remedies: Sequence[Remedy] = (),
    states: Any = None,
    generator: torch.Generator | None = None,
    members: int = 1,
) -> Tensor:
    """Accumulate the gradient of the batch's mean loss, and of penalties, in the weights.

    Windows of one sequence add their gradients up and share one optimiser step, so that every arm of a comparison
    makes the same number of updates. State is carried from window to window and cut out of the graph there.

    Args:
        model: the network, or what runs several; its `.grad` fields are added to.
        task: gives the loss.
        batch: one batch of whole sequences.
        remedies: those that act on the graph say how far gradients go back, which is all the way without them; a
            decoder has none. Those that act on the loss add to it in every window.
        states: those before the first step; zeros if none.
        generator: the remedies' source of randomness.
        members: P, where the model is that of P networks side by side, and the batch holds the examples of each.

    Returns:
        (P,) float64, the mean loss over all answers, without penalties, detached.
    """
    if isinstance(model, EncoderDecoder):
        with _penalised(model, remedies, generator):
            outputs, _ = model(batch.inputs, batch.targets, states)
            losses = _mean_losses(task, outputs, batch.targets, batch.answers_by_member(members))
            losses.sum().backward()
        return losses.detach().double()
    return _through_windows(model, task, batch, remedies, states, generator, members)


def _mean_losses(task: Task, outputs: Tensor, targets: Tensor, answers: Tensor) -> Tensor:
    """(P,), the sum of each member's losses over its number of answers.

    Args:
        task: gives the losses.
        outputs: (S, B, O), or (P, S, B, O) of networks side by side.
        targets: (S, P*B, O) floats or (S, P*B) classes.
        answers: (P,).
    """
    if outputs.dim() == 3:
        return task.losses(outputs, targets).sum()[None] / answers
    losses = task.losses(outputs, targets.unflatten(1, (len(answers), -1)).transpose(0, 1))
    # One sum each, over memory that begins and ends with the member: of many rows torch takes it in another order.
    return torch.stack([own.sum() for own in losses.contiguous().unbind()]) / answers


def _through_windows(
    model: SequenceModel | Callable[..., Any],
    task: Task,
    batch: Batch,
    remedies: Sequence[Remedy],
    states: Any,
    generator: torch.Generator | None,
    members: int,
) -> Tensor:
    """One window after the other; the sum of their losses."""
    windows = cut_into_windows(task.steps, remedies)
    if task.answers == "last":
        windows = windows[-1:]  # no other loss exists
    answers = batch.answers_by_member(members)
    total = torch.zeros(members, dtype=torch.float64, device=answers.device)
    reached = 0  # `states` are those before this step
    for window, following in zip(windows, [*windows[1:], None], strict=True):
        if window.start > reached:
            with torch.no_grad():
                _, states = model(batch.inputs[reached : window.start], states, reached)
            reached = window.start
        with _penalised(model, remedies, generator):
            outputs, after = model(batch.inputs[window.start : window.stop], states, window.start)
            targets = batch.targets
            if task.answers == "every":
                outputs = outputs[..., window.loss_start - window.start :, :, :]
                targets = targets[window.loss_start : window.stop]
            losses = _mean_losses(task, outputs, targets, answers)
            losses.sum().backward()
        total += losses.detach().double()
        if following is not None and following.start == window.stop:
            states, reached = _detach(after), window.stop
    return total


def backpropagate_piece(
    model: SequenceModel,
    task: Task,
    piece: Batch,
    remedies: Sequence[Remedy] = (),
    states: Any = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Any]:
    """Accumulate the gradient of one piece of a stream, which has an answer at every step.

    Args:
        model: the network; its `.grad` fields are added to.
        task: gives the loss.
        piece: some steps of the stream; its time counts from its own first step.
        remedies: those that act on the loss add to it.
        states: those that the piece before has left; zeros if none.
        generator: the remedies' source of randomness.

    Returns:
        (1,) float64, the mean loss over the piece's answers, and the states after it; both detached.
    """
    with _penalised(model, remedies, generator):
        outputs, states = model(piece.inputs, states)
        losses = _mean_losses(task, outputs, piece.targets, piece.answers_by_member(1))
        losses.sum().backward()
    return losses.detach().double(), _detach(states)


@contextmanager
def _penalised(
    model: SequenceModel | EncoderDecoder | Callable[..., Any],
    remedies: Sequence[Remedy],
    generator: torch.Generator | None,
) -> Iterator[None]:
    """A forward and a backward pass, and the penalties on it."""
    penalties = [partial(remedy.penalty, generator=generator) for remedy in remedies if remedy.penalises]
    if not penalties:
        yield
        return
    assert isinstance(model, SequenceModel | EncoderDecoder)
    with follow(model) as followed:
        yield
    penalise(followed, penalties)


def _detach(states: Any) -> Any:
    return tuple(state.detach() for state in states) if isinstance(states, tuple) else states.detach()
