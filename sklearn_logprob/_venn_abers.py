"""Venn-Abers calibration, by the package venn-abers: for comparison with the default."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_logprob._calibrators import Calibrator
from sklearn_logprob._curves import log_odds
from sklearn_logprob._types import Floats

__all__ = ["VennAbersCalibration"]


@dataclass(frozen=True)
class Steps:
    """A step function: ``values[i]`` after i jumps.

    Parameters
    ----------
    jumps : ndarray of shape (m,)
        Where it changes, sorted.
    values : ndarray of shape (m + 1,)
        What it changes to.
    side : {"left", "right"}
        Whether it still has the lower value at a jump itself, or the higher one.
    """

    jumps: Floats
    values: Floats
    side: Any

    def __call__(self, z: Floats) -> Floats:
        return np.asarray(self.values[np.searchsorted(self.jumps, z, self.side)])


class VennAbersCalibration(Calibrator):
    """Two isotonic curves per class, which disagree where labels are few.

    For a new row, isotonic regression is fitted with the row added, once as not of the
    class and once as of it. Its own values p0 <= p1 are an interval, one end of which
    is calibrated whatever the scores are worth. The probability is ``p1 / (1 - p0 +
    p1)``, which minimises the largest regret in log loss; rows are then made to sum to
    1. It needs the package venn-abers: ``pip install 'sklearn-logprob[venn-abers]'``.

    Attributes
    ----------
    lower_, upper_ : list of callable
        p0 and p1 of each class, from its log-odds.

    Notes
    -----
    The validity is that of an interval for one class against the rest, where the rows
    of fit and the new one can be swapped with each other; dividing by the row sum gives
    it up. Like isotonic regression it needs many labels.

    References
    ----------
    Vovk, Petej and Fedorova, "Large-scale probabilistic predictors with and without
    guarantees of validity", NeurIPS 2015, arXiv:1511.00213.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.calibration import VennAbersCalibration
    >>> S = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> fitted = VennAbersCalibration().fit(S, [0, 1, 0, 1])
    >>> fitted.predict_proba(S)[:, 0].round(2)
    array([0.67, 0.5 , 0.5 , 0.33])
    >>> fitted.predict_interval(S)[0, 0].round(2)
    array([0.5, 1. ])
    """

    def _check(self) -> None:
        _binary()

    def _fit(self, s: Floats, y: Any) -> None:
        self.lower_, self.upper_ = [], []
        for k, z in enumerate(log_odds(s).T):
            fitted = _binary()
            with warnings.catch_warnings():
                # a slope of no rows, which it then leaves out
                warnings.simplefilter("ignore", RuntimeWarning)
                fitted.fit(np.column_stack([-z, z]), (y == k).astype(float))
            self.lower_.append(_steps(fitted.c_, fitted.p0_[:, 1], "right"))
            self.upper_.append(_steps(fitted.c_, fitted.p1_[:, 1], "left"))

    def _ends(self, s: Floats) -> tuple[Floats, Floats]:
        columns = log_odds(s).T
        lower, upper = (
            np.column_stack([step(z) for step, z in zip(steps, columns, strict=True)])
            for steps in (self.lower_, self.upper_)
        )
        return lower, upper

    def _proba(self, s: Floats) -> Floats:
        lower, upper = self._ends(s)
        P = upper / (1 - lower + upper)
        return P / P.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]

    def predict_interval(self, S: ArrayLike) -> Floats:
        """Give the interval of each class against the rest.

        Parameters
        ----------
        S : array-like of shape (n_samples, n_classes)
            Label log scores (natural log), finite.

        Returns
        -------
        intervals : ndarray of shape (n_samples, n_classes, 2)
            Pairs of p0 and p1. Wide ones tell of few labels near such a score.
        """
        check_is_fitted(self)
        S = validate_data(self, S, dtype=np.float64, reset=False)
        return np.stack(self._ends(log_softmax(S, axis=1)), axis=-1)


def _binary() -> Any:
    """Give the package's calibrator of two classes."""
    try:
        with np.errstate():  # which the package changes for everyone when it is imported
            from venn_abers import VennAbers  # noqa: PLC0415
    except ImportError:
        raise ImportError(
            "VennAbersCalibration needs venn-abers: pip install "
            "'sklearn-logprob[venn-abers]'."
        ) from None
    return VennAbers()


def _steps(scores: Floats, values: Floats, side: str) -> Steps:
    """Keep the jumps: far fewer than there are scores."""
    jumps = np.flatnonzero(np.diff(values))
    return Steps(scores[jumps], np.append(values[:1], values[jumps + 1]), side)
