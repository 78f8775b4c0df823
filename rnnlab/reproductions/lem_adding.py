"""The adding problem of 2,000 steps by a long expressive memory."""

from rnnlab.reproductions.base import Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Level
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "within a third of the published number of updates"

register(
    Reproduction(
        name="lem-adding-2000",
        claim="LEM brings the error on the adding problem of 2,000 steps below 0.01 after some 1,900 updates.",
        paper="Rusch et al. 2022, Long Expressive Memory for Sequence Modeling",
        place="figure 2, N = 2000",
        source="the paper",
        experiment=Training(
            base={
                "task": {"kind": "adding", "length": 2000},
                "cell": {"kind": "lem", "hidden_size": 128, "dt": 0.0242},
                "optimizer": {"kind": "adam", "lr": 2.6e-3},
                "training": {"steps": 6000, "batch_size": 50, "eval_every": 100},
            },
            arms={"lem": {}},
            read=final_values,
        ),
        criteria=(Level("updates", "about 1,900", WHY, "lem", 1300.0, 2600.0),),
        seeds=5,
        minutes=1000,
        faults=(),
        draw=learning_curves("Adding problem, T = 2,000", "validation MSE", {"always answering 1": 1 / 6}),
        full_scale=True,
    )
)
