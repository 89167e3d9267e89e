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

from sklearn_logprob._counts import METRICS
from sklearn_logprob._cuts import (
    CLOSED_FORMS,
    CallObjective,
    CountObjective,
    Objective,
    best_cut,
    best_thresholds,
    decide,
)
from sklearn_logprob._plug_in import moderated, recalibrated

__all__ = [
    "METRICS",
    "BestMetric",
    "FixedThreshold",
    "decide",
    "make_selector",
    "needs_labels",
]

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.intp]

_RESTARTS = 12  # at most, and fewer for many rows: they cost time and gain little


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

    "plug-in" maximises the metric of the counts that are expected under the
    probabilities; "search" maximises it on the labels, which varies more from sample to
    sample. Two classes are solved exactly, by trying every cut; more classes by
    improving one class's threshold at a time, exactly, from the most probable class, and
    never below it. A search on few labels also starts from single rows' probabilities;
    it comes close to the best thresholds of this form, and is not sure to reach them.

    Expected counts are as good as the probabilities are calibrated. Where there are
    labels, plug-in therefore fits one temperature and one shift a class to them, with a
    Gaussian prior that there is nothing to correct, and expects by these; the thresholds
    are for the probabilities as they came. And it goes only so far from equal thresholds
    as the gain stands out from noise, by the positive-part rule of James and Stein:
    threshold k is ``t_k**(1 - noise / gain)``, where t are the best ones and the noise is
    a tenth of a row for each free threshold.

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
        For two classes the cut on column 1; the best one is midway between two
        probabilities, and among equally good ones closest to 0.5. For more classes
        numbers that sum to 1. Accuracy and balanced accuracy have closed plug-in forms,
        which do without the labels: equal numbers, and the mean probabilities.
    value_ : float
        The metric at the threshold, expected or on the labels. It flatters, because the
        threshold was chosen to maximise it: never report it as performance.

    References
    ----------
    Z. C. Lipton, C. Elkan and B. Naryanaswamy (2014), "Optimal thresholding of
    classifiers to maximize F1 measure", ECML PKDD.
    H. Narasimhan, H. Ramaswamy, A. Saha and S. Agarwal (2015), "Consistent multiclass
    algorithms for complex performance measures", ICML.
    A. Alexandari, A. Kundaje and A. Shrikumar (2020), "Maximum likelihood with
    bias-corrected calibration is hard-to-beat at label shift adaptation", ICML (the
    temperature and the shifts).
    W. James and C. Stein (1961), "Estimation with quadratic loss", Berkeley Symposium
    (how far to go).

    Examples
    --------
    >>> from sklearn_logprob.thresholds import BestMetric
    >>> P = [[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]]
    >>> round(BestMetric("f1").fit(P, [0, 0, 1, 1]).threshold_, 2)
    0.42
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

    def fit(self, P: ArrayLike, y: ArrayLike | None = None) -> BestMetric:
        """Learn the threshold.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Calibrated probabilities, of rows that the calibrator has not seen.
        y : array-like of shape (n,), optional
            Codes 0..K-1. Without them "plug-in" takes P for the truth, and gives what is
            best under it.

        Returns
        -------
        BestMetric
            Itself, with `threshold_` and `value_`.

        Raises
        ------
        ValueError
            For a bad parameter, or where a search has no labels.
        """
        probabilities: Floats = np.asarray(P, dtype=float, order="F")
        n, n_classes = probabilities.shape
        self._check(n_classes)
        plug_in = self.method != "search" and not callable(self.metric)
        codes = None if y is None else np.asarray(y).astype(np.intp)
        objective: Objective
        if plug_in:
            weights = recalibrated(probabilities, codes)
            objective = CountObjective(METRICS[str(self.metric)], weights)
        elif codes is None:
            raise ValueError("A search on labels needs them: BestMetric.fit(P, y).")
        elif callable(self.metric):
            objective = CallObjective(self.metric, codes)
        else:
            objective = CountObjective(METRICS[self.metric], np.eye(n_classes)[codes])
        closed_form = plug_in and self.metric in list(CLOSED_FORMS)
        best: float | Floats
        if closed_form:
            t = CLOSED_FORMS[str(self.metric)](probabilities.mean(axis=0))
            best = t / t.sum()
        elif n_classes == 2:
            negative = np.zeros(n, dtype=np.intp)
            cut, _ = best_cut(probabilities[:, 1], 1, negative, objective, near=0.5)
            # a callable is not tried at all cuts, so 0.5 may be better than these
            best = max(cut, 0.5, key=lambda t: objective.value(decide(probabilities, t)))
        else:
            # expected counts vary smoothly: there, restarts find nothing better
            once = plug_in or callable(self.metric)
            restarts = 0 if once else min(_RESTARTS, 5000 // n)
            best = best_thresholds(probabilities, objective, restarts)
        if plug_in and not closed_form and codes is not None:
            best = moderated(best, probabilities, objective)
        self.threshold_ = _as_threshold(best, n_classes)
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
    fits = hasattr(threshold, "fit") and hasattr(threshold, "get_params")
    if isinstance(threshold, str) and threshold in METRICS:
        selector = BestMetric(threshold)
    elif fits and not isinstance(threshold, type):
        selector = clone(threshold)
    elif _as_threshold(threshold, n_classes) is not None:
        return FixedThreshold(threshold)
    else:
        raise ValueError(
            "The 'threshold' parameter of LogprobClassifier must be None, "
            f"{_numbers_wanted(n_classes)}, a metric name ({_names()}) or a selector "
            f"such as BestMetric('f1_macro'). Got {threshold!r} instead."
        )
    if hasattr(selector, "_check"):
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


def needs_labels(selector: Any) -> bool:
    """Tell whether a threshold selector learns; one that does not say so does.

    Parameters
    ----------
    selector : selector
        What `make_selector` gives.

    Returns
    -------
    needs_labels : bool
        Whether it is fitted on labels.

    Examples
    --------
    >>> from sklearn_logprob import BestMetric, FixedThreshold
    >>> from sklearn_logprob.thresholds import needs_labels
    >>> needs_labels(BestMetric("f1")), needs_labels(FixedThreshold(0.3))
    (True, False)
    """
    return bool(getattr(selector, "needs_labels", True))
