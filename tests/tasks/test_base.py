"""Laws that hold for every task."""

import time

import pytest
import torch
from torch.nn.functional import one_hot

from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.tasks import IGNORED, TASKS, Batch, Task
from rnnlab.tasks.adding import Adding
from rnnlab.tasks.agreement import Agreement
from rnnlab.tasks.autoencoding import Autoencoding
from rnnlab.tasks.copying import Copying
from rnnlab.tasks.delayed_bits import DelayedBits
from rnnlab.tasks.digits import Digits
from rnnlab.tasks.flip_flop import FlipFlop
from rnnlab.tasks.generation import Generation
from rnnlab.tasks.linear_system import LinearSystem
from rnnlab.tasks.mnist import Mnist
from rnnlab.tasks.parity import Parity
from rnnlab.tasks.reversal import Reversal
from rnnlab.tasks.temporal_order import TemporalOrder
from rnnlab.tasks.words import Words

VARIANTS = [
    *(task.parse({}) for task in TASKS.values()),
    TemporalOrder(bits=3),
    Mnist(pixels_per_step=28, permuted=True),
    Digits(pixels_per_step=8, permuted=True),
    Digits(pixels_per_step=64),
    Adding(noise=0.1),
    Agreement(distractors=1),
    Autoencoding(features=3),
    DelayedBits(delay=7, xor=True),
    FlipFlop(bits=2, rate=0.2),
    Generation(sequences=20),
    LinearSystem(memory=0.5, units=4, teacher=1),
    Parity(every_step=True),
    Reversal(fillers=0.5),
    Reversal(fillers=0.5, mapping=True),
    Words(min_count=10),
]
FILES = {"mnist": "mnist_files", "characters": "text_files", "words": "text_files"}
"""What skips a task whose data are missing."""


@pytest.fixture(params=VARIANTS, ids=lambda task: task.label)
def task(request: pytest.FixtureRequest) -> Task:
    if files := FILES.get(request.param.kind):
        request.getfixturevalue(files)
    return request.param


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_batch_has_the_declared_shapes_and_types(task: Task):
    inputs, targets = task.sample(generator(), 7)
    if task.symbols:
        assert inputs.shape == (task.steps, 7) and inputs.dtype == torch.int64
        assert inputs.min() >= 0 and inputs.max() < task.input_size
    else:
        assert inputs.shape == (task.steps, 7, task.input_size) and inputs.dtype == torch.float32
    answers = {"last": 1, "every": task.steps, "decoder": task.answer_steps}[task.answers]
    if targets.is_floating_point():
        assert targets.shape == (answers, 7, task.output_size)
    else:
        assert targets.shape == (answers, 7) and targets.dtype == torch.int64
        assert targets[0].min() >= 0 and targets.max() < task.output_size
        assert task.answers == "decoder" or targets.min() >= 0
        due = targets != IGNORED
        assert torch.equal(due, torch.arange(answers)[:, None] < due.sum(0))  # what is not due is at the end


def test_data_depends_on_the_given_generator_alone(task: Task):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = task.sample(generator(5), 6)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    again, other = task.sample(generator(5), 6), task.sample(generator(6), 6)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.inputs, other.inputs)


def test_evaluation_sets_have_the_examples_asked_for(task: Task):
    for split in ("validation", "test"):
        batch = task.evaluation(split, 9, generator())
        assert batch.inputs.shape[:2] == (task.steps, 9)
        assert batch.targets.shape[1] == 9


def test_losses_and_scores_are_per_answer_and_per_example(task: Task):
    targets = task.sample(generator(), 5).targets
    outputs = torch.randn(*targets.shape[:2], task.output_size, generator=generator())
    assert task.losses(outputs, targets).shape == targets.shape[:2]
    assert task.scores(outputs, targets).shape == (5,)


def test_a_perfect_answer_solves_the_task_and_the_trivial_one_does_not(task: Task):
    targets = task.sample(generator(), 5).targets
    outputs = targets if targets.is_floating_point() else 100.0 * one_hot(targets.clamp(min=0), task.output_size)
    assert task.losses(outputs, targets).max() < 1e-6
    assert task.solved(task.scores(outputs, targets).mean().item())
    assert not task.solved(task.baseline.score)


