"""Decision thresholds: which class to predict, given calibrated probabilities.

A threshold is one number for two classes (predict column 1 iff its probability reaches
it) and one positive number per class for more (predict ``argmax_k p_k / t_k``).

A *selector* is a scikit-learn estimator that learns one. ``fit(P, y)`` takes calibrated
probabilities (n, K) and integer codes 0..K-1, and sets ``threshold_``: a float for two
classes, else an array (K,). Its attribute ``needs_labels`` is False where there is
nothing to learn; a selector without it is taken to need labels.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

__all__ = ["METRICS", "BestMetric", "FixedThreshold", "decide", "make_selector"]

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.intp]

_TIE = 1e-10  # metrics closer than this differ by rounding only
_CERTAIN = 1e-9  # thresholds of several classes stay within odds of a billion to one
_MAX_CALLS = 100  # of a callable metric, per class and pass
_RESTARTS = 12  # at most, and fewer for many rows: they cost time and gain little


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
    >>> from sklearn_logprob.thresholds import decide
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


class FixedThreshold(BaseEstimator):
    """A threshold that is given, not learnt.

    Parameters
    ----------
    value : float or array-like of shape (K,)
        A number in [0, 1] for two classes, or one positive number per class. For two
        classes a pair (t0, t1) means the number t1 / (t0 + t1).

    Attributes
    ----------
    threshold_ : float or ndarray of shape (K,)
        The value.

    Examples
    --------
    >>> from sklearn_logprob.thresholds import FixedThreshold
    >>> FixedThreshold((3, 1)).fit([[0.7, 0.3]]).threshold_
    0.25
    """

    needs_labels = False

    def __init__(self, value: float | ArrayLike) -> None:
        self.value = value

    def _check(self, n_classes: int) -> float | Floats:
        threshold = _as_threshold(self.value, n_classes)
        if threshold is None:
            raise ValueError(
                "The 'value' parameter of FixedThreshold must be "
                f"{_numbers_wanted(n_classes)}. Got {self.value!r} instead."
            )
        return threshold

    def fit(self, P: ArrayLike, y: object = None) -> FixedThreshold:
        """Take the value over.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Probabilities; they tell the number of classes.
        y : object, optional
            Not used.

        Returns
        -------
        FixedThreshold
            Itself, with `threshold_`.
        """
        self.threshold_ = self._check(np.shape(P)[1])
        return self


class BestMetric(BaseEstimator):
    """The threshold with the best value of a metric.

    "plug-in" maximises the metric of the counts that are expected under the calibrated
    probabilities, without a look at the labels; "search" maximises it on the labels,
    which varies more from sample to sample. Two classes are solved exactly, by trying
    every cut; more classes by improving one class's threshold at a time, exactly, from
    the most probable class, and never below it. A search on few labels also starts
    from single rows' probabilities; it comes close to the best thresholds of this form,
    and is not sure to reach them.

    Parameters
    ----------
    metric : str or callable, default="f1"
        A name in `METRICS`, or ``metric(y_true, y_pred) -> float`` on codes, greater is
        better. "f1" and "jaccard" are about column 1 of two classes.
    method : {"auto", "plug-in", "search"}, default="auto"
        "auto" is "plug-in" for a name and "search" for a callable. A callable is tried
        at 100 cuts per class and pass at most, spread evenly over the ranks.

    Attributes
    ----------
    threshold_ : float or ndarray of shape (K,)
        For two classes the cut on column 1, midway between two probabilities; among
        equally good cuts the one closest to 0.5. For more classes numbers that sum to
        1. Accuracy and balanced accuracy have closed plug-in forms: equal numbers, and
        the mean probabilities.
    value_ : float
        The metric at its maximum, expected or on the labels. It flatters, because the
        threshold was chosen to maximise it: never report it as performance.

    References
    ----------
    Z. C. Lipton, C. Elkan and B. Naryanaswamy (2014), "Optimal thresholding of
    classifiers to maximize F1 measure", ECML PKDD.
    H. Narasimhan, H. Ramaswamy, A. Saha and S. Agarwal (2015), "Consistent multiclass
    algorithms for complex performance measures", ICML.

    Examples
    --------
    >>> from sklearn_logprob.thresholds import BestMetric
    >>> P = [[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]]
    >>> round(BestMetric("f1").fit(P, [0, 0, 1, 1]).threshold_, 3)
    0.35
    """

    needs_labels = True

    def __init__(
        self,
        metric: str | Callable[[Codes, Codes], float] = "f1",
        *,
        method: str = "auto",
    ) -> None:
        self.metric = metric
        self.method = method

    def _check(self, n_classes: int) -> None:
        wanted, methods = None, ["auto", "plug-in", "search"]
        if callable(self.metric):
            methods.remove("plug-in")
        elif self.metric not in list(METRICS):
            wanted = f"one of {_names()} or a callable metric(y_true, y_pred)"
        elif self.metric in ("f1", "jaccard") and n_classes != 2:
            wanted = f"'f1_macro' or another metric for {n_classes} classes"
        if wanted:
            raise ValueError(
                f"The 'metric' parameter of BestMetric must be {wanted}. "
                f"Got {self.metric!r} instead."
            )
        if self.method not in methods:
            raise ValueError(
                "The 'method' parameter of BestMetric must be "
                f"{' or '.join(map(repr, methods))} where the metric is "
                f"{self.metric!r}. Got {self.method!r} instead."
            )

    def fit(self, P: ArrayLike, y: ArrayLike) -> BestMetric:
        """Learn the threshold.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Calibrated probabilities, of rows that the calibrator has not seen.
        y : array-like of shape (n,)
            Codes 0..K-1. "plug-in" does not look at them.

        Returns
        -------
        BestMetric
            Itself, with `threshold_` and `value_`.
        """
        probabilities: Floats = np.asarray(P, dtype=float)
        codes = np.asarray(y).astype(np.intp)
        n, n_classes = probabilities.shape
        self._check(n_classes)
        plug_in = self.method != "search" and not callable(self.metric)
        objective: _Objective
        if callable(self.metric):
            objective = _CallObjective(self.metric, codes)
        else:
            weights = probabilities if plug_in else np.eye(n_classes)[codes]
            objective = _CountObjective(METRICS[self.metric], weights)
        if plug_in and self.metric in list(_CLOSED_FORMS):
            t = _CLOSED_FORMS[str(self.metric)](probabilities.mean(axis=0))
            self.threshold_ = _as_threshold(t / t.sum(), n_classes)
        elif n_classes == 2:
            negative = np.zeros(n, dtype=np.intp)
            cut = _best_cut(probabilities[:, 1], 1, negative, objective, near=0.5)
            # a callable is not tried at all cuts, so 0.5 may be better than these
            self.threshold_ = max(
                cut, 0.5, key=lambda t: objective.value(decide(probabilities, t))
            )
        else:
            # expected counts vary smoothly: there, restarts find nothing better
            once = plug_in or callable(self.metric)
            restarts = 0 if once else min(_RESTARTS, 5000 // n)
            self.threshold_ = _best_thresholds(probabilities, objective, restarts)
        self.value_ = objective.value(decide(probabilities, self.threshold_))
        return self


def make_selector(threshold: Any, n_classes: int) -> Any:
    """Turn the `threshold` parameter of a classifier into a selector.

    Parameters
    ----------
    threshold : None, float, array-like of shape (K,), str or selector
        None for the most probable class; a number in [0, 1] for two classes; one
        positive number per class; the name of a metric; or a selector.
    n_classes : int
        The number of classes, K.

    Returns
    -------
    estimator or None
        Unfitted, a clone where a selector was given. None where there is nothing to
        select: no threshold, or a single class.

    Raises
    ------
    ValueError
        Where the threshold is none of these or does not fit the number of classes.

    Examples
    --------
    >>> from sklearn_logprob.thresholds import make_selector
    >>> make_selector(0.3, 2), make_selector("f1_macro", 3)
    (FixedThreshold(value=0.3), BestMetric(metric='f1_macro'))
    """
    if threshold is None or n_classes == 1:
        return None
    if isinstance(threshold, str) and threshold in METRICS:
        selector = BestMetric(threshold)
    elif hasattr(threshold, "fit") and hasattr(threshold, "get_params"):
        selector = clone(threshold)
    elif _as_threshold(threshold, n_classes) is not None:
        return FixedThreshold(threshold)
    else:
        raise ValueError(
            "The 'threshold' parameter of LogprobClassifier must be None, "
            f"{_numbers_wanted(n_classes)}, a metric name ({_names()}) or a selector "
            f"such as BestMetric('f1_macro'). Got {threshold!r} instead."
        )
    if isinstance(selector, (BestMetric, FixedThreshold)):
        selector._check(n_classes)  # before any model is asked
    return selector


def _as_threshold(value: Any, n_classes: int) -> float | Floats | None:
    """Give what `decide` takes, or None where the value does not fit."""
    if isinstance(value, Real) and not isinstance(value, bool):
        fits = n_classes == 2 and 0 <= float(value) <= 1
        return float(value) if fits else None
    t: NDArray[Any] = np.asarray(value)
    if t.dtype.kind not in "iuf" or t.shape != (n_classes,):
        return None
    if not (np.isfinite(t) & (t > 0)).all():
        return None
    return float(t[1] / t.sum()) if n_classes == 2 else t.astype(float)


def _names() -> str:
    return ", ".join(map(repr, METRICS))


def _numbers_wanted(n_classes: int) -> str:
    if n_classes == 2:
        return "a number in [0, 1] (two classes), one positive number per class"
    return f"one positive number per class, {n_classes} here"


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

_CLOSED_FORMS: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": np.ones_like,
    "f1_micro": np.ones_like,
    "balanced_accuracy": lambda prior: prior.clip(_CERTAIN),
}


class _CountObjective:
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


class _CallObjective:
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


_Objective: TypeAlias = _CountObjective | _CallObjective


def _best_cut(
    score: Floats, k: int, rival: Codes, objective: _Objective, near: float
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


def _best_thresholds(P: Floats, objective: _Objective, n_restarts: int) -> Floats:
    """Take the best of several ascents, the first one starting at the argmax."""
    value, t = _ascend(P, objective, np.ones(P.shape[1]))
    for i in _spread(len(P), n_restarts):
        # thresholds near a row's probabilities, not on them, leave all classes open
        start = (0.9 * P[i] + 0.1 * P.mean(axis=0)).clip(_CERTAIN)
        other_value, other = _ascend(P, objective, start)
        if other_value > value + _TIE:
            value, t = other_value, other
    return t


def _ascend(P: Floats, objective: _Objective, t: Floats) -> tuple[float, Floats]:
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
            cut = _best_cut(share, k, rival, objective, current)
            cut = min(max(cut, _CERTAIN), 1 - _CERTAIN)
            trial = t.copy()
            trial[k] = cut / (1 - cut)
            trial_value = objective.value(decide(P, trial))
            if trial_value > value + _TIE:
                value, t, improved = trial_value, trial, True
    t = t / t.sum()
    return objective.value(decide(P, t)), t
