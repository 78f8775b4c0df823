"""One run, wherever it is trained: its streams of randomness, its curves, what was recorded, and how it ends."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.common.errors import UserError
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.config.device import usable
from rnnlab.gradients.decay import Decay
from rnnlab.gradients.norms import Norms
from rnnlab.gradients.recorder import Recorder
from rnnlab.layers.stacks import recurrent_layers
from rnnlab.remedies import Changed, cut_into_windows
from rnnlab.tasks import Batch
from rnnlab.training.backpropagation import backpropagate, backpropagate_piece
from rnnlab.training.checkpoint import identity, load_checkpoint, save_checkpoint
from rnnlab.training.history import History
from rnnlab.training.kernels import prepare_kernels
from rnnlab.training.memory import check_memory
from rnnlab.training.models import SequenceModel, build_model
from rnnlab.training.preparation import prepare
from rnnlab.training.probing import Prober
from rnnlab.training.result import Curve, Outcome, Result
from rnnlab.training.stream import Stream
from rnnlab.training.torch_settings import torch_settings

EVALUATION_CHUNK = 250

Singular = torch.linalg.LinAlgError  # pyright: ignore[reportPrivateImportUsage]
"""Raised where weights have become so large that a matrix has no inverse: the run has diverged."""
OnEvaluation = Callable[[int, dict[str, Curve]], None]
OnProfile = Callable[[int, Norms, Decay], None]


class Progress:
    """A run and how far it is: everything a checkpoint has to hold.

    Args:
        config: the experiment.
        checkpoint: file to save to and to resume from where it exists.
        on_evaluation: see `rnnlab.training.runs.run`.
        on_profile: likewise.
        should_stop: likewise.

    Attributes:
        model: the network; while it is trained in a `Program`, with the weights that were last handed out.
        moments: (N,) each, what its optimiser had kept when it was last taken out of a program.
        seconds: wall time that was spent on it; a share, where it was trained in company.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: Path | None = None,
        on_evaluation: OnEvaluation | None = None,
        on_profile: OnProfile | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        check_memory(config)
        self.device = usable(config.device)
        with torch_settings(config.threads):
            self._build(config, checkpoint)
        self.on_evaluation, self.on_profile, self.should_stop = on_evaluation, on_profile, should_stop

    def _build(self, config: Config, checkpoint: Path | None) -> None:
        self.config, self.checkpoint = config, checkpoint
        self.model = build_model(config).to(self.device)
        self.weights = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        self.moments: Sequence[Tensor] = ()
        self.generator = make_generator(config.seed, "train")
        self.noise = make_generator(config.seed, "noise")
        for layer in recurrent_layers(self.model)[0]:
            layer.noise = self.noise
        self.recorder = Recorder(loss_reduction_scale=float(config.training.batch_size))
        self.chance = make_generator(config.seed, "remedies")
        self.prober = Prober(config, self.model, self.noise, self.chance)
        self.history = History(config.task.score_name)
        self.step = 0
        self.steps_to_solve: int | None = None
        self.diverged = False
        self.seconds = 0.0
        self.stream: Stream | None = None
        self.recorded_steps = config.recording.chosen_steps(config.training.steps)
        self.validation = self._examples("validation", config.training.eval_examples)
        prepare_kernels(config)
        self.saved = time.monotonic()
        if checkpoint is not None and checkpoint.exists() and (state := load_checkpoint(checkpoint)) is not None:
            self._restore(state)
        else:
            prepare(self.model, config, self.device, self.chance)
            self.seconds = time.monotonic() - self.saved

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent, the task solved, or the numbers are no numbers any more."""
        return self.step >= self.config.training.steps or self.diverged or self._done()

    @property
    def is_watched(self) -> bool:
        """Whether the coming update is recorded or probed."""
        return self.step in self.recorded_steps or self.step in self.prober.steps

    @property
    def rate(self) -> float:
        """Learning rate of the update whose gradient was noted last."""
        return self.config.optimizer.rate(self.step - 1, self.config.training.steps)

    def next_batch(self) -> Batch:
        """What the next update learns from: fresh sequences, or the next piece of a stream."""
        config = self.config
        if config.training.stream and self.stream is not None and not self.stream.is_over:
            return self.stream.piece()
        batch = config.task.sample(self.generator, config.training.batch_size).to(self.device)
        if not config.training.stream:
            return batch
        self.stream = Stream(batch, config.steps_an_update)
        return self.stream.piece()

    def noisy_states(self) -> Any:
        """States before the first step of the next batch."""
        return self.model.noisy_states(self.config.training.batch_size, self.noise)

    def backpropagate(self, batch: Batch) -> Tensor:
        """Accumulate the gradient of one batch in the model's weights; watch, if it is time to.

        Returns:
            (1,) the mean loss.
        """
        self.prober.take(self.step, batch)
        if self.step not in self.recorded_steps:
            return self._go_back(batch)
        config = self.config
        overlapping = self.stream is None and len(cut_into_windows(config.task.steps, config.remedies)) > 1
        with self.recorder.one_step(self.model, self.step, config.steps_an_update, overlapping):
            loss = self._go_back(batch)
        self._summarise_profile()
        return loss

    def note_update(self, loss: float, changed: Changed) -> None:
        """Count an update, which is left out where the gradient is not finite: the run has then diverged."""
        self.history.add_update(loss, changed)
        self.step += 1
        self.diverged = not (math.isfinite(loss) and math.isfinite(changed.before))

    @property
    def is_due(self) -> bool:
        """Whether it is time to look at the validation set."""
        options = self.config.training
        return not self.diverged and (self.step % options.eval_every == 0 or self.step == options.steps)

    def evaluate(self) -> None:
        """Look at the validation set, with the weights that the model has, and note whether the task is solved."""
        loss, score = self._score(self.validation)
        self.history.close_interval(self.step)
        self.history.add(self.step, "val/loss", loss)
        self.history.add(self.step, f"val/{self.config.task.score_name}", score)
        self.diverged = not math.isfinite(loss)  # the last update may have done it
        if self.steps_to_solve is None and self.config.task.solved(score):
            self.steps_to_solve = self.step
        if self.on_evaluation is not None:
            self.on_evaluation(self.step, self.history.curves)

    def save(self) -> None:
        """Write the checkpoint, with the weights that the model has and the moments that are here."""
        if self.checkpoint is not None:
            save_checkpoint(self.checkpoint, self._state())
        self.saved = time.monotonic()

    def finish(self) -> Result:
        """Look at the test set and sum up."""
        began = time.monotonic()
        if self.diverged:
            self.history.close_interval(self.step)
        with torch_settings(self.config.threads):
            if not self.diverged and self.step < self.config.training.steps:
                self.prober.take(self.step, self.next_batch(), last=True)
            test_loss, test_score = self._score(self._examples("test", self.config.training.test_examples))
        for layer in recurrent_layers(self.model)[0]:
            layer.copies_outputs = True  # from here on it is the user's
        self.seconds += time.monotonic() - began
        scores = self.history.curves[f"val/{self.config.task.score_name}"].values
        outcome: Outcome = "solved" if scores and self.config.task.solved(scores[-1]) else "finished"
        return Result(
            config=self.config,
            outcome="diverged" if self.diverged else outcome,
            steps=self.step,
            steps_to_solve=self.steps_to_solve,
            test_loss=test_loss,
            test_score=test_score,
            seconds=self.seconds,
            weights=self.weights,
            history=self.history.curves,
            profile=self.recorder.dataset() if self.recorder.steps else None,
            probes=self.prober.dataset(),
            model=self.model,
        )

    def _go_back(self, batch: Batch) -> Tensor:
        if self.stream is not None:
            assert isinstance(self.model, SequenceModel)
            remedies, before = self.config.remedies, self.stream.states
            loss, after = backpropagate_piece(self.model, self.config.task, batch, remedies, before, self.chance)
            self.stream.go_on(after)
            return loss
        remedies, states = self.config.remedies, self.noisy_states()
        return backpropagate(self.model, self.config.task, batch, remedies, states, self.chance)

    @torch.no_grad()
    def _score(self, batch: Batch) -> tuple[float, float]:
        """Mean loss over the answers and mean score over the examples of an evaluation set."""
        task = self.config.task
        self.model.eval()
        losses, scores = [], []
        try:
            for chunk in batch.chunks(EVALUATION_CHUNK):
                for_loss, for_score = self.model.evaluate(chunk)
                losses.append(task.losses(for_loss, chunk.targets).double().sum())
                scores.append(task.scores(for_score, chunk.targets).double())
        except Singular:
            return math.nan, math.nan
        finally:
            self.model.train()
        return float(torch.stack(losses).sum()) / batch.answers, float(torch.cat(scores).mean())

    def _examples(self, split: Any, count: int) -> Batch:
        return self.config.task.evaluation(split, count, make_generator(self.config.seed, split)).to(self.device)

    def _done(self) -> bool:
        options, task = self.config.training, self.config.task
        if options.stop_at is None:
            return options.stop_when_solved and self.steps_to_solve is not None
        scores = self.history.curves[f"val/{task.score_name}"].values
        return bool(scores) and task.reaches(scores[-1], options.stop_at)

    def _summarise_profile(self) -> None:
        """Add the few numbers of the newest profile that are worth a curve."""
        if not self.recorder.steps:
            return
        step = self.recorder.steps[-1]
        newest, back, decay = step.top(), step.top(by_lag=True), step.decay()
        self.history.add(self.step, "grad/decay_rate", decay.slope)
        zero_fraction = newest.zero_fraction[np.isfinite(newest.zero_fraction)]
        self.history.add(
            self.step, "grad/zero_fraction", float(zero_fraction.mean()) if len(zero_fraction) else math.nan
        )
        for k in (lag for lag in self.config.task.lags if lag < len(back.mean)):  # a piece of a stream may be shorter
            self.history.add(self.step, f"grad/lag_{k}", float(back.mean[k]))
        if self.on_profile is not None:
            self.on_profile(self.step, newest, decay)

    def _state(self) -> dict[str, Any]:
        return {
            "config": identity(self.config),
            "model": self.model.state_dict(),
            "moments": list(self.moments),
            "generator": self.generator.get_state(),
            "noise": self.noise.get_state(),
            "chance": self.chance.get_state(),
            "recorder": self.recorder.state_dict(),
            "prober": self.prober.state_dict(),
            "history": self.history.state_dict(),
            "stream": None if self.stream is None else {**vars(self.stream), "batch": tuple(self.stream.batch)},
            "step": self.step,
            "steps_to_solve": self.steps_to_solve,
            "diverged": self.diverged,
            "seconds": self.seconds,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state["config"] != identity(self.config):
            raise UserError(
                f"checkpoint {self.checkpoint} belongs to another configuration: delete it or name another file"
            )
        self.model.load_state_dict(state["model"])
        self.moments = state["moments"]
        self.generator.set_state(state["generator"])
        self.noise.set_state(state["noise"])
        self.chance.set_state(state["chance"])
        self.recorder.load_state_dict(state["recorder"])
        self.prober.load_state_dict(state["prober"])
        self.history.load_state_dict(state["history"])
        if state["stream"] is not None:
            self.stream = Stream.restored(state["stream"], self.device)
        for name in ("step", "steps_to_solve", "diverged", "seconds"):
            setattr(self, name, state[name])
