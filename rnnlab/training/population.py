"""Runs of one shape that train together, each as it would alone, to the bit."""

import math
import time
from collections.abc import Callable

import torch

from rnnlab.common.interrupts import Interrupted
from rnnlab.config.shape import is_joinable
from rnnlab.remedies import Changed, Gradient, change
from rnnlab.scan import prepare
from rnnlab.tasks import Batch
from rnnlab.training.program import Program
from rnnlab.training.progress import Progress
from rnnlab.training.torch_settings import torch_settings

CHECKPOINT_SECONDS = 10.0
"""Wall time between two checkpoints; it changes what an interruption costs, never the result."""
OnEnd = Callable[[Progress, Exception | None], None]


class Population:
    """Runs whose updates are computed together.

    A run leaves when it is over, when it diverges, or when something of its own raises; others join at any time.

    Args:
        on_end: told of each run that has left, with what it has raised; its model has the last weights.

    Attributes:
        members: the runs that are in it.
    """

    def __init__(self, on_end: OnEnd) -> None:
        self.members: list[Progress] = []
        self.on_end = on_end
        self._program: Program | None = None

    def join(self, run: Progress) -> None:
        """Take in a run, of the same shape as those that are there."""
        prepare(run.config.cell)
        if not self.members:
            self._program = Program(run.model, run.config.optimizer)
        assert self._program is not None
        self._program.join(run.model, run.moments)
        self.members.append(run)

    def advance(self) -> None:
        """Let every run make one update and whatever follows from it."""
        began, members = time.monotonic(), list(self.members)
        with torch_settings(members[0].config.threads):
            self._leave_if_over()
            if self.members:
                self._update()
                self._look()
        for member in members:
            member.seconds += (time.monotonic() - began) / len(members)

    def _update(self) -> None:
        """One optimiser step of every run; a gradient that is not finite ends a run and leaves its weights alone."""
        program = self._running
        losses = self._go_back()
        norms = torch.linalg.vector_norm(program.gradient, dim=1, dtype=torch.float64)
        sound: list[int] = []
        for row, (member, loss, norm) in enumerate(zip(self.members, losses, norms.tolist(), strict=True)):
            member.note_update(loss, self._changed(row, member, norm))
            if not member.diverged:
                sound.append(row)
        alive = [self.members[row] for row in sound]
        program.update(
            sound, [m.config.optimizer for m in alive], [m.rate for m in alive], [m.step for m in alive]
        )

    def _go_back(self) -> list[float]:
        """Compute the gradients of all runs: in one pass where it can be, those that are watched alone."""
        batches, losses = self._batches(), [math.nan] * len(self.members)
        together = [row for row, member in enumerate(self.members) if not member.is_watched]
        if len(together) < 2 or not is_joinable(self.members[0].config):
            together = []
        if together:
            chosen = [self.members[row] for row in together]
            states = _joined([member.noisy_states() for member in chosen])
            config, noise = chosen[0].config, [member.noise for member in chosen]
            found = self._running.go_back_together(
                together, config.task, [batches[row] for row in together], config.remedies, states, noise
            )
            for row, loss in zip(together, found.tolist(), strict=True):
                losses[row] = loss
        for row in sorted(set(range(len(self.members))) - set(together)):
            member, batch = self.members[row], batches[row]
            losses[row] = float(self._running.go_back_alone(row, lambda m=member, b=batch: m.backpropagate(b)))
        return losses

    def _batches(self) -> list[Batch]:
        """What each run learns from; those with the same data and at the same update share it."""
        known: dict[tuple[int, int], tuple[Batch, torch.Tensor]] = {}
        batches = []
        for member in self.members:
            key = member.config.seed, member.step
            if key in known and not member.config.training.stream:
                batch, state = known[key]
                member.generator.set_state(state)
            else:
                batch = member.next_batch()
                known[key] = batch, member.generator.get_state()
            batches.append(batch)
        return batches

    def _changed(self, row: int, member: Progress, norm: float) -> Changed:
        """Let a run's remedies act on its gradient."""
        remedies = [remedy for remedy in member.config.remedies if remedy.changes]
        if not remedies or not math.isfinite(norm):
            return Changed(norm, norm)
        values = self._running.gradient[row]
        raw = Gradient(values, torch.tensor(norm, dtype=torch.float64), torch.tensor(False))
        changed = change(raw, remedies, member.step, member.chance)
        if changed.values is not values:
            values.copy_(changed.values)
        return Changed(norm, float(changed.norm), bool(changed.clipped))

    def _look(self) -> None:
        """Evaluate the runs that are due, save those that have not been for long, and let go those that are over."""
        ended: dict[int, Exception | None] = {}
        for row, member in enumerate(self.members):
            try:
                if member.is_due:
                    self._running.hand_out(row)
                    member.evaluate()
                stop = member.should_stop is not None and member.should_stop()
                if stop or time.monotonic() - member.saved > CHECKPOINT_SECONDS:
                    self._save(row)
                if stop:
                    raise Interrupted(f"stopped after {member.step} updates")
            except Exception as error:  # it is this run's alone
                ended[row] = error
        self._let_go(ended)
        self._leave_if_over()

    def _leave_if_over(self) -> None:
        self._let_go({row: None for row, member in enumerate(self.members) if member.is_over})

    def _let_go(self, ended: dict[int, Exception | None]) -> None:
        if not ended:
            return
        for row in ended:
            self._running.hand_out(row)
        left = [(self.members[row], error) for row, error in ended.items()]
        kept = [row for row in range(len(self.members)) if row not in ended]
        self._running.keep(kept)
        self.members = [self.members[row] for row in kept]
        for member, error in left:
            self.on_end(member, error)

    def _save(self, row: int) -> None:
        member, program = self.members[row], self._running
        program.hand_out(row)
        member.moments = [moment[row].clone() for moment in program.moments]
        member.save()

    @property
    def _running(self) -> Program:
        assert self._program is not None
        return self._program


def _joined(states: list) -> object:
    """First states of all runs, the examples of one after those of another; none where there are none."""
    if states[0] is None:
        return None
    if isinstance(states[0], tuple):
        return tuple(torch.cat(each, 1) for each in zip(*states, strict=True))
    return torch.cat(states, 1)
