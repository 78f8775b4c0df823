"""Copying over 500 steps at the paper's scale: chrono biases against a constant one."""

from rnnlab.reproductions.base import Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "the plateau is read as the baseline itself; half of it is far from both"

register(
    Reproduction(
        name="tallec-copying-500",
        claim="Chrono biases learn to copy over 500 steps; a forget bias of 1 stays at the baseline.",
        paper="Tallec and Ollivier 2018, Can Recurrent Neural Networks Warp Time?",
        place="figure 2, T = 500",
        source="the paper's figure",
        experiment=Training(
            base={
                "task": {"kind": "copying", "length": 500},
                "cell": {"kind": "lstm", "hidden_size": 128},
                "optimizer": {"kind": "rmsprop", "lr": 1e-3, "decay": 0.9},
                "training": {"steps": 100_000, "batch_size": 50, "eval_every": 1000},
            },
            arms={
                "chrono": {"init": {"bias": "chrono", "chrono_max": 750}},
                "constant": {"init.bias": "zero", "cell.forget_bias": 1.0},
            },
            read=final_values,
        ),
        criteria=(
            Ordering("relative_loss", "learns", WHY, "chrono", 0.5),
            Ordering("relative_loss", "plateau", WHY, 0.9, "constant"),
        ),
        seeds=5,
        minutes=2300,
        faults=(),
        draw=learning_curves("Copying memory, T = 500", "cross-entropy", {}, log=True),
        full_scale=True,
    )
)
