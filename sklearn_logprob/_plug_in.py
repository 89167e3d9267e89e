"""What labels add to thresholds that follow from probabilities."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_logprob._affine import AffineCalibration
from sklearn_logprob._cuts import Objective, decide

__all__ = ["moderated", "recalibrated"]

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.intp]

# Both chosen on the pools of benchmarks/accuracy.py and on simulated, calibrated worlds.
PRIOR = 5.0  # on shifts: probabilities were calibrated once already
NOISE = 0.1  # rows that each free threshold seems to gain by chance

LEAST = 1e-9  # a label that was ruled out should not decide alone


def recalibrated(P: Floats, y: Codes | None) -> Floats:
    """Correct what labels show to be wrong: one temperature, and one shift a class.

    Any decision by thresholds of the result is one by thresholds of P, since powers and
    factors of whole columns are all that changes.

    Parameters
    ----------
    P : ndarray of shape (n, K)
        Probabilities of rows that their calibrator has not seen.
    y : ndarray of int of shape (n,) or None
        Codes 0..K-1.

    Returns
    -------
    ndarray of shape (n, K)
        Probabilities; P without labels. What is 0 stays 0.

    References
    ----------
    Alexandari et al., "Maximum Likelihood with Bias-Corrected Calibration is
    Hard-To-Beat at Label Shift Adaptation", ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._plug_in import recalibrated
    >>> P, y = np.full((100, 2), 0.5), np.repeat([0, 1], [80, 20])
    >>> recalibrated(P, y)[0].round(2)
    array([0.75, 0.25])
    """
    if y is None:
        return P
    logs = np.log(P.clip(LEAST))
    learnt = AffineCalibration("temperature", center=False, bias_penalty=PRIOR)
    return np.where(P > 0, learnt.fit(logs, y).predict_proba(logs), 0.0)


def moderated(threshold: float | ArrayLike, P: Floats, objective: Objective) -> Floats:
    """Go from equal thresholds towards the best as far as the gain stands out from noise.

    Near its maximum a metric falls with the square of the distance, so that the gain is
    to the noise what the squared length of an estimate is to its variance: the rule is
    that of James and Stein, with the positive part.

    Parameters
    ----------
    threshold : float or array-like of shape (K,)
        The best threshold, as `decide` takes it.
    P : ndarray of shape (n, K)
        Probabilities that it is for.
    objective : CountObjective or CallObjective
        What it maximises.

    Returns
    -------
    ndarray of shape (K,)
        Thresholds with sum 1; equal where the gain is no more than noise.

    References
    ----------
    James and Stein, "Estimation with Quadratic Loss", Berkeley Symposium 1961.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._counts import METRICS
    >>> from sklearn_logprob._cuts import CountObjective
    >>> from sklearn_logprob._plug_in import moderated
    >>> P = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    >>> moderated(0.35, P, CountObjective(METRICS["f1"], P)).round(2)
    array([0.58, 0.42])
    """
    n, n_classes = P.shape
    gain = objective.value(decide(P, threshold)) - objective.value(decide(P))
    noise = NOISE * (n_classes - 1) / n
    t = np.asarray(threshold)
    t = np.stack([1 - t, t]) if t.ndim == 0 else t
    share = 1 - noise / gain if gain > noise else 0.0
    t = t.clip(LEAST) ** share
    return np.asarray(t / t.sum())
