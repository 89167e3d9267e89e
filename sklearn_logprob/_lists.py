"""Reading a written list of labels: how probable it is that each is mentioned.

The answer is one list out of many that the model might have written. At every position
it shows the alternatives, so that the others can be weighed without asking again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sklearn_logprob._reading import AnswerReader
from sklearn_logprob._types import Answer, Floats, Outcome, TokenLogprobs
from sklearn_logprob._walking import TINIEST, is_shown, read_begun, read_positions
from sklearn_logprob.scoring import LabelScores

__all__ = ["ENOUGH", "mention_scores"]

SEPARATORS = {",", ";", "/", "|", "&", "+", "and", "or"}
ENOUGH = float(np.log1p(-TINIEST))  # log of the largest probability: odds stay finite


@dataclass(frozen=True)
class _Place:
    """A position where a label may begin.

    Parameters
    ----------
    begun : ndarray of shape (L,)
        Probability that each label begins here.
    written : int or None
        The label that the answer writes here.
    passed : float
        Otherwise, the probability of going on as the answer does.
    """

    begun: Floats
    written: int | None
    passed: float


def mention_scores(
    outcomes: Sequence[Outcome], spellings: Sequence[Sequence[str]]
) -> LabelScores:
    r"""Read the log-probability that each label is mentioned.

    With q(k) the probability that the next label is k, read at a position as scoring
    reads an answer, and x'(k) the probability that k is mentioned further on::

        x(k) = q(k) + x'(k) (sum of q(j) over the other labels j)

    for a label k that the answer does not write at this position; for the one that it
    writes, what would have come after another label j is not shown, and the two are
    taken to go together as often in either order::

        x(k) = q(k) + sum of q(j) x'(j) over the other labels j

    Where no label is written, x'(k) counts with the probability of the token that is, a
    separator with all separators. After the last position x is 0, and the first is read.

    Parameters
    ----------
    outcomes : sequence of Answer or RowError
        One a sample.
    spellings : sequence of sequence of str
        What counts for each label, no spelling in two.

    Returns
    -------
    scores : LabelScores
        Natural log, shape (n_samples, n_labels); NaN in rows without an answer. A label
        that is nowhere shown is censored, and as probable as scoring takes it to be at
        the first position. Nothing is bounded: other lists may mention any label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob import Answer, TokenLogprobs
    >>> from sklearn_logprob._lists import mention_scores
    >>> shown = [{" art": 0.6, " sport": 0.4}, {",": 0.5, "\n": 0.5}, {" sport": 1.0}]
    >>> tops = [tuple((t, float(np.log(p))) for t, p in one.items()) for one in shown]
    >>> answer = Answer(tuple(TokenLogprobs(*top[0], top) for top in tops))
    >>> np.exp(mention_scores([answer], [["art"], ["sport"]]).scores).round(2)
    array([[0.8, 0.7]])
    """
    reader = AnswerReader(spellings)
    shape = (len(outcomes), len(spellings))
    scores, censored = np.full(shape, np.nan), np.ones(shape, dtype=bool)
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, Answer):
            found = _mentioned(reader, outcome.positions)
            censored[row] = found == 0
            unseen = read_positions(reader, [outcome])[0, 0]
            likely = np.where(found > 0, found, unseen)
            scores[row] = np.minimum(np.log(likely), ENOUGH)
    nothing = np.where(np.isnan(scores), np.nan, -np.inf)
    return LabelScores(scores, nothing, np.where(np.isnan(scores), np.nan, 0), censored)


def _mentioned(reader: AnswerReader, positions: Sequence[TokenLogprobs]) -> Floats:
    """Give the probability that each label is mentioned, from the last place back."""
    x: Floats = np.zeros(reader.n_classes)
    for place in reversed(_places(reader, positions)):
        q, k = place.begun, place.written
        others = q.sum() - q
        if k is None:
            x = q + np.minimum(place.passed + others, 1 - q) * x
        else:
            swapped = q[k] + q @ x - q[k] * x[k]
            x = q + others * x
            x[k] = swapped
    return x.clip(0, 1)


def _places(reader: AnswerReader, positions: Sequence[TokenLogprobs]) -> list[_Place]:
    """Walk along the answer, from one place where a label may begin to the next."""
    found: list[tuple[int, int | None]] = []
    at, between, any_label = 0, "", False
    while at < len(positions) and not (any_label and _is_over(between)):
        label, length = _written(reader, positions[at:])
        found.append((at, label))
        if label is None:
            between += positions[at].token
        else:
            between, any_label = "", True
        at += length
    if not found:
        return []
    begun = read_begun(reader, [Answer(tuple(positions[at:])) for at, _ in found])
    return [
        _Place(begins, label, _passed(positions[at]))
        for begins, (at, label) in zip(begun, found, strict=True)
    ]


def _written(
    reader: AnswerReader, positions: Sequence[TokenLogprobs]
) -> tuple[int | None, int]:
    """Tell which label the answer writes next, and in how many positions.

    Without one it is None, and one position.
    """
    text, label, length = "", None, 1
    for number, position in enumerate(positions, 1):
        text += position.token
        said, may_say = reader.match(text)
        if said - {label}:
            label, length = next(iter(said)), number
        if not may_say:
            break
    return label, length


def _is_over(between: str) -> bool:
    """Whether a line has ended with more than the marks of a list."""
    return "\n\n" in between or ("\n" in between and any(map(str.isalpha, between)))


def _passed(position: TokenLogprobs) -> float:
    """Give the probability of going on as the answer does."""
    tokens = [token for token, _ in position.top]
    log_probs = np.array([log_prob for _, log_prob in position.top])
    p = np.where(is_shown(log_probs), np.exp(np.minimum(log_probs, 0.0)), 0.0)
    if _is_separator(position.token):
        alike = [_is_separator(token) for token in tokens]
    else:
        alike = [token == position.token for token in tokens]
    return float(p[alike].sum() / max(1.0, p.sum()))


def _is_separator(token: str) -> bool:
    return token.strip().casefold() in SEPARATORS
