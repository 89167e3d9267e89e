"""A calibrator for labels that are so rare that some folds lack them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from sklearn_logprob._affine import AffineCalibration
from sklearn_logprob._types import Floats

__all__ = ["RareLabelCalibration"]

Codes = NDArray[np.intp]


class RareLabelCalibration(ClassifierMixin, BaseEstimator):
    """A calibrator of a label that some folds, or all rows, may lack.

    From rows that the label never applies to (or always), most classifiers learn
    nothing, and a centred map would call it as likely as not. Such rows do tell how
    frequent it is: the default calibrator is centred on that, smoothed.

    Parameters
    ----------
    calibrator : classifier
        Unfitted; in use where there are rows of both kinds.

    Attributes
    ----------
    calibrator_ : classifier
        Fitted.
    classes_ : ndarray of int
        Columns of `predict_proba`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_logprob._rare_labels import RareLabelCalibration
    >>> S = np.log(np.full((92, 2), 0.5))
    >>> never = RareLabelCalibration(LogisticRegression()).fit(S, np.zeros(92, int))
    >>> never.predict_proba(S[:1]).round(2)
    array([[0.96, 0.04]])
    """

    def __init__(self, calibrator: Any) -> None:
        self.calibrator = calibrator

    def fit(self, S: Floats, y: Codes | None = None) -> RareLabelCalibration:
        """Learn, from both kinds of rows or from one.

        Parameters
        ----------
        S : ndarray of shape (n, 2)
            Log scores of "no" and "yes".
        y : ndarray of int of shape (n,) or None
            Whether the label applies.

        Returns
        -------
        self : RareLabelCalibration
            Itself.
        """
        one_kind = y is not None and np.ptp(y) == 0
        unfitted = (
            AffineCalibration(class_prior="labels") if one_kind else self.calibrator
        )
        self.calibrator_ = clone(unfitted).fit(S, y)
        self.classes_ = self.calibrator_.classes_
        return self

    def predict_proba(self, S: Floats) -> Floats:
        """Give probabilities.

        Parameters
        ----------
        S : ndarray of shape (n, 2)
            Log scores of "no" and "yes".

        Returns
        -------
        P : ndarray of shape (n, 2)
            Each row sums to 1.
        """
        P: Floats = self.calibrator_.predict_proba(S)
        return P
