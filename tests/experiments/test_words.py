"""Lists of words are sound, and the page follows from the runs."""

import numpy as np
import pytest

from experiments.words.lists import ASKED, kinds, questions
from experiments.words.measure import CELLS, RATES, VECTORS, Trained, configure, kinds_table, train
from experiments.words.page import Study, page
from rnnlab.tasks.words import Words

pytestmark = pytest.mark.usefixtures("text_files")
SHORT = ("training.steps=2", "training.eval_every=1", "training.eval_examples=4", "training.test_examples=4")


def test_every_word_is_in_the_vocabulary_and_of_one_kind() -> None:
    known = set(Words().text().symbols)
    listed = [word for group in kinds().values() for word in group]
    assert len(set(listed)) == len(listed) and set(listed) | set(ASKED) <= known
    for asked in questions().values():
        assert all(set(question) <= known and question[2:] != question[:2] for question in asked)


def stub(score: float, vectors: np.ndarray) -> Trained:
    return Trained(score, score, dict.fromkeys(VECTORS, vectors), dict.fromkeys(VECTORS, vectors * 0 + NOISE))


NOISE = np.random.default_rng(0).normal(size=(969, 8))


@pytest.mark.parametrize(("better", "carried"), [(True, True), (False, False)])
def test_the_page_follows_from_the_numbers(better: bool, carried: bool) -> None:
    symbols = Words().text().symbols
    vectors = NOISE.copy()
    if carried:  # one difference for all pairs of a relation
        for asked in questions().values():
            for a, b, *_ in asked:
                vectors[symbols.index(b)] = vectors[symbols.index(a)] + 3
    runs = {cell: [stub(5 + (cell == "tanh") * better + 0.01 * k, vectors) for k in range(6)] for cell in CELLS}
    losses = {(cell, rate): 5.0 for cell in CELLS for rate in RATES}
    text = page(Study(configure("LSTM", 0.01, 1000), {"LSTM": 0.01, "tanh": 0.03}, losses, runs))
    assert ("LSTM is better" in text) == better and "nan" not in text and "perplexity" in text
    assert text.count("the difference helps (") == 4 * carried
    assert text.count("\n| he |") == 1 and text.count("| all |") == 4


def test_a_run_keeps_its_vectors_before_and_after() -> None:
    run = train(configure("tanh", 0.01, 3, SHORT))
    shapes = {name: vectors.shape for name, vectors in run.vectors.items()}
    assert shapes == {"input": (969, 32), "output": (969, 64)} and run.score > 0
    assert all(not np.array_equal(run.start[name], run.vectors[name]) for name in VECTORS)
    table = kinds_table([run], Words().text().symbols)
    assert table["chance"].between(0, 0.2).all() and len(table) == 2
