"""Remedies compose in the order written, draw from a stream of their own, and reach loss and start of a run."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import Interrupted
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.remedies import Gradient, Penalty, Remedy, Unrolled, Window, change_gradients, cut_into_windows, register
from rnnlab.remedies.registry import REMEDIES
from rnnlab.remedies.truncation import Truncation
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import SequenceModel
from rnnlab.training.runs import run

pytestmark = pytest.mark.usefixtures("plugged")
BASE = {
    "task": {"kind": "adding", "length": 6},
    "cell": {"kind": "vanilla", "hidden_size": 5},
    "training": {"steps": 12, "batch_size": 8, "eval_every": 4, "eval_examples": 20, "test_examples": 20},
    "recording": {"points": 3, "probe_points": 2},
    "dtype": "float64",
}


@pytest.fixture(autouse=True)
def made(plugged: None) -> None:
    """Remedies as a user may write them."""

    @register
    class Noise(Remedy):
        kind: Literal["jitter"] = "jitter"
        size: float = 0.1

        def change(self, gradient: Gradient, step: int, generator: torch.Generator | None) -> Gradient:
            noise = torch.randn(gradient.values.shape, generator=generator, dtype=gradient.values.dtype)
            return Gradient.of(gradient.values + self.size * noise, gradient.clipped)

    @register
    class KeepNorm(Remedy):
        """Pascanu's Ω: (‖dL/dh_{t-1}‖² / ‖dL/dh_t‖² - 1)², through the recurrent weights of one step alone."""

        kind: Literal["keep_norm"] = "keep_norm"

        def penalty(self, layer: Unrolled, generator: torch.Generator | None) -> Tensor:
            u, h, g = (x.flatten(0, 1) for x in (layer.projected.detach(), layer.states[0], layer.gradients[0]))
            h.requires_grad_()
            (pulled,) = torch.autograd.grad(layer.step(u, (h,))[0], h, g, create_graph=True)
            return (pulled.square().sum(-1) / g.square().sum(-1) - 1).square().mean()

    @register
    class Calm(Remedy):
        """The answer to a hidden state of ones is trained towards zero before the first update."""

        kind: Literal["calm"] = "calm"
        steps: int = 20

        def prepare(self, model: nn.Module, penalise: Callable[[Penalty], None], generator: torch.Generator) -> None:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
            for _ in range(self.steps):
                penalise(answer_to_ones)
                optimizer.step()


def answer_to_ones(layer: Unrolled) -> Tensor:
    u = torch.zeros_like(layer.projected[0])
    return layer.step(u, (torch.ones_like(layer.states[0][0]),))[0].square().mean()


def config(**changes: Any) -> Config:
    return Config.parse(override(BASE, {name.replace("__", "."): value for name, value in changes.items()}))


def weights(cfg: Config) -> dict[str, Tensor]:
    model = run(cfg).model
    assert model is not None
    return model.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


NOISE, CLIPPING = {"jitter": {"size": 0.5}}, {"clipping": {"threshold": 0.1}}


def test_they_act_in_the_order_written_which_is_part_of_the_experiment():
    first, last = config(remedies={**NOISE, **CLIPPING}), config(remedies={**CLIPPING, **NOISE})
    assert [remedy.kind for remedy in first.remedies] == ["jitter", "clipping"]
    assert first != last and first.hash != last.hash
    assert Config.parse(first.model_dump(mode="json")) == first
    after = [max(run(cfg).history["remedies/norm_after"].values) for cfg in (first, last)]
    assert after[0] <= 0.1 < after[1]
    assert config(remedies={**CLIPPING, "jitter": None}).hash == config(remedies=CLIPPING).hash


def test_what_cuts_is_refused_where_nothing_can_be_cut():
    @register
    class Halves(Remedy):
        kind: Literal["halves"] = "halves"

        def cut(self, windows: Sequence[Window]) -> Sequence[Window]:
            return windows

    for wrong, said in (
        ({"task": {"kind": "reversal"}}, r"remedies.halves cuts .* all losses of reversal are in the decoder"),
        ({"task": {"kind": "adding"}, "model": {"bidirectional": True}}, r"remedies.halves .* no past to carry"),
    ):
        with pytest.raises(UserError, match=said):
            Config.parse({**wrong, "cell": {"kind": "gru"}, "remedies": {"halves": {}}})


def test_noise_is_a_stream_of_its_own_and_the_same_whatever_happens(tmp_path):
    plain, noisy = weights(config()), config(remedies=NOISE)
    assert same(weights(config(remedies={"jitter": {"size": 0.0}})), plain)  # draws, and disturbs no other stream
    expected = weights(noisy)
    assert not same(expected, plain)
    assert same(weights(override_probes(noisy, "standard")), expected)
    updates = 0

    def stop() -> bool:
        nonlocal updates
        updates += 1
        return updates == 5

    with pytest.raises(Interrupted):
        run(noisy, checkpoint=tmp_path / "checkpoint.pt", should_stop=stop)
    resumed = run(noisy, checkpoint=tmp_path / "checkpoint.pt")
    assert resumed.steps == 12 and resumed.model is not None and same(resumed.model.state_dict(), expected)


