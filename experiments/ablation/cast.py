"""Who takes part in the ablation, and in what: arms and tasks in the words of the field."""

ARMS = {
    "tanh": ("Elman network, torch's uniform start (spectral radius near 0.58)", "Elman 1990"),
    "relu": ("the same with ReLU", ""),
    "softsign": ("the same with softsign", ""),
    "irnn": ("ReLU, recurrent matrix started at the identity; not clipped here", "Le et al. 2015"),
    "orthogonal-start": ("tanh, recurrent matrix started orthogonal", "Saxe et al. 2014"),
    "orthogonal-cell": ("recurrent matrix kept orthogonal (matrix exponential), modReLU", "Lezcano-Casado 2019"),
    "batch-norm": ("batch norm of both products", "Cooijmans et al. 2017"),
    "layer-norm": ("layer norm of both products", "Ba et al. 2016"),
    "residual": ("h + 0.1 tanh(…): a step of Euler's method", ""),
    "skip": ("a second path from the state ten steps before", "Zhang et al. 2016"),
    "dilated": ("three layers that step by 1, 4 and 16", "Chang et al. 2017"),
    "truncated-10": ("windows of 10 steps, the state carried over", "Williams and Peng 1990"),
    "truncated-25": ("windows of 25 steps", "Williams and Peng 1990"),
    "clip": ("gradient rescaled to norm 1 at most", "Pascanu et al. 2013"),
    "omega": ("the same and the penalty Ω, which holds the norm of the gradient", "Pascanu et al. 2013"),
    "flossing": ("Lyapunov exponents pushed to zero before training", "Engelken 2023"),
    "lstm-no-forget": ("LSTM of 1997: the cell state adds up and forgets nothing", "Hochreiter and Schmidhuber 1997"),
    "lstm": ("LSTM, forget bias 1", "Gers et al. 2000, Jozefowicz et al. 2015"),
    "lstm-chrono": ("LSTM, forget biases spread over 1 to T steps", "Tallec and Ollivier 2018"),
    "gru": ("GRU", "Cho et al. 2014"),
    "lru": ("complex diagonal linear recurrence, linear readout", "Orvieto et al. 2023"),
    "slstm": ("LSTM with an exponential input gate and a normaliser", "Beck et al. 2024"),
}
"""What an arm is and whose, by its name in `sweeps/ablation.yaml`."""
TASKS = {
    "adding": ("the sum of two marked numbers, one in each half of T steps", "T/4 and 3T/4 on average", "mse ≤ 0.01"),
    "copying": ("ten symbols again after T blanks", "T + 10", "99% of them right"),
    "temporal_order": ("the order of two symbols among T: AA, AB, BA or BB", "0.45 T and 0.85 T", "99% right"),
    "digits": ("which digit, 8 × 8 pixels one by one", "up to 63", "90% right"),
}
"""What is asked, how many steps back it lies, and when it counts as solved."""
CANNOT = {("lru", "adding"): "linear from input to answer, which no product of number and marker is"}
"""Kinds of tasks that an arm cannot express with any weights, and why: it does not count there."""


def arm_cells() -> list[list[str]]:
    """The arms as the cells of a table, header first."""
    return [["Arm", "What it is", "Whose"], *([name, what, whose] for name, (what, whose) in ARMS.items())]


def task_cells() -> list[list[str]]:
    """The tasks as the cells of a table, header first."""
    header = ["Task of length T", "What is asked", "Steps back", "Solved"]
    return [header, *([name.replace("_", " "), *said] for name, said in TASKS.items())]
