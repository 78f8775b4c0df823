import numpy as np
import pytest

from rnnlab.common.errors import UserError
from rnnlab.statistics.similarity import analogies, neighbours, same_kind

NAMES = [f"word {k}" for k in range(40)]


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 5))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_neighbours_are_those_of_a_plain_loop_and_lengths_do_not_matter(vectors: np.ndarray):
    found = neighbours(vectors * np.arange(1, 41)[:, None], NAMES, [NAMES[7], NAMES[0]], count=4)
    for k in (7, 0):
        others = sorted((-cosine(vectors[k], vectors[j]), j) for j in range(40) if j != k)[:4]
        rows = found.loc[found["symbol"] == NAMES[k]]
        assert rows["neighbour"].tolist() == [NAMES[j] for _, j in others]
        assert rows["cosine"].tolist() == pytest.approx([-c for c, _ in others])


def test_a_difference_that_carries_over_answers_and_its_rank_is_that_of_a_plain_loop(vectors: np.ndarray):
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = -vectors[1]  # a long way, so that the neighbour of the third is another one
    vectors[3] = vectors[1] - vectors[0] + vectors[2]
    question = (NAMES[0], NAMES[1], NAMES[2], NAMES[3])
    (row,) = analogies(vectors, NAMES, [question]).to_dict("records")
    assert (row["answer"], row["rank"]) == (NAMES[3], 1)
    closer = sum(
        cosine(vectors[2], vectors[j]) > cosine(vectors[2], vectors[3]) for j in range(40) if j not in (0, 1, 2)
    )
    assert row["plain_rank"] == closer + 1 > 1
    (row,) = analogies(vectors, NAMES, [(*question[:3], NAMES[9])]).to_dict("records")
    target = vectors[3]
    assert row["rank"] == sum(cosine(target, vectors[j]) >= cosine(target, vectors[9]) for j in range(3, 40))


def test_kinds_that_lie_apart_are_told_and_noise_is_at_chance():
    kinds = {"a": NAMES[:10], "b": NAMES[10:40]}
    apart = np.repeat([[1.0, 0.0], [0.0, 1.0]], [10, 30], axis=0) + np.arange(80).reshape(40, 2) / 1000
    assert same_kind(apart, NAMES, kinds) == (1.0, pytest.approx((10 * 9 + 30 * 29) / (40 * 39)))
    draws = np.random.default_rng(0).normal(size=(200, 40, 20))
    shares = [same_kind(noise, NAMES, kinds) for noise in draws]
    assert np.mean([share for share, _ in shares]) == pytest.approx(shares[0][1], abs=0.02)  # 4 standard errors


def test_mistakes_are_named(vectors: np.ndarray):
    with pytest.raises(UserError, match="symbols has 2 names for 40 vectors"):
        neighbours(vectors, ["a", "b"], ["a"])
    with pytest.raises(UserError, match="'cat' is none of the 40 symbols"):
        analogies(vectors, NAMES, [("cat", NAMES[0], NAMES[1], NAMES[2])])
