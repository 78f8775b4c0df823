"""Flossing before training lets a tanh network copy bits over a delay that it does not reach without."""

from rnnlab.reproductions.base import Fault, Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "a gap of 10% of all bits is far beyond what guessing scatters by; seen on seeds 0 and 500 to 504"

register(
    Reproduction(
        name="engelken-flossing",
        claim="With gradient flossing before training longer delays are learned than without.",
        paper="Engelken 2023, Gradient Flossing: Improving Gradient Descent through Dynamic Control of Jacobians",
        place="figure 4, delayed copy",
        source="recollection",
        experiment=Training(
            base={
                "task": {"kind": "delayed_bits", "length": 150, "delay": 40},
                "cell": {"kind": "vanilla", "hidden_size": 80},
                "init": {"recurrent": "gaussian", "bias": "zero"},
                "optimizer": {"kind": "adam", "lr": 1e-3},
                "training": {"steps": 400, "batch_size": 16, "eval_every": 50},
                "recording": {"points": 3},
            },
            arms={"flossing": {"remedies.flossing": {"exponents": 60, "updates": 100, "lr": 1e-3}}, "none": {}},
            read=final_values,
        ),
        criteria=(Ordering("error", "longer delays with it", WHY, "flossing", "none", 0.1),),
        seeds=5,
        minutes=2,
        scaled_down="T = 150, 100 flossing updates and 400 of training in the place of 300, 500 and 3,000; on "
        "the delayed exclusive or, looked at on one seed, flossing so many exponents hindered",
        faults=(
            Fault("one exponent, flossed once", {"flossing": {"remedies.flossing": {"exponents": 1, "updates": 1}}}),
            Fault("back-propagation of 5 steps", {"all": {"remedies.truncation.window": 5}}),
        ),
        draw=learning_curves("Delayed copy, delay of 40 steps", "share right", {"guessing": 0.5}, "score_curve"),
    )
)
