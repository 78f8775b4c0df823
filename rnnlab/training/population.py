"""Runs of one shape that train together, each as it would alone, to the bit."""

import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch

from rnnlab.common.interrupts import Interrupted
from rnnlab.config.shape import is_joinable
from rnnlab.remedies import Changed, Gradient, change
from rnnlab.tasks import Batch
from rnnlab.training.memory import out_of_memory
from rnnlab.training.program import Program
from rnnlab.training.progress import Progress, Singular
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
        self._joinable, self._at_once = False, sys.maxsize
        self._left: list[tuple[Progress, Exception | None]] = []

    def join(self, run: Progress) -> None:
        """Take in a run, of the same shape as those that are there."""
        if not self.members:
            self._program, self._joinable = Program(run.model, run.config.optimizer), is_joinable(run.config)
        assert self._program is not None
        self._program.join(run.model, run.moments)
        self.members.append(run)

    def advance(self) -> None:
        """Let every run make one update and whatever follows from it."""
        began, members, self._left = time.monotonic(), list(self.members), []
        with torch_settings(members[0].config.threads):
            self._let_go(dict.fromkeys(self._over()))
            if self.members:
                self._update()
                for look in (self._evaluate, self._check):  # all have been evaluated before one is judged
                    self._let_go(self._of_each(look))
                self._let_go(dict.fromkeys(self._over()))
        for member in members:
            member.seconds += (time.monotonic() - began) / len(members)
        for member, error in self._left:
            self.on_end(member, error)

    def _update(self) -> None:
        """One optimiser step of every run; a gradient that is not finite ends a run and leaves its weights alone."""
        program, losses = self._running, dict[int, float]()
        batches, failed = self._batches()
        together = [row for row, member in enumerate(self.members) if row in batches and not member.is_watched]
        if self._joinable:
            losses = self._go_back_together(together, batches)

        def go_back(row: int, member: Progress) -> None:
            if row not in losses and row in batches:
                with suppress(Singular):  # it has no loss then, and has diverged
                    losses[row] = float(program.go_back_alone(row, lambda: member.backpropagate(batches[row])))

        failed |= self._of_each(go_back)
        norms = torch.linalg.vector_norm(program.gradient, dim=1, dtype=torch.float64).tolist()

        def change_gradient(row: int, member: Progress) -> None:
            if row not in failed:
                member.note_update(losses.get(row, math.nan), self._changed(row, member, norms[row]))

        failed |= self._of_each(change_gradient)
        sound = [row for row, member in enumerate(self.members) if row not in failed and not member.diverged]
        alive = [self.members[row] for row in sound]
        program.update(sound, [m.config.optimizer for m in alive], [m.rate for m in alive], [m.step for m in alive])
        self._let_go(failed)

    def _go_back_together(self, rows: list[int], batches: Mapping[int, Batch]) -> dict[int, float]:
        """Compute gradients in passes of as many runs as there is memory for; runs whose pass fails are left out."""
        losses = dict[int, float]()
        while min(len(rows), self._at_once) > 1:
            chosen, later = rows[: self._at_once], rows[self._at_once :]
            before = [self.members[row].noise.get_state() for row in chosen]
            try:
                losses |= self._pass(chosen, batches)
            except Exception as error:
                for row, state in zip(chosen, before, strict=True):
                    self.members[row].noise.set_state(state)
                if out_of_memory(error):
                    self._at_once, later = len(chosen) // 2, rows
                    text = f"there is not the memory to train {len(chosen)} runs in one pass"
                    warnings.warn(f"{text}: from now on {self._at_once} at most", stacklevel=2)
                else:  # whose fault it is comes to light when each is tried alone
                    text = f"{len(chosen)} runs cannot be computed in one pass ({type(error).__name__}: {error})"
                    warnings.warn(f"{text}: each is computed alone", stacklevel=2)
            rows = later
        return losses

    def _pass(self, rows: list[int], batches: Mapping[int, Batch]) -> dict[int, float]:
        """Compute gradients of some runs at once."""
        chosen = [self.members[row] for row in rows]
        config, states = chosen[0].config, _joined([member.noisy_states() for member in chosen])
        own = [batches[row] for row in rows]
        found = self._running.go_back_together(rows, config.task, own, config.remedies, states)
        return dict(zip(rows, found.tolist(), strict=True))

    def _batches(self) -> tuple[dict[int, Batch], dict[int, Exception]]:
        """What each run learns from, or has raised; those with the same data and at the same update share it."""
        known: dict[tuple[int, int], tuple[Batch, torch.Tensor]] = {}
        batches: dict[int, Batch] = {}

        def draw(row: int, member: Progress) -> None:
            key = member.config.seed, member.step
            if key in known and not member.config.training.stream:
                batches[row], state = known[key]
                member.generator.set_state(state)
            else:
                batches[row] = member.next_batch()
                known[key] = batches[row], member.generator.get_state()

        return batches, self._of_each(draw)

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

    def _evaluate(self, row: int, member: Progress) -> None:
        if member.is_due:
            self._running.hand_out(row)
            member.evaluate()

    def _check(self, row: int, member: Progress) -> None:
        """Save a run that has not been for long, or that has to stop."""
        stop = member.should_stop is not None and member.should_stop()
        if stop or time.monotonic() - member.saved > CHECKPOINT_SECONDS:
            self._running.hand_out(row)
            member.moments = [moment[row].clone() for moment in self._running.moments]
            member.save()
        if stop:
            raise Interrupted(f"stopped after {member.step} updates")

    def _of_each(self, do: Callable[[int, Progress], None]) -> dict[int, Exception]:
        """Do something to each run, and return what that has raised: it is this run's alone."""
        raised = {}
        for row, member in enumerate(self.members):
            try:
                do(row, member)
            except Exception as error:
                raised[row] = error
        return raised

    def _over(self) -> list[int]:
        return [row for row, member in enumerate(self.members) if member.is_over]

    def _let_go(self, ended: Mapping[int, Exception | None]) -> None:
        """Take runs out, with their last weights."""
        if not ended:
            return
        for row, error in ended.items():
            self._running.hand_out(row)
            self._left.append((self.members[row], error))
        kept = [row for row in range(len(self.members)) if row not in ended]
        self._running.keep(kept)
        self.members = [self.members[row] for row in kept]

    @property
    def _running(self) -> Program:
        assert self._program is not None
        return self._program


def _joined(states: list[Any]) -> Any:
    """First states of all runs, the examples of one after those of another; none where there are none."""
    if states[0] is None:
        return None
    if isinstance(states[0], tuple):
        return tuple(torch.cat(each, 1) for each in zip(*states, strict=True))
    return torch.cat(states, 1)
