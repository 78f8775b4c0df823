"""Copying over 300 steps at the paper's scale: unitary against LSTM."""

from rnnlab.reproductions.base import Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "the LSTM's loss is read as the baseline itself; 20% below it is far from both"

register(
    Reproduction(
        name="arjovsky-copying-300",
        claim="A unitary network learns to copy over 300 steps; an LSTM stays at the baseline.",
        paper="Arjovsky et al. 2016, Unitary Evolution Recurrent Neural Networks",
        place="figure 1, T = 300",
        source="the paper's figure",
        experiment=Training(
            base={
                "task": {"kind": "copying", "length": 300},
                "cell": {"kind": "unitary", "hidden_size": 128},
                "optimizer": {"kind": "rmsprop", "lr": 1e-3, "decay": 0.9},
                "training": {"steps": 50_000, "batch_size": 20, "eval_every": 500, "stop_when_solved": False},
            },
            arms={
                "unitary": {},
                "lstm": {
                    **{"cell": {"kind": "lstm", "hidden_size": 40, "forget_bias": 1.0}},
                    "remedies.clipping": {"by": "value", "threshold": 1.0},
                },
            },
            read=final_values,
        ),
        criteria=(
            Ordering("relative_loss", "falls", WHY, "unitary", 0.8),
            Ordering("relative_loss", "at the baseline 0.065", WHY, 0.9, "lstm"),
        ),
        seeds=5,
        minutes=1400,
        faults=(),
        draw=learning_curves("Copying memory, T = 300", "cross-entropy", {}, log=True),
        full_scale=True,
    )
)
