"""The simple calibrators: none, batch calibration, and one curve for each class."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.isotonic import IsotonicRegression
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_logprob._curves import fit_curve, log_odds
from sklearn_logprob._types import Floats
from sklearn_logprob.priors import match_prior

__all__ = [
    "BatchCalibration",
    "IsotonicCalibration",
    "NoCalibration",
    "SigmoidCalibration",
    "center_of",
]

Codes = NDArray[np.integer[Any]]
Self = TypeVar("Self", bound="Calibrator")

TINY = float(np.finfo(np.float64).tiny)  # keeps logarithms finite; changes no row sum


SMOOTHING = 4  # rows of each class that class_prior="labels" adds to those in y


class Calibrator(ClassifierMixin, BaseEstimator):
    """What all calibrators share; each adds ``_fit(s, y)`` and ``_proba(s)``."""

    def fit(self: Self, S: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn the map from label log scores to probabilities.

        Parameters
        ----------
        S : array-like of shape (n_samples, n_classes)
            Label log scores (natural log), finite.
        y : array-like of shape (n_samples,), default=None
            Class codes, 0 to n_classes - 1; some classes may be absent.

        Returns
        -------
        self : object
            The fitted calibrator.

        Raises
        ------
        ValueError
            If S is not finite, or y holds anything but codes of its columns.
        """
        checked = validate_data(self, S, y, dtype=np.float64)
        scores, codes = (checked, None) if y is None else checked
        K = scores.shape[1]
        if codes is not None:
            if not np.isin(codes, np.arange(K)).all():
                raise ValueError(
                    f"y must hold integer codes from 0 to {K - 1}, one for each column "
                    f"of S. Got {np.unique(codes)[:10]} instead."
                )
            codes = codes.astype(np.intp)
        self.classes_ = np.arange(K)
        self._fit(log_softmax(scores, axis=1), codes)
        return self

    def predict_proba(self, S: ArrayLike) -> Floats:
        """Give the calibrated probability of each class.

        Parameters
        ----------
        S : array-like of shape (n_samples, n_classes)
            Label log scores (natural log), finite.

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes)
            Positive, and each row sums to 1.
        """
        check_is_fitted(self)
        S = validate_data(self, S, dtype=np.float64, reset=False)
        P: Floats = np.maximum(self._proba(log_softmax(S, axis=1)), TINY)
        return P

    def predict(self, S: ArrayLike) -> Codes:
        """Give the code of the most probable class.

        Parameters
        ----------
        S : array-like of shape (n_samples, n_classes)
            Label log scores (natural log), finite.

        Returns
        -------
        codes : ndarray of shape (n_samples,)
            Class codes.
        """
        codes: Codes = self.predict_proba(S).argmax(axis=1)
        return codes

    def _check(self) -> None:
        """Raise what can be told without data; most have nothing to tell."""

    def _fit(self, s: Floats, y: Any) -> None:
        raise NotImplementedError

    def _proba(self, s: Floats) -> Floats:
        raise NotImplementedError


