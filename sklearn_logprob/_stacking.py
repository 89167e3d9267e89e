"""Learnt weights for several templates, shrunk towards equal ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from threadpoolctl import threadpool_limits

from sklearn_logprob._evidence import Evidence
from sklearn_logprob._types import Floats
from sklearn_logprob.calibration import calibrated_proba, make_calibrator

__all__ = ["StackedCalibration"]

SCALE_PENALTY, BIAS_PENALTY = 3.0, 2.0  # as those of AffineCalibration


class StackedCalibration(ClassifierMixin, BaseEstimator):
    """A calibrator of weighted label scores, which learns the weights too.

    The scores of template t get the weight ``1 / T + v_t``. The fit minimises the mean
    negative log-likelihood of a temperature and a bias on the weighted scores, plus
    ``penalty * T * sum(v**2) / n_samples``; the weights sum to 1 by themselves, since
    deviations from the mean sum to 0. The calibrator is then fitted on the weighted
    scores. Without deviations, weights do nothing.

    Parameters
    ----------
    calibrator : str, classifier or None, default="auto"
        Map from label log scores to probabilities.
    penalty : float, default=3.0
        Strength of the prior that all templates are equally good.

    Attributes
    ----------
    weights_ : ndarray of shape (n_templates,)
        They sum to 1; some may be negative.
    calibrator_ : classifier
        The fitted calibrator.
    classes_ : ndarray of int
        The class codes.

    References
    ----------
    D. Wolpert, "Stacked Generalization", Neural Networks 1992; L. Breiman, "Stacked
    Regressions", Machine Learning 1996 (few shared weights in place of a matrix).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sklearn_logprob._evidence import Evidence
    >>> from sklearn_logprob._stacking import StackedCalibration
    >>> y = np.arange(200) % 2
    >>> right, wrong = np.eye(2)[y], np.eye(2)[np.arange(200) // 2 % 2]
    >>> away = np.hstack([right - wrong, wrong - right]) / 2
    >>> both = Evidence((right + wrong) / 2, sparse.csr_matrix(away))
    >>> StackedCalibration().fit(both, y).weights_.round(1)
    array([1., 0.])
    """

    def __init__(self, calibrator: Any = "auto", *, penalty: float = 3.0) -> None:
        self.calibrator = calibrator
        self.penalty = penalty

    def fit(self, both: Evidence, y: Any) -> StackedCalibration:
        """Learn the weights, and then the calibration.

        Parameters
        ----------
        both : Evidence of length n
            The mean label log scores of the templates, and their deviations from it, of
            shape (n, T * K).
        y : ndarray of int of shape (n,)
            Class codes.

        Returns
        -------
        self : StackedCalibration
            Itself.
        """
        s, away = log_softmax(both.S, axis=1), self._deviations(both)
        K, T = s.shape[1], away.shape[1]
        penalty = np.repeat([SCALE_PENALTY, self.penalty * T, BIAS_PENALTY], [1, T, K])
        v = np.zeros(T)
        if np.ptp(y) > 0:
            with threadpool_limits(1, user_api="blas"):
                found = minimize(
                    _penalised_nll,
                    np.zeros(len(penalty)),
                    args=(s - s.mean(axis=0), away - away.mean(axis=0), y, penalty),
                    jac=True,
                    method="L-BFGS-B",
                    options={"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-7},
                )
            v = found.x[1 : T + 1]
        self.weights_ = 1 / T + v - v.mean()
        self.calibrator_ = make_calibrator(self.calibrator).fit(self._weighted(both), y)
        self.classes_ = np.arange(K)
        return self

    def predict_proba(self, both: Evidence) -> Floats:
        """Give calibrated probabilities.

        Parameters
        ----------
        both : Evidence of length n
            As in `fit`.

        Returns
        -------
        P : ndarray of shape (n, n_classes)
            Each row sums to 1.
        """
        return calibrated_proba(self.calibrator_, self._weighted(both))

    def predict(self, both: Evidence) -> NDArray[np.intp]:
        """Give the most probable class codes.

        Parameters
        ----------
        both : Evidence of length n
            As in `fit`.

        Returns
        -------
        codes : ndarray of int of shape (n,)
            Class codes.
        """
        return np.asarray(self.predict_proba(both).argmax(axis=1))

    def _deviations(self, both: Evidence) -> Floats:
        n, K = both.S.shape
        return np.asarray(both.F.toarray().reshape(n, -1, K))

    def _weighted(self, both: Evidence) -> Floats:
        away = np.einsum("t,ntk->nk", self.weights_, self._deviations(both))
        return np.asarray(both.S + away)


def _penalised_nll(
    theta: Floats, s: Floats, away: Floats, y: NDArray[np.intp], penalty: Floats
) -> tuple[float, Floats]:
    """Mean negative log-likelihood plus the prior, and its gradient."""
    n, T = away.shape[:2]
    a, v, b = np.exp(theta[0]), theta[1 : T + 1], theta[T + 1 :]
    mixed = s + np.einsum("t,ntk->nk", v, away)
    log_p = log_softmax(a * mixed + b, axis=1)
    residual = np.exp(log_p)
    residual[np.arange(n), y] -= 1
    gradient = np.concatenate(
        [
            [a * (residual * mixed).sum()],
            a * np.einsum("nk,ntk->t", residual, away),
            residual.sum(axis=0),
        ]
    )
    value = penalty @ theta**2 - log_p[np.arange(n), y].sum()
    return value / n, (gradient + 2 * penalty * theta) / n