def test_lags_lie_within_the_sequence(task: Task):
    assert task.lags == tuple(sorted(set(task.lags)))
    assert task.lags[0] >= 0 and task.lags[-1] <= task.total_steps - 1


def test_chunks_put_together_are_the_batch():
    batch = Copying(length=3).sample(generator(), 10)
    chunks = list(batch.chunks(4))
    assert [chunk.targets.shape[1] for chunk in chunks] == [4, 4, 2]
    for whole, *parts in zip(batch, *chunks, strict=True):
        assert torch.equal(torch.cat(parts, 1), whole)


def test_what_is_not_due_costs_nothing_and_scores_nothing():
    task = Reversal(length=6, fillers=0.5)
    targets = task.sample(generator(), 40).targets
    outputs = torch.randn(7, 40, 9, generator=generator())
    losses, scores = task.losses(outputs, targets), task.scores(outputs, targets)
    count = 0
    for b in range(40):
        due = [s for s in range(7) if targets[s, b] != IGNORED]
        count += len(due)
        right = [outputs[s, b].argmax().item() == targets[s, b].item() for s in due]
        assert scores[b].item() == pytest.approx(sum(right) / len(right))
        for s in range(7):
            expected = -outputs[s, b].log_softmax(-1)[targets[s, b]].item() if s in due else 0.0
            assert losses[s, b].item() == pytest.approx(expected, rel=1e-5)  # float32
    assert Batch(targets, targets).answers == count < targets.numel()
    assert Autoencoding(length=3, features=4).sample(generator(), 5).answers == 3 * 5


@pytest.mark.parametrize("classes", [2, 9, 15, 16, 17, 65])
@pytest.mark.parametrize(("steps", "examples"), [(1, 5), (7, 1), (7, 31), (70, 32)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_losses_of_several_networks_are_those_of_each_to_the_bit(
    classes: int, steps: int, examples: int, dtype: torch.dtype
):
    task, g = Copying(length=3), generator()
    outputs = (3 * torch.randn(3, steps, examples, classes, generator=g, dtype=dtype)).requires_grad_()
    targets = torch.randint(classes, (3, steps, examples), generator=g)
    targets[:, -1, 0] = IGNORED
    together = task.losses(outputs, targets)
    (gradient,) = torch.autograd.grad(together.sum() / 7, outputs)
    for p in range(3):
        own = outputs[p].detach().requires_grad_()
        alone = task.losses(own, targets[p])
        assert torch.equal(alone, together[p])
        assert torch.equal(torch.autograd.grad(alone.sum() / 7, own)[0], gradient[p])
    chosen = outputs.double().log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    expected = torch.where(targets == IGNORED, 0.0, -chosen)
    torch.testing.assert_close(together.double(), expected, rtol=1e-5, atol=1e-5)
    (exact,) = torch.autograd.grad(expected.sum() / 7, outputs)
    torch.testing.assert_close(gradient, exact, rtol=1e-4, atol=1e-6)


def test_every_variant_can_be_named_in_a_sweep(text_files: None):
    tasks = [{k: v for k, v in task.model_dump().items() if v is not None} for task in VARIANTS]
    definition = SweepDefinition.parse(
        {
            "name": "all",
            "base": {"cell": {"kind": "gru"}},
            "tasks": tasks,
            "arms": {"only": {}},
            "search": {"optimizer.lr": {"low": 1e-3, "high": 1e-2}},
            "trials": 1,
        }
    )
    assert [plan.task for plan in definition.studies] == [task.label for task in VARIANTS]


def test_labels_tell_the_variants_apart():
    assert len({task.label for task in VARIANTS}) == len(VARIANTS)
    assert len({task.variant for task in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize(
    "kind",
    ["adding", "delayed_recall", "copying", "temporal_order", "parity", "generation", "flip_flop", "linear_system"],
)
def test_the_longest_sequences_are_drawn_without_a_loop_over_steps(kind: str):
    task = TASKS[kind].parse({"kind": kind, "length": 10_000})
    task.sample(generator(), 64)
    start = time.perf_counter()
    task.sample(generator(), 64)
    # Milliseconds when vectorised, over a second as 640,000 Python steps; the rest is for a busy machine.
    assert time.perf_counter() - start < 0.5
