import math

import pytest
import torch

from rnnlab.common.errors import UserError
from rnnlab.tasks.agreement import ADVERBS, PLURAL, PREPOSITIONS, SINGULAR, VERBS, VOCABULARY, Agreement


def parse_sentence(sentence: str, distractors: int) -> tuple[str, list[str], str]:
    """Subject, distracting nouns and answer, after checking every word against the grammar."""
    words = sentence.split()
    assert words[0] == "the" and words[1] in SINGULAR + PLURAL and words[2:4] == [",", "which"]
    assert words[-2] == "," and words[-1] in ("[was]", "[were]")
    clause, nouns = words[4:-2], []
    for k in reversed(range(distractors)):
        *clause, link, article, noun = clause
        assert link in (PREPOSITIONS if k else VERBS) and article == "the" and noun in SINGULAR + PLURAL
        nouns.append(noun)
    assert all(word in ADVERBS for word in clause)
    return words[1], nouns, words[-1].strip("[]")


@pytest.mark.parametrize(("distance", "distractors"), [(6, 1), (9, 2), (20, 2), (20, 5)])
def test_the_verb_agrees_with_the_subject_at_exactly_the_distance_asked_for(distance: int, distractors: int):
    task = Agreement(distance=distance, distractors=distractors)
    for sentence in task.words(task.sample(torch.Generator().manual_seed(0), 200)):
        subject, nouns, answer = parse_sentence(sentence, distractors)
        assert answer == ("were" if subject in PLURAL else "was") and len(nouns) == distractors
        assert len(sentence.split()) - 1 - 2 == distance  # without the article, the subject and the verb
    assert task.lags[-1] == task.steps - 1 - 1  # the subject is the second word


def test_no_word_of_the_clause_tells_the_answer():
    task = Agreement(distance=12, distractors=3)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 20_000)
    for t in range(2, task.steps):
        for word in inputs[t].unique():
            answers = targets[0, inputs[t] == word].double()
            # Up to 16 words at 12 places, in standard errors of a fair coin.
            assert abs(answers.mean().item() - 0.5) < 4.5 * 0.5 / math.sqrt(len(answers)), VOCABULARY[int(word)]
    assert abs(targets.double().mean().item() - task.baseline.score) < 4 * 0.5 / math.sqrt(20_000)
    loss = task.losses(torch.zeros(1, 20_000, 2), targets).mean().item()
    assert math.isclose(loss, task.baseline.loss, rel_tol=1e-5)


def test_half_of_the_distractors_have_the_other_number():
    task = Agreement(distance=9, distractors=2)
    sentences = task.words(task.sample(torch.Generator().manual_seed(0), 5000))
    other = 0
    for sentence in sentences:
        subject, nouns, _ = parse_sentence(sentence, 2)
        other += sum((noun in PLURAL) != (subject in PLURAL) for noun in nouns)
    assert abs(other / 10_000 - 0.5) < 4 * 0.5 / math.sqrt(10_000)


def test_words_are_distinct_and_too_many_distractors_are_refused():
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    with pytest.raises(UserError, match=r"distractors = 6 do not fit into distance = 20: choose at most 5"):
        Agreement.parse({"distance": 20, "distractors": 6})