class LabelFreeCalibrator(Calibrator):
    """A calibrator that can also be fitted without labels."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags


def center_of(s: Floats, y: Any, class_prior: Any) -> Floats:
    """Find what to subtract so that no class is preferred beyond its frequency."""
    if class_prior is None or (isinstance(class_prior, str) and y is None):
        return np.asarray(s.mean(axis=0))
    if isinstance(class_prior, str):
        if class_prior != "labels":
            raise ValueError(
                "The 'class_prior' parameter of a calibrator must be None, 'labels' or "
                f"a frequency for each class. Got {class_prior!r} instead."
            )
        counts = SMOOTHING + np.bincount(y, minlength=s.shape[1])
        class_prior = counts / counts.sum()
    return np.asarray(s.mean() - match_prior(s, class_prior))


class NoCalibration(LabelFreeCalibrator):
    """The model's own probabilities, normalised over the labels.

    Examples
    --------
    >>> from sklearn_logprob.calibration import NoCalibration
    >>> NoCalibration().fit([[-1.0, -1.0]]).predict_proba([[-3.0, -3.0]])
    array([[0.5, 0.5]])
    """

    def _fit(self, s: Floats, y: Any) -> None:
        pass

    def _proba(self, s: Floats) -> Floats:
        return softmax(s, axis=1)  # type: ignore[no-any-return]


class BatchCalibration(LabelFreeCalibrator):
    """Subtract the mean log score of each class; needs no labels.

    It assumes classes that are about equally frequent, unless it is told how frequent
    they are.

    Parameters
    ----------
    class_prior : array-like of shape (n_classes,) or "labels", default=None
        How frequent the classes are, in the order of the columns. Then what makes the
        mean probabilities equal to it over the rows of fit is subtracted. "labels":
        as in y, with four more of each class: few labels are near equal frequencies.

    Attributes
    ----------
    center_ : ndarray of shape (n_classes,)
        What is subtracted: the mean normalised log score of each class over the rows
        of fit, or what matches the frequencies.

    References
    ----------
    Zhou et al., "Batch Calibration: Rethinking Calibration for In-Context Learning and
    Prompt Engineering", ICLR 2024, arXiv:2309.17249. For `class_prior`, see
    `match_prior`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.calibration import BatchCalibration
    >>> S = np.log([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    >>> BatchCalibration().fit(S).predict(S)
    array([0, 0, 1])
    """

    def __init__(self, class_prior: Any = None) -> None:
        self.class_prior = class_prior

    def _fit(self, s: Floats, y: Any) -> None:
        self.center_ = center_of(s, y, self.class_prior)

    def _proba(self, s: Floats) -> Floats:
        return softmax(s - self.center_, axis=1)  # type: ignore[no-any-return]


class SigmoidCalibration(Calibrator):
    """Platt scaling: a logistic curve per class, rows then made to sum to 1.

    Its input is the log-odds of the class. Targets are smoothed as in the reference, so
    that separable or absent classes do no harm. Two classes share one curve.

    Attributes
    ----------
    slope_, intercept_ : ndarray of shape (n_classes,)
        The curves: log-odds of class k become ``slope_[k] * log_odds + intercept_[k]``.

    References
    ----------
    Platt, "Probabilistic Outputs for Support Vector Machines", 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.calibration import SigmoidCalibration
    >>> S = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> SigmoidCalibration().fit(S, [0, 0, 1, 1]).predict(S)
    array([0, 0, 1, 1])
    """

    def _fit(self, s: Floats, y: Any) -> None:
        lines = [fit_curve(z[:, None], y == k) for k, z in enumerate(log_odds(s).T)]
        self.slope_ = np.array([slope for (slope,), _ in lines])
        self.intercept_ = np.array([intercept for _, intercept in lines])

    def _proba(self, s: Floats) -> Floats:
        P = expit(log_odds(s) * self.slope_ + self.intercept_)
        return P / P.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


class IsotonicCalibration(Calibrator):
    """A monotone step curve per class, rows then made to sum to 1.

    It needs many labels: under about 1000 the other calibrators do better. The curves
    are kept within 0.001 and 0.999.

    Attributes
    ----------
    curves_ : list of IsotonicRegression
        One for each class, from its normalised probability.

    References
    ----------
    Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass
    Probability Estimates", KDD 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.calibration import IsotonicCalibration
    >>> S = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> IsotonicCalibration().fit(S, [0, 1, 0, 1]).predict_proba(S)[:, 0]
    array([0.999, 0.5  , 0.5  , 0.001])
    """

    def _fit(self, s: Floats, y: Any) -> None:
        self.curves_ = [
            IsotonicRegression(y_min=1e-3, y_max=1 - 1e-3, out_of_bounds="clip").fit(
                p, y == k
            )
            for k, p in enumerate(np.exp(s).T)
        ]

    def _proba(self, s: Floats) -> Floats:
        columns = zip(self.curves_, np.exp(s).T, strict=True)
        P = np.column_stack([curve.predict(p) for curve, p in columns])
        return P / P.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]
