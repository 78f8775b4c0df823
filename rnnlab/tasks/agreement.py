"""Agreement: a noun, a long clause full of other nouns, then its verb: was or were?"""

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from rnnlab.tasks.base import Baseline, Batch, Task
from rnnlab.tasks.registry import register

SINGULAR = ("cat", "dog", "boy", "girl", "king", "poet", "horse", "teacher")
PLURAL = ("cats", "dogs", "boys", "girls", "kings", "poets", "horses", "teachers")
ADVERBS = ("often", "once", "quietly", "later", "then", "gladly")
VERBS = ("saw", "heard", "met", "followed")
PREPOSITIONS = ("near", "behind", "without", "before")
VOCABULARY = ("the", ",", "which", *ADVERBS, *VERBS, *PREPOSITIONS, *SINGULAR, *PLURAL)
ANSWERS = ("was", "were")
FRAME = 3
"""Words of the clause that are always there: the two commas and `which`."""
PHRASE = 3
"""Words that come with a distracting noun: a verb or preposition, the article, the noun."""


@register
class Agreement(Task):
    """The cat, which often saw the dogs near the king, [was]: read the words, answer the verb's number at the end.

    Subject and distracting nouns are singular or plural by independent fair coins: half of the distractors have the
    other number, and the words of the clause say nothing about the answer, however they are weighed. The subject has
    to be remembered for `distance` words. Verbs of the clause are in the past tense, which has one form for both
    numbers. Adverbs fill the clause to its length, so that all sentences have the same.

    Reference: Linzen et al. 2016, "Assessing the Ability of LSTMs to Learn Syntax-Sensitive Dependencies".
    """

    kind: Literal["agreement"] = "agreement"
    distance: int = Field(default=20, ge=FRAME + PHRASE, le=10_000)
    """Words between the subject and the verb it agrees with, commas included."""
    distractors: int = Field(default=2, ge=1)
    """Nouns in the clause."""

    symbols: ClassVar[bool] = True
    solved_at: ClassVar[float] = 0.99

    @model_validator(mode="after")
    def _check_room(self) -> Self:
        if FRAME + PHRASE * self.distractors > self.distance:
            raise ValueError(
                f"distractors = {self.distractors} do not fit into distance = {self.distance}: choose at most "
                f"{(self.distance - FRAME) // PHRASE}, or a distance of at least {FRAME + PHRASE * self.distractors}"
            )
        return self

    @property
    def steps(self) -> int:
        return self.distance + 2

    @property
    def input_size(self) -> int:
        return len(VOCABULARY)

    @property
    def output_size(self) -> int:
        return len(ANSWERS)

    @property
    def lags(self) -> tuple[int, ...]:
        return self.distance // 2, self.distance

    @property
    def baseline(self) -> Baseline:
        return Baseline(math.log(2), 0.5, "the subject forgotten: ln 2, one half right")

    @property
    def variant(self) -> str:
        nouns = f"{self.distractors} noun{'s' * (self.distractors > 1)}"
        return f"{self.distance} words between subject and verb, {nouns} of either number among them"

    @property
    def label(self) -> str:
        distractors = "" if self.distractors == 2 else f"_{self.distractors}distractors"
        return f"{self.kind}{distractors}-{self.distance}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        def words(*choice: str, rows: int = 1) -> Tensor:
            known = torch.tensor([VOCABULARY.index(word) for word in choice])
            return known[torch.randint(len(choice), (rows, batch_size), generator=generator)]

        nouns = words(*SINGULAR, *PLURAL, rows=1 + self.distractors)
        adverbs = self.distance - FRAME - PHRASE * self.distractors
        sentence = [words("the"), nouns[:1], words(","), words("which"), words(*ADVERBS, rows=adverbs)]
        for k in range(self.distractors):
            sentence += [words(*(PREPOSITIONS if k else VERBS)), words("the"), nouns[k + 1 : k + 2]]
        plural = (nouns[:1] >= VOCABULARY.index(PLURAL[0])).long()
        return Batch(torch.cat([*sentence, words(",")]), plural)  # (T, B), (1, B)

    def words(self, batch: Batch) -> list[str]:
        """Spell out every sentence of a batch, the right verb in brackets at its end."""
        return [
            " ".join([*(VOCABULARY[word] for word in sentence), f"[{ANSWERS[answer]}]"])
            for sentence, answer in zip(batch.inputs.T.tolist(), batch.targets[0].tolist(), strict=True)
        ]
