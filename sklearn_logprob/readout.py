"""The read-out: probabilities from all that the answers show, not the labels alone.

S holds the label log scores (natural log), F the features of the tokens shown.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted

from sklearn_logprob._correction import best_weight, corrected, fit_correction, mix
from sklearn_logprob._folds import Fold, Numbers, held_out, make_folds
from sklearn_logprob._types import Floats
from sklearn_logprob.calibration import calibrated_proba, cross_val_proba, make_calibrator

__all__ = ["READOUTS", "TokenReadout", "cross_val_readout", "make_readout"]

Sparse: TypeAlias = Any  # a CSR matrix; scipy ships no types

WEIGHTS: dict[str, Any] = {"labels": 0.0, "tokens": 1.0, "auto": "auto"}
READOUTS = tuple(WEIGHTS)

INNER_FOLDS = 5


class TokenReadout(BaseEstimator):
    """Correct calibrated label probabilities by every token that the answers show.

    The logits are ``log p + weight * (F W + b)``. Here p is what the calibrator makes of
    the label scores, and W minimises the mean negative log-likelihood plus ``penalty *
    sum(U**2) / n_samples``: a Gaussian prior that the labels say it all, on which few
    rows fall back. U is W in units in which a typical row of F, less the mean row, has
    length 1, so that one penalty suits 20 tokens and 200; b leaves the mean row as it
    is. While W is fitted, p comes from calibrators that did not see the row, for those
    that did look surer than they are.

    Parameters
    ----------
    calibrator : str, classifier or None, default="auto"
        Map from label log scores to probabilities.
    penalty : float, default=0.2
        Strength of the prior, at least 0; ``np.inf`` leaves the labels alone. For 0,
        1e-6 is used, so that separable classes have a finite optimum.
    weight : "auto" or float, default="auto"
        How much of the correction is applied: 0 gives the calibrator's probabilities,
        1 all of it. "auto" minimises the out-of-fold log loss plus ``weight**2 /
        n_samples``: a half-normal prior that the labels say it all.
    cv : int or splitter, default=5
        Folds for the out-of-fold probabilities.
    random_state : int, RandomState or None, default=None
        Shuffles the folds; None always in the same way, so that a fit can be repeated.

    Attributes
    ----------
    calibrator_ : classifier
        The fitted calibrator.
    classes_ : ndarray of shape (n_classes,)
        Class codes, 0 to n_classes - 1.
    weight_ : float
        The weight in use; 0 where nothing can be learnt, or the tokens tell nothing.
    gain_, gain_error_ : float
        How much the best weight lowers the out-of-fold log loss (nats), and the
        standard error of that; nan unless ``weight="auto"``.
    coef_ : ndarray of shape (n_features, n_classes)
        W, without the weight; only where the weight is not 0.
    intercept_ : ndarray of shape (n_classes,)
        The shift b, likewise.

    References
    ----------
    Xu et al., "kNN Prompting: Beyond-Context Learning with Calibration-Free Nearest
    Neighbor Inference", ICLR 2023, arXiv:2303.13824 (all tokens as features); Wolpert,
    "Stacked Generalization", Neural Networks 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.readout import TokenReadout
    >>> S = np.log(np.full((40, 2), 0.5))  # the labels tell nothing
    >>> y = np.arange(40) % 2
    >>> F = np.column_stack([1 - y, y])  # two other tokens tell all
    >>> TokenReadout(random_state=0).fit(S, F, y).predict_proba(S[:2], F[:2]).round(1)
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(
        self,
        calibrator: Any = "auto",
        *,
        penalty: float = 0.2,
        weight: Any = "auto",
        cv: Any = 5,
        random_state: Any = None,
    ) -> None:
        self.calibrator = calibrator
        self.penalty = penalty
        self.weight = weight
        self.cv = cv
        self.random_state = random_state

    def fit(
        self, S: ArrayLike, F: Any = None, y: ArrayLike | None = None
    ) -> TokenReadout:
        """Learn calibration, correction and weight.

        Parameters
        ----------
        S : array-like of shape (n_samples, n_classes)
            Label log scores (natural log), finite.
        F : array-like or sparse matrix of shape (n_samples, n_features), default=None
            Features; not needed where the weight is 0.
        y : array-like of shape (n_samples,), default=None
            Class codes, 0 to n_classes - 1.

        Returns
        -------
        self : TokenReadout
            The fitted read-out.

        Raises
        ------
        ValueError
            For a bad parameter, or rows that do not match.
        """
        self._fit(S, F, y, judged=self.weight == "auto")
        return self

    def fit_predict_proba(self, S: ArrayLike, F: Any, y: ArrayLike) -> Floats:
        """Fit, and give the same rows out-of-fold probabilities.

        Unlike those of `predict_proba`, each row's come from a calibrator and a
        correction that did not see it; only the weight, one number, is common to all.

        Parameters
        ----------
        S : array-like of shape (n_samples, n_classes)
            Label log scores (natural log), finite.
        F : array-like or sparse matrix of shape (n_samples, n_features)
            Features; None where the weight is 0.
        y : array-like of shape (n_samples,)
            Class codes, 0 to n_classes - 1.

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes)
            Positive, and each row sums to 1. Where no split is possible, in-sample
            probabilities.
        """
        P, Q = self._fit(S, F, y, judged=True)
        return mix(P, Q, self.weight_)

    def predict_proba(self, S: ArrayLike, F: Any = None) -> Floats:
        """Give the probability of each class.

        Parameters
        ----------
        S : array-like of shape (n_samples, n_classes)
            Label log scores (natural log).
        F : array-like or sparse matrix of shape (n_samples, n_features), default=None
            Features; not looked at where the weight is 0.

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes)
            Positive, and each row sums to 1. Rows of S with NaN stay NaN.
        """
        check_is_fitted(self)
        P = calibrated_proba(self.calibrator_, S)
        if not self.weight_:
            return P
        Q = corrected(P, _checked(F, P), (self.coef_, self.intercept_))
        return mix(P, Q, self.weight_)

    @property
    def _seed(self) -> Any:
        return 0 if self.random_state is None else self.random_state

    def _check(self) -> None:
        """Refuse a bad parameter."""
        make_calibrator(self.calibrator)
        if not self.penalty >= 0:
            raise ValueError(
                "The 'penalty' parameter of TokenReadout must be at least 0; np.inf "
                f"leaves the labels alone. Got {self.penalty!r} instead."
            )
        number = isinstance(self.weight, Real) and 0 <= float(self.weight) < np.inf
        if self.weight != "auto" and not number:
            raise ValueError(
                "The 'weight' parameter of TokenReadout must be 'auto' or a number of at "
                f"least 0. Got {self.weight!r} instead."
            )

    def _fit(self, S: Any, F: Any, y: Any, judged: bool) -> tuple[Floats, Floats]:
        """Fit, and give probabilities without and with the correction, out of fold."""
        self._check()
        S = np.asarray(S, dtype=np.float64)
        self.calibrator_ = make_calibrator(self.calibrator).fit(S, y)
        self.classes_ = np.arange(S.shape[1])
        self.weight_, self.gain_, self.gain_error_ = 0.0, np.nan, np.nan
        folds = [] if y is None else make_folds(self.cv, y, self._seed)
        learnable = folds and np.ptp(y) > 0 and self.penalty < np.inf
        weight = self.weight if learnable else 0.0
        if not folds or not (weight or judged):
            P = calibrated_proba(self.calibrator_, S)
            return P, P
        y, F = np.asarray(y), _checked(F, S) if weight else None
        P, Q = self._out_of_fold(S, F, y, folds, judged)
        if weight == "auto":
            weight, self.gain_, self.gain_error_ = best_weight(P, Q, y)
        if weight:
            self.coef_, self.intercept_ = fit_correction(F, P, y, self.penalty)
        self.weight_ = float(weight)
        return P, Q

    def _out_of_fold(
        self, S: Floats, F: Sparse, y: Numbers, folds: list[Fold], judged: bool
    ) -> Floats:
        """Give rows probabilities without and with the correction, if that is wanted."""

        def predict(train: Numbers, test: Numbers) -> Floats:
            calibrator = make_calibrator(self.calibrator)
            p = calibrated_proba(clone(calibrator).fit(S[train], y[train]), S[test])
            if F is None or not judged:
                return np.stack([p, p])
            start = cross_val_proba(
                calibrator, S[train], y[train], INNER_FOLDS, self._seed
            )
            learnt = fit_correction(F[train], start, y[train], self.penalty)
            return np.stack([p, corrected(p, F[test], learnt)])

        return held_out(predict, folds, (2, *S.shape))


