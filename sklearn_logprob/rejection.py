"""Reject option: answer only where the decision is sure enough, and leave the rest.

A *rejector* is a scikit-learn estimator. ``fit(P, y, decided)`` takes calibrated
probabilities (n, K), codes 0..K-1 and the codes decided (None: the most probable class),
and sets ``confidence_``; ``accept(P, decided)`` is True where the decided class has at
least that probability. Among accepted rows the share of wrong decisions is the *selective
risk*; the share of rows accepted is the *coverage*.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from sklearn_logprob._cuts import decide

__all__ = ["ChowRule", "RiskAtMost", "make_rejector"]

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]

FIRST_ROWS = 50  # of 100 rows or more, a proof begins with 50 to 99 of them


class _Rejector(BaseEstimator):
    """What rejectors share; each sets ``confidence_`` in its ``fit``."""

    def accept(self, P: ArrayLike, decided: ArrayLike | None = None) -> Mask:
        """Tell which decisions are sure enough.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Calibrated probabilities.
        decided : array-like of shape (n,), optional
            The codes decided, where they are not the most probable ones.

        Returns
        -------
        accepted : ndarray of bool of shape (n,)
            False also in rows of NaN.
        """
        check_is_fitted(self, "confidence_")
        sure: Mask = _confidence(P, decided)[0] >= self.confidence_
        return sure


class ChowRule(_Rejector):
    """Accept where an error is less probable than what rejecting costs.

    With calibrated probabilities no other rule has a lower expected cost. It needs no
    labels, and promises nothing where the probabilities are wrong: see `RiskAtMost`.

    Parameters
    ----------
    cost : float, default=0.1
        Cost of rejecting a row, where an error costs 1 and a right decision nothing.
        From 1 - 1/K on it is never worth rejecting the most probable of K classes.

    Attributes
    ----------
    confidence_ : float
        Probability of the decided class from which on it is accepted, ``1 - cost``.

    References
    ----------
    C. K. Chow (1970), "On optimum recognition error and reject tradeoff", IEEE
    Transactions on Information Theory 16.

    Examples
    --------
    >>> from sklearn_logprob.rejection import ChowRule
    >>> ChowRule(cost=0.2).fit().accept([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    array([ True, False,  True])
    """

    needs_labels = False

    def __init__(self, cost: float = 0.1) -> None:
        self.cost = cost

    def _check(self) -> None:
        check_share(self, "cost", ends=True)

    def fit(self, P: object = None, y: object = None, decided: object = None) -> ChowRule:
        """Take the cost over.

        Parameters
        ----------
        P, y, decided : object, optional
            Not used.

        Returns
        -------
        ChowRule
            Itself, with `confidence_`.
        """
        self._check()
        self.confidence_ = 1 - self.cost
        return self


class RiskAtMost(_Rejector):
    """Accept as many rows as can be shown to be wrong at most so often.

    Rows are ordered by the probability of the decided class. "The first m are wrong too
    often" is refuted where so few errors among them have at most the probability `delta`
    under ``Binomial(m, risk)``. These tests are made in a fixed order, from the fewest
    rows to all: a test that fails ends the sequence, so one that passes need not pay for
    those that come after it. The first tests are hard to pass, as few rows prove little;
    the sequence therefore starts anew, with an equal part of `delta`, each time that the
    number of rows has doubled, and parts that no failure has used up are added.

    Parameters
    ----------
    risk : float, default=0.05
        Largest share of wrong decisions among accepted rows.
    delta : float, default=0.05
        Probability, over the rows of `fit`, that the selective risk is above `risk`
        nevertheless.

    Attributes
    ----------
    confidence_ : float
        Probability of the decided class from which on it is accepted; infinite where
        nothing can be shown, so that nothing is accepted.
    coverage_ : float
        Share of the rows of `fit` that are accepted.
    risk_ : float
        Share of errors among these; nan where there are none.

    Warns
    -----
    UserWarning
        Where nothing can be accepted, with the number of rows that it takes.

    Notes
    -----
    The guarantee is exact for probabilities that are a fixed function of the row, rows
    drawn independently from where they will be used, and a risk that does not fall as
    more rows are accepted. Out-of-fold probabilities come from several calibrators, none
    of which is quite the final one: the guarantee is then approximate. For an exact one,
    fit on rows that no calibrator has seen.

    References
    ----------
    Y. Geifman and R. El-Yaniv (2017), "Selective classification for deep neural
    networks", NeurIPS. A. N. Angelopoulos et al. (2021), "Learn then Test", arXiv
    2110.01052. B. L. Wiens and A. Dmitrienko (2005), "The fallback procedure for
    evaluating a single family of hypotheses", Journal of Biopharmaceutical Statistics 15
    (the starts).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.rejection import RiskAtMost
    >>> p = np.linspace(0.5, 1, 200)
    >>> P, wrong = np.column_stack([1 - p, p]), np.arange(200) < 40
    >>> rejector = RiskAtMost(0.05).fit(P, ~wrong)
    >>> int(rejector.accept(P).sum()), int(rejector.accept(P)[wrong].sum())
    (163, 3)
    """

    needs_labels = True

    def __init__(self, risk: float = 0.05, *, delta: float = 0.05) -> None:
        self.risk = risk
        self.delta = delta

    def _check(self) -> None:
        check_share(self, "risk")
        check_share(self, "delta")

    def fit(
        self, P: ArrayLike, y: ArrayLike, decided: ArrayLike | None = None
    ) -> RiskAtMost:
        """Learn the confidence to ask for.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Calibrated probabilities, of rows that the calibrator has not seen.
        y : array-like of shape (n,)
            Codes 0..K-1.
        decided : array-like of shape (n,), optional
            The codes decided, where they are not the most probable ones.

        Returns
        -------
        RiskAtMost
            Itself, with `confidence_`.
        """
        self._check()
        confidence, codes = _confidence(P, decided)
        sets = NestedSets.above_cuts(confidence, codes != np.asarray(y))
        held = np.flatnonzero(sets.certified(self.risk, self.delta))
        if len(held):
            self.confidence_ = float(sets.cuts[held[-1]])
        else:
            self.confidence_ = np.inf
            warnings.warn(self._explain(sets), stacklevel=2)
        accepted = confidence >= self.confidence_
        self.coverage_ = float(accepted.mean()) if sets.n else 0.0
        wrong = (codes != np.asarray(y))[accepted]
        self.risk_ = float(wrong.mean()) if accepted.any() else np.nan
        return self

    def _explain(self, sets: NestedSets) -> str:
        return (
            f"Nothing is accepted: no part of these {sets.n} rows shows a risk of at "
            f"most {self.risk:g} at delta={self.delta:g}. "
            f"{sets.needed(self.risk, self.delta, 'accepted rows')} Give more labelled "
            "rows, or raise risk or delta."
        )


def make_rejector(reject: Any) -> Any:
    """Turn the `reject` parameter of a classifier into a rejector.

    Parameters
    ----------
    reject : None or rejector
        None for no reject option.

    Returns
    -------
    rejector or None
        An unfitted clone.

    Raises
    ------
    ValueError
        If it is neither, or has parameters out of range.

    Examples
    --------
    >>> from sklearn_logprob.rejection import ChowRule, make_rejector
    >>> make_rejector(ChowRule(0.2))
    ChowRule(cost=0.2)
    """
    if reject is None:
        return None
    methods = ("fit", "accept", "get_params")
    if isinstance(reject, type) or not all(hasattr(reject, name) for name in methods):
        raise ValueError(
            "The 'reject' parameter of LogprobClassifier must be None or a rejector such "
            f"as ChowRule(0.1) or RiskAtMost(0.05). Got {reject!r} instead."
        )
    rejector = clone(reject)
    if isinstance(rejector, (ChowRule, RiskAtMost)):
        rejector._check()  # before any model is asked
    return rejector


@dataclass(frozen=True)
class NestedSets:
    """The sets "score at least cut" of n rows, from the smallest to all rows."""

    n: int
    sizes: Codes  # number of rows in each set
    errors: Codes  # and of wrong ones among them
    cuts: Floats  # midway between two distinct scores

    @classmethod
    def above_cuts(cls, score: Floats, wrong: Mask) -> NestedSets:
        """Make a set for each distinct score."""
        order = np.argsort(-score)
        above, below = score[order], np.append(score[order], 0.0)[1:]
        middle = (above + below) / 2
        last = above > below
        last[-1:] = True  # everything, even where the lowest score is 0
        sizes = np.flatnonzero(last) + 1
        errors = wrong[order].cumsum()[last]
        # neighbouring floats have no middle
        return cls(
            len(score), sizes, errors, np.where(middle > below, middle, above)[last]
        )

    def certified(self, risk: float, delta: float, times: int = 1) -> Mask:
        """Tell which sets have a risk of at most `risk`, all with probability 1 - delta.

        By the fallback procedure: no more is spent on a false proof than the parts of
        delta handed out, each of which is lost with the first test that it fails. Where
        they are handed out depends on n alone, so that a larger risk never proves less.
        `times` repeats every row, to ask what more rows like these would show.
        """
        n, sizes, errors = self.n * times, self.sizes * times, self.errors * times
        p_values = binom.cdf(errors, sizes, risk)
        at_best = binom.cdf(0, sizes, risk)  # without an error
        n_starts = max(1, int(np.log2(max(n, 1) / FIRST_ROWS)))
        starts = np.searchsorted(sizes, n / 2.0 ** np.arange(n_starts, 0, -1))
        held, level = np.zeros(len(sizes), dtype=bool), 0.0
        for begin, end in pairwise([*starts, len(sizes)]):
            level += delta / n_starts
            part = slice(begin, end)
            passed = p_values[part] <= level
            # a set too small to pass whatever its labels are is not tested
            failed = ~passed & (at_best[part] <= level)
            held[part] = passed & ~np.logical_or.accumulate(failed)
            if failed.any():
                level = 0.0
        return held

    def needed(self, risk: float, delta: float, rows: str) -> str:
        """Say how many rows it takes to certify anything."""
        told = f"It takes at least {fewest_rows(risk, delta)} {rows} without an error"
        for times in (2**doublings for doublings in range(1, 11)):
            if self.certified(risk, delta, times).any():
                return f"{told}; of rows like these, about {self.n * times} in all."
        return f"{told}; of rows like these, no number seems to be enough."


def fewest_rows(risk: float, delta: float) -> int:
    """Give the number of rows that prove a risk if none of them is wrong."""
    return int(np.ceil(np.log(delta) / np.log1p(-risk) - 1e-9))


def check_share(owner: Any, name: str, *, ends: bool = False) -> None:
    """Refuse a parameter that is no number between 0 and 1."""
    value = getattr(owner, name)
    number = np.isscalar(value) and np.asarray(value).dtype.kind in "iuf"
    if not number or not (0 < value < 1 or (ends and value in (0, 1))):
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be a number from 0 "
            f"to 1{'' if ends else ', neither of them'}. Got {value!r} instead."
        )


def _confidence(P: ArrayLike, decided: ArrayLike | None) -> tuple[Floats, Codes]:
    """Give the probability of the decided class, and its code."""
    probabilities: Floats = np.asarray(P, dtype=float)
    codes = decide(probabilities) if decided is None else np.asarray(decided, dtype=int)
    return np.take_along_axis(probabilities, codes[:, None], axis=1)[:, 0], codes
