"""Answers to label log scores. Nothing downstream knows what a token is.

Exact scores (``Answer.choices``) are summed over the spellings of each class. From the
top-k alternatives of a generated answer, a token counts for a class when it begins
exactly one class's surface form. A token that begins several is followed along the
generated path, and where the path went elsewhere it is *ambiguous*: shared equally
among the classes that it may begin. What top-k did not show is *censored*: it lies
between nothing and the probability that is left over, and the score is that of a token
just below the last one shown, at most an equal share of what is left. Texts that were
drawn are counted, with a standard error for bounds. In every case the scores of the
classes log-sum to at most 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from operator import eq
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from sklearn_logprob._draws import read_draws
from sklearn_logprob._pairs import distinct, join
from sklearn_logprob._reading import AnswerReader
from sklearn_logprob._types import Answer, Floats
from sklearn_logprob._walking import AT_ONCE, read_choices, read_positions

__all__ = [
    "LabelScores",
    "choices_of",
    "label_mass",
    "label_scores",
    "other_tokens",
    "tokens_to_read",
]

Bools = NDArray[np.bool_]

CHARACTERS_A_TOKEN = 3  # in English about four; fewer elsewhere


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Label log scores and how far the answers determine them.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Label log scores (natural log); rows log-sum to at most 0.
    lower, upper : ndarray of shape (n_samples, n_classes)
        Bounds of the scores; equal where they are exact. `lower` may be -inf. Of texts
        that were drawn, one standard error to either side of the probability.
    censored : ndarray of bool of shape (n_samples, n_classes)
        Where the answer shows nothing of the label.

    Examples
    --------
    >>> from sklearn_logprob import Answer, TokenLogprobs
    >>> from sklearn_logprob.scoring import label_scores
    >>> answer = Answer((TokenLogprobs(" good", -0.5, ((" good", -0.5),)),))
    >>> read = label_scores([answer], [["bad"], ["good"]])
    >>> read.censored
    array([[ True, False]])
    >>> read.upper.round(3)  # "bad" has at most what " good" leaves, "good" perhaps all
    array([[-0.933,  0.   ]])
    """

    scores: Floats
    lower: Floats
    upper: Floats
    censored: Bools


