"""Gradient norms at every step of a sequence of 1,000, before and early in training: tanh, LSTM, unitary."""

import numpy as np
from matplotlib.axes import Axes

from rnnlab.plots.curves import curves
from rnnlab.reproductions.base import Fault, Reproduction, Training
from rnnlab.reproductions.criteria import Findings, Level, Ordering, Values
from rnnlab.reproductions.registry import register
from rnnlab.training.result import Result, summarised

ITERATIONS = (0, 25, 50)
FAR = 0.9
"""Lag at which norms are held against that of the last step, as a share of T."""
FLOOR = -300.0
"""What counts as zero, in decades."""


def read(result: Result) -> Values:
    """Decades that the norm loses over nine tenths of the sequence at each recorded update, and the profiles."""
    assert result.profile is not None
    norms = summarised(result.profile)["log10_grad_norm"].values  # (3, T)
    norms = np.where(np.isfinite(norms), norms, FLOOR)
    values: dict[str, float | list[float]] = {}
    for iteration, row in zip(ITERATIONS, norms, strict=False):
        values[f"decades at {iteration}"] = float(row[-1 - int(FAR * len(row))] - row[-1])
        values[f"profile {iteration}"] = (row - row[-1])[:: max(1, len(row) // 200)].tolist()
    return values


def draw(found: Findings) -> Axes:
    lines = {
        f"{arm}, iteration {iteration}": [
            (np.linspace(0, 1000, len(values[name])).tolist(), values[name])  # type: ignore[arg-type]
            for values in several
        ]
        for iteration in ITERATIONS
        for arm, several in found.items()
        for name in [f"profile {iteration}"]
    }
    return curves(lines, "Gradient norm at every step", "time step t", "log10 ‖∂C/∂h_t‖, over that of the last step")  # type: ignore[arg-type]


WHY = "whether it vanishes, not by how much: that depends on starting values that the figure does not tell"

SHRINKING = {"kind": "orthogonal", "hidden_size": 128, "activation": "identity", "scale": 0.95}

register(
    Reproduction(
        name="arjovsky-gradient-norms",
        claim="Over 1,000 steps the gradient vanishes in a tanh network and an LSTM, and a unitary network keeps it.",
        paper="Arjovsky et al. 2016, Unitary Evolution Recurrent Neural Networks",
        place="figure 4",
        source="the paper's figure",
        experiment=Training(
            base={
                "task": {"kind": "adding", "length": 1000},
                "cell": {"kind": "vanilla", "hidden_size": 128},
                "init": {"input": "glorot", "recurrent": "glorot", "bias": "zero"},
                "optimizer": {"kind": "rmsprop", "lr": 1e-3, "decay": 0.9},
                "training": {
                    **{"steps": 51, "batch_size": 20, "eval_every": 51, "eval_examples": 20},
                    **{"test_examples": 20, "stop_when_solved": False},
                },
                "recording": {"points": 3, "spacing": "linear"},
            },
            arms={
                "tanh": {"remedies.clipping": {"by": "value", "threshold": 1.0}},
                "lstm": {
                    **{"cell.kind": "lstm", "cell.forget_bias": 1.0},
                    "remedies.clipping": {"by": "value", "threshold": 1.0},
                },
                "unitary": {"cell.kind": "unitary", "init": {"input": "glorot", "recurrent": "torch", "bias": "torch"}},
            },
            read=read,
        ),
        criteria=(
            Level("decades at 0", "flat", WHY, "unitary", -0.5, 0.5),
            Ordering("decades at 0", "about 1e-14 at the first of 1,000 steps", WHY, "tanh", -8.0),
            Ordering("decades at 0", "about 1e-24 after 545 steps", WHY, "lstm", -8.0),
            Ordering("decades at 50", "1e-8 for the unitary one at the first step", WHY, "tanh", "unitary", 8.0),
            Ordering("decades at 50", "1e-8 for the unitary one at the first step", WHY, "lstm", "unitary", 8.0),
        ),
        seeds=5,
        scaled_down="50 updates instead of 100",
        minutes=10,
        faults=(Fault("a matrix that is not unitary: each step keeps 95%", {"unitary": {"cell": SHRINKING}}),),
        reduced={"all": {"task.length": 600, "training.steps": 3, "training.eval_every": 3}},
        draw=draw,
    )
)
