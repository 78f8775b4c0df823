"""Words that belong together, and pairs whose difference should carry over; all of them in the vocabulary."""

from itertools import permutations

KINDS = {
    "subjects": "i you he she we they thou",
    "objects": "me him her us them thee",
    "possessives": "my your his our their thy",
    "auxiliary verbs": "is was are were am hath has have had do did doth shall will would should may might must can",
    "prepositions": "in on by with from of upon into against before after at for",
    "punctuation": ", . ; : ? !",
    "adjectives": "good sweet gentle noble fair dear poor gracious royal holy young old",
    "kin": "father mother brother son daughter wife husband cousin child",
    "ranks": "king queen duke duchess prince lord lady sir madam",
    "names": "romeo juliet mercutio benvolio capulet warwick clarence gloucester northumberland buckingham hastings "
    "menenius sicinius brutus coriolanus angelo isabella lucio leontes camillo paulina polixenes",
}
"""By kind; a judgement of ours."""

PAIRS = {
    "he : him": "he him, she her, they them, i me, we us, thou thee",
    "he : his": "he his, they their, i my, we our, thou thy, you your",
    "king : queen": "king queen, duke duchess, father mother, husband wife, lord lady, son daughter, he she",
    "is : was": "is was, are were, have had, do did, come came, make made",
    "hand : hands": "hand hands, eye eyes, lord lords, word words, friend friends",
}
"""By relation; every two pairs of one relation make a question."""

ASKED = ("he", "my", "shall", "in", "good", "king", "father", "romeo", "love", "day")
"""Whose neighbours the page shows."""


def kinds() -> dict[str, list[str]]:
    """Words by kind."""
    return {kind: words.split() for kind, words in KINDS.items()}


def questions() -> dict[str, list[tuple[str, str, str, str]]]:
    """(a, b, c, right answer) by relation."""
    by_relation = {relation: [pair.split() for pair in pairs.split(",")] for relation, pairs in PAIRS.items()}
    return {
        relation: [(a, b, c, right) for (a, b), (c, right) in permutations(pairs, 2)]
        for relation, pairs in by_relation.items()
    }
