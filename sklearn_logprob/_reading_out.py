"""The read-out in a calibrator's place: learnt from scores and features together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from sklearn_logprob._evidence import Evidence
from sklearn_logprob._features import TokenFeatures
from sklearn_logprob._parts import TemplateFeatures
from sklearn_logprob._stacking import StackedCalibration
from sklearn_logprob._types import Floats, Outcome
from sklearn_logprob.readout import TokenReadout, make_readout

__all__ = ["ReadoutCalibration", "read_out"]


class ReadoutCalibration(ClassifierMixin, BaseEstimator):
    """A classifier of `Evidence`, by a read-out.

    Parameters
    ----------
    readout : TokenReadout
        Unfitted.

    Attributes
    ----------
    readout_ : TokenReadout
        Fitted.
    classes_ : ndarray of int
        The class codes that were seen.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sklearn_logprob._evidence import Evidence
    >>> from sklearn_logprob._reading_out import ReadoutCalibration
    >>> from sklearn_logprob.readout import TokenReadout
    >>> y = np.arange(20) % 2
    >>> both = Evidence(np.zeros((20, 2)), sparse.csr_matrix(np.eye(2)[y]))
    >>> fitted = ReadoutCalibration(TokenReadout(weight=1.0)).fit(both, y)
    >>> (fitted.predict(both) == y).all()
    np.True_
    """

    def __init__(self, readout: TokenReadout) -> None:
        self.readout = readout

    def fit(self, both: Evidence, y: Any) -> ReadoutCalibration:
        """Learn.

        Parameters
        ----------
        both : Evidence of length n
            Scores and features.
        y : ndarray of int of shape (n,)
            Class codes.

        Returns
        -------
        self : ReadoutCalibration
            Itself.
        """
        self.readout_ = clone(self.readout).fit(both.S, both.F, y)
        self.classes_ = self.readout_.classes_
        return self

    def predict_proba(self, both: Evidence) -> Floats:
        """Give calibrated probabilities.

        Parameters
        ----------
        both : Evidence of length n
            Scores and features.

        Returns
        -------
        P : ndarray of shape (n, n_classes)
            Each row sums to 1.
        """
        P: Floats = self.readout_.predict_proba(both.S, both.F)
        return P

    def predict(self, both: Evidence) -> NDArray[np.intp]:
        """Give the most probable class codes.

        Parameters
        ----------
        both : Evidence of length n
            Scores and features.

        Returns
        -------
        codes : ndarray of int of shape (n,)
            Class codes.
        """
        return np.asarray(self.classes_[self.predict_proba(both).argmax(axis=1)])


def read_out(
    readout: TokenReadout,
    S: Floats,
    codes: NDArray[np.intp] | None,
    outcomes: Sequence[Outcome],
    *,
    answered: NDArray[Any],
    features: Any = None,
) -> tuple[Any, Any, ReadoutCalibration | StackedCalibration | None]:
    """Learn from everything that the answers show, if that is better.

    Parameters
    ----------
    readout : TokenReadout
        Unfitted.
    S : ndarray of shape (n, K)
        Label log scores (natural log) of the rows that have an answer.
    codes : ndarray of int of shape (n,) or None
        Their classes.
    outcomes : sequence of Answer or RowError
        Of all rows.
    answered : ndarray of bool
        Which rows have an answer.
    features : TokenFeatures or TemplateFeatures, default=None
        Makes features of outcomes; unfitted. Those of templates are for a stack.

    Returns
    -------
    features : transformer or None
        Fitted. None where the labels alone are as good, or nothing was asked for.
    S : ndarray or Evidence
        What the calibrator gets.
    calibrator : ReadoutCalibration, StackedCalibration or None
        Unfitted, with the weight of the read-out that was found.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._reading_out import read_out
    >>> from sklearn_logprob.readout import make_readout
    >>> S, everything = np.zeros((1, 2)), np.ones(1, dtype=bool)
    >>> read_out(make_readout("labels"), S, None, [], answered=everything)
    (None, array([[0., 0.]]), None)
    """
    if codes is not None and isinstance(features, TemplateFeatures):
        both = Evidence(S, features.transform(outcomes)[answered])
        return features, both, StackedCalibration(readout.calibrator)
    if codes is None or readout.weight == 0:
        return None, S, None
    features = (TokenFeatures() if features is None else features).fit(outcomes)
    both = Evidence(S, features.transform(outcomes)[answered])
    weight = clone(readout).fit(both.S, both.F, codes).weight_
    if not weight:
        return None, S, None
    # With the weight at hand each fold is one fit; the one number has seen all rows.
    found = make_readout(readout).set_params(weight=weight)
    return features, both, ReadoutCalibration(found)
