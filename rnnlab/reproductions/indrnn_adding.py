"""The adding problem of 1,000 steps: IndRNN against LSTM."""

from rnnlab.reproductions.base import Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "MSE 0.05 lies below the 1/12 of one remembered number, and 0.14 near the baseline 1/6"

register(
    Reproduction(
        name="indrnn-adding-1000",
        claim="Two layers of IndRNN solve the adding problem of 1,000 steps, where an LSTM fails.",
        paper="Li et al. 2018, Independently Recurrent Neural Network (IndRNN): Building A Longer and Deeper RNN",
        place="figure 3, T = 1000",
        source="the paper",
        experiment=Training(
            base={
                "task": {"kind": "adding", "length": 1000},
                "cell": {"kind": "indrnn", "hidden_size": 128},
                "model": {"num_layers": 2},
                "optimizer": {"kind": "adam", "lr": 2e-4},
                "training": {"steps": 20_000, "batch_size": 50, "eval_every": 200, "stop_at": 0.03},
            },
            arms={"indrnn": {}, "lstm": {"cell.kind": "lstm", "model.num_layers": 1}},
            read=final_values,
        ),
        criteria=(Ordering("loss", "solved", WHY, "indrnn", 0.05), Ordering("loss", "fails", WHY, 0.14, "lstm")),
        seeds=5,
        minutes=730,
        faults=(),
        draw=learning_curves("Adding problem, T = 1,000", "validation MSE", {"always answering 1": 1 / 6}),
        full_scale=True,
    )
)
