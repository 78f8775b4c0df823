"""What learned vectors of symbols know: who is near whom, and whether differences carry over, by cosine similarity."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rnnlab.common.errors import UserError

Question = tuple[str, str, str, str]
"""As the second is to the first, so the fourth is to the third."""


def neighbours(vectors: ArrayLike, symbols: Sequence[str], asked: Iterable[str], count: int = 5) -> pd.DataFrame:
    """Find the symbols whose vectors point most nearly in the same direction.

    Args:
        vectors: (N, E), a row a symbol.
        symbols: N names.
        asked: whose neighbours.
        count: how many of each.

    Returns:
        One row a neighbour, the nearest first: symbol, neighbour, cosine.

    Raises:
        UserError: if numbers of vectors and names differ, or a name is unknown.

    Example:
        >>> neighbours([[1, 0], [2, 1], [-1, 0]], ["a", "b", "c"], ["a"], count=1)["neighbour"].tolist()
        ['b']
    """
    units, place = _units(vectors, symbols)
    rows = []
    for symbol in asked:
        cosines = units @ units[_find(symbol, place)]
        others = [k for k in np.argsort(-cosines, kind="stable") if k != place[symbol]]
        rows += [(symbol, symbols[k], float(cosines[k])) for k in others[:count]]
    return pd.DataFrame(rows, columns=["symbol", "neighbour", "cosine"])


def analogies(vectors: ArrayLike, symbols: Sequence[str], questions: Iterable[Question]) -> pd.DataFrame:
    """Answer what is to c as b is to a: the symbol whose vector is nearest to b - a + c, vectors of length one.

    The three given symbols are no answers, which makes the question easier. So `plain_rank` is that of the right answer
    among the neighbours of c alone: what a rank owes to the difference is what it is better than that.

    Args:
        vectors: (N, E), a row a symbol.
        symbols: N names.
        questions: (a, b, c, right answer) each.

    Returns:
        One row a question: a, b, c, right, answer, rank (of the right answer, from 1), plain_rank.

    Raises:
        UserError: if numbers of vectors and names differ, or a name is unknown.

    Reference: Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word Representations", section 4.
    """
    units, place = _units(vectors, symbols)
    rows = []
    for question in questions:
        a, b, c, right = (_find(symbol, place) for symbol in question)
        near = units @ np.stack([units[b] - units[a] + units[c], units[c]], axis=1)  # (N, 2)
        near[[a, b, c]] = -np.inf
        ranks = 1 + (near > near[right]).sum(0)
        rows.append((*question, symbols[int(near[:, 0].argmax())], *ranks.tolist()))
    return pd.DataFrame(rows, columns=["a", "b", "c", "right", "answer", "rank", "plain_rank"])


def same_kind(vectors: ArrayLike, symbols: Sequence[str], kinds: Mapping[str, Sequence[str]]) -> tuple[float, float]:
    """How often the nearest neighbour of a symbol, among those of known kind, is of its own kind.

    Args:
        vectors: (N, E), a row a symbol.
        symbols: N names.
        kinds: symbols by kind; the others take no part.

    Returns:
        The share, and what it is expected to be if neighbours are drawn by lot.

    Raises:
        UserError: if numbers of vectors and names differ, or a name is unknown.
    """
    units, place = _units(vectors, symbols)
    known = np.array([_find(symbol, place) for group in kinds.values() for symbol in group])
    kind = np.repeat(np.arange(len(kinds)), [len(group) for group in kinds.values()])
    cosines = units[known] @ units[known].T
    np.fill_diagonal(cosines, -np.inf)
    alike = kind[:, None] == kind
    return float((kind[cosines.argmax(1)] == kind).mean()), float((alike.sum(1) - 1).mean() / (len(kind) - 1))


def _units(vectors: ArrayLike, symbols: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Vectors of length one, and the row of each symbol."""
    values = np.asarray(vectors, float)
    if len(values) != len(symbols):
        raise UserError(f"symbols has {len(symbols)} names for {len(values)} vectors: give one for each")
    return values / np.linalg.norm(values, axis=1, keepdims=True), {name: k for k, name in enumerate(symbols)}


def _find(symbol: str, place: Mapping[str, int]) -> int:
    if symbol not in place:
        raise UserError(f"'{symbol}' is none of the {len(place)} symbols: ask for one of them")
    return place[symbol]
