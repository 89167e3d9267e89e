"""A calibrator for other class frequencies than those that it learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

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
    if P is not None:
        class_prior, _ = em_prior(P[~np.isnan(P).any(axis=1)], train_prior)
    new = np.asarray(class_prior, dtype=np.float64)
    change_prior([train_prior], train_prior, new)  # refuses what is no frequency
    return AdaptedCalibration(calibrator, train_prior, new)


class AdaptedCalibration(ClassifierMixin, BaseEstimator):
    """A fitted calibrator whose probabilities are moved to other class frequencies.

    It learns nothing itself and takes the calibrator's place.

    Parameters
    ----------
    calibrator : classifier
        Fitted on label log scores and class codes.
    train_prior : array-like of shape (K,)
        The frequencies under which its probabilities are calibrated.
    class_prior : array-like of shape (K,)
        The frequencies to change to.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        Class codes.

    Examples
    --------
    >>> from sklearn_logprob.calibration import NoCalibration
    >>> from sklearn_logprob._adapted import AdaptedCalibration
    >>> fitted = NoCalibration().fit([[-1.0, -1.0]])
    >>> AdaptedCalibration(fitted, [0.5, 0.5], [0.8, 0.2]).predict_proba([[-2.0, -2.0]])
    array([[0.8, 0.2]])
    """

    def __init__(self, calibrator: Any, train_prior: Any, class_prior: Any) -> None:
        self.calibrator = calibrator
        self.train_prior = train_prior
        self.class_prior = class_prior

    def __sklearn_is_fitted__(self) -> bool:
        """Tell that there is nothing to learn."""
        return True

    @property
    def classes_(self) -> NDArray[np.intp]:
        """Class codes: one for each frequency."""
        return np.arange(len(np.asarray(self.class_prior)))

    def fit(self, S: ArrayLike, y: ArrayLike | None = None) -> AdaptedCalibration:
        """Learn nothing: the calibrator is fitted already.

        Parameters
        ----------
        S : array-like of shape (n, K)
            Not used.
        y : array-like of shape (n,), default=None
            Not used.

        Returns
        -------
        self : AdaptedCalibration
            Itself, as it was.
        """
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
        P = calibrated_proba(self.calibrator, S)
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
