import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.tasks.characters import Characters

LINE = "the näive cat sat on the mat; "
TEXT = LINE * 38 + "that is " * 7 + "neat"  # 1,200 characters, of which the last twentieth has frequencies of its own


@pytest.fixture
def task(tmp_path: Path) -> Characters:
    (tmp_path / "my text.txt").write_text(TEXT, encoding="utf-8")
    return Characters(path=str(tmp_path / "my text.txt"), length=7)


def spell(task: Characters, codes: torch.Tensor) -> str:
    return "".join(task.text().symbols[code] for code in codes.tolist())


def test_the_target_is_the_next_character(task: Characters):
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 50)
    for b in range(50):
        read, answer = spell(task, inputs[:, b]), spell(task, targets[:, b])
        assert answer[:-1] == read[1:]
        assert read + answer[-1] in LINE * 3


def test_parts_are_contiguous_and_together_the_text(task: Characters):
    parts = task.text().parts
    assert "".join(spell(task, parts[name]) for name in ("train", "validation", "test")) == TEXT
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [1080, 60, 60]
    assert task.input_size == task.output_size == len(set(LINE))


def test_windows_stay_in_their_part_and_reach_its_ends(task: Characters, monkeypatch: pytest.MonkeyPatch):
    bounds = {"train": (0, 1080), "validation": (1080, 1140), "test": (1140, 1200)}
    parts = {name: torch.arange(*bound) for name, bound in bounds.items()}
    text = task.text()._replace(parts=parts)  # every character now is its own position
    monkeypatch.setattr(Characters, "text", lambda self: text)
    drawn = {"train": task.sample(torch.Generator().manual_seed(0), 20_000)}
    drawn |= {split: task.evaluation(split, 30, torch.Generator()) for split in ("validation", "test")}
    for split, batch in drawn.items():
        first, end = bounds[split]
        assert batch.inputs.min() == first and batch.targets.max() == end - 1
    starts = drawn["test"].inputs[0]
    assert (starts.diff() >= 1).all() and starts.diff().max() <= 2  # spread evenly


def test_baseline_is_the_loss_on_the_test_part_of_the_frequencies_of_the_training_part(task: Characters):
    seen, asked = (spell(task, task.text().parts[name]) for name in ("train", "test"))
    shares = {c: (n + 1) / (len(seen) + task.input_size) for c, n in Counter(seen).items()}
    loss = -sum(math.log(shares[c]) for c in asked) / len(asked)
    assert task.baseline.loss == pytest.approx(loss)
    frequencies = torch.tensor([shares[c] for c in task.text().symbols])
    outputs = frequencies.log()[None, None].expand(len(asked), 1, -1)
    targets = task.text().parts["test"][:, None]
    assert task.losses(outputs, targets).mean().item() == pytest.approx(loss, rel=1e-5)  # float32
    assert task.scores(outputs, targets).item() == pytest.approx(task.baseline.score, rel=1e-5)


def test_shakespeare_has_the_published_size(text_files: None):
    text = Characters().text()
    assert len(text.symbols) == 65 and sum(map(len, text.parts.values())) == 1_115_394
    assert 4.7 < Characters().baseline.score < 4.9


def test_the_label_names_the_file_in_plain_letters(task: Characters):
    assert task.label == "characters_my_text-7" and Characters().label == "characters-50"


def test_mistakes_are_named(task: Characters, tmp_path: Path):
    long = Characters(path=task.path, length=60)
    with pytest.raises(UserError, match=r"length = 60 is too long for the validation part of the text, which has 60"):
        long.evaluation("validation", 1, torch.Generator())
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    for name, message in (("none.txt", "No such file"), ("empty.txt", "is empty"), ("latin.txt", "UTF-8")):
        with pytest.raises(UserError, match=message):
            Characters(path=str(tmp_path / name)).sample(torch.Generator(), 1)
    wrong = {"task": {"kind": "characters"}, "cell": {"kind": "gru"}, "model": {"bidirectional": True}}
    with pytest.raises(UserError, match=r"bidirectional = true would read the answers of characters"):
        Config.parse(wrong)
