"""Targets of the linear system are those of the teacher run step by step."""

import numpy as np
import pytest
import torch

from rnnlab.tasks.linear_system import TEACHER_SEED, LinearSystem, impulse_response


def test_targets_are_those_of_the_teacher_in_a_plain_loop():
    task = LinearSystem(length=40, memory=0.7, units=3, teacher=5)
    random = np.random.RandomState([TEACHER_SEED, 5])
    modulus = np.sqrt(random.uniform(0.7**2, 1, 3))
    angle = 2 * np.pi * random.uniform(size=3)
    weight = random.normal(size=3) + 1j * random.normal(size=3)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 4)
    outputs = np.zeros((40, 4))
    for b in range(4):
        h = np.zeros(3, dtype=complex)
        for t in range(40):
            for j in range(3):
                h[j] = modulus[j] * (np.cos(angle[j]) + 1j * np.sin(angle[j])) * h[j] + inputs[t, b, 0].item()
            outputs[t, b] = sum((weight[j] * h[j]).real for j in range(3))
    ratio = targets[..., 0].double() / torch.from_numpy(outputs)
    torch.testing.assert_close(ratio, ratio[0, 0].expand(40, 4), rtol=1e-4, atol=0)  # one scale; targets are float32


@pytest.mark.parametrize("memory", [0.0, 0.99])
def test_silence_costs_the_baseline(memory):
    """Five standard errors of a mean over 4,000 sequences; the variance of their own means is measured."""
    task = LinearSystem(length=60, memory=memory)
    targets = task.sample(torch.Generator().manual_seed(0), 4000).targets
    powers = task.losses(torch.zeros_like(targets), targets).mean(0)
    error = float(powers.std()) / 4000**0.5
    assert task.baseline.loss == pytest.approx(float(powers.mean()), abs=5 * error)
    assert task.scores(torch.zeros_like(targets), targets).mean().item() == pytest.approx(float(powers.mean()))


def test_memory_is_how_much_of_the_response_comes_late():
    late = [float((impulse_response(300, nu, 10, 0)[50:] ** 2).sum()) for nu in (0.36, 0.9, 0.99)]
    assert late[0] < late[1] < late[2]


def test_teachers_differ_and_stay():
    one, other = impulse_response(50, 0.9, 10, 0), impulse_response(50, 0.9, 10, 1)
    assert not torch.allclose(one, other)
    torch.testing.assert_close(
        one[:30] / one[0], impulse_response(30, 0.9, 10, 0) / impulse_response(30, 0.9, 10, 0)[0]
    )
