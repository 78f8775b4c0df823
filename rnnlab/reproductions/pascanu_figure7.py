"""Temporal order over 100 steps at the paper's scale: clipping and Ω against clipping alone."""

from rnnlab.reproductions.base import Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "1% wrong is the paper's criterion; guessing leaves 75% wrong"

register(
    Reproduction(
        name="pascanu-figure-7",
        claim="A basic tanh network learns temporal order over 100 steps with clipping and Ω, and not without Ω.",
        paper="Pascanu et al. 2013, On the Difficulty of Training Recurrent Neural Networks",
        place="figure 7, basic tanh, L = 100",
        source="the authors' code",
        experiment=Training(
            base={
                "task": {"kind": "temporal_order", "length": 100},
                "cell": {"kind": "vanilla", "hidden_size": 50},
                "init": {"recurrent": "gaussian", "recurrent_scale": 0.7071, "bias": "zero"},
                "optimizer": {"kind": "sgd", "lr": 0.01},
                "training": {
                    **{"steps": 5_000_000, "batch_size": 20, "eval_every": 1000, "eval_examples": 1000},
                    **{"test_examples": 10_000, "stop_at": 0.997},
                },
            },
            arms={
                "clip and Ω": {"remedies": {"norm_preservation": {"weight": 4.0}, "clipping": {"threshold": 1.0}}},
                "clip": {"remedies": {"clipping": {"threshold": 1.0}}},
            },
            read=final_values,
        ),
        criteria=(
            Ordering("error", "5 of 5 solved", WHY, "clip and Ω", 0.01),
            Ordering("error", "not solved", WHY, 0.4, "clip"),
        ),
        seeds=5,
        minutes=8400,
        faults=(),
        draw=learning_curves("Temporal order, L = 100", "share right", {"guessing": 0.25}, "score_curve"),
        full_scale=True,
    )
)
