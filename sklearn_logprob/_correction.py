"""A ridge-penalised softmax on sparse features that starts from given probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from sklearn_logprob._calibrators import TINY
from sklearn_logprob._types import Floats

__all__ = ["PenalisedLoss", "best_weight", "corrected", "fit_correction", "mix"]

Codes: TypeAlias = NDArray[np.integer[Any]]
Sparse: TypeAlias = Any  # a CSR matrix; scipy ships no types
Map: TypeAlias = tuple[Floats, Floats]  # W and b

MAX_WEIGHT = 20.0
RIDGE = 1e-6  # stands in for a penalty of 0: separable data have a finite optimum
EQUAL = 1e-12  # relative spread of rows that differ by rounding only


@dataclass(frozen=True)
class PenalisedLoss:
    """Mean negative log-likelihood plus a ridge penalty, and its gradient.

    The features are centred without being filled: F U - mean U.

    Parameters
    ----------
    F : sparse matrix of shape (n_samples, n_features)
        Features.
    mean : ndarray of shape (n_features,)
        The row that changes nothing.
    offset : ndarray of shape (n_samples, n_classes)
        Logits to start from.
    Y : ndarray of shape (n_samples, n_classes)
        One-hot classes.
    ridge : float
        What the sum of squares of U is multiplied by.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._correction import PenalisedLoss
    >>> loss = PenalisedLoss(np.eye(2), np.zeros(2), np.zeros((2, 2)), np.eye(2), 1.0)
    >>> value, gradient = loss(np.zeros(4))
    >>> round(float(value), 3), gradient.tolist()
    (0.693, [-0.25, 0.25, 0.25, -0.25])
    """

    F: Sparse
    mean: Floats
    offset: Floats
    Y: Floats
    ridge: float

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """Evaluate at the weights U, row by row."""
        n, K = self.Y.shape
        U = theta.reshape(-1, K)
        log_p = log_softmax(self.offset + self.F @ U - self.mean @ U, axis=1)
        residual = (np.exp(log_p) - self.Y) / n
        gradient = self.F.T @ residual - np.outer(self.mean, residual.sum(axis=0))
        value = self.ridge * (theta @ theta) - (self.Y * log_p).sum() / n
        return value, np.ravel(gradient + 2 * self.ridge * U)


def fit_correction(F: Sparse, P: Floats, y: Codes, penalty: float) -> Map:
    """Fit the softmax of ``log P + F W + b``.

    Parameters
    ----------
    F : sparse matrix of shape (n_samples, n_features)
        Features.
    P : ndarray of shape (n_samples, n_classes)
        Probabilities to start from.
    y : ndarray of shape (n_samples,)
        Class codes.
    penalty : float
        Multiplies ``sum(U**2) / n_samples``, where U is W in units in which a typical
        row of F, less the mean row, has length 1.

    Returns
    -------
    W : ndarray of shape (n_features, n_classes)
        Weights; zeros where the penalty is infinite or all rows of F are equal.
    b : ndarray of shape (n_classes,)
        Shift, so that the mean row changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> from sklearn_logprob._correction import fit_correction
    >>> F, P = csr_matrix([[0.0], [1.0]]), np.full((2, 2), 0.5)
    >>> W, b = fit_correction(F, P, np.array([0, 1]), 0.1)
    >>> bool(W[0, 1] > 1 and np.allclose(b, -W / 2))
    True
    """
    K = P.shape[1]
    W, mean = np.zeros((F.shape[1], K)), np.ravel(F.mean(axis=0))
    squares = F.multiply(F).sum() / len(P)
    spread = squares - mean @ mean  # mean squared distance from the mean row
    if spread > EQUAL * squares and penalty < np.inf:
        length = np.sqrt(spread)
        ridge = max(penalty, RIDGE) / len(P)
        loss = PenalisedLoss(F / length, mean / length, np.log(P), np.eye(K)[y], ridge)
        # The optimiser's own algebra is short: waking threads takes longer than it.
        with threadpool_limits(1, user_api="blas"):
            found = minimize(
                loss,
                W.ravel(),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-6},
            )
        W = found.x.reshape(W.shape) / length
    return W, -mean @ W


def corrected(P: Floats, F: Sparse, learnt: Map) -> Floats:
    """Apply W and b to probabilities.

    Parameters
    ----------
    P : ndarray of shape (n_samples, n_classes)
        Probabilities.
    F : sparse matrix of shape (n_samples, n_features)
        Features.
    learnt : tuple of (ndarray, ndarray)
        What `fit_correction` gives.

    Returns
    -------
    Q : ndarray of shape (n_samples, n_classes)
        Positive, and each row sums to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._correction import corrected
    >>> W, b = np.log([[1.0, 3.0]]), np.zeros(2)
    >>> corrected(np.array([[0.5, 0.5]]), np.array([[1.0]]), (W, b))
    array([[0.25, 0.75]])
    """
    W, b = learnt
    return np.asarray(np.maximum(softmax(np.log(P) + F @ W + b, axis=1), TINY))


def mix(P: Floats, Q: Floats, weight: float) -> Floats:
    """Go from P towards Q, or beyond it, along a line of logits.

    Parameters
    ----------
    P, Q : ndarray of shape (n_samples, n_classes)
        Probabilities.
    weight : float
        0 is P, 1 is Q.

    Returns
    -------
    mixed : ndarray of shape (n_samples, n_classes)
        Positive, and each row sums to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._correction import mix
    >>> mix(np.array([[0.5, 0.5]]), np.array([[0.1, 0.9]]), 0.5)
    array([[0.25, 0.75]])
    """
    if weight in (0, 1):
        return Q if weight else P
    log_p, log_q = np.log(P), np.log(Q)
    mixed = softmax(log_p + weight * (log_q - log_p), axis=1)
    return np.asarray(np.maximum(mixed, TINY))


def best_weight(P: Floats, Q: Floats, y: Codes) -> tuple[float, float, float]:
    """Find the weight of `mix` with the least log loss, shrunk towards 0.

    Parameters
    ----------
    P, Q : ndarray of shape (n_samples, n_classes)
        Out-of-fold probabilities.
    y : ndarray of shape (n_samples,)
        Class codes.

    Returns
    -------
    weight : float
        At least 0. It minimises the mean negative log-likelihood plus ``weight**2 /
        n_samples``, a half-normal prior: few rows go as far as they can show. It is 0
        where the first step away from P is none downwards.
    gain, error : float
        How much lower the log loss is than that of P (nats), and the standard error of
        the difference, row against row.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._correction import best_weight
    >>> P, Q = np.full((40, 2), 0.5), np.array([[0.9, 0.1], [0.1, 0.9]] * 20)
    >>> weight, gain, error = best_weight(P, Q, np.array([0, 1, 1, 1] * 10))
    >>> round(weight, 1), round(gain, 1)
    (0.5, 0.1)
    """
    rows = np.arange(len(y))
    steps = np.log(Q) - np.log(P)
    downwards = (steps[rows, y] - (P * steps).sum(axis=1)).mean()

    def losses(weight: float) -> Floats:
        return np.asarray(-np.log(mix(P, Q, weight)[rows, y]))

    def penalised(weight: float) -> float:
        return float(losses(weight).mean() + weight**2 / len(y))

    weight = 0.0
    if downwards > 0:  # both terms are convex: there is one minimum, away from 0
        found = minimize_scalar(penalised, bounds=(0, MAX_WEIGHT), method="bounded")
        weight = float(found.x)
    gains = losses(0.0) - losses(weight)
    return weight, float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(y)))
