"""Calibrators: classifiers whose features are label log scores.

Row i of S holds the log-probability (natural log) of each label of text i, column k
belongs to class k, and y holds codes 0 to K-1. Rows need not be normalised; these
calibrators begin with the log-softmax of each row, so a constant per row, such as
probability lost to other words, changes nothing. Any other scikit-learn classifier can
take their place: it is given S as it is.
"""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, check_cv

from sklearn_logprob._affine import AffineCalibration
from sklearn_logprob._beta import BetaCalibration
from sklearn_logprob._calibrators import (
    TINY,
    BatchCalibration,
    Calibrator,
    IsotonicCalibration,
    NoCalibration,
    SigmoidCalibration,
)
from sklearn_logprob._evidence import Evidence, as_scores
from sklearn_logprob._types import Floats
from sklearn_logprob._venn_abers import VennAbersCalibration

__all__ = [
    "CALIBRATORS",
    "AffineCalibration",
    "BatchCalibration",
    "BetaCalibration",
    "IsotonicCalibration",
    "NoCalibration",
    "SigmoidCalibration",
    "VennAbersCalibration",
    "calibrated_proba",
    "cross_val_proba",
    "make_calibrator",
]

ABSENT = 1e-6  # probability of a class that a foreign classifier never saw

# Near maximum likelihood: a hint of shrinkage, since a few texts leave no optimum.
NEAR_ML: dict[str, Any] = {
    "scale_penalty": np.inf,
    "matrix_penalty": 0.1,
    "bias_penalty": 0.1,
}
PRESETS: dict[str | None, Calibrator] = {
    None: NoCalibration(),
    "auto": AffineCalibration(),
    "temperature": AffineCalibration(
        "temperature", bias=False, center=False, scale_penalty=0.0
    ),
    "sigmoid": SigmoidCalibration(),
    "vector": AffineCalibration("vector", **NEAR_ML),
    "matrix": AffineCalibration("matrix", **NEAR_ML),
    "isotonic": IsotonicCalibration(),
    "beta": BetaCalibration(),
    "venn-abers": VennAbersCalibration(),
}
CALIBRATORS = tuple(name for name in PRESETS if name is not None)


def make_calibrator(calibrator: Any) -> Any:
    """Turn the short form of a calibrator into an unfitted one.

    Parameters
    ----------
    calibrator : str, None or classifier
        One of `CALIBRATORS`, None for no calibration, or a scikit-learn classifier.

    Returns
    -------
    estimator : classifier
        A new calibrator, or a clone of the given one.

    Raises
    ------
    ValueError or TypeError
        If it is none of these.
    ImportError
        If it needs a package that is not installed.

    Examples
    --------
    >>> from sklearn_logprob.calibration import make_calibrator
    >>> make_calibrator("auto")
    AffineCalibration()
    """
    if calibrator is None or isinstance(calibrator, str):
        if calibrator in PRESETS:
            return _checked(clone(PRESETS[calibrator]))
        error: type[Exception] = ValueError
    else:
        error = TypeError
        methods = hasattr(calibrator, "fit") and hasattr(calibrator, "predict_proba")
        if methods and not isinstance(calibrator, type):
            return _checked(clone(calibrator))
    raise error(
        "The 'calibrator' parameter of LogprobClassifier must be None, "
        f"{', '.join(map(repr, CALIBRATORS))} or a scikit-learn classifier with "
        f"predict_proba. Got {calibrator!r} instead."
    )


def _checked(calibrator: Any) -> Any:
    """Find out before any model is asked whether it can be fitted."""
    if isinstance(calibrator, Calibrator):
        calibrator._check()
    return calibrator


def calibrated_proba(calibrator: Any, S: ArrayLike | Evidence) -> Floats:
    """Give a fitted calibrator's probabilities, a column for each column of S.

    Parameters
    ----------
    calibrator : classifier
        Fitted on label log scores and class codes.
    S : array-like of shape (n_samples, n_classes)
        Label log scores (natural log).

    Returns
    -------
    P : ndarray of shape (n_samples, n_classes)
        Positive, so that logarithms are finite; each row sums to 1. A class that the
        calibrator never saw gets about 1e-6. Rows of S with NaN stay NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_logprob.calibration import calibrated_proba
    >>> S = np.log([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]])
    >>> calibrated_proba(LogisticRegression().fit(S, [0, 1]), S).shape
    (2, 3)
    """
    scores: Any = as_scores(S)
    known = ~np.isnan(np.asarray(scores)).any(axis=1)
    calibrated = np.full(scores.shape, np.nan)
    if known.any():
        P = np.full((known.sum(), scores.shape[1]), ABSENT)
        P[:, calibrator.classes_] = np.maximum(
            calibrator.predict_proba(scores[known]), TINY
        )
        calibrated[known] = P / P.sum(axis=1, keepdims=True)
    return calibrated


def cross_val_proba(
    calibrator: Any,
    S: ArrayLike | Evidence,
    y: ArrayLike,
    cv: Any = 5,
    random_state: int | np.random.RandomState | None = None,
) -> Floats:
    """Give each row probabilities from calibrators that did not see it.

    Parameters
    ----------
    calibrator : classifier
        Unfitted; a clone is fitted in each fold.
    S : array-like of shape (n_samples, n_classes)
        Label log scores (natural log).
    y : array-like of shape (n_samples,)
        Class codes.
    cv : int or cross-validation splitter, default=5
        A number means shuffled stratified folds, as many as the most frequent class has
        members or fewer. Where rows are held out repeatedly, their mean is given.
    random_state : int, RandomState instance or None, default=None
        Shuffles the folds.

    Returns
    -------
    P : ndarray of shape (n_samples, n_classes)
        Positive, and each row sums to 1. Where no split is possible (under 4 rows, or
        no class twice), in-sample probabilities.

    Raises
    ------
    ValueError
        If a row is never held out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.calibration import cross_val_proba, make_calibrator
    >>> S = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> cross_val_proba(make_calibrator("auto"), S, [0, 1, 0, 1], cv=2).shape
    (4, 2)
    """
    scores: Any = as_scores(S)
    y = np.asarray(y)
    if isinstance(cv, Integral):
        largest = np.unique(y, return_counts=True)[1].max()
        if len(y) < 4 or largest < 2:
            return calibrated_proba(clone(calibrator).fit(scores, y), scores)
        cv = StratifiedKFold(
            min(int(cv), largest), shuffle=True, random_state=random_state
        )
    total, times = np.zeros(scores.shape), np.zeros((len(scores), 1))
    with warnings.catch_warnings():
        # Folds short of a rare class are expected; the final fit warns of the rest.
        warnings.simplefilter("ignore", UserWarning)
        for train, test in check_cv(cv, y, classifier=True).split(scores, y):
            fitted = clone(calibrator).fit(scores[train], y[train])
            total[test] += calibrated_proba(fitted, scores[test])
            times[test] += 1
    if not times.all():
        raise ValueError(
            "The 'cv' parameter of LogprobClassifier must hold out every row at least "
            f"once. Got {cv!r} instead."
        )
    return total / times
