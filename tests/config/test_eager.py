"""Optimisers start without torch's compiler, and update as torch's own do."""

import subprocess
import sys

import pytest
import torch

from rnnlab.config.eager import eager

KINDS = [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam, torch.optim.AdamW]


@pytest.mark.parametrize("kind", KINDS)
def test_updates_and_states_are_those_of_torch_to_the_bit(kind):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=generator)
    gradients = torch.randn(4, 5, 3, generator=generator)
    ended = []
    for made in (kind, eager(kind)):
        weight = torch.nn.Parameter(start.clone())
        optimizer = made([weight], lr=0.1)
        for gradient in gradients[:2]:
            optimizer.zero_grad()
            weight.grad = gradient.clone()
            optimizer.step()
        again = made([weight], lr=0.1)
        again.load_state_dict(optimizer.state_dict())
        for gradient in gradients[2:]:
            weight.grad = gradient.clone()
            again.step()
        assert weight.grad is not None and not weight.grad.requires_grad and weight.is_leaf
        ended.append(weight.detach())
    assert torch.equal(*ended) and not torch.equal(ended[0], start)


@pytest.mark.slow
def test_a_run_imports_neither_the_compiler_nor_what_only_reports_need():
    program = """
import sys, rnnlab, rnnlab.tracking.artifacts
from rnnlab import plots
config = {"task": {"kind": "adding", "length": 9}, "cell": {"kind": "lstm", "hidden_size": 3}}
rnnlab.run(rnnlab.Config.parse({**config, "training": {"steps": 2, "eval_examples": 4, "test_examples": 4}}))
plots.heatmap, plots.lag_plot
print(*{"torch._dynamo", "sympy", "scipy.stats", "seaborn", "sklearn", "mlflow", "optuna"} & {*sys.modules})
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
