"""Predictions for batches of rows, one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_logprob._label_heads import LabelHeads

__all__ = ["predict_batches"]

READINGS: dict[str, Callable[[Any, Any], Any]] = {
    "predict_proba": lambda clf, P: clf._head.shown(P),
    "predict": lambda clf, P: clf._head.named(clf._head.decide(P), clf.classes_),
    "accept": lambda clf, P: clf._head.accept(P),
}
"""Name of a method → what it makes of the probabilities."""


def predict_batches(
    clf: Any, batches: Iterable[Any], method: str | Sequence[str]
) -> Iterator[Any]:
    """Ask about each batch once, when its result is wanted.

    Parameters
    ----------
    clf : LogprobClassifier
        Fitted.
    batches : iterable of array-like
        Texts or tables, as `predict` takes them; they may be empty.
    method : str or sequence of str
        Names in `READINGS`.

    Returns
    -------
    results : iterator
        For each batch what the method gives for it; for several methods a tuple.

    Raises
    ------
    ValueError
        If a method is none of these, or is not possible.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob._streaming import predict_batches
    >>> clf = LogprobClassifier(FakeBackend(), classes=["bad", "good"]).fit()
    >>> [len(P) for P in predict_batches(clf, [["fine", "dull"], []], "predict")]
    [2, 0]
    """
    check_is_fitted(clf)
    names = (method,) if isinstance(method, str) else tuple(method)
    if not names or not set(names) <= READINGS.keys():
        raise ValueError(
            "The 'method' parameter of predict_batches must be "
            f"{', '.join(map(repr, READINGS))} or several of them. "
            f"Got {method!r} instead."
        )
    of_labels = (len(clf.classes_), 2) if isinstance(clf._head, LabelHeads) else None
    nothing = np.empty((0, *(of_labels or (len(clf.classes_),))))

    def read(P: Any) -> Any:
        results = tuple(READINGS[name](clf, P) for name in names)
        return results[0] if isinstance(method, str) else results

    empty = read(nothing)  # what is not possible fails here, before anything is asked
    return (read(clf._proba(batch)) if len(batch) else empty for batch in batches)
