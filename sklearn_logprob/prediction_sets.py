"""Prediction sets: all classes that a stated coverage does not rule out."""

from __future__ import annotations

import warnings
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_logprob.rejection import check_share

__all__ = ["LeastAmbiguousSets"]

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]


class LeastAmbiguousSets(BaseEstimator):
    """Sets of classes that hold the true one with a stated probability (LAC).

    A class is in the set where its probability is at least ``1 - quantile_``: as high as
    that of the true class is in about `coverage` of the rows of `fit`. No other sets
    with this coverage are smaller on average, if the probabilities are right; the
    coverage does not depend on that.

    Parameters
    ----------
    coverage : float, default=0.9
        Probability that the set holds the true class: at least, over rows of `fit` and
        new rows together. It is an average over all rows, not that of each class.

    Attributes
    ----------
    quantile_ : float
        What ``1 - p`` of a class may be at most: the ``ceil((n + 1) * coverage)``-th
        smallest one of the true classes of `fit`. 1, so that every set holds all classes,
        where there are fewer rows than that.

    Warns
    -----
    UserWarning
        Where the rows are too few for the coverage, with the number that it takes.

    Notes
    -----
    The coverage is exact (split conformal prediction) where the probabilities of `fit`
    and of new rows come from one and the same map that saw neither, and the rows can be
    swapped with each other. It is then at most ``coverage + 1 / (n + 1)``, if no
    probabilities are equal. Out-of-fold probabilities come from several calibrators, and
    those of new rows from the final one, fitted on more rows: as in the jackknife, the
    coverage is then approximate, and close where the calibrators differ little. For the
    exact one, fit on rows that no calibrator has seen.

    A set may be empty, where no class is probable enough: such a row is unlike the rest.
    Rows of NaN get all classes.

    References
    ----------
    M. Sadinle, J. Lei and L. Wasserman (2019), "Least ambiguous set-valued classifiers
    with bounded error levels", JASA 114. R. F. Barber et al. (2021), "Predictive
    inference with the jackknife+", Annals of Statistics 49.

    Examples
    --------
    >>> from sklearn_logprob.prediction_sets import LeastAmbiguousSets
    >>> P = [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]
    >>> sets = LeastAmbiguousSets(coverage=0.8).fit(P, [0, 0, 0, 1])
    >>> sets.predict_set([[0.95, 0.05], [0.45, 0.55]])
    array([[ True, False],
           [ True,  True]])
    """

    def __init__(self, coverage: float = 0.9) -> None:
        self.coverage = coverage

    def fit(self, P: ArrayLike, y: ArrayLike) -> LeastAmbiguousSets:
        """Learn how improbable the true class may be.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Calibrated probabilities, of rows that the calibrator has not seen.
        y : array-like of shape (n,)
            Codes 0..K-1.

        Returns
        -------
        LeastAmbiguousSets
            Itself, with `quantile_`.
        """
        check_share(self, "coverage")
        probabilities: Floats = np.asarray(P, dtype=float)
        codes = np.asarray(y, dtype=np.intp)
        score = 1 - np.take_along_axis(probabilities, codes[:, None], axis=1)[:, 0]
        n = len(score)
        # less what rounding may add: 0.9 * 10 rows is the 9th, not the 10th
        rank = int(np.ceil((n + 1) * self.coverage - 1e-9))
        self.quantile_ = 1.0
        if rank <= n:
            self.quantile_ = float(np.partition(score, rank - 1)[rank - 1])
        else:
            needed = int(np.ceil(self.coverage / (1 - self.coverage) - 1e-9))
            warnings.warn(
                f"A coverage of {self.coverage:g} takes at least {needed} labelled rows, "
                f"and there are {n}: every set holds all classes.",
                stacklevel=2,
            )
        return self

    def predict_set(self, P: ArrayLike) -> Mask:
        """Give the sets.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Calibrated probabilities.

        Returns
        -------
        sets : ndarray of bool of shape (n, K)
            Whether each class is in the set.
        """
        check_is_fitted(self, "quantile_")
        ruled_out = 1 - np.asarray(P, dtype=float) > self.quantile_
        return np.asarray(~ruled_out)
