"""Checked probabilities, equal-mass bins of them, and errors of calibration in these."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.utils import check_array

from sklearn_logprob._types import Floats

__all__ = ["Bins", "absolute_error", "check_proba", "squared_error"]

FEWEST = 5  # rows a bin; of fewer, the share of a class says nothing


def check_proba(P: ArrayLike) -> Floats:
    """Take P as an array of probabilities, or raise ValueError."""
    probabilities: Floats = check_array(P, dtype=np.float64, input_name="P")
    sums = probabilities.sum(axis=1)
    if probabilities.min() < 0 or not np.allclose(sums, 1, rtol=0, atol=1e-6):
        raise ValueError(
            "P must hold probabilities: rows that are not negative and sum to 1. "
            "For log scores, give scipy.special.softmax(S, axis=1)."
        )
    return probabilities


class Bins:
    """The rows, sorted into bins of about equal size by each class's probability.

    Rows of equal probability share a bin, so that the order of rows plays no part.

    Parameters
    ----------
    P : ndarray of shape (n, K)
        Probabilities.
    n_bins : int
        Bins for each class; fewer where they would hold under 5 rows.
    """

    def __init__(self, P: Floats, n_bins: int) -> None:
        n, n_classes = P.shape
        n_bins = max(1, min(n_bins, n // FEWEST))
        below = rankdata(P, method="min", axis=0).astype(np.intp) - 1
        self.index = below * n_bins // n + n_bins * np.arange(n_classes)
        self.size = n_bins * n_classes
        self.P = P
        self.counts = self._sum(np.ones_like(P))
        self._p, self._p2 = self._sum(P), self._sum(P**2)

    def _sum(self, values: Floats) -> Floats:
        return np.bincount(self.index.ravel(), values.ravel(), self.size).astype(float)

    def residuals(self, y: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Sum ``p - [y is the class]`` and its square in each bin, for codes y."""
        rows = np.arange(len(y))
        own, p = self.index[rows, y], self.P[rows, y]
        hits = np.bincount(own, minlength=self.size)
        # (p - 1)^2 is p^2 and a rest, so that only one bin a row is touched
        return self._p - hits, self._p2 + np.bincount(own, 1 - 2 * p, self.size)


def absolute_error(counts: Floats, residual: Floats) -> Floats:
    """Mean distance of probability and share, over the rows and classes."""
    error: Floats = np.abs(residual).sum(-1) / counts.sum(-1)
    return error


def squared_error(counts: Floats, residual: Floats, square: Floats) -> Floats:
    """Mean squared distance, without the part that is noise.

    A bin's mean residual squared, less the residuals' variance over their number, is
    the mean product of two different rows' residuals: 0 in expectation where the model
    is calibrated. A bin of one row has no such pair and counts 0.
    """
    pairs: Floats = np.zeros(np.shape(residual))
    np.divide(residual**2 - square, counts - 1, out=pairs, where=counts > 1)
    error: Floats = pairs.sum(-1) / counts.sum(-1)
    return error
