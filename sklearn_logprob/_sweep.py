"""What every threshold gives, in one pass over the sorted scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta
from sklearn.utils import check_consistent_length

from sklearn_logprob._types import Floats

__all__ = ["Average", "Sweep", "share_interval", "sweep"]

Bools = NDArray[np.bool_]
Average = Literal["micro", "samples"]


@dataclass(frozen=True)
class Sweep:
    """What each threshold gives, as arrays of shape (n_thresholds,).

    Parameters
    ----------
    threshold : ndarray
        Distinct scores, increasing, and inf, at which nothing is predicted.
    precision, recall, f1 : ndarray
        Of what is predicted at or above the threshold.
    positive_rate : ndarray
        Share of the decisions that are positive.
    cost : ndarray
        Mean cost of a decision.
    predicted, hits : ndarray
        Number of positive decisions, and of right ones among these.
    positives : int
        Number of decisions that should be positive.

    Examples
    --------
    >>> from sklearn_logprob._sweep import sweep
    >>> sweep([0, 1, 1], [0.2, 0.4, 0.9]).hits
    array([2, 2, 1, 0])
    """

    threshold: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    positive_rate: Floats
    cost: Floats
    predicted: NDArray[np.intp]
    hits: NDArray[np.intp]
    positives: int


def sweep(
    y: ArrayLike,
    scores: ArrayLike,
    *,
    pos_label: Any = None,
    labels: ArrayLike | None = None,
    average: Average = "micro",
    cost_fp: float = 1.0,
    cost_fn: float = 1.0,
    zero_division: float = 0.0,
) -> Sweep:
    """Do the work of `threshold_curve`, without pandas.

    Parameters
    ----------
    y, scores, pos_label, labels, average, cost_fp, cost_fn, zero_division
        As there.

    Returns
    -------
    sweep : Sweep
        Arrays.

    Examples
    --------
    >>> from sklearn_logprob._sweep import sweep
    >>> sweep([0, 1, 1], [0.2, 0.4, 0.9]).recall
    array([1. , 1. , 0.5, 0. ])
    """
    if average not in ("micro", "samples"):
        raise ValueError(
            "The 'average' parameter of threshold_curve must be 'micro' or 'samples'. "
            f"Got {average!r} instead."
        )
    Y, S = _read(y, scores, pos_label, labels)
    order = np.argsort(-S, axis=None, kind="stable")
    ranked = S.ravel()[order]
    # the last of each group of equal scores; before the first, nothing is predicted
    ends = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1], True])
    n_decisions, positives = Y.size, int(Y.sum())
    predicted = ends[::-1]
    hits = np.r_[0, Y.ravel()[order].cumsum()][predicted]
    false, missed = predicted - hits, positives - hits
    if average == "micro":
        precision, recall, f1 = (
            _ratio(hits, predicted, zero_division),
            _ratio(hits, np.full(len(hits), positives), zero_division),
            _ratio(2 * hits, predicted + positives, zero_division),
        )
    else:
        precision, recall, f1 = (
            (start + np.r_[0.0, change.ravel()[order].cumsum()][predicted]).clip(0, 1)
            for start, change in _row_steps(Y, S, zero_division)
        )
    return Sweep(
        threshold=np.r_[ranked, np.inf][predicted - 1],
        precision=precision,
        recall=recall,
        f1=f1,
        positive_rate=predicted / n_decisions,
        cost=(cost_fp * false + cost_fn * missed) / n_decisions,
        predicted=predicted,
        hits=hits,
        positives=positives,
    )


def share_interval(
    hits: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Say between which values a share lies, of which a sample is seen.

    Parameters
    ----------
    hits, n : array-like of int
        So many of so many.
    confidence : float, default=0.95
        How often the interval holds the true share, at least.

    Returns
    -------
    low, high : ndarray
        Ends of the interval; 0 and 1 where n is 0.

    References
    ----------
    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated
    in the case of the binomial", Biometrika 1934.

    Examples
    --------
    >>> from sklearn_logprob._sweep import share_interval
    >>> [float(end.round(3)) for end in share_interval(9, 10)]
    [0.555, 0.997]
    """
    k, m = np.asarray(hits), np.asarray(n)
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, np.maximum(k, 1), m - k + 1)
    high = beta.ppf(1 - tail, k + 1, np.maximum(m - k, 1))
    return np.where(k > 0, low, 0.0), np.where(k < m, high, 1.0)


def _read(
    y: ArrayLike, scores: ArrayLike, pos_label: Any, labels: ArrayLike | None
) -> tuple[Bools, Floats]:
    """Give what is true and the scores, with a column for each label."""
    target, S = np.asarray(y), np.asarray(scores, dtype=np.float64)
    check_consistent_length(target, S)
    missing = np.isnan(S).reshape(len(S), -1).any(axis=1)
    if missing.any():
        raise ValueError(
            f"scores hold NaN, first in row {missing.argmax()}: leave out the rows that "
            "got no answer."
        )
    if S.ndim == 1 and target.ndim == 1:
        if pos_label is None and not np.isin(target, (0, 1)).all():
            raise ValueError(
                f"y holds the labels {np.unique(target)[:10].tolist()}: say which one "
                "the scores are about, pos_label=."
            )
        return (target == (1 if pos_label is None else pos_label))[:, None], S[:, None]
    if target.ndim == 1:
        known = np.unique(target) if labels is None else np.asarray(labels)
        if S.ndim != 2 or len(known) != S.shape[1] or not np.isin(target, known).all():
            raise ValueError(
                f"scores of shape {S.shape} need as many labels as columns, and those of "
                f"y among them: labels=clf.classes_. Got {known.tolist()[:10]} instead."
            )
        return target[:, None] == known, S
    if target.shape != S.shape or not np.isin(target, (0, 1)).all():
        raise ValueError(
            "y must hold 0 and 1 in the shape of the scores, or one label a row. Got "
            f"shapes {target.shape} and {S.shape}."
        )
    return target.astype(bool), S


def _ratio(a: Any, b: Any, otherwise: float) -> Floats:
    ratio: Floats = np.full(np.shape(a), otherwise)
    np.divide(a, b, out=ratio, where=b > 0)
    return ratio


def _row_steps(Y: Bools, S: Floats, otherwise: float) -> list[tuple[float, Floats]]:
    """Give precision, recall and F1 as a sum of changes.

    Each is the mean over the rows with nothing predicted, and how much the mean changes
    when a label joins those of its row that have higher scores. Adding up the changes of
    all rows in the order of the scores gives every threshold in one pass.
    """
    n, n_labels = S.shape
    order = np.argsort(-S, axis=1, kind="stable")
    hits = np.c_[np.zeros(n), np.take_along_axis(Y, order, axis=1).cumsum(axis=1)]
    predicted = np.broadcast_to(np.arange(n_labels + 1.0), hits.shape)
    true = np.broadcast_to(Y.sum(axis=1, keepdims=True), hits.shape)
    found = []
    for values in (
        _ratio(hits, predicted, otherwise),
        _ratio(hits, true, otherwise),
        _ratio(2 * hits, predicted + true, otherwise),
    ):
        change = np.empty_like(S)
        np.put_along_axis(change, order, np.diff(values, axis=1) / n, axis=1)
        found.append((float(values[:, 0].mean()), change))
    return found
