"""Chrono biases solve the adding problem of 200 steps long before a constant forget bias does."""

from rnnlab.reproductions.base import Fault, Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "MSE 0.05 lies below the 1/12 of one remembered number, and 0.14 near the baseline 1/6; seen on seeds 0 to 2"

register(
    Reproduction(
        name="tallec-chrono",
        claim="Chrono biases solve the adding problem of 200 steps while a forget bias of 1 is on a plateau.",
        paper="Tallec and Ollivier 2018, Can Recurrent Neural Networks Warp Time?",
        place="figure 3, adding",
        source="the paper's figure",
        experiment=Training(
            base={
                "task": {"kind": "adding", "length": 200},
                "cell": {"kind": "lstm", "hidden_size": 64},
                "optimizer": {"kind": "rmsprop", "lr": 3e-3, "decay": 0.9},
                "remedies": {"clipping": {"threshold": 1.0}},
                "training": {"steps": 2500, "batch_size": 32, "eval_every": 100, "stop_at": 0.03},
                "recording": {"points": 3},
            },
            arms={"chrono": {"init.bias": "chrono"}, "constant": {"init.bias": "zero", "cell.forget_bias": 1.0}},
            read=final_values,
        ),
        criteria=(
            Ordering("loss", "solved first", WHY, "chrono", 0.05),
            Ordering("loss", "later", WHY, 0.14, "constant"),
        ),
        seeds=5,
        minutes=6,
        scaled_down="64 instead of 128 units, batches of 32, clipping at norm 1 and a rate of 3e-3 instead of 1e-3",
        faults=(
            Fault("time constants of three steps at most", {"chrono": {"init.chrono_max": 3}}),
            Fault("a learning rate of a thousandth", {"chrono": {"optimizer.lr": 3e-6}}),
        ),
        draw=learning_curves("Adding problem, T = 200", "validation MSE", {"always answering 1": 1 / 6}),
    )
)
