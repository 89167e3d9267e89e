"""Beta calibration: for comparison with the default."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from sklearn_logprob._calibrators import Calibrator
from sklearn_logprob._curves import fit_curve, log_rest
from sklearn_logprob._types import Floats

__all__ = ["BetaCalibration"]


class BetaCalibration(Calibrator):
    """A curve of the beta family per class, rows then made to sum to 1.

    The log-odds of a class become ``a ln(p) - b ln(1 - p) + c`` with a and b at least
    0, so that the curve never falls; a = b is Platt scaling. Targets are smoothed as
    for `SigmoidCalibration`, so that separable or absent classes do no harm.

    Attributes
    ----------
    a_, b_, c_ : ndarray of shape (n_classes,)
        The curves.

    Notes
    -----
    The reference drops a feature whose weight comes out negative and fits again; the
    bounded fit here has the same optimum. It smooths no targets.

    References
    ----------
    Kull, Silva Filho and Flach, "Beta calibration: a well-founded and easily
    implemented improvement on logistic calibration for binary classifiers", AISTATS
    2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.calibration import BetaCalibration
    >>> S = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> BetaCalibration().fit(S, [0, 0, 1, 1]).predict(S)
    array([0, 0, 1, 1])
    """

    def _fit(self, s: Floats, y: Any) -> None:
        rest, curves = log_rest(s), []
        for k in range(s.shape[1]):
            features = np.column_stack([s[:, k], -rest[:, k]])
            (a, b), c = fit_curve(features, y == k, least=0.0)
            curves.append((a, b, c))
        self.a_, self.b_, self.c_ = np.transpose(curves)

    def _proba(self, s: Floats) -> Floats:
        P = expit(self.a_ * s - self.b_ * log_rest(s) + self.c_)
        return P / P.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]
