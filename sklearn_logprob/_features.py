"""Answers to sparse features: everything that was shown, not the labels alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_logprob._reading import SENTINEL
from sklearn_logprob._types import Answer, Outcome

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
        for several in self._rows(outcomes):
            counts.update(set().union(*several))
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
        ends, places, values = [0], [], []
        for several in self._rows(outcomes):
            for shown in several:
                known = [token in columns for token in shown]
                places += [columns[token] for token in compress(shown, known)]
                values += [v / len(several) for v in compress(shown.values(), known)]
            ends.append(len(places))
        F = sparse.csr_matrix(
            (np.array(values, dtype=np.float64), np.array(places, dtype=np.intp), ends),
            shape=(len(ends) - 1, len(columns)),
        )
        F.sum_duplicates()  # a token in several answers of a row
        return F

    def _rows(self, outcomes: Sequence[Outcome]) -> Iterator[list[dict[str, float]]]:
        """Give what each answer of each row shows above its floor."""
        for start in range(0, len(outcomes), self.per_row):
            several = outcomes[start : start + self.per_row]
            yield [_above_floor(each) for each in several if isinstance(each, Answer)]


def _above_floor(answer: Answer) -> dict[str, float]:
    """Give the log-probabilities above the least one shown."""
    shown = _log_probs(answer.positions[0].top if answer.positions else ())
    floor = min(shown.values(), default=0.0)
    told = _log_probs(answer.choices) | shown
    return {token: value - floor for token, value in told.items() if value > floor}


def _log_probs(pairs: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Leave sentinels out; of equal texts the first, which is the likeliest, counts."""
    known = (pair for pair in reversed(pairs) if isfinite(pair[1]) and pair[1] > SENTINEL)
    return dict(known)
