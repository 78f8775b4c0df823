"""What steps read beside inputs, states and weights: noise, and running statistics of batch norm."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnlab.cells import MemberWeights, States, Weights
from rnnlab.scan.compiled.operands import Kept, Setting
from rnnlab.scan.compiled.step_program import StepProgram


def draw_noise(program: StepProgram, w: Weights, x: Tensor, history: Sequence[States]) -> list[Tensor]:
    """Noise of every step, drawn in the order in which the reference scan draws it."""
    (*members, T, B, _), states = x.shape, program.noise
    noise = [x.new_zeros(*members, T, B, history[0][i].shape[-1]) for i in states]
    if not states:
        return noise
    if isinstance(w, MemberWeights):
        for p in range(*members):
            _draw([rows[p] for rows in noise], w.sizes, w.generator_of(p))
    else:
        _draw(noise, w.sizes, w.generator)
    return noise


def _draw(noise: Sequence[Tensor], sizes: Sequence[int] | None, generator: torch.Generator | None) -> None:
    """Fill the noise of one layer."""
    for k in range(len(noise[0])):
        for rows in noise:
            active = rows[k] if sizes is None else rows[k, : sizes[k]]
            torch.rand(active.shape, generator=generator, out=active)


def read_statistics(program: StepProgram, w: Weights, start: int, steps: int) -> list[Tensor]:
    """(T, F) each: the running statistics that each step reads; steps beyond the last row share it."""
    found = []
    for name in program.statistics:
        rows = w.tensors[name].detach()
        found.append(rows.index_select(-2, (torch.arange(steps) + start).clamp(max=rows.shape[-2] - 1)))
    return found


@torch.no_grad()
def update_statistics(program: StepProgram, w: Weights, setting: Setting, kept: Kept, batch: int) -> None:
    """Bring the running statistics up to date with those of the batch, step by step."""
    sizes, start = setting.sizes, setting.start
    for mean, var, own_mean, own_var, weight in program.running:
        steps = kept.statistics[own_var].shape[-2]
        count = torch.tensor(sizes or [batch] * steps, dtype=torch.float64).unsqueeze(1)
        unbiased = kept.statistics[own_var] * (count / (count - 1))
        for place, new in ((mean, kept.statistics[own_mean]), (var, unbiased)):
            rows = w.tensors[program.statistics[place]]
            own = max(0, min(steps, rows.shape[-2] - start))
            early, last = rows[..., start : start + own, :], rows[..., -1, :]
            early += weight * (new[..., :own, :].to(rows.dtype) - early)
            for late in new[..., own:, :].unbind(-2):
                last += weight * (late.to(rows.dtype) - last)
