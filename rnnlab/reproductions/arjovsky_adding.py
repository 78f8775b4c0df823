"""The adding problem of 100 steps at the paper's scale: LSTM against tanh."""

from rnnlab.reproductions.base import Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "MSE 0.05 lies below the 1/12 of one remembered number, and 0.14 near the baseline 1/6"

register(
    Reproduction(
        name="arjovsky-adding-100",
        claim="An LSTM solves the adding problem of 100 steps; a tanh network never does.",
        paper="Arjovsky et al. 2016, Unitary Evolution Recurrent Neural Networks",
        place="figure 2, T = 100",
        source="the paper's figure",
        experiment=Training(
            base={
                "task": {"kind": "adding", "length": 100},
                "cell": {"kind": "lstm", "hidden_size": 128, "forget_bias": 1.0},
                "optimizer": {"kind": "rmsprop", "lr": 1e-3, "decay": 0.9},
                "remedies": {"clipping": {"by": "value", "threshold": 1.0}},
                "training": {"steps": 20_000, "batch_size": 50, "eval_every": 200, "stop_at": 0.03},
            },
            arms={"lstm": {}, "tanh": {"cell": {"kind": "vanilla", "hidden_size": 128}}},
            read=final_values,
        ),
        criteria=(
            Ordering("loss", "solved by 5,000 updates", WHY, "lstm", 0.05),
            Ordering("loss", "never", WHY, 0.14, "tanh"),
        ),
        seeds=5,
        minutes=60,
        faults=(),
        draw=learning_curves("Adding problem, T = 100", "validation MSE", {"always answering 1": 1 / 6}),
        full_scale=True,
    )
)
