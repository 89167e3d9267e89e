"""Sampled answers against one reading: what asking many times would have told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_logprob._draws import label_counts
from sklearn_logprob._errors import RowError
from sklearn_logprob._inputs import read_rows
from sklearn_logprob._optional import import_pandas
from sklearn_logprob._reading import AnswerReader
from sklearn_logprob._sweep import share_interval
from sklearn_logprob._types import Floats
from sklearn_logprob.backends.sampling import SamplingBackend

__all__ = ["DrawnAnswers", "draw_answers", "soft_against_hard"]


@dataclass(frozen=True)
class DrawnAnswers:
    """What a model said again and again, and what one call reads.

    Parameters
    ----------
    texts : list of str
        What it was asked about.
    classes : ndarray of shape (n_classes,)
        The classes.
    said : ndarray of bool of shape (n_texts, n_draws, n_classes)
        Which class each answer says; none where it says something else.
    probability : ndarray of shape (n_texts, n_classes)
        The probability of each class's label words, from one call.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob.soft_hard import draw_answers
    >>> model = FakeBackend({"great": {"positive": 2.0}})
    >>> clf = LogprobClassifier(
    ...     model, prompt="{text}", classes=["negative", "positive"]
    ... ).fit()
    >>> draw_answers(clf, ["great", "so"], n_draws=50).said.shape
    (2, 50, 2)
    """

    texts: list[str]
    classes: NDArray[Any]
    said: NDArray[np.bool_]
    probability: Floats


def soft_against_hard(clf: Any, X: Any, n_draws: int = 100) -> Any:
    """Ask for whole answers many times, and compare their shares with one reading.

    One call shows the probability of every label. A sampled answer is one label; the
    share of the answers that say it tends to the same number, with a standard error of
    ``sqrt(p (1 - p) / n_draws)``.

    Parameters
    ----------
    clf : LogprobClassifier
        Fitted; its model must write text as well as show probabilities.
    X : array-like
        A few texts, or rows of a table.
    n_draws : int, default=100
        How many answers to draw for each. They are kept in the classifier's cache: more
        of them later are added to those that there are.

    Returns
    -------
    frame : pandas.DataFrame
        For each text, class and number of answers from 1 on: "row", "text", "class",
        "n_draws", "share", the ends "low" and "high" of its 95 % interval
        (Clopper-Pearson), and "probability" from one call. Both count other words as
        no label, so that neither sums to 1.

    See Also
    --------
    sklearn_logprob.plots.SoftHardDisplay : Draws it.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob.soft_hard import soft_against_hard
    >>> model = FakeBackend({"great": {"positive": 2.0}})
    >>> clf = LogprobClassifier(
    ...     model, prompt="{text}", classes=["negative", "positive"]
    ... ).fit()
    >>> frame = soft_against_hard(clf, ["great"], n_draws=200)
    >>> last = frame.iloc[-1]
    >>> str(last["class"]), int(last["n_draws"]), round(float(last["probability"]), 3)
    ('positive', 200, 0.705)
    >>> bool(last["low"] < last["probability"] < last["high"])
    True
    """
    pd = import_pandas("soft_against_hard")
    drawn = draw_answers(clf, X, n_draws)
    n_texts, _, n_classes = drawn.said.shape
    number = np.arange(1, n_draws + 1)
    parts = []
    for i, k in np.ndindex(n_texts, n_classes):
        hits = drawn.said[i, :, k].cumsum()
        low, high = share_interval(hits, number)
        parts.append(
            pd.DataFrame(
                {
                    "row": i,
                    "text": drawn.texts[i],
                    "class": drawn.classes[k],
                    "n_draws": number,
                    "share": hits / number,
                    "low": low,
                    "high": high,
                    "probability": drawn.probability[i, k],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def draw_answers(clf: Any, X: Any, n_draws: int = 100) -> DrawnAnswers:
    """Do the work of `soft_against_hard`, without pandas.

    Parameters
    ----------
    clf : LogprobClassifier
        Fitted.
    X : array-like
        A few texts, or rows of a table.
    n_draws : int, default=100
        How many answers to draw for each.

    Returns
    -------
    drawn : DrawnAnswers
        Answers and probabilities.

    Raises
    ------
    ValueError
        If a row takes several requests, or `n_draws` is no positive integer.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob.soft_hard import draw_answers
    >>> clf = LogprobClassifier(FakeBackend(), prompt="{text}", classes=["a", "b"]).fit()
    >>> draw_answers(clf, ["so"], n_draws=5).probability.shape
    (1, 2)
    """
    check_is_fitted(clf)
    if not isinstance(n_draws, int) or n_draws < 1:
        raise ValueError(
            "The 'n_draws' parameter of soft_against_hard must be an integer of at least "
            f"1. Got {n_draws!r} instead."
        )
    if clf._scorer.per_row != 1:
        raise ValueError(
            "soft_against_hard compares single answers, and this classifier asks "
            f"{clf._scorer.per_row} times about each row: leave n_chains and "
            "permutations at 1."
        )
    rows = read_rows(X, clf, reset=False)
    probability = np.exp(clf.label_scores(X))
    once = SamplingBackend(clf.backend_, n_samples=1, adaptive=False)
    scorer = replace(clf._scorer, backend=once)
    requests = [
        replace(request, draw=draw)
        for request in scorer.requests(rows)
        for draw in range(n_draws)
    ]
    outcomes = scorer.ask(requests, clf.cache, clf.usage_, clf.verbose)
    reader = AnswerReader(scorer.views[0].spellings)
    said = [
        np.zeros(reader.n_classes)
        if isinstance(outcome, RowError)
        else label_counts(reader, outcome.draws)
        for outcome in outcomes
    ]
    shape = len(rows), n_draws, reader.n_classes
    texts = ["\n".join(values) for values in rows.values]
    return DrawnAnswers(
        texts, clf.classes_, np.asarray(said).reshape(shape) > 0, probability
    )
