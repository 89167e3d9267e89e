"""Texts that were drawn from a model, to label probabilities with standard errors.

A model that shows no log-probabilities can still be asked several times. The share of
the answers that say a label estimates the label's probability. Shares of 0 have no
logarithm, so one answer in all is added, spread evenly over the labels [1]_. An answer
that says no label, or not clearly one, counts among the answers and for no label: the
probabilities of the labels then sum to less than 1.

References
----------
.. [1] W. Perks, "Some observations on inverse probability including a new indifference
   rule", Journal of the Institute of Actuaries 73, 1947.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sklearn_logprob._reading import AnswerReader
from sklearn_logprob._types import Answer, Floats

__all__ = [
    "label_counts",
    "read_draws",
    "sampling_error",
    "smoothed",
    "standard_error",
]

ADDED = 1.0  # answers, over all labels


def label_counts(reader: AnswerReader, draws: Sequence[tuple[str, int]]) -> Floats:
    """Count the answers that say each label.

    Parameters
    ----------
    reader : AnswerReader
        Knows the labels.
    draws : sequence of (str, int)
        Texts, and how often each was drawn.

    Returns
    -------
    counts : ndarray of shape (n_classes,)
        Answers that begin with it, decoration such as a quotation mark aside.

    Examples
    --------
    >>> from sklearn_logprob._draws import label_counts
    >>> from sklearn_logprob._reading import AnswerReader
    >>> reader = AnswerReader([["bad"], ["good"]])
    >>> label_counts(reader, [("good", 3), ("**good**.", 1), ("It depends", 1)])
    array([0., 4.])
    """
    counts = np.zeros(reader.n_classes)
    for text, times in draws:
        said, _ = reader.match(text)
        for label in said:  # one at most: no two labels are spelt alike
            counts[label] += times
    if reader.rest is not None:  # the class of all that is no label
        counts[reader.rest] = sum(times for _, times in draws) - counts.sum()
    return counts


def smoothed(counts: ArrayLike, n_draws: float) -> Floats:
    """Estimate probabilities from counts, none of them 0.

    Parameters
    ----------
    counts : array-like of shape (..., n_classes)
        Answers for each label.
    n_draws : float
        All answers, at least as many as the counts sum to.

    Returns
    -------
    probabilities : ndarray of shape (..., n_classes)
        They sum to 1 where every answer says a label, else to less.

    Examples
    --------
    >>> from sklearn_logprob._draws import smoothed
    >>> smoothed([3, 0], 3), smoothed([0, 0], 3)
    (array([0.875, 0.125]), array([0.125, 0.125]))
    """
    counted = np.asarray(counts, dtype=np.float64)
    return np.asarray((counted + ADDED / counted.shape[-1]) / (n_draws + ADDED))


def standard_error(probabilities: ArrayLike, n_draws: float) -> Floats:
    """Say how far shares of so many answers scatter.

    Parameters
    ----------
    probabilities : array-like
        Of single labels.
    n_draws : float
        Answers that the shares are taken of.

    Returns
    -------
    errors : ndarray
        Standard errors, as probabilities; infinite without any answer.

    Examples
    --------
    >>> from sklearn_logprob._draws import standard_error
    >>> standard_error([0.5, 0.9], 100)
    array([0.05, 0.03])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(p * (1.0 - p) / np.float64(n_draws)))


def read_draws(
    reader: AnswerReader, draws: Sequence[tuple[str, int]]
) -> tuple[Floats, Floats, Floats]:
    """Give each label's probability, and that less and plus one standard error.

    Parameters
    ----------
    reader : AnswerReader
        Knows the labels.
    draws : sequence of (str, int)
        Texts, and how often each was drawn.

    Returns
    -------
    point, lower, upper : ndarray of shape (n_classes,)
        Probabilities; `lower` is 0 for a label that no answer says.

    Examples
    --------
    >>> from sklearn_logprob._draws import read_draws
    >>> from sklearn_logprob._reading import AnswerReader
    >>> reader = AnswerReader([["bad"], ["good"]])
    >>> [p.round(2).tolist() for p in read_draws(reader, [("good", 20)])]
    [[0.02, 0.98], [0.0, 0.94], [0.06, 1.0]]
    """
    n_draws = sum(times for _, times in draws)
    counts = label_counts(reader, draws)
    point = smoothed(counts, n_draws)
    error = standard_error(point, n_draws)
    lower = np.where(counts > 0, point - error, 0.0)
    return point, lower, np.minimum(point + error, 1.0)


def sampling_error(
    answers: Sequence[Answer], spellings: Sequence[Sequence[str]]
) -> float:
    """Say how uncertain the largest probability of a typical text is.

    Parameters
    ----------
    answers : sequence of Answer
        One a text.
    spellings : sequence of sequence of str
        What counts for each class.

    Returns
    -------
    error : float
        Median over the texts whose answers were drawn of the standard error of the
        largest label probability; nan if there are none.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob._draws import sampling_error
    >>> answer = Answer(draws=(("good", 19), ("bad", 6)))
    >>> round(sampling_error([answer], [["bad"], ["good"]]), 2)
    0.09
    """
    reader = AnswerReader(spellings)
    errors = []
    for answer in answers:
        if answer.draws:
            n_draws = sum(times for _, times in answer.draws)
            point = smoothed(label_counts(reader, answer.draws), n_draws)
            errors.append(standard_error(point.max(), n_draws))
    return float(np.median(errors)) if errors else float("nan")
