"""Logistic curves for one class against the rest, from what its log-odds are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, minimize
from scipy.special import expit, logsumexp
from threadpoolctl import threadpool_limits

from sklearn_logprob._types import Floats

__all__ = ["fit_curve", "log_odds", "log_rest"]


def log_rest(s: Floats) -> Floats:
    """Give the log-probability that it is another class, exact near 0 too.

    Parameters
    ----------
    s : ndarray of shape (n, K)
        Log-probabilities (natural log) that sum to 1.

    Returns
    -------
    rest : ndarray of shape (n, K)
        ``log(1 - exp(s))``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._curves import log_rest
    >>> log_rest(np.array([[-1e-30, -69.0]])).round(2)
    array([[-69.,  -0.]])
    """
    # 1 - p loses digits for the largest p only; there the others are summed.
    rows, largest = np.arange(len(s)), s.argmax(axis=1)
    others, p = s.copy(), np.exp(s)
    others[rows, largest], p[rows, largest] = -np.inf, 0.0
    rest: Floats = np.log1p(-p)
    rest[rows, largest] = logsumexp(others, axis=1)
    return rest


def log_odds(s: Floats) -> Floats:
    """Give the log-odds of each class.

    Parameters
    ----------
    s : ndarray of shape (n, K)
        Log-probabilities (natural log) that sum to 1.

    Returns
    -------
    odds : ndarray of shape (n, K)
        Finite also where a probability rounds to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._curves import log_odds
    >>> log_odds(np.log([[0.5, 0.25, 0.25]])).round(2)
    array([[ 0. , -1.1, -1.1]])
    """
    return s - log_rest(s)


def fit_curve(
    X: Floats, is_class: NDArray[np.bool_], least: ArrayLike = -np.inf
) -> tuple[Floats, float]:
    """Fit the logistic regression of smoothed targets.

    The targets are ``(n_class + 1) / (n_class + 2)`` and ``1 / (n_rest + 2)`` in place
    of 1 and 0, so that separable and absent classes have an optimum.

    Parameters
    ----------
    X : ndarray of shape (n, m)
        Features.
    is_class : ndarray of bool of shape (n,)
        Which rows are of the class.
    least : float or array-like of shape (m,), default=-inf
        What the weights are at least.

    Returns
    -------
    weights : ndarray of shape (m,)
        Of the features.
    intercept : float
        Of the log-odds.

    References
    ----------
    Platt, "Probabilistic Outputs for Support Vector Machines", 1999 (the targets).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._curves import fit_curve
    >>> weights, intercept = fit_curve(np.eye(2)[:, :1], np.array([True, False]))
    >>> bool(np.isclose(weights[0] + intercept, np.log(2)))
    True
    """
    n, m = X.shape
    n_class = int(is_class.sum())
    target = np.where(is_class, (n_class + 1) / (n_class + 2), 1 / (n - n_class + 2))
    mean, spread = X.mean(axis=0), X.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    A = np.column_stack([(X - mean) / spread, np.ones(n)])
    wanted = target @ A / n

    def loss(theta: Floats) -> tuple[float, Floats]:
        z = A @ theta
        value = np.logaddexp(0, z).mean() - wanted @ theta
        return value, expit(z) @ A / n - wanted

    # Its own algebra is tiny: waking threads takes longer than that does.
    with threadpool_limits(1, user_api="blas"):
        theta = minimize(
            loss,
            np.zeros(m + 1),
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(np.append(np.multiply(least, spread), -np.inf), np.inf),
            options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9},
        ).x
    weights = theta[:-1] / spread
    return weights, float(theta[-1] - weights @ mean)
