"""A calibrator for other class frequencies than those that it learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from sklearn_logprob._types import Floats
from sklearn_logprob.calibration import calibrated_proba
from sklearn_logprob.priors import change_prior, em_prior

__all__ = ["AdaptedCalibration", "adapt"]


def adapt(
    calibrator: Any,
    train_prior: Floats,
    P: Floats | None = None,
    class_prior: ArrayLike | None = None,
) -> AdaptedCalibration:
    """Adapt a fitted calibrator to the frequencies in probabilities P, or to given ones.

    Rows of P with NaN, texts that got no answer, are left out.
    """
    if (P is None) == (class_prior is None):
        raise ValueError(
            "adapt_prior takes either texts or class_prior: adapt_prior(X), or "
            "adapt_prior(class_prior=[...])."
        )
    prior: Any = class_prior
    if P is not None:
        prior, _ = em_prior(P[~np.isnan(P).any(axis=1)], train_prior)
    change_prior([train_prior], train_prior, prior)  # refuses what is no frequency
    new = np.asarray(prior, dtype=np.float64)
    adapted = AdaptedCalibration(clone(calibrator), train_prior, new)
    adapted.calibrator_ = calibrator
    return adapted


class AdaptedCalibration(ClassifierMixin, BaseEstimator):
    """A calibrator whose probabilities are moved to other class frequencies.

    Frequencies are given, not learnt: fitted anew, as cross-validation does, it moves
    to the same ones.

    Parameters
    ----------
    calibrator : classifier
        Of label log scores and class codes.
    train_prior : array-like of shape (K,)
        The frequencies under which its probabilities are calibrated.
    class_prior : array-like of shape (K,)
        The frequencies to change to.

    Attributes
    ----------
    calibrator_ : classifier
        Fitted.
    classes_ : ndarray of shape (K,)
        Class codes.

    Examples
    --------
    >>> from sklearn_logprob import AdaptedCalibration, NoCalibration
    >>> S = [[-2.0, -2.0], [-1.0, -1.0]]
    >>> adapted = AdaptedCalibration(NoCalibration(), [0.5, 0.5], [0.8, 0.2])
    >>> adapted.fit(S, [0, 1]).predict_proba(S[:1])
    array([[0.8, 0.2]])
    """

    def __init__(self, calibrator: Any, train_prior: Any, class_prior: Any) -> None:
        self.calibrator = calibrator
        self.train_prior = train_prior
        self.class_prior = class_prior

    @property
    def classes_(self) -> NDArray[np.intp]:
        """Class codes: one for each frequency."""
        return np.arange(len(np.asarray(self.class_prior)))

    def fit(self, S: ArrayLike, y: ArrayLike | None = None) -> AdaptedCalibration:
        """Fit the calibrator.

        Parameters
        ----------
        S : array-like of shape (n, K)
            Label log scores (natural log).
        y : array-like of shape (n,), default=None
            Class codes.

        Returns
        -------
        self : AdaptedCalibration
            Itself.
        """
        self.calibrator_ = clone(self.calibrator).fit(S, y)
        return self

    def predict_proba(self, S: ArrayLike) -> Floats:
        """Give the probability of each class under the changed frequencies.

        Parameters
        ----------
        S : array-like of shape (n, K)
            Label log scores (natural log).

        Returns
        -------
        P : ndarray of shape (n, K)
            Each row sums to 1.
        """
        P = calibrated_proba(self.calibrator_, S)
        return change_prior(P, self.train_prior, self.class_prior)

    def predict(self, S: ArrayLike) -> NDArray[np.intp]:
        """Give the code of the most probable class.

        Parameters
        ----------
        S : array-like of shape (n, K)
            Label log scores (natural log).

        Returns
        -------
        codes : ndarray of shape (n,)
            Class codes.
        """
        codes: NDArray[np.intp] = self.predict_proba(S).argmax(axis=1)
        return codes
