"""Measures of probabilities that scikit-learn does not have.

Errors of calibration are class-wise here: the probability of each class is compared with
that class's frequency. The usual top-label error looks at the largest probability alone,
and there the main fault of a language model hides: a preference for one label makes it
over-confident about this label and under-confident about the others, and in the mean over
both much of that cancels out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr
from sklearn.utils import check_consistent_length, check_random_state

from sklearn_logprob._bins import Bins, absolute_error, check_proba, squared_error

__all__ = [
    "calibration_noise_floor",
    "debiased_calibration_error",
    "expected_calibration_error",
    "mutual_information",
    "skill",
]


def expected_calibration_error(
    y: ArrayLike, P: ArrayLike, n_bins: int = 15, *, labels: ArrayLike | None = None
) -> float:
    """Mean distance between probability and frequency, in equal-mass bins.

    It grows with noise: a calibrated model has a positive error too, the larger the
    fewer the rows. Compare it with `calibration_noise_floor`.

    Parameters
    ----------
    y : array-like of shape (n,)
        Class codes, 0 to K - 1, or members of `labels`.
    P : array-like of shape (n, K)
        Probabilities.
    n_bins : int, default=15
        Bins for each class, of about equal size; rows of equal probability share a bin.
        Fewer where bins would hold under 5 rows.
    labels : array-like of shape (K,), default=None
        Which class each column of P is about, such as ``classes_``.

    Returns
    -------
    error : float
        In [0, 1]: ``sum_b n_b / n * |mean p - frequency|``, averaged over the classes.

    References
    ----------
    Nixon et al., "Measuring Calibration in Deep Learning", CVPR Workshops 2019
    (class-wise errors in equal-mass bins).

    Examples
    --------
    >>> from sklearn_logprob.metrics import expected_calibration_error
    >>> P = [[0.8, 0.2]] * 10
    >>> round(expected_calibration_error([0] * 5 + [1] * 5, P), 3)
    0.3
    """
    bins, codes = _read(y, P, n_bins, labels)
    residual, _ = bins.residuals(codes)
    return float(absolute_error(bins.counts, residual))


def debiased_calibration_error(
    y: ArrayLike, P: ArrayLike, n_bins: int = 15, *, labels: ArrayLike | None = None
) -> float:
    """Root mean square distance between probability and frequency, less its noise.

    From each bin's squared distance its sampling variance is subtracted; on average
    over samples, the squared error of a calibrated model is then 0.

    Parameters
    ----------
    y : array-like of shape (n,)
        Class codes, 0 to K - 1, or members of `labels`.
    P : array-like of shape (n, K)
        Probabilities.
    n_bins : int, default=15
        Bins for each class, of about equal size; rows of equal probability share a bin.
        Fewer where bins would hold under 5 rows.
    labels : array-like of shape (K,), default=None
        Which class each column of P is about, such as ``classes_``.

    Returns
    -------
    error : float
        In [0, 1]; 0 where the squared error is negative after the subtraction.

    Notes
    -----
    The variance is that of the residuals ``p - [y is the class]``. Where a bin holds
    one probability only, it is the reference's ``frequency (1 - frequency) / (n - 1)``;
    elsewhere the latter would count the spread of p in the bin as noise.

    References
    ----------
    Kumar, Liang and Ma, "Verified Uncertainty Calibration", NeurIPS 2019 (marginal
    calibration error, debiased); Ferro and Fricker, "A bias-corrected decomposition of
    the Brier score", Quarterly Journal of the Royal Meteorological Society 2012.

    Examples
    --------
    >>> from sklearn_logprob.metrics import debiased_calibration_error
    >>> P = [[0.8, 0.2]] * 10
    >>> round(debiased_calibration_error([0] * 5 + [1] * 5, P), 3)
    0.249
    >>> debiased_calibration_error([0] * 8 + [1] * 2, P)
    0.0
    """
    bins, codes = _read(y, P, n_bins, labels)
    error = squared_error(bins.counts, *bins.residuals(codes))
    return float(np.sqrt(np.maximum(error, 0)))


def calibration_noise_floor(
    P: ArrayLike,
    n_bins: int = 15,
    *,
    debiased: bool = False,
    quantile: float = 0.95,
    n_draws: int = 400,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Calibration error that these probabilities show by chance when they are right.

    Labels are drawn from P itself, and the error measured on them, again and again. An
    error below the floor is no evidence against the calibration.

    Parameters
    ----------
    P : array-like of shape (n, K)
        Probabilities.
    n_bins : int, default=15
        As for the error that it is compared with.
    debiased : bool, default=False
        Whether that is `debiased_calibration_error`; else `expected_calibration_error`.
    quantile : float, default=0.95
        The share of the draws that are below the floor; 0.5 for the median.
    n_draws : int, default=400
        Number of draws.
    random_state : int, RandomState instance or None, default=0
        Draws the labels.

    Returns
    -------
    floor : float
        In [0, 1].

    Examples
    --------
    >>> from sklearn_logprob.metrics import calibration_noise_floor
    >>> few, many = [[0.8, 0.2]] * 100, [[0.8, 0.2]] * 1000
    >>> calibration_noise_floor(few) > 2 * calibration_noise_floor(many)
    True
    """
    probabilities = check_proba(P)
    bins, random = Bins(probabilities, n_bins), check_random_state(random_state)
    steps = np.ascontiguousarray(probabilities.cumsum(axis=1)[:, :-1].T)
    errors = np.empty(n_draws)
    for i in range(n_draws):
        uniform = random.random_sample(len(probabilities))
        drawn = np.zeros(len(uniform), dtype=np.intp)
        for step in steps:  # whole columns: short rows are slow
            drawn += uniform > step
        residual, square = bins.residuals(drawn)
        if debiased:
            error = squared_error(bins.counts, residual, square)
            errors[i] = np.sqrt(error.clip(0))
        else:
            errors[i] = absolute_error(bins.counts, residual)
    return float(np.quantile(errors, quantile))


