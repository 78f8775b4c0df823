"""Truncation below the delay leaves an LSTM near guessing; from the delay on, windows of any length copy alike."""

import math

from rnnlab.reproductions.base import Fault, Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering, Values
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register
from rnnlab.training.result import Result


def read(result: Result) -> Values:
    values = final_values(result)
    return {**values, "perplexity": math.exp(values["loss"])}  # type: ignore[arg-type]


WINDOWS = (5, 10, 15, 30)
FAILS = "2 is guessing; seeds 0 to 2 gave 1.82 to 1.88"
LEARNS = "1 is perfect; seeds 0 to 2 gave 1.0005 to 1.009"
ALIKE = "published perplexities from K = 10 on differ by 0.007"

register(
    Reproduction(
        name="aicher-perplexity",
        claim="Back-propagation over fewer steps than the delay leaves an LSTM near guessing; more steps are alike.",
        paper="Aicher et al. 2019, Adaptively Truncating Backpropagation Through Time to Control Gradient Bias",
        place="copying with m = 10, perplexity by window K",
        source="the paper",
        experiment=Training(
            base={
                "task": {"kind": "delayed_bits", "length": 60, "delay": 10},
                "cell": {"kind": "lstm", "hidden_size": 50},
                "init": {"recurrent": "orthogonal", "bias": "zero"},
                "optimizer": {"kind": "adam", "lr": 3e-3},
                "remedies": {"truncation": {"window": 5, "stride": 5}, "clipping": {"threshold": 1.0}},
                "training": {"steps": 1000, "batch_size": 16, "eval_every": 50, "stop_when_solved": False},
                "recording": {"points": 0},
            },
            arms={f"K = {window}": {"remedies.truncation.window": window} for window in WINDOWS},
            read=read,
        ),
        criteria=(
            Ordering("perplexity", "1.646 with K = 5", FAILS, 1.5, "K = 5"),
            Ordering("perplexity", "1.036 to 1.043 with K = 10 to 30", LEARNS, "K = 15", 1.05),
            Ordering("perplexity", "1.036 to 1.043 with K = 10 to 30", LEARNS, "K = 30", 1.05),
            Ordering("perplexity", "K = 30 is worse than K = 15 by 0.004", ALIKE, "K = 15", "K = 30", -0.01),
        ),
        seeds=5,
        minutes=11,
        scaled_down="one layer of 50 units in the place of two, Adam in the place of SGD, 1,000 updates, and bits that "
        "are due 10 steps later at every step in the place of blocks of 10 symbols. Windows begin every 5 steps, so "
        "that a loss goes back over K - 5 steps at least and K - 1 at most: K = 10 is too short here, and shown",
        faults=(
            Fault("windows of 10 steps in the place of 15", {"K = 15": {"remedies.truncation.window": 10}}),
            Fault("bits that are due after 2 steps", {"K = 5": {"task.delay": 2}}),
        ),
        reduced={"all": {"training.steps": 800}},
        draw=learning_curves(
            "Bits due 10 steps later", "validation cross-entropy", {"guessing": math.log(2)}, log=True
        ),
    )
)
