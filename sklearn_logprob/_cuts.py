"""Decisions by thresholds, and the search for the thresholds of the best metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_logprob._counts import CountMetric

__all__ = [
    "CLOSED_FORMS",
    "CallObjective",
    "CountObjective",
    "Objective",
    "best_cut",
    "best_thresholds",
    "decide",
]

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.intp]

_TIE = 1e-10  # metrics closer than this differ by rounding only
_CERTAIN = 1e-9  # thresholds of several classes stay within odds of a billion to one
_MAX_CALLS = 100  # of a callable metric, per class and pass


def decide(P: ArrayLike, threshold: float | ArrayLike | None = None) -> Codes:
    """Turn probabilities into class codes.

    Parameters
    ----------
    P : array-like of shape (n, K)
        Probabilities.
    threshold : float or array-like of shape (K,), optional
        A number t, for two classes: column 1 is predicted iff its probability is at
        least t. Positive numbers t_k, one per class: ``argmax_k p_k / t_k``; only their
        ratios matter. None: the most probable class.

    Returns
    -------
    ndarray of shape (n,)
        Column numbers of P.

    Examples
    --------
    >>> from sklearn_logprob._cuts import decide
    >>> P = [[0.7, 0.3], [0.4, 0.6]]
    >>> decide(P), decide(P, 0.3), decide(P, [0.8, 0.2])
    (array([0, 1]), array([1, 1]), array([1, 1]))
    """
    scores: Floats = np.asarray(P, dtype=float)
    weights = np.ones(scores.shape[1])
    if threshold is not None:
        t: Floats = np.asarray(threshold, dtype=float)
        if t.ndim == 0:
            _, positive = scores.T
            return np.asarray(positive >= t, dtype=np.intp)
        weights = t.min() / t  # exactly 1 where thresholds are equal
    return _strongest(scores, weights)[0]


def _strongest(P: Floats, weights: Floats, but: int = -1) -> tuple[Codes, Floats]:
    """Find the class with the largest ``p * weight``, other than one, and that product.

    A column at a time, which in Fortran order reads memory once; argmax is slow on short
    rows.
    """
    codes, largest = np.zeros(len(P), dtype=np.intp), np.full(len(P), -np.inf)
    for k in range(len(weights)):
        if k != but:
            product = P[:, k] * weights[k]
            codes[product > largest] = k
            np.maximum(largest, product, out=largest)
    return codes, largest


CLOSED_FORMS: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": np.ones_like,
    "f1_micro": np.ones_like,
    "balanced_accuracy": lambda prior: prior.clip(_CERTAIN),
}


class CountObjective:
    """A metric of the counts, where row i belongs to class k with weight Y[i, k]."""

    def __init__(self, metric: CountMetric, Y: Floats) -> None:
        self.metric, self.Y, self.true = metric, np.asfortranarray(Y), Y.sum(axis=0)

    def _count(self, codes: Codes) -> tuple[Floats, Floats]:
        """Count hits and decisions of each class."""
        n_classes = len(self.true)
        weights = self.Y[np.arange(len(codes)), codes]
        predicted = np.bincount(codes, minlength=n_classes).astype(float)
        return np.bincount(codes, weights, n_classes).astype(float), predicted

    def value(self, codes: Codes) -> float:
        hits, predicted = self._count(codes)
        return float(self.metric(hits, self.true, predicted))

    def sweep(self, k: int, rival: Codes, order: Codes, sizes: Codes) -> Floats:
        """Judge the decisions "k for the first `size` rows in `order`, else rival"."""
        hits, predicted = self._count(rival)
        rival, changes = rival[order], []
        for j in range(len(self.true)):
            # One row more for k is one fewer for its rival; no other class is touched.
            at = np.arange(len(order)) if j == k else np.flatnonzero(rival == j)
            sign = 1 if j == k else -1
            gained = sign * self.Y[order[at], j].cumsum()
            counted = sign * np.arange(1.0, len(at) + 1)
            summands = self.metric.terms(
                np.append(hits[j], hits[j] + gained),
                self.true[j],
                np.append(predicted[j], predicted[j] + counted),
                j,
            )
            changes.append((at + 1, summands))
        sums = [np.zeros(len(order) + 1) for _ in changes[0][1]]
        for at, summands in changes:
            for total, summand in zip(sums, summands, strict=True):
                total[0] += summand[0]
                total[at] += np.diff(summand)
        return self.metric.value(self.true, *(total.cumsum()[sizes] for total in sums))


class CallObjective:
    """A metric that is a function of (y_true, y_pred)."""

    def __init__(self, metric: Callable[[Codes, Codes], float], y: Codes) -> None:
        self.metric, self.y = metric, y

    def value(self, codes: Codes) -> float:
        value = float(self.metric(self.y, codes))
        return -np.inf if np.isnan(value) else value

    def sweep(self, k: int, rival: Codes, order: Codes, sizes: Codes) -> Floats:
        """Judge as above, but `_MAX_CALLS` sizes at most; the others are -inf."""
        values = np.full(len(sizes), -np.inf)
        for i in _spread(len(sizes), _MAX_CALLS):
            codes = rival.copy()
            codes[order[: sizes[i]]] = k
            values[i] = self.value(codes)
        return values


def _spread(n: int, at_most: int) -> Codes:
    """Take evenly spaced members of range(n)."""
    return np.asarray(np.linspace(0, n - 1, min(n, at_most)).round(), dtype=np.intp)


Objective: TypeAlias = CountObjective | CallObjective


def best_cut(
    score: Floats, k: int, rival: Codes, objective: Objective, near: float
) -> tuple[float, float]:
    """Find the best cut in [0, 1] to decide "k where score >= cut, else rival".

    Cuts are midpoints between distinct scores, so that >= or > makes no difference. Of
    equally good ones it is the nearest to `near`. Its value is given too.
    """
    order = np.argsort(-score)
    above, below = np.r_[1.0, score[order]], np.r_[score[order], 0.0]
    middle = (above + below) / 2
    cuts = np.where(middle > below, middle, above)  # neighbouring floats have no middle
    possible = above > below
    possible[-1] = True  # everything is k, even where the score is 0
    sizes = np.flatnonzero(possible)
    values = objective.sweep(k, rival, order, sizes)
    best = cuts[sizes[values >= values.max() - _TIE]]
    return float(best[np.abs(best - near).argmin()]), float(values.max())


def best_thresholds(P: Floats, objective: Objective, n_restarts: int) -> Floats:
    """Take the best of several ascents, the first one starting at the argmax."""
    P = np.asfortranarray(P)  # columns are what is read
    value, t = _ascend(P, objective, np.ones(P.shape[1]))
    for i in _spread(len(P), n_restarts):
        # thresholds near a row's probabilities, not on them, leave all classes open
        start = (0.9 * P[i] + 0.1 * P.mean(axis=0)).clip(_CERTAIN)
        other_value, other = _ascend(P, objective, start)
        if other_value > value + _TIE:
            value, t = other_value, other
    return t


def _ascend(P: Floats, objective: Objective, t: Floats) -> tuple[float, Floats]:
    """Improve one class's threshold at a time, until no class can: (value, t)."""
    value, k, n_best = objective.value(decide(P, t)), 0, 0
    while n_best < len(t):
        rival, strongest = _strongest(P, 1 / t, but=k)
        # p_k / t_k >= strongest, with both sides moved to [0, 1] by x / (1 + x)
        share, current = P[:, k] / (P[:, k] + strongest), t[k] / (1 + t[k])
        cut, promised = best_cut(share, k, rival, objective, current)
        n_best += 1
        if promised > value + _TIE:
            cut = min(max(cut, _CERTAIN), 1 - _CERTAIN)
            trial = t.copy()
            trial[k] = cut / (1 - cut)
            trial_value = objective.value(decide(P, trial))
            if trial_value > value + _TIE:
                value, t, n_best = trial_value, trial, 1
        k = (k + 1) % len(t)
    t = t / t.sum()
    return objective.value(decide(P, t)), t