def override_probes(cfg: Config, probes: str) -> Config:
    return Config.parse(override(cfg.model_dump(mode="json"), {"recording.probes": probes}))


def test_a_penalty_adds_its_gradient_to_that_of_the_loss():
    cfg = config(remedies__keep_norm={})
    model, batch = SequenceModel(cfg), cfg.task.sample(torch.Generator().manual_seed(0), 4)
    found = []
    for remedies in ((), cfg.remedies):
        model.zero_grad()
        backpropagate(model, cfg.task, batch, remedies)
        found.append({name: p.grad.clone() for name, p in model.recurrent.named_parameters() if p.grad is not None})
    # The second way: a plain loop, and the product with the Jacobian of tanh written out.
    W, U, b, b_hh = model.recurrent.parameters()
    states = [torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)]
    u = batch.inputs.double() @ W.T + b
    for t in range(6):
        states.append(torch.tanh(u[t] + states[-1] @ U.T + b_hh))
        states[-1].retain_grad()
    cfg.task.losses(model.readout(states[-1])[None], batch.targets).mean().backward()
    g = torch.stack([state.grad for state in states[1:] if state.grad is not None])
    before = torch.stack(states[:-1]).detach()
    slope = 1 - torch.tanh(u.detach() + before @ U.T + b_hh) ** 2
    ratio = ((g * slope) @ U).square().sum(-1) / g.square().sum(-1)
    (expected,) = torch.autograd.grad((ratio - 1).square().mean(), U)
    added = found[1]["weight_hh_l0"] - found[0]["weight_hh_l0"]
    np.testing.assert_allclose(added.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)


def test_a_penalty_is_refused_where_steps_cannot_be_taken_again():
    with pytest.raises(UserError, match=r"remedies.keep_norm takes steps again, which zoneout"):
        config(remedies__keep_norm={}, cell__zoneout=0.1)
    with pytest.raises(UserError, match=r"remedies.keep_norm needs every step, which model.checkpoint_every = 2"):
        config(remedies__keep_norm={}, model__checkpoint_every=2)
    run(config(remedies={"truncation": {"window": 3}, "keep_norm": {}}))  # and is added in every window


def test_what_acts_before_training_acts_on_the_first_recorded_gradient_alone():
    cfg = config(remedies__calm={}, training__steps=1)
    idle = config(remedies__calm={"steps": 0}, training__steps=1)
    assert same(weights(idle), weights(config(training__steps=1)))
    assert same(weights(cfg), weights(cfg))
    answers = []
    for each in (cfg, idle):
        state = weights(each)
        pushed = state["recurrent.weight_hh_l0"].sum(1) + state["recurrent.bias_hh_l0"]
        answers.append(float(pushed.tanh().square().mean()))
    assert answers[0] < 0.2 * answers[1]


def test_remedies_that_cut_the_graph_do_so_one_within_the_other():
    """Every loss of the second stays in a window of the first, and reaches no further back than either allows."""
    wide, narrow = Truncation(window=10, stride=5), Truncation(window=4)
    for remedies in ((wide, narrow), (narrow, wide)):
        windows = cut_into_windows(23, remedies)
        assert [step for w in windows for step in range(w.loss_start, w.stop)] == list(range(23))
        assert max(w.stop - w.start for w in windows) <= 4
        bounds = {w.stop for w in cut_into_windows(23, remedies[:1])}
        assert bounds <= {w.stop for w in windows}


def test_mistakes_in_a_remedy_of_ones_own_are_named():
    class Wrong(Remedy):
        kind: Literal["wrong"] = "wrong"

        def change(self, gradient: Gradient, step: int, generator: torch.Generator | None) -> Any:
            return gradient.values

    class Idle(Remedy):
        kind: Literal["idle"] = "idle"

    class Nameless(Remedy):
        pass

    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    with pytest.raises(UserError, match=r"remedy 'wrong' gives a Tensor .* return Gradient\.of"):
        change_gradients([weight], [Wrong()])
    with pytest.raises(UserError, match="Nameless has no name: give its class a field `kind`"):
        REMEDIES.register(Nameless)
    REMEDIES.register(Idle)
    with pytest.raises(UserError, match=r"remedies\.idle does nothing"):
        Config.parse({"task": {"kind": "adding"}, "cell": {"kind": "gru"}, "remedies": {"idle": {}}})
