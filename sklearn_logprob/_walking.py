"""Many answers at once: how much probability each shows of each class.

A token counts for a class when it begins exactly one class's surface form. A token that
begins several is followed along the generated path. Each different token is looked at
once, and matrices add up what the rows show of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_logprob._pairs import Ints, Pair, distinct, join, number_of
from sklearn_logprob._reading import AnswerReader, Claim
from sklearn_logprob._types import Answer, Floats

__all__ = ["AT_ONCE", "is_shown", "read_choices", "read_positions"]

AT_ONCE = 8192
"""Answers to read at once: many more take more memory and no less time."""

SENTINEL = -9990.0  # -9999 (OpenAI, vLLM) and -3.4e38 (llama.cpp) mean "below top-k"
TINIEST = 1e-9  # probability of a censored label when top-k shows (almost) everything
UNDERFLOW = 1e-38  # of an exact score: where the model's float32 softmax ends


def is_shown(log_probs: Floats) -> NDArray[np.bool_]:
    """Tell log-probabilities from what stands in their place where there is none.

    Parameters
    ----------
    log_probs : ndarray
        Natural log.

    Returns
    -------
    shown : ndarray of bool
        False for sentinels and what is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._walking import is_shown
    >>> is_shown(np.array([-0.1, -9999.0, np.nan]))
    array([ True, False, False])
    """
    return np.asarray(np.isfinite(log_probs) & (log_probs > SENTINEL))


def read_choices(reader: AnswerReader, answers: Sequence[Answer]) -> Floats:
    """Sum exact scores over the spellings of each class.

    Parameters
    ----------
    reader : AnswerReader
        Knows the labels.
    answers : sequence of Answer
        With choices.

    Returns
    -------
    read : ndarray of shape (n_answers, 3, n_classes)
        Probabilities; point, lower and upper are the same.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob._reading import AnswerReader
    >>> from sklearn_logprob._walking import read_choices
    >>> reader = AnswerReader([["bad"], ["good"]])
    >>> answer = Answer(choices=((" bad", -2.0), ("bad", -3.0), (" good", -0.5)))
    >>> read_choices(reader, [answer])[0, 0].round(3)
    array([0.185, 0.607])
    """
    shape = len(answers), reader.n_classes
    numbers, values, rows = join([answer.choices for answer in answers])
    texts, places = distinct(numbers)
    owners = np.array([reader.owner[text] for text in texts], dtype=np.intp)
    cells = rows * shape[1] + owners[places]
    summed = np.bincount(cells, np.exp(values), shape[0] * shape[1])
    p = np.asarray(summed, dtype=np.float64).reshape(shape)
    p = np.maximum(p, UNDERFLOW) / np.maximum(1.0, _sums(p))
    return np.repeat(p[:, None], 3, axis=1)


def read_positions(reader: AnswerReader, answers: Sequence[Answer]) -> Floats:
    """Read the alternatives along the generated paths.

    Parameters
    ----------
    reader : AnswerReader
        Knows the labels.
    answers : sequence of Answer
        With positions, or with nothing.

    Returns
    -------
    read : ndarray of shape (n_answers, 3, n_classes)
        Probabilities: point, lower and upper.

    Examples
    --------
    >>> from sklearn_logprob import Answer, TokenLogprobs
    >>> from sklearn_logprob._reading import AnswerReader
    >>> from sklearn_logprob._walking import read_positions
    >>> reader = AnswerReader([["bad"], ["good"]])
    >>> answer = Answer((TokenLogprobs(" good", -0.5, ((" good", -0.5),)),))
    >>> read_positions(reader, [answer]).round(3).tolist()
    [[[0.393, 0.607], [0.0, 0.607], [0.393, 1.0]]]
    """
    walk = _Walk(reader, answers)
    begun = np.flatnonzero([len(positions) for positions in walk.positions])
    first = walk.step(0, begun, np.ones(len(begun)))
    floor, left = np.ones(len(answers)), np.ones(len(answers))
    np.minimum.at(floor, begun[first.owners], first.p)
    left[begun] = np.maximum(first.hidden, TINIEST)
    point = walk.sure + walk.shared
    unseen = point <= 0
    share = np.minimum(floor, left / np.maximum(1, unseen.sum(axis=1)))
    point = np.where(unseen, share[:, None], point)
    point /= np.maximum(1.0, _sums(point))
    upper = np.minimum(np.maximum(walk.sure + walk.possible, point), 1.0)
    return np.stack([point, np.minimum(walk.sure, point), upper], axis=1)


@dataclass(frozen=True, slots=True)
class _Shown:
    """Alternatives at one position of several rows, sentinels left out."""

    numbers: NDArray[np.int32]
    p: Floats
    owners: Ints  # the row of each alternative
    hidden: Floats  # of each row, the probability that is not shown


def _shown(tops: Sequence[Sequence[Pair]]) -> _Shown:
    numbers, log_probs, owners = join(tops)
    known = is_shown(log_probs)
    numbers, owners = numbers[known], owners[known]
    p = np.exp(np.minimum(log_probs[known], 0.0))
    total = np.bincount(owners, p, len(tops))
    p /= np.maximum(1.0, total)[owners]  # coarse APIs may exceed 1
    return _Shown(numbers, p, owners, np.maximum(0.0, 1.0 - total))


class _Walk:
    """Probability by row and class while answers are read."""

    def __init__(self, reader: AnswerReader, answers: Sequence[Answer]) -> None:
        self.reader = reader
        self.positions = [answer.positions for answer in answers]
        shape = len(answers), reader.n_classes
        self.sure = np.zeros(shape)  # certainly this class
        self.shared = np.zeros(shape)  # its part of what may be one of several
        self.possible = np.zeros(shape)  # everything beyond `sure` that it may be

    def step(
        self, depth: int, rows: Ints, reach: Floats, written: str = "", held: Any = None
    ) -> _Shown:
        """Credit the alternatives at one position of some rows, and follow the chosen.

        `reach` is the probability of having `written` what stands before; `held` the
        class that it already says, while it may still become a longer label.
        """
        here = [self.positions[row][depth] for row in rows.tolist()]
        shown = _shown([position.top for position in here])
        hidden = reach * shown.hidden
        may_say = np.array(sorted(self.reader.match(written)[1]), dtype=np.intp)
        self.possible[np.ix_(rows, may_say)] += hidden[:, None]
        if held is not None:
            self.shared[rows, held] += hidden
            self.possible[rows, held] += hidden
        texts, places = distinct(shown.numbers)
        claims = [self.reader.claim(written + text, held) for text in texts]
        mass = reach[shown.owners] * shown.p

        ongoing = (
            np.array([len(self.positions[row]) for row in rows.tolist()]) > depth + 1
        )
        if ongoing.any():
            undecided = np.array([bool(k) and kind != "sure" for kind, k in claims], bool)
            chosen = np.array([number_of(position.token) for position in here])
            goes_on = (shown.numbers == chosen[shown.owners]) & ongoing[shown.owners]
            taken = np.flatnonzero(goes_on & undecided[places])
            # a text may stand for several tokens: the likeliest is followed
            taken = taken[np.unique(shown.owners[taken], return_index=True)[1]]
            for place in np.unique(places[taken]):
                same = taken[places[taken] == place]
                text = written + texts[place]
                said = next(iter(self.reader.match(text)[0]), None)
                self.step(depth + 1, rows[shown.owners[same]], mass[same], text, said)
            mass[taken] = 0.0
        self._credit(rows, claims, mass, shown.owners, places)
        return shown

    def _credit(
        self,
        rows: Ints,
        claims: Sequence[tuple[Claim, frozenset[int]]],
        mass: Floats,
        owners: Ints,
        places: Ints,
    ) -> None:
        """Give the mass of each alternative to the classes that its text may be."""
        ends = np.searchsorted(owners, np.arange(len(rows) + 1))
        shape = len(rows), len(claims)
        shows = sparse.csr_matrix((mass, places, ends), shape=shape)
        each = [(t, k, kind, len(ks)) for t, (kind, ks) in enumerate(claims) for k in ks]
        credits = (
            (self.sure, [(t, k, 1.0) for t, k, kind, _ in each if kind == "sure"]),
            (self.shared, [(t, k, 1.0 / n) for t, k, kind, n in each if kind == "open"]),
            (self.possible, [(t, k, 1.0) for t, k, kind, _ in each if kind != "sure"]),
        )
        for total, entries in credits:
            if entries:
                t, k, weights = map(np.array, zip(*entries, strict=True))
                shape = len(claims), total.shape[1]
                owned = sparse.csr_matrix((weights, (t, k)), shape=shape)
                total[rows] += (shows @ owned).toarray()


def _sums(p: Floats) -> Floats:
    return np.asarray(p.sum(axis=1, keepdims=True))
