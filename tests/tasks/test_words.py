import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from rnnlab.common.errors import UserError
from rnnlab.tasks.text import read_text
from rnnlab.tasks.words import UNKNOWN, Words, split

TRAIN = "The cat sees the dog. " * 3 + "A näive dog sat! " * 3
REST = "zebra " * 5


def test_words_are_small_and_signs_are_words():
    text = "'Tis the King's  rose-bed,\nsaid I; no: NO!"
    assert split(text) == ["'", "tis", "the", "king's", "rose-bed", ",", "said", "i", ";", "no", ":", "no", "!"]


def test_the_vocabulary_is_what_the_training_part_holds_often(tmp_path: Path):
    (tmp_path / "text.txt").write_text(TRAIN + REST, encoding="utf-8")
    task = Words(path=str(tmp_path / "text.txt"), min_count=3, length=2)
    # 38 words, of which the first 34 train: four of the five zebras are no part of it.
    assert len(split(TRAIN + REST)) == 38
    assert task.text().symbols == (UNKNOWN, "dog", "the", "!", ".", "a", "cat", "näive", "sat", "sees")
    parts = {name: [task.text().symbols[k] for k in part] for name, part in task.text().parts.items()}
    assert parts == {"train": [*split(TRAIN), UNKNOWN], "validation": [UNKNOWN] * 2, "test": [UNKNOWN] * 2}
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 50)
    assert torch.equal(inputs[1:], targets[:-1])


def test_shakespeare_has_its_size_and_is_solved_below_smoothed_counts(text_files: None):
    """Counted a second way, and the reference that `solved_at` names: Witten and Bell's smoothing of word pairs."""
    task = Words()
    words = re.findall(r"\w+(?:['’-]\w+)*|[^\w\s]", " ".join(read_text(None).lower().split()))
    train, test = words[: round(0.9 * len(words))], words[round(0.95 * len(words)) :]
    common = {word for word, n in Counter(train).items() if n >= 20}
    train, test = ([w if w in common else UNKNOWN for w in part] for part in (train, test))
    assert (len(words), len(common) + 1) == (251_585, 969) and task.input_size == 969
    single, pairs, before = Counter(train), Counter(pairwise(train)), Counter(train[:-1])
    followers = Counter(first for first, _ in pairs)

    def alone(word: str) -> float:
        return (single[word] + 1) / (len(train) + 969)

    def after(first: str, word: str) -> float:
        kinds = followers[first]
        return (pairs[first, word] + kinds * alone(word)) / (before[first] + kinds)

    by_frequency = -sum(math.log2(alone(word)) for word in test) / len(test)
    by_pairs = -sum(math.log2(after(*pair)) for pair in pairwise(test)) / (len(test) - 1)
    assert task.baseline.score == pytest.approx(by_frequency) == pytest.approx(6.78, abs=0.01)
    assert by_pairs == pytest.approx(5.84, abs=0.01) and task.solved_at < by_pairs


def test_the_score_is_the_logarithm_of_the_perplexity(text_files: None):
    task = Words(min_count=100)
    outputs = torch.randn(20, 3, task.output_size, generator=torch.Generator().manual_seed(0))
    targets = task.evaluation("test", 3, torch.Generator()).targets
    right = outputs.softmax(-1).gather(-1, targets[..., None])
    perplexity = (1 / right).double().log().mean().exp().item()  # the geometric mean of 1 / p
    assert 2 ** task.scores(outputs, targets).mean().item() == pytest.approx(perplexity, rel=1e-4)  # float32


def test_labels_and_mistakes_name_the_vocabulary(tmp_path: Path):
    (tmp_path / "my text.txt").write_text(TRAIN)
    assert Words(path=str(tmp_path / "my text.txt"), min_count=5).label == "words_my_text_5times-20"
    assert Words().label == "words-20"
    with pytest.raises(UserError, match=r"min_count = 9 leaves no word: the most frequent one .* occurs 6 times"):
        Words(path=str(tmp_path / "my text.txt"), min_count=9).text()