def choices_of(spellings: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """List every text to score: each spelling, with and without a leading space.

    Parameters
    ----------
    spellings : sequence of sequence of str
        What counts for each class.

    Returns
    -------
    choices : tuple of str
        Sorted, so that the order of the classes does not change a request.

    Examples
    --------
    >>> from sklearn_logprob.scoring import choices_of
    >>> choices_of([["bad"], ["good"]])
    (' bad', ' good', 'bad', 'good')
    """
    return tuple(sorted({p + s for forms in spellings for s in forms for p in ("", " ")}))


def label_scores(
    answers: Sequence[Answer], spellings: Sequence[Sequence[str]]
) -> LabelScores:
    """Read the label log scores out of the answers.

    Parameters
    ----------
    answers : sequence of Answer
        One a sample.
    spellings : sequence of sequence of str
        What counts for each class, no spelling in two.

    Returns
    -------
    scores : LabelScores
        Scores with their bounds.

    Examples
    --------
    >>> from sklearn_logprob import Answer, TokenLogprobs
    >>> from sklearn_logprob.scoring import label_scores
    >>> top = ((" good", -0.5), (" bad", -1.5), (" the", -3.0))
    >>> answer = Answer((TokenLogprobs(" good", -0.5, top),))
    >>> label_scores([answer], [["bad"], ["good"]]).scores
    array([[-1.5, -0.5]])
    """
    reader = AnswerReader(spellings)
    table = np.empty((len(answers), 3, len(spellings)))
    for start in range(0, len(answers), AT_ONCE):
        block = answers[start : start + AT_ONCE]
        for read, places in _sorted(block).items():
            if places:
                some = [block[place] for place in places]
                table[np.add(places, start)] = read(reader, some)
    with np.errstate(divide="ignore"):
        scores, lower, upper = (np.log(table[:, i]) for i in range(3))
    return LabelScores(scores, lower, upper, np.isneginf(lower) & (upper > lower))


def _sorted(answers: Sequence[Answer]) -> dict[Callable[..., Any], list[int]]:
    """Sort answers by what reads them, according to what there is."""
    places: dict[Callable[..., Any], list[int]]
    places = {read_choices: [], read_positions: [], _read_draws: []}
    for place, answer in enumerate(answers):
        if answer.choices:
            places[read_choices].append(place)
        elif answer.positions or not answer.draws:
            places[read_positions].append(place)
        else:
            places[_read_draws].append(place)
    return places


def _read_draws(reader: AnswerReader, answers: Sequence[Answer]) -> Floats:
    return np.array([read_draws(reader, answer.draws) for answer in answers])


def tokens_to_read(spellings: Sequence[Sequence[str]], *, whole: bool = False) -> int:
    """Estimate how many generated tokens tell the labels apart.

    Parameters
    ----------
    spellings : sequence of sequence of str
        What counts for each class.
    whole : bool, default=False
        Whether to read every label to its end.

    Returns
    -------
    n_tokens : int
        1 where the labels differ within their first letters. A chat endpoint tells no
        tokenisation, so shared beginnings are taken at three characters a token.

    Examples
    --------
    >>> from sklearn_logprob.scoring import tokens_to_read
    >>> tokens_to_read([["bad"], ["good"]])
    1
    >>> tokens_to_read([["technical issue"], ["technical question"]])
    5
    """
    if whole:
        longest = max(len(form) for forms in spellings for form in forms)
        return 1 + longest // CHARACTERS_A_TOKEN
    owned = sorted((form, k) for k, forms in enumerate(spellings) for form in forms)
    # In sorted order the longest common beginning is that of two neighbours.
    shared = max(
        (
            sum(takewhile(bool, map(eq, one, other)))
            for (one, k), (other, j) in pairwise(owned)
            if k != j
        ),
        default=0,
    )
    return 1 if shared < CHARACTERS_A_TOKEN else 2 + shared // CHARACTERS_A_TOKEN


def label_mass(scores: Floats) -> Floats:
    """Give the share of the model's probability that lands on any label.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Label log scores (natural log).

    Returns
    -------
    mass : ndarray of shape (n_samples,)
        Probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.scoring import label_mass
    >>> label_mass(np.log([[0.2, 0.3]])).round(3)
    array([0.5])
    """
    return np.asarray(np.exp(logsumexp(scores, axis=1)))


def other_tokens(
    answers: Sequence[Answer], spellings: Sequence[Sequence[str]], n_tokens: int = 20
) -> NDArray[np.void]:
    """Tabulate what the model wanted to say besides the labels.

    Parameters
    ----------
    answers : sequence of Answer
        One a sample.
    spellings : sequence of sequence of str
        What counts for each class.
    n_tokens : int, default=20
        How many tokens to list. Where texts were drawn, these stand for tokens.

    Returns
    -------
    table : structured ndarray with the fields ``token`` and ``mean_probability``
        Most probable first; ``pandas.DataFrame(table)`` shows it. Tokens that differ in
        surrounding space only are summed.

    Examples
    --------
    >>> from sklearn_logprob import Answer, TokenLogprobs
    >>> from sklearn_logprob.scoring import other_tokens
    >>> top = ((" good", -0.5), (" bad", -1.5), (" the", -3.0))
    >>> answer = Answer((TokenLogprobs(" good", -0.5, top),))
    >>> other_tokens([answer], [["bad"], ["good"]])
    array([('the', 0.04978707)],
          dtype=[('token', 'O'), ('mean_probability', '<f8')])
    """
    reader = AnswerReader(spellings)
    total: dict[str, float] = defaultdict(float)
    for start in range(0, len(answers), AT_ONCE):
        for token, probability in _shares(answers[start : start + AT_ONCE]):
            if not any(reader.match(token)):
                total[token.strip() or token] += probability
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:n_tokens]
    rows = [(token, p / len(answers)) for token, p in ranked]
    return np.array(rows, dtype=[("token", object), ("mean_probability", np.float64)])


def _shares(answers: Sequence[Answer]) -> Iterator[tuple[str, float]]:
    """Give the first tokens, or else the drawn texts, with their probabilities."""
    numbers, values, _ = join([a.positions[0].top for a in answers if a.positions])
    texts, places = distinct(numbers)
    total = np.bincount(places, np.exp(np.minimum(values, 0.0)), len(texts))
    yield from zip(texts, total.tolist(), strict=True)
    for answer in answers:
        if not answer.positions:
            n_draws = sum(times for _, times in answer.draws)
            yield from ((text, times / n_draws) for text, times in answer.draws)