def skill(loss: float, reference: float) -> float:
    """Share of a reference's loss that a model saves.

    Parameters
    ----------
    loss : float
        Log loss or Brier score of the model.
    reference : float
        The same of a model that knows nothing but how frequent the classes are; for
        the log loss it is the entropy of the class frequencies.

    Returns
    -------
    skill : float
        1 is perfect, 0 no better than the frequencies, and below 0 worse.

    References
    ----------
    Murphy, "Skill Scores Based on the Mean Square Error and Their Relationships to the
    Correlation Coefficient", Monthly Weather Review 1988.

    Examples
    --------
    >>> from sklearn_logprob.metrics import skill
    >>> skill(0.3, 0.6)
    0.5
    """
    return 1 - loss / reference


def mutual_information(P: ArrayLike) -> float:
    """How much the model's answers depend on the text; ranks prompts without labels.

    The entropy of the mean prediction less the mean entropy of the predictions. Among
    prompts for the same texts and classes, those with more of it tend to be more
    accurate. Take calibrated probabilities (`BatchCalibration` needs no labels), or a
    preference for one label weighs in.

    Parameters
    ----------
    P : array-like of shape (n, K)
        Probabilities for n texts.

    Returns
    -------
    information : float
        In [0, ln K], in nats; 0 where all predictions are equal.

    References
    ----------
    Sorensen et al., "An Information-theoretic Approach to Prompt Engineering Without
    Ground Truth Labels", ACL 2022, arXiv:2203.11364.

    Examples
    --------
    >>> from sklearn_logprob.metrics import mutual_information
    >>> round(mutual_information([[1.0, 0.0], [0.0, 1.0]]), 4)
    0.6931
    >>> mutual_information([[0.9, 0.1], [0.9, 0.1]])
    0.0
    """
    probabilities = check_proba(P)
    mean = probabilities.mean(axis=0)
    information = entr(mean).sum() - entr(probabilities).sum(axis=1).mean()
    return float(np.clip(information, 0, np.log(len(mean))))  # rounding goes beyond


def _read(
    y: ArrayLike, P: ArrayLike, n_bins: int, labels: ArrayLike | None
) -> tuple[Bins, NDArray[np.intp]]:
    probabilities, target = check_proba(P), np.asarray(y)
    check_consistent_length(probabilities, target)
    n_classes = probabilities.shape[1]
    known = np.arange(n_classes) if labels is None else np.asarray(labels)
    if len(known) != n_classes or not np.isin(target, known).all():
        raise ValueError(
            f"y must hold codes from 0 to {n_classes - 1}, one for each column of P, or "
            "members of labels=clf.classes_. Got "
            f"{np.unique(target)[:10].tolist()} instead."
        )
    order = np.argsort(known)
    return Bins(probabilities, n_bins), order[np.searchsorted(known[order], target)]
