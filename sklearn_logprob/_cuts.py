"""Decisions by thresholds, and the search for the thresholds of the best metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CLOSED_FORMS",
    "METRICS",
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
    if threshold is not None:
        t: Floats = np.asarray(threshold, dtype=float)
        if t.ndim == 0:
            _, positive = scores.T
            return np.asarray(positive >= t, dtype=np.intp)
        scores = scores * (t.min() / t)  # times exactly 1 where thresholds are equal
    return np.asarray(scores.argmax(axis=1), dtype=np.intp)


# Metrics as functions of counts: of hits[k], true[k] and predicted[k] rows of class k.
# Labels give whole counts, and probabilities expected ones. Leading axes of `hits` and
# `predicted` are alternatives: all cuts are judged in one go, and in milliseconds.


def _ratio(a: Floats, b: Any) -> Floats:
    """Divide, with scikit-learn's default for an undefined metric: 0."""
    ratio: Floats = np.zeros(np.broadcast(a, b).shape)
    np.divide(a, b, out=ratio, where=b > 0)
    return ratio


def _accuracy(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    return _ratio(hits.sum(-1), true.sum())


def _f1_per_class(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    return _ratio(2 * hits, true + predicted)


def _f1_macro(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    n_seen = np.count_nonzero(true + predicted, axis=-1)
    return _ratio(_f1_per_class(hits, true, predicted).sum(-1), n_seen)


def _matthews_corrcoef(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    n = true.sum()
    spread = (n**2 - (predicted**2).sum(-1)) * (n**2 - true @ true)
    covariance = n * hits.sum(-1) - predicted @ true
    return _ratio(covariance, np.sqrt(spread.clip(0)))


def _cohen_kappa(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    chance = predicted @ true / true.sum() ** 2
    return _ratio(_accuracy(hits, true, predicted) - chance, 1 - chance)


_CountMetric: TypeAlias = Callable[[Floats, Floats, Floats], Floats]

METRICS: dict[str, _CountMetric] = {
    "accuracy": _accuracy,
    "balanced_accuracy": lambda h, t, p: _ratio(h, t).sum(-1) / np.count_nonzero(t),
    "f1": lambda h, t, p: _f1_per_class(h, t, p)[..., 1],
    "f1_macro": _f1_macro,
    "f1_micro": _accuracy,
    "f1_weighted": lambda h, t, p: _f1_per_class(h, t, p) @ t / t.sum(),
    "jaccard": lambda h, t, p: _ratio(h, t + p - h)[..., 1],
    "matthews_corrcoef": _matthews_corrcoef,
    "cohen_kappa": _cohen_kappa,
}

CLOSED_FORMS: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": np.ones_like,
    "f1_micro": np.ones_like,
    "balanced_accuracy": lambda prior: prior.clip(_CERTAIN),
}


class CountObjective:
    """A metric of the counts, where row i belongs to class k with weight Y[i, k]."""

    def __init__(self, metric: _CountMetric, Y: Floats) -> None:
        self.metric, self.Y, self.true = metric, Y, Y.sum(axis=0)

    def value(self, codes: Codes) -> float:
        chosen = np.eye(len(self.true))[codes]
        hits = (self.Y * chosen).sum(axis=0)
        return float(self.metric(hits, self.true, chosen.sum(axis=0)))

    def sweep(self, k: int, rival: Codes, order: Codes, sizes: Codes) -> Floats:
        """Judge the decisions "k for the first `size` rows in `order`, else rival"."""
        unit, Y = np.eye(len(self.true)), self.Y[order]
        before = unit[rival[order]]
        change = unit[k] - before
        hits = (Y * before).sum(axis=0) + _running_sum(Y * change)
        predicted = before.sum(axis=0) + _running_sum(change)
        return self.metric(hits[sizes], self.true, predicted[sizes])


def _running_sum(steps: Floats) -> Floats:
    """Sum the first 0, 1, ..., n rows."""
    return np.vstack([np.zeros_like(steps[:1]), steps.cumsum(axis=0)])


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
) -> float:
    """Find the best cut in [0, 1] to decide "k where score >= cut, else rival".

    Cuts are midpoints between distinct scores, so that >= or > makes no difference. Of
    equally good ones it is the nearest to `near`.
    """
    order = np.argsort(-score, kind="stable")
    above, below = np.r_[1.0, score[order]], np.r_[score[order], 0.0]
    middle = (above + below) / 2
    cuts = np.where(middle > below, middle, above)  # neighbouring floats have no middle
    possible = above > below
    possible[-1] = True  # everything is k, even where the score is 0
    sizes = np.flatnonzero(possible)
    values = objective.sweep(k, rival, order, sizes)
    best = cuts[sizes[values >= values.max() - _TIE]]
    return float(best[np.abs(best - near).argmin()])


def best_thresholds(P: Floats, objective: Objective, n_restarts: int) -> Floats:
    """Take the best of several ascents, the first one starting at the argmax."""
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
    value, improved = objective.value(decide(P, t)), True
    while improved:
        improved = False
        for k in range(len(t)):
            others = P / t
            others[:, k] = -1
            rival, strongest = others.argmax(axis=1), others.max(axis=1)
            # p_k / t_k >= strongest, with both sides moved to [0, 1] by x / (1 + x)
            share, current = P[:, k] / (P[:, k] + strongest), t[k] / (1 + t[k])
            cut = best_cut(share, k, rival, objective, current)
            cut = min(max(cut, _CERTAIN), 1 - _CERTAIN)
            trial = t.copy()
            trial[k] = cut / (1 - cut)
            trial_value = objective.value(decide(P, trial))
            if trial_value > value + _TIE:
                value, t, improved = trial_value, trial, True
    t = t / t.sum()
    return objective.value(decide(P, t)), t
