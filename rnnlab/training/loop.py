"""The training loop."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnlab.common.errors import UserError, check_type
from rnnlab.common.interrupts import Interrupted
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.gradients.decay import Decay
from rnnlab.gradients.norms import Norms
from rnnlab.gradients.recorder import Recorder
from rnnlab.layers.stacks import recurrent_layers
from rnnlab.probes.tape import trace
from rnnlab.remedies import Penalty, change_gradients, cut_into_windows
from rnnlab.scan import prepare
from rnnlab.tasks import Batch
from rnnlab.training.backpropagation import backpropagate, backpropagate_piece
from rnnlab.training.checkpoint import load_checkpoint, save_checkpoint
from rnnlab.training.history import History
from rnnlab.training.memory import check_memory
from rnnlab.training.models import SequenceModel, build_model
from rnnlab.training.penalties import penalise
from rnnlab.training.probing import Prober
from rnnlab.training.result import Curve, Outcome, Result
from rnnlab.training.stream import Stream
from rnnlab.training.torch_settings import torch_settings

CHECKPOINT_SECONDS = 10.0
"""Wall time between two checkpoints; it changes what an interruption costs, never the result."""
EVALUATION_CHUNK = 250

OnEvaluation = Callable[[int, dict[str, Curve]], None]
OnProfile = Callable[[int, Norms, Decay], None]


def run(
    config: Config,
    *,
    checkpoint: str | Path | None = None,
    on_evaluation: OnEvaluation | None = None,
    on_profile: OnProfile | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Result:
    """Train once, exactly as the configuration says.

    Args:
        config: the experiment; the same one gives the same result on the same machine.
        checkpoint: file to save to now and then and to resume from where it exists; a resumed run ends bit-identical.
        on_evaluation: called after each look at the validation set with the step and all curves so far.
        on_profile: called after each recorded training step with the step, the norms of the hidden state at the
            top of the network, (T,) each, and their decay; they were computed anyway.
        should_stop: asked after every update; once true, the run saves its checkpoint and stops.

    Returns:
        Outcome, scores, curves, gradient profile and what the probes measured.

    Raises:
        Interrupted: if `should_stop` turned true.
        UserError: if `config` is none, data or memory are missing, or the checkpoint belongs to another configuration.

    Example:
        >>> from rnnlab.config.config import Config
        >>> config = Config.parse({"task": {"kind": "adding", "length": 5}, "cell": {"kind": "gru", "hidden_size": 4},
        ...                        "training": {"steps": 10, "eval_every": 5}})
        >>> run(config).steps
        10
    """
    check_type("config", config, Config)
    check_type("checkpoint", checkpoint, str | Path | None)
    check_memory(config)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    with torch_settings(config.threads):
        return _Run(config, checkpoint, on_profile).train(on_evaluation, should_stop)


class _Run:
    """The state of one run: everything a checkpoint has to hold."""

    def __init__(self, config: Config, checkpoint: Path | None, on_profile: OnProfile | None) -> None:
        self.config, self.checkpoint, self.on_profile = config, checkpoint, on_profile
        self.model = build_model(config)
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in named]
        self.optimizer = config.optimizer.build(config.optimizer.groups(named))
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
        if checkpoint is not None and checkpoint.exists() and (state := load_checkpoint(checkpoint)) is not None:
            self._restore(state)
        else:
            self._let_remedies_prepare()

    def train(self, on_evaluation: OnEvaluation | None, should_stop: Callable[[], bool] | None) -> Result:
        """Update until the budget is spent, the task is solved, or the numbers are no numbers any more."""
        options = self.config.training
        prepare(self.config.cell)
        began = saved = time.monotonic() - self.seconds
        while self.step < options.steps and not self.diverged and not self._done():
            self._update()
            if not self.diverged and (self.step % options.eval_every == 0 or self.step == options.steps):
                self._evaluate()
                if on_evaluation is not None:
                    on_evaluation(self.step, self.history.curves)
            self.seconds = time.monotonic() - began
            stop = should_stop is not None and should_stop()
            if self.checkpoint is not None and (stop or time.monotonic() - saved > CHECKPOINT_SECONDS):
                save_checkpoint(self.checkpoint, self._state())
                saved = time.monotonic()
            if stop:
                raise Interrupted(f"stopped after {self.step} updates")
        if self.diverged:
            self.history.close_interval(self.step)
        elif self.step < options.steps:
            self.prober.take(self.step, self._next_batch(), last=True)
        test_loss, test_score = self._score(self._examples("test", options.test_examples))
        self.seconds = time.monotonic() - began
        return self._result(test_loss, test_score)

    def _update(self) -> None:
        """One optimiser step; a gradient that is not finite ends the run and leaves the weights alone."""
        config = self.config
        batch = self._next_batch()
        self.optimizer.zero_grad(set_to_none=True)
        self.prober.take(self.step, batch)
        if self.step in self.recorded_steps:
            overlapping = self.stream is None and len(cut_into_windows(config.task.steps, config.remedies)) > 1
            with self.recorder.one_step(self.model, self.step, config.steps_an_update, overlapping):
                loss = self._backpropagate(batch)
            self._summarise_profile()
        else:
            loss = self._backpropagate(batch)
        changed = change_gradients(self.parameters, config.remedies, self.step, self.chance)
        self.history.add_update(loss, changed)
        self.step += 1
        if not (math.isfinite(loss) and math.isfinite(changed.before)):
            self.diverged = True
            return
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * config.optimizer.rate(self.step - 1, config.training.steps)
        self.optimizer.step()

    def _next_batch(self) -> Batch:
        """What the next update learns from: fresh sequences, or the next piece of a stream."""
        config = self.config
        if config.training.stream and self.stream is not None and not self.stream.is_over:
            return self.stream.piece()
        batch = config.task.sample(self.generator, config.training.batch_size)
        if not config.training.stream:
            return batch
        self.stream = Stream(batch, config.steps_an_update)
        return self.stream.piece()

    def _backpropagate(self, batch: Batch) -> float:
        if self.stream is not None:
            assert isinstance(self.model, SequenceModel)
            remedies, before = self.config.remedies, self.stream.states
            loss, after = backpropagate_piece(self.model, self.config.task, batch, remedies, before, self.chance)
            self.stream.go_on(after)
            return float(loss)
        states = self.model.noisy_states(self.config.training.batch_size, self.noise)
        return float(backpropagate(self.model, self.config.task, batch, self.config.remedies, states, self.chance))

    def _let_remedies_prepare(self) -> None:
        """Let remedies act on the new network, on data and noise of their own."""
        config = self.config

        def penalise_fresh(penalty: Penalty) -> None:
            batch = config.task.sample(self.chance, config.training.batch_size)
            with trace(self.model) as tape:
                backpropagate(self.model, config.task, batch)
            self.model.zero_grad()
            penalise(tape, [penalty])

        for remedy in config.remedies:
            remedy.prepare(self.model, penalise_fresh, self.chance)
        self.model.zero_grad()

    def _evaluate(self) -> None:
        """Look at the validation set and note whether the task is solved."""
        loss, score = self._score(self.validation)
        self.history.close_interval(self.step)
        self.history.add(self.step, "val/loss", loss)
        self.history.add(self.step, f"val/{self.config.task.score_name}", score)
        self.diverged = not math.isfinite(loss)  # the last update may have done it
        if self.steps_to_solve is None and self.config.task.solved(score):
            self.steps_to_solve = self.step

    @torch.no_grad()
    def _score(self, batch: Batch) -> tuple[float, float]:
        """Mean loss over the answers and mean score over the examples of an evaluation set."""
        task = self.config.task
        self.model.eval()
        losses, scores = [], []
        for chunk in batch.chunks(EVALUATION_CHUNK):
            for_loss, for_score = self.model.evaluate(chunk)
            losses.append(task.losses(for_loss, chunk.targets).double().sum())
            scores.append(task.scores(for_score, chunk.targets).double())
        self.model.train()
        return float(torch.stack(losses).sum()) / batch.answers, float(torch.cat(scores).mean())

    def _examples(self, split: Any, count: int) -> Batch:
        return self.config.task.evaluation(split, count, make_generator(self.config.seed, split))

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

    def _result(self, test_loss: float, test_score: float) -> Result:
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
            weights=sum(parameter.numel() for parameter in self.parameters),
            history=self.history.curves,
            profile=self.recorder.dataset() if self.recorder.steps else None,
            probes=self.prober.dataset(),
            model=self.model,
        )

    def _state(self) -> dict[str, Any]:
        return {
            "config": self.config.canonical_json(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "noise": self.noise.get_state(),
            "chance": self.chance.get_state(),
            "recorder": self.recorder.state_dict(),
            "prober": self.prober.state_dict(),
            "history": self.history.state_dict(),
            "stream": None if self.stream is None else {**vars(self.stream), "batch": tuple(self.stream.batch)},
            "step": self.step,
            "steps_to_solve": self.steps_to_solve,
            "seconds": self.seconds,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state["config"] != self.config.canonical_json():
            raise UserError(
                f"checkpoint {self.checkpoint} belongs to another configuration: delete it or name another file"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.noise.set_state(state["noise"])
        self.chance.set_state(state["chance"])
        self.recorder.load_state_dict(state["recorder"])
        self.prober.load_state_dict(state["prober"])
        self.history.load_state_dict(state["history"])
        if state["stream"] is not None:
            self.stream = Stream(**{**state["stream"], "batch": Batch(*state["stream"]["batch"])})
        self.step, self.steps_to_solve, self.seconds = (
            state["step"],
            state["steps_to_solve"],
            state["seconds"],
        )
