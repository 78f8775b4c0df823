"""Batch norm of the input products speeds a stack of LSTMs up; of the recurrent products, too, it does not."""

from rnnlab.reproductions.base import Fault, Reproduction, Training, final_values
from rnnlab.reproductions.criteria import Ordering
from rnnlab.reproductions.figures import learning_curves
from rnnlab.reproductions.registry import register

WHY = "half a nat of the 2.3 of guessing; on seeds 0 and 1 the other two arms still guessed"

register(
    Reproduction(
        name="laurent-batch-norm",
        claim="Batch norm of the input product speeds training up; of the recurrent product, too, it does not help.",
        paper="Laurent et al. 2016, Batch Normalized Recurrent Neural Networks",
        place="abstract",
        source="the paper",
        experiment=Training(
            base={
                "task": {"kind": "digits"},
                "cell": {"kind": "lstm", "hidden_size": 32},
                "model": {"num_layers": 3},
                "optimizer": {"kind": "sgd", "lr": 0.3},
                "remedies": {"clipping": {"threshold": 1.0}},
                "training": {"steps": 160, "batch_size": 32, "eval_every": 20, "stop_when_solved": False},
                "recording": {"points": 0},
            },
            arms={
                "inputs": {"cell.norm": "batch_input"},
                "both": {"cell.norm": "batch", "cell.norm_gain": 1.0},
                "none": {},
            },
            read=final_values,
        ),
        criteria=(
            Ordering("loss", "faster convergence of the training criterion", WHY, "inputs", "none", 0.5),
            Ordering("loss", "recurrent: does not help", WHY, "inputs", "both", 0.5),
        ),
        seeds=5,
        minutes=1.6,
        scaled_down="three layers of 32 units on small digits, pixel by pixel, in the place of deep stacks on speech "
        "and language; the recurrent product is normalised by statistics of single steps, with γ = 1. The gap belongs "
        "to a stack trained by SGD: one layer under Adam learned as fast without any norm, and slower with both. "
        "Inconclusive by one seed of five, whose loss leapt back at the last look",
        faults=(
            Fault("inputs that are not normalised", {"inputs": {"cell.norm": "none"}}),
            Fault("a rate of a hundredth", {"all": {"optimizer.lr": 0.003}}),
        ),
        reduced={"all": {"training.steps": 100, "training.eval_every": 100}},
        draw=learning_curves("Small digits, three layers of LSTM", "cross-entropy", {"guessing": 2.303}),
    )
)
