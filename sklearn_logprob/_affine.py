"""The default calibrator: one penalised affine map of the label log scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import Bounds, minimize
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from sklearn_logprob._calibrators import Codes, LabelFreeCalibrator, center_of
from sklearn_logprob._types import Floats

__all__ = ["AffineCalibration"]

MAX_LOG_SCALE = 7.0
MAX_FULL_CLASSES = 30
BLOCK = 4096  # rows
RIDGE = 1e-6  # stands in for a penalty of 0: separable data have a finite optimum


class AffineCalibration(LabelFreeCalibrator):
    """Scale, mix and shift the centred log scores, shrunk towards batch calibration.

    With normalised scores s less their mean, ``z = a s + D s + b`` goes through a
    softmax. The fit minimises the mean negative log-likelihood plus ``(scale_penalty *
    log(a)**2 + matrix_penalty * sum(D**2) + bias_penalty * sum(b**2)) / n_samples``:
    a Gaussian prior, strong for few labels. Without labels, or with a single class in
    y, what remains is the prior: batch calibration.

    Parameters
    ----------
    structure : {"matrix", "vector", "temperature"}, default="matrix"
        Full D, diagonal D, or none. Above 30 classes a matrix is fitted as a diagonal:
        the number of parameters grows with the square of the classes.
    bias : bool, default=True
        Whether to learn b; else it is 0.
    center : bool, default=True
        Whether to subtract the mean log score of each class over the rows of fit.
    class_prior : array-like of shape (n_classes,) or "labels", default=None
        How frequent the classes are, as for `BatchCalibration`: few labels then shrink
        towards matching it in place of equal frequencies.
    scale_penalty, matrix_penalty, bias_penalty : float, default=3.0, 3.0, 2.0
        Strength of the prior, at least 0. ``np.inf`` fixes that part: a = 1, D = 0,
        b = 0. For 0, 1e-6 is used, so that separable classes have a finite optimum.

    Attributes
    ----------
    center_ : ndarray of shape (n_classes,)
        What is subtracted from the normalised log scores.
    scale_ : float
        The common scale a, between exp(-7) and exp(7).
    temperature_ : float
        Its inverse.
    matrix_ : ndarray of shape (n_classes, n_classes)
        The whole linear map, a I + D.
    bias_ : ndarray of shape (n_classes,)
        The shift b.
    n_iter_ : int
        Iterations of the optimiser.

    References
    ----------
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (temperature,
    vector and matrix scaling); Kull et al., "Beyond temperature scaling", NeurIPS 2019
    (the penalised matrix); Alexandari et al., "Maximum Likelihood with Bias-Corrected
    Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020 (temperature and
    bias).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.calibration import AffineCalibration
    >>> S = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> AffineCalibration().fit(S, [0, 0, 0, 1]).predict_proba(S).round(2)
    array([[0.81, 0.19],
           [0.63, 0.37],
           [0.48, 0.52],
           [0.36, 0.64]])
    """

    def __init__(
        self,
        structure: str = "matrix",
        *,
        bias: bool = True,
        center: bool = True,
        class_prior: Any = None,
        scale_penalty: float = 3.0,
        matrix_penalty: float = 3.0,
        bias_penalty: float = 2.0,
    ) -> None:
        self.structure = structure
        self.bias = bias
        self.center = center
        self.class_prior = class_prior
        self.scale_penalty = scale_penalty
        self.matrix_penalty = matrix_penalty
        self.bias_penalty = bias_penalty

    def _fit(self, s: Floats, y: Any) -> None:
        K = s.shape[1]
        penalty = self._penalties(K)
        self.center_ = np.zeros(K)
        if self.center:
            self.center_ = center_of(s, y, self.class_prior)
        theta, self.n_iter_ = np.zeros(len(penalty)), 0
        fixed = np.isinf(penalty)
        if y is not None and np.ptp(y) > 0 and not fixed.all():
            reach = np.where(fixed, 0.0, np.inf)
            reach[0] = min(reach[0], MAX_LOG_SCALE)
            penalty = np.where(fixed, 0.0, np.maximum(penalty, RIDGE))
            # Its matrix products are small: waking threads takes longer than they do.
            with threadpool_limits(1, user_api="blas"):
                found = minimize(
                    PenalisedNLL(s - self.center_, y, penalty),
                    theta,
                    jac=True,
                    method="L-BFGS-B",
                    bounds=Bounds(-reach, reach),
                    options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-7},
                )
            theta, self.n_iter_ = found.x, int(found.nit)
        self.scale_, D, self.bias_ = _unpack(theta, K)
        self.temperature_ = 1 / self.scale_
        self.matrix_ = self.scale_ * np.eye(K) + D

    def _proba(self, s: Floats) -> Floats:
        z = (s - self.center_) @ self.matrix_.T + self.bias_
        return softmax(z, axis=1)  # type: ignore[no-any-return]

    def _penalties(self, K: int) -> Floats:
        """Give the penalty of each parameter; infinite where it is fixed."""
        if self.structure not in ("matrix", "vector", "temperature"):
            raise ValueError(
                "The 'structure' parameter of AffineCalibration must be 'matrix', "
                f"'vector' or 'temperature'. Got {self.structure!r} instead."
            )
        for name in ("scale_penalty", "matrix_penalty", "bias_penalty"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"The '{name}' parameter of AffineCalibration must be at least 0; "
                    "np.inf fixes that part of the map. "
                    f"Got {getattr(self, name)!r} instead."
                )
        matrix = np.inf if self.structure == "temperature" else self.matrix_penalty
        bias = self.bias_penalty if self.bias else np.inf
        full = self.structure == "matrix" and K <= MAX_FULL_CLASSES
        return np.repeat([self.scale_penalty, matrix, bias], [1, K * K if full else K, K])


def _unpack(theta: Floats, K: int) -> tuple[float, Floats, Floats]:
    """Split the parameters into scale a, matrix D and bias b."""
    d = theta[1:-K]
    return (
        float(np.exp(theta[0])),
        d.reshape(K, K) if len(d) > K else np.diag(d),
        theta[-K:],
    )


class PenalisedNLL:
    """Mean negative log-likelihood of an affine map plus its prior, and the gradient.

    Rows are columns here, in blocks that stay in a core's cache: an evaluation then
    takes a tenth of the time, and no memory to speak of.
    """

    def __init__(self, s: Floats, y: Codes, penalty: Floats) -> None:
        self.n, self.K = s.shape
        self.penalty = penalty
        self.blocks = [
            np.vstack([rows.T, np.ones(len(rows))])
            for rows in np.array_split(s, -(-self.n // BLOCK))
        ]
        # what the logits of the true classes sum to, with the map W: sum(W * true)
        columns = [*s.T, np.ones(self.n)]
        self.true = np.transpose([np.bincount(y, each, self.K) for each in columns])

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        a, D, b = _unpack(theta, self.K)
        W = np.column_stack([a * np.eye(self.K) + D, b])
        value, G = -(W * self.true).sum(), -self.true
        for x in self.blocks:
            P = W @ x
            largest = P.max(axis=0)
            np.exp(np.subtract(P, largest, out=P), out=P)
            total = P.sum(axis=0)
            value += np.log(total).sum() + largest.sum()
            P /= total
            G = G + P @ x.T
        G, residual = G[:, :-1], G[:, -1]
        d = G.ravel() if len(theta) > 1 + 2 * self.K else np.diag(G)
        gradient = np.concatenate([[a * np.trace(G)], d, residual])
        prior = self.penalty * theta
        return (value + prior @ theta) / self.n, (gradient + 2 * prior) / self.n
