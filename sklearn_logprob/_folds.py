"""Rows that are held out, and predictions for them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from sklearn_logprob._types import Floats

__all__ = ["Fold", "check_folds", "held_out", "make_folds"]

Numbers: TypeAlias = NDArray[np.integer[Any]]
Fold: TypeAlias = tuple[Numbers, Numbers]  # rows to fit on, rows held out


def check_folds(cv: Any, random_state: Any = None) -> None:
    """Refuse, before the model is asked, what splits no rows.

    Parameters
    ----------
    cv : int, splitter, iterable or None
        As `make_folds` takes it.
    random_state : int, RandomState or None, default=None
        Shuffles the folds.

    Raises
    ------
    ValueError
        If one of them is anything else.

    Examples
    --------
    >>> from sklearn_logprob._folds import check_folds
    >>> check_folds(5, random_state=0)
    """
    check_random_state(random_state)
    if isinstance(cv, Integral):
        splits = int(cv) >= 2
    else:
        known = cv is None or hasattr(cv, "split") or isinstance(cv, Iterable)
        splits = known and not isinstance(cv, str | type)
    if not splits:
        raise ValueError(
            "The 'cv' parameter of LogprobClassifier must be an integer of at least 2, a "
            "splitter such as StratifiedKFold(5), or a list of pairs of row numbers (to "
            f"fit on, to hold out). Got {cv!r} instead."
        )


def make_folds(cv: Any, y: ArrayLike, random_state: Any = None) -> list[Fold]:
    """Split rows into those to fit on and those held out.

    Parameters
    ----------
    cv : int or splitter
        A number means shuffled stratified folds, as many as the most frequent class has
        members or fewer.
    y : array-like of shape (n_samples,)
        Class codes.
    random_state : int, RandomState or None, default=None
        Shuffles the folds.

    Returns
    -------
    folds : list of (ndarray, ndarray)
        Row numbers; empty where no split is possible (under 4 rows, or no class twice).

    Raises
    ------
    ValueError
        If a row is never held out.

    Examples
    --------
    >>> from sklearn_logprob._folds import make_folds
    >>> [len(held_out) for _, held_out in make_folds(5, [0, 1, 0, 1, 0, 1])]
    [2, 2, 2]
    """
    from sklearn.model_selection import (  # noqa: PLC0415 -- slow to import
        StratifiedKFold,
        check_cv,
    )

    codes = np.asarray(y)
    if isinstance(cv, Integral):
        largest = np.unique(codes, return_counts=True)[1].max()
        if len(codes) < 4 or largest < 2:
            return []
        n_folds = min(int(cv), largest)
        cv = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # as below
        folds = list(check_cv(cv, codes, classifier=True).split(codes, codes))
    if len(np.unique(np.concatenate([test for _, test in folds]))) < len(codes):
        raise ValueError(
            "The 'cv' parameter of LogprobClassifier must hold out every row at least "
            f"once. Got {cv!r} instead."
        )
    return folds


def held_out(
    predict: Callable[[Numbers, Numbers], Floats],
    folds: Sequence[Fold],
    shape: tuple[int, ...],
) -> Floats:
    """Gather predictions for the rows that are held out.

    Parameters
    ----------
    predict : callable
        From the rows to fit on and those held out to predictions for the latter, of
        shape (..., n_held_out, n_columns).
    folds : sequence of (ndarray, ndarray)
        What `make_folds` gives.
    shape : tuple of int
        That of the result, (..., n_samples, n_columns).

    Returns
    -------
    predictions : ndarray
        The mean, where a row is held out repeatedly.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._folds import held_out, make_folds
    >>> y = np.array([0, 0, 1, 1])
    >>> def fitted_on(train, test):
    ...     return np.full((len(test), 1), len(train))
    >>> held_out(fitted_on, make_folds(2, y), (4, 1)).T
    array([[2., 2., 2., 2.]])
    """
    total, times = np.zeros(shape), np.zeros((shape[-2], 1))
    with warnings.catch_warnings():
        # Folds short of a rare class are expected; the final fit warns of the rest.
        warnings.simplefilter("ignore", UserWarning)
        for train, test in folds:
            total[..., test, :] += predict(train, test)
            times[test] += 1
    return np.asarray(total / times)
