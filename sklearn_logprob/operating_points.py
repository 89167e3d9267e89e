"""Thresholds of two classes for a precision or a recall that must be kept.

They are selectors like those of `thresholds`: ``fit(P, y)`` sets ``threshold_``, the
probability of column 1 from which on it is predicted.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, binom
from sklearn.base import BaseEstimator

from sklearn_logprob._errors import OperatingPointError
from sklearn_logprob.rejection import NestedSets, check_share, fewest_rows

__all__ = ["PrecisionAtLeast", "RecallAtLeast"]

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]


class _OperatingPoint(BaseEstimator):
    """Of the cuts that keep what was asked for, the one with the most of the other."""

    needs_labels = True

    def fit(self, P: ArrayLike, y: ArrayLike) -> Any:
        """Learn the threshold.

        Parameters
        ----------
        P : array-like of shape (n, 2)
            Calibrated probabilities, of rows that the calibrator has not seen.
        y : array-like of shape (n,)
            Codes 0 and 1.

        Returns
        -------
        selector
            Itself, with `threshold_`.

        Raises
        ------
        OperatingPointError
            If no threshold keeps it; what can be kept is said.
        """
        probabilities: Floats = np.asarray(P, dtype=float)
        self._check(probabilities.shape[1])
        wrong = np.asarray(y) == 0
        sets = NestedSets.above_cuts(probabilities[:, 1], wrong)
        hits, positives = sets.sizes - sets.errors, int((~wrong).sum())
        precision, recall = hits / sets.sizes, hits / max(positives, 1)
        kept = np.flatnonzero(self._kept(sets, hits, positives))
        if not len(kept):
            raise OperatingPointError(self._explain(sets, hits, positives))
        best = kept[self._best(precision[kept], recall[kept])]
        self.threshold_ = float(sets.cuts[best])
        self.precision_, self.recall_ = float(precision[best]), float(recall[best])
        return self

    def _check_values(self, name: str, n_classes: int) -> None:
        check_share(self, name, ends=self.confidence is None)
        if self.confidence is not None:
            check_share(self, "confidence")
        if n_classes != 2:
            raise ValueError(
                f"{type(self).__name__} is about column 1 of two classes, and there are "
                f"{n_classes}: use BestMetric or LeastCost."
            )

    @property
    def _delta(self) -> float:
        return float(1 - self.confidence)

    def _check(self, n_classes: int) -> None:
        raise NotImplementedError

    def _kept(self, sets: NestedSets, hits: Any, positives: int) -> Mask:
        raise NotImplementedError

    def _best(self, precision: Floats, recall: Floats) -> int:
        raise NotImplementedError

    def _explain(self, sets: NestedSets, hits: Any, positives: int) -> str:
        raise NotImplementedError


class PrecisionAtLeast(_OperatingPoint):
    """The threshold with the highest recall among those with enough precision.

    With `confidence` the precision is not only that of the rows seen: it holds for new
    ones, with at least that probability, however many thresholds were looked at. Each
    one is judged by the one-sided Clopper-Pearson bound, from the highest on. As the
    order is fixed and ends where a test fails, nothing is paid for the tests that were
    passed before; `RiskAtMost` has the details, and the conditions.

    Parameters
    ----------
    p : float
        The precision to keep: the share of right ones among rows predicted as column 1.
    confidence : float or None, default=None
        Probability, over the rows of `fit`, that it is kept. None: the rows of `fit`
        keep it, and new ones often do not.

    Attributes
    ----------
    threshold_ : float
        Probability of column 1 from which on it is predicted, midway between two.
    precision_, recall_ : float
        Of the rows of `fit`. They flatter, because the threshold was chosen on them.

    References
    ----------
    C. J. Clopper and E. S. Pearson (1934), "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26. A. N. Angelopoulos et al.
    (2021), "Learn then Test", arXiv 2110.01052.

    Examples
    --------
    >>> from sklearn_logprob.operating_points import PrecisionAtLeast
    >>> P = [[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]]
    >>> selector = PrecisionAtLeast(0.6).fit(P, [0, 1, 0, 1, 1])
    >>> round(selector.threshold_, 3), selector.precision_, selector.recall_
    (0.2, 0.75, 1.0)
    """

    def __init__(self, p: float, *, confidence: float | None = None) -> None:
        self.p = p
        self.confidence = confidence

    def _check(self, n_classes: int) -> None:
        self._check_values("p", n_classes)

    def _kept(self, sets: NestedSets, hits: Any, positives: int) -> Mask:
        if self.confidence is not None:
            return sets.certified(1 - self.p, self._delta)
        return np.asarray(hits / sets.sizes >= self.p)

    def _best(self, precision: Floats, recall: Floats) -> int:
        return int(np.lexsort((precision, recall))[-1])

    def _explain(self, sets: NestedSets, hits: Any, positives: int) -> str:
        if self.confidence is None:
            i = self._best(hits / max(positives, 1), hits / sets.sizes)
            return (
                f"No threshold has a precision of {self.p:g} on these {sets.n} rows. The "
                f"best is {hits[i] / sets.sizes[i]:.3g}, with a recall of "
                f"{hits[i] / max(positives, 1):.3g}: ask for at most that."
            )
        needed = sets.needed(1 - self.p, self._delta, "rows predicted as column 1")
        bound = beta.ppf(self._delta, hits, sets.errors + 1)[hits > 0].max(initial=0.0)
        return (
            f"No threshold shows a precision of {self.p:g} with {self.confidence:.4g} "
            f"confidence on these {sets.n} rows; the best lower bound of one threshold "
            f"is {bound:.3g}. {needed} Give more labelled rows, or ask for less "
            "precision or confidence."
        )


class RecallAtLeast(_OperatingPoint):
    """The threshold with the highest precision among those with enough recall.

    With `confidence` the recall is not only that of the rows seen: it holds for new
    ones, with at least that probability. Recall can only fall as the threshold rises, so
    the Clopper-Pearson bounds of all thresholds up to the last one that passes hold
    together, and any of these may be chosen. This bound is exact.

    Parameters
    ----------
    r : float
        The recall to keep: the share of the rows of column 1 that are predicted so.
    confidence : float or None, default=None
        Probability, over the rows of `fit`, that it is kept. None: the rows of `fit`
        keep it, and new ones often do not.

    Attributes
    ----------
    threshold_ : float
        Probability of column 1 from which on it is predicted, midway between two.
    precision_, recall_ : float
        Of the rows of `fit`. They flatter, because the threshold was chosen on them.

    References
    ----------
    C. J. Clopper and E. S. Pearson (1934), "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26.

    Examples
    --------
    >>> from sklearn_logprob.operating_points import RecallAtLeast
    >>> P = [[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]]
    >>> selector = RecallAtLeast(0.6).fit(P, [0, 1, 0, 1, 1])
    >>> round(selector.threshold_, 3), selector.precision_, round(selector.recall_, 2)
    (0.45, 1.0, 0.67)
    """

    def __init__(self, r: float, *, confidence: float | None = None) -> None:
        self.r = r
        self.confidence = confidence

    def _check(self, n_classes: int) -> None:
        self._check_values("r", n_classes)

    def _kept(self, sets: NestedSets, hits: Any, positives: int) -> Mask:
        if self.confidence is not None:
            misses = positives - hits
            passed = binom.cdf(misses, positives, 1 - self.r) <= self._delta
            return np.asarray(passed)
        return np.asarray(hits / max(positives, 1) >= self.r)

    def _best(self, precision: Floats, recall: Floats) -> int:
        return int(np.lexsort((recall, precision))[-1])

    def _explain(self, sets: NestedSets, hits: Any, positives: int) -> str:
        if not positives:
            return f"No row of these {sets.n} is of column 1: label some that are."
        return (
            f"No threshold shows a recall of {self.r:g} with {self.confidence:.4g} "
            f"confidence: that takes at least {fewest_rows(1 - self.r, self._delta)} "
            f"rows of column 1, and there are {positives}, which show "
            f"{self._delta ** (1 / positives):.3g} where all are found. Label more of "
            "them, or ask for less recall or confidence."
        )
