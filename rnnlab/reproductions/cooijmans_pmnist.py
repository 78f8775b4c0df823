"""Permuted MNIST pixel by pixel with and without recurrent batch norm."""

from rnnlab.reproductions.base import Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Level, Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "half a percent around the published error, which is that of one run"

register(
    Reproduction(
        name="cooijmans-pmnist",
        claim="Recurrent batch norm raises an LSTM on permuted MNIST from 90.2 to 95.4% right.",
        paper="Cooijmans et al. 2017, Recurrent Batch Normalization",
        place="table 1",
        source="the paper",
        experiment=Training(
            base={
                "task": {"kind": "mnist", "permuted": True},
                "cell": {"kind": "lstm", "hidden_size": 100},
                "init": {"recurrent": "identity"},
                "optimizer": {"kind": "rmsprop", "lr": 1e-3, "momentum": 0.9},
                "remedies": {"clipping": {"threshold": 1.0}},
                "training": {
                    **{"steps": 110_000, "batch_size": 100, "eval_every": 550, "eval_examples": 5000},
                    **{"test_examples": 10_000, "stop_when_solved": False},
                },
            },
            arms={"batch norm": {"cell.norm": "batch", "cell.norm_noise": 0.1}, "lstm": {}},
            read=final_values,
        ),
        criteria=(
            Level("error", "4.6%", WHY, "batch norm", 0.041, 0.051),
            Level("error", "9.8%", WHY, "lstm", 0.088, 0.108),
            Ordering("error", "95.4 against 90.2% right", WHY, "batch norm", "lstm", 0.03),
        ),
        seeds=5,
        minutes=15_000,
        faults=(),
        draw=learning_curves("Permuted MNIST", "share right", {}, "score_curve"),
        full_scale=True,
    )
)
