"""A norm-preserving recurrence copies over 100 steps, where an LSTM stays at the baseline."""

from rnnlab.reproductions.base import Fault, Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register
from rnnlab.tasks.copying import Copying

BASELINE = Copying(length=100).baseline.loss
WHY = (
    "5% of the baseline after 800 updates is on the way to the paper's 0, 90% is at the baseline; seen on seeds 0 to 2"
)

register(
    Reproduction(
        name="arjovsky-copying",
        claim="A norm-preserving recurrence learns to copy over 100 steps; an LSTM stays at the baseline.",
        paper="Arjovsky et al. 2016, Unitary Evolution Recurrent Neural Networks",
        place="figure 1, T = 100",
        source="the paper's figure",
        experiment=Training(
            base={
                "task": {"kind": "copying", "length": 100},
                "cell": {"kind": "orthogonal", "hidden_size": 128},
                "optimizer": {"kind": "rmsprop", "lr": 1e-3, "decay": 0.9},
                "training": {"steps": 800, "batch_size": 20, "eval_every": 50, "stop_when_solved": False},
                "recording": {"points": 3},
            },
            arms={
                "orthogonal": {"optimizer.recurrent": 0.1},
                "lstm": {
                    **{"cell.kind": "lstm", "cell.forget_bias": 1.0},
                    "remedies.clipping": {"by": "value", "threshold": 1.0},
                },
            },
            read=final_values,
        ),
        criteria=(
            Ordering("relative_loss", "near 0 by 20,000 updates", WHY, "orthogonal", 0.05),
            Ordering("relative_loss", ".143 of .173 after 50,000 updates", WHY, 0.9, "lstm"),
        ),
        seeds=5,
        minutes=6,
        scaled_down="800 updates instead of 50,000; a full orthogonal matrix of 128 units in the place of the uRNN's "
        "product of factors; an LSTM of 128 instead of 40 units",
        faults=(
            Fault("a matrix that shrinks every vector by 20%", {"orthogonal": {"cell.scale": 0.8}}),
            Fault("back-propagation of 15 steps", {"orthogonal": {"remedies.truncation.window": 15}}),
        ),
        draw=learning_curves("Copying memory, T = 100", "cross-entropy", {"baseline": BASELINE}, log=True),
    )
)
