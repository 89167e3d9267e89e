"""Answers to sparse features: everything that was shown, not the labels alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_logprob._pairs import Ints, distinct, join
from sklearn_logprob._types import Answer, Floats, Outcome
from sklearn_logprob._walking import AT_ONCE, is_shown

__all__ = ["TokenFeatures"]

Sparse: TypeAlias = Any  # sparse matrices; scipy ships no types


class TokenFeatures(BaseEstimator):
    """One column for each token that answers show, and for each label spelling.

    The value is the token's log-probability above the least of those that the answer
    shows. What is not shown is known to be below that, and counts as 0; so the matrix
    is sparse, and an answer that shows little says little. Nothing is pooled: " good"
    and "Good" have columns of their own. Of an answer with several positions the first
    counts; spellings that were scored exactly join in where they are likelier than the
    least token shown. Texts that were drawn show no log-probability: no feature either.

    Parameters
    ----------
    min_count : int, default=2
        In how many rows of fit a token must be shown. One that is seen once cannot tell
        anything about other rows.
    per_row : int, default=1
        How many answers a row has, such as several chains of thought. Their values are
        averaged; those that failed do not count.

    Attributes
    ----------
    vocabulary_ : dict of str to int
        Token → column, sorted.

    References
    ----------
    B. Xu et al., "kNN Prompting: Beyond-Context Learning with Calibration-Free Nearest
    Neighbor Inference", ICLR 2023, arXiv:2303.13824 (classifies by the distribution
    over all tokens).

    Examples
    --------
    >>> from sklearn_logprob import Answer, TokenLogprobs
    >>> from sklearn_logprob._features import TokenFeatures
    >>> top = ((" good", -0.5), (" fine", -1.5), (" the", -3.0))
    >>> answers = [Answer((TokenLogprobs(" good", -0.5, top),))] * 2
    >>> features = TokenFeatures().fit(answers)
    >>> features.vocabulary_
    {' fine': 0, ' good': 1}
    >>> features.transform(answers).toarray()
    array([[1.5, 2.5],
           [1.5, 2.5]])
    """

    def __init__(self, *, min_count: int = 2, per_row: int = 1) -> None:
        self.min_count = min_count
        self.per_row = per_row

    def fit(self, outcomes: Sequence[Outcome], y: object = None) -> TokenFeatures:
        """Learn which tokens there are.

        Parameters
        ----------
        outcomes : sequence of Answer or RowError
            `per_row` of them for each row.
        y : object, optional
            Not used.

        Returns
        -------
        self : TokenFeatures
            The fitted transformer.
        """
        counts: Counter[str] = Counter()
        for block in self._blocks(outcomes):
            cells = np.unique(block.rows * len(block.texts) + block.places)
            rows_with = np.bincount(cells % len(block.texts), minlength=len(block.texts))
            counts.update(dict(zip(block.texts, rows_with.tolist(), strict=True)))
        kept = sorted(token for token, n in counts.items() if n >= self.min_count)
        self.vocabulary_ = {token: column for column, token in enumerate(kept)}
        return self

    def transform(self, outcomes: Sequence[Outcome]) -> Sparse:
        """Give the features.

        Parameters
        ----------
        outcomes : sequence of Answer or RowError
            `per_row` of them for each row.

        Returns
        -------
        F : sparse matrix of shape (n_rows, n_tokens), in CSR format
            Log-probabilities (natural log) above the least one shown, none negative;
            empty rows where there is no answer.
        """
        check_is_fitted(self)
        columns = self.vocabulary_
        parts = [sparse.csr_matrix((0, len(columns)))]
        for block in self._blocks(outcomes):
            places = np.array([columns.get(text, -1) for text in block.texts])
            column = places[block.places]
            known = column >= 0
            entries = block.values[known], (block.rows[known], column[known])
            # a token in several answers of a row is summed up
            parts.append(sparse.csr_matrix(entries, shape=(block.n_rows, len(columns))))
        return sparse.vstack(parts, format="csr")

    def _blocks(self, outcomes: Sequence[Outcome]) -> Iterator[_Block]:
        """Give what the answers show above their floors, some rows at a time."""
        size = max(1, AT_ONCE // self.per_row) * self.per_row
        for start in range(0, len(outcomes), size):
            several = outcomes[start : start + size]
            answered = [i for i, each in enumerate(several) if isinstance(each, Answer)]
            rows = np.array(answered, dtype=np.intp) // self.per_row
            n_rows = len(several) // self.per_row
            n_answers = np.bincount(rows, minlength=n_rows)
            shown = _above_floor([cast(Answer, several[i]) for i in answered])
            texts, places = distinct(shown.numbers)
            rows = rows[shown.owners]
            yield _Block(n_rows, texts, places, rows, shown.values / n_answers[rows])


class _Block(NamedTuple):
    """What some rows show: an entry for each answer and each text in it."""

    n_rows: int
    texts: list[str]
    places: Ints  # in `texts`
    rows: Ints
    values: Floats


class _Above(NamedTuple):
    numbers: NDArray[np.int32]
    owners: Ints
    values: Floats


def _above_floor(answers: Sequence[Answer]) -> _Above:
    """Give the log-probabilities above the least one that each answer shows."""
    tops = join([a.positions[0].top if a.positions else () for a in answers])
    told = join([answer.choices for answer in answers])
    numbers = np.concatenate([tops[0], told[0]])
    values = np.concatenate([tops[1], told[1]])
    owners = np.concatenate([tops[2], told[2]])
    known = np.flatnonzero(is_shown(values))
    # of equal texts the first, which is the likeliest, counts: tokens before choices
    cells = owners * (int(numbers.max(initial=0)) + 1) + numbers
    once = known[np.unique(cells[known], return_index=True)[1]]
    floor = np.full(len(answers), np.inf)
    token = once[once < len(tops[0])]
    np.minimum.at(floor, owners[token], values[token])
    above = values[once] - np.where(np.isinf(floor), 0.0, floor)[owners[once]]
    some = above > 0
    return _Above(numbers[once[some]], owners[once[some]], above[some])
