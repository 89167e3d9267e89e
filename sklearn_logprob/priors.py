"""Class frequencies: to match known ones, and to adapt to changed ones.

*Matching* finds the shift of the log scores under which the classes are predicted as
often as they occur: calibration without labels, for known frequencies. *Adaptation* is
for probabilities that are calibrated already, where only the frequencies have changed
between training and use (label shift); the new ones are known, or estimated by EM.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from sklearn_logprob._bins import check_proba
from sklearn_logprob._types import Floats

__all__ = ["change_prior", "em_prior", "match_prior"]

TINY = float(np.finfo(np.float64).tiny)
MATCHED = 1e-6  # how far mean probabilities may be from the prior


def match_prior(S: ArrayLike, class_prior: ArrayLike) -> Floats:
    """Find the shift b for which ``softmax(S + b)`` has the class prior as its mean.

    There is exactly one up to a common constant; its sum here is 0. With equal
    frequencies it is close to batch calibration, which makes mean logs equal instead.

    Parameters
    ----------
    S : array-like of shape (n, K)
        Label log scores (natural log), or the logarithm of probabilities.
    class_prior : array-like of shape (K,)
        How frequent the classes are, in the order of the columns: positive, sum 1.

    Returns
    -------
    b : ndarray of shape (K,)
        What to add to the scores of each class.

    References
    ----------
    Estienne et al., "Unsupervised Calibration through Prior Adaptation for Text
    Classification using Large Language Models", 2023, arXiv:2307.06713.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import softmax
    >>> from sklearn_logprob.priors import match_prior
    >>> S = np.log([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    >>> softmax(S + match_prior(S, [0.3, 0.7]), axis=1).mean(axis=0).round(6)
    array([0.3, 0.7])
    """
    scores: Floats = check_array(S, dtype=np.float64, input_name="S")
    prior = _check_prior(class_prior, scores.shape[1])
    s: Floats = log_softmax(scores, axis=1)
    start = -s.mean(axis=0)
    s = s + start  # near the solution, and small numbers: the objective stays exact

    # b is the minimum of a convex function whose gradient is what is to vanish.
    def objective(b: Floats) -> tuple[float, Floats]:
        value = logsumexp(s + b, axis=1).mean() - prior @ b
        return value, softmax(s + b, axis=1).mean(axis=0) - prior

    def hessian(b: Floats) -> Any:
        P = softmax(s + b, axis=1)
        return np.diag(P.mean(axis=0)) - P.T @ P / len(P)

    b, options = np.zeros(len(prior)), {"gtol": MATCHED / 10, "maxiter": 1000}
    b = minimize(
        objective, b, method="trust-exact", jac=True, hess=hessian, options=options
    ).x
    left = np.abs(objective(b)[1]).max()
    if left > MATCHED:
        warnings.warn(
            f"The mean probabilities differ from class_prior by up to {left:.1e}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    shift: Floats = start + b - (start + b).mean()
    return shift


def change_prior(P: ArrayLike, train_prior: ArrayLike, class_prior: ArrayLike) -> Floats:
    """Turn calibrated probabilities into those under other class frequencies.

    It holds where the texts of each class are what they were, and only the frequencies
    of the classes have changed (label shift).

    Parameters
    ----------
    P : array-like of shape (n, K)
        Calibrated probabilities.
    train_prior : array-like of shape (K,)
        The frequencies under which they are calibrated: positive, sum 1.
    class_prior : array-like of shape (K,)
        The frequencies to change to, with sum 1. Where one is 0, only a row that is
        certain of the class keeps it.

    Returns
    -------
    adapted : ndarray of shape (n, K)
        ``P * class_prior / train_prior``, with rows that sum to 1.

    References
    ----------
    Saerens, Latinne and Decaestecker, "Adjusting the Outputs of a Classifier to New a
    Priori Probabilities: A Simple Procedure", Neural Computation 2002.

    Examples
    --------
    >>> from sklearn_logprob.priors import change_prior
    >>> change_prior([[0.5, 0.5]], [0.5, 0.5], [0.8, 0.2])
    array([[0.8, 0.2]])
    """
    probabilities = check_proba(P)
    old = _check_prior(train_prior, probabilities.shape[1], "train_prior")
    new = _check_prior(class_prior, probabilities.shape[1], least=0)
    return _reweight(probabilities, np.maximum(new / old, TINY))


def em_prior(
    P: ArrayLike, train_prior: ArrayLike, *, max_iter: int = 10_000, tol: float = 1e-8
) -> tuple[Floats, Floats]:
    """Estimate changed class frequencies from unlabelled texts, and adapt to them.

    The expectation-maximisation algorithm of the reference: adapt the probabilities to
    the frequencies, take their mean as new frequencies, and repeat. The likelihood of
    the texts falls in no step. It relies on calibrated probabilities, biases included:
    what is left of the model's preference for a label counts as a frequency.

    Parameters
    ----------
    P : array-like of shape (n, K)
        Calibrated probabilities of the texts.
    train_prior : array-like of shape (K,)
        The frequencies under which they are calibrated: positive, sum 1. Best is their
        mean over the rows that the calibrator learnt from.
    max_iter : int, default=10000
        Steps at most; a warning tells where they end it.
    tol : float, default=1e-8
        It ends when no frequency changes by more than this.

    Returns
    -------
    prior : ndarray of shape (K,)
        The estimated frequencies. From few texts they are rough, and may be 0.
    adapted : ndarray of shape (n, K)
        Probabilities under these; their mean is `prior`.

    References
    ----------
    Saerens, Latinne and Decaestecker, "Adjusting the Outputs of a Classifier to New a
    Priori Probabilities: A Simple Procedure", Neural Computation 2002; Alexandari,
    Kundaje and Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is
    Hard-To-Beat at Label Shift Adaptation", ICML 2020.

    Examples
    --------
    >>> from sklearn_logprob.priors import em_prior
    >>> P = [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]
    >>> prior, adapted = em_prior(P, [0.5, 0.5])
    >>> prior.round(3), adapted[3].round(2)
    (array([0.812, 0.188]), array([0.32, 0.68]))
    """
    probabilities = check_proba(P)
    old = _check_prior(train_prior, probabilities.shape[1], "train_prior")
    prior, adapted, change = old, probabilities, np.inf
    for _ in range(max_iter):
        estimate = adapted.mean(axis=0)
        change = np.abs(estimate - prior).max()
        if change <= tol:
            break
        prior = estimate
        adapted = _reweight(probabilities, prior / old)
    else:
        warnings.warn(
            f"After {max_iter} steps the frequencies still change by {change:.1e} a "
            "step: raise max_iter, or tol.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return prior, adapted


def _reweight(P: Floats, ratio: Floats) -> Floats:
    adapted = P * ratio
    return adapted / adapted.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def _check_prior(
    prior: ArrayLike, n_classes: int, name: str = "class_prior", least: float = TINY
) -> Floats:
    try:
        checked = np.asarray(prior, dtype=np.float64)
    except (TypeError, ValueError):
        checked = np.empty(0)
    one_each = checked.shape == (n_classes,) and (checked >= least).all()
    if not one_each or abs(checked.sum() - 1) > 1e-6:
        raise ValueError(
            f"The '{name}' parameter must hold a {'positive ' if least else ''}frequency "
            f"for each of the {n_classes} classes, in their order, with sum 1. Got "
            f"{prior!r} instead."
        )
    total: float = checked.sum()
    return checked / total