def _checked(F: Any, S: Floats) -> Sparse:
    """Give the features as a sparse matrix with a row for each row of scores."""
    F = check_array(F, accept_sparse="csr", dtype=np.float64, ensure_min_features=0)
    check_consistent_length(S, F)
    return sparse.csr_matrix(F)


def cross_val_readout(
    readout: TokenReadout,
    S: ArrayLike,
    F: Any,
    y: ArrayLike,
    *,
    cv: Any = 5,
    random_state: int | np.random.RandomState | None = None,
) -> Floats:
    """Give each row probabilities from read-outs that did not see it at all.

    Everything is fitted anew in each fold, the weight too. `fit_predict_proba` shares
    the weight, takes a sixth of the time, and is good enough to choose a threshold.

    Parameters
    ----------
    readout : TokenReadout
        Unfitted; a clone is fitted in each fold.
    S : array-like of shape (n_samples, n_classes)
        Label log scores (natural log), finite.
    F : array-like or sparse matrix of shape (n_samples, n_features)
        Features.
    y : array-like of shape (n_samples,)
        Class codes, 0 to n_classes - 1.
    cv : int or splitter, default=5
        A number means shuffled stratified folds, as many as the most frequent class has
        members or fewer. Where rows are held out repeatedly, their mean is given.
    random_state : int, RandomState or None, default=None
        Shuffles the folds.

    Returns
    -------
    P : ndarray of shape (n_samples, n_classes)
        Positive, and each row sums to 1. Where no split is possible (under 4 rows, or
        no class twice), in-sample probabilities.

    Raises
    ------
    ValueError
        If a row is never held out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.readout import TokenReadout, cross_val_readout
    >>> S, F, y = np.log(np.full((40, 2), 0.5)), np.eye(2)[[0, 1] * 20], [0, 1] * 20
    >>> P = cross_val_readout(TokenReadout(), S, F, y, random_state=0)
    >>> bool((P.argmax(axis=1) == y).all())
    True
    """
    S, y = np.asarray(S, dtype=np.float64), np.asarray(y)
    F = _checked(F, S)

    def predict(train: Any, test: Any) -> Floats:
        fitted: TokenReadout = clone(readout).fit(S[train], F[train], y[train])
        return fitted.predict_proba(S[test], F[test])

    folds, every = make_folds(cv, y, random_state), slice(None)
    return held_out(predict, folds, S.shape) if folds else predict(every, every)


def make_readout(readout: Any, **shared: Any) -> TokenReadout:
    """Turn the short form of a read-out into an unfitted one.

    Parameters
    ----------
    readout : {"labels", "tokens", "auto"} or TokenReadout
        "labels" is the calibrated label scores, a weight of 0; "tokens" the whole
        correction, a weight of 1. A `TokenReadout` is cloned.
    **shared
        Parameters that it is given in any case: `calibrator`, `cv`, `random_state`.

    Returns
    -------
    estimator : TokenReadout
        A new one, its parameters checked.

    Raises
    ------
    ValueError
        For anything else, or a bad parameter.

    Examples
    --------
    >>> from sklearn_logprob.readout import make_readout
    >>> make_readout("labels")
    TokenReadout(weight=0.0)
    """
    if isinstance(readout, TokenReadout):
        made: TokenReadout = clone(readout)
    elif isinstance(readout, str) and readout in WEIGHTS:
        made = TokenReadout(weight=WEIGHTS[readout])
    else:
        raise ValueError(
            "The 'readout' parameter of LogprobClassifier must be "
            f"{', '.join(map(repr, READOUTS))} or a TokenReadout. "
            f"Got {readout!r} instead."
        )
    made.set_params(**shared)._check()
    return made
