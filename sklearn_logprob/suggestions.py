"""What the model would rather say, as labels: other words that are worth a class."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_consistent_length

from sklearn_logprob._chains import read
from sklearn_logprob._reading import AnswerReader
from sklearn_logprob._types import Answer, Floats, Outcome
from sklearn_logprob.scoring import shares

__all__ = ["SuggestedLabel", "SuggestedLabels", "suggest_labels"]

WORD = re.compile(r"(?:[^\W\d_]{2,}|[^\W\d_a-zA-Z])(?:['’ -][^\W\d_]+)*")
AROUND = " \t\r\n\"'“”‘’*_.,;:!?▁Ġ"  # may stand around a word
ENGLISH = (
    "a about all also an and are as at be been but by can did do does for from had has "
    "have he her here his how i if in into is it its just like me more most my not of "
    "on one or our out she so some than that the their them then there these they this "
    "those to up very was we were what when where which while who why will with would "
    "you your"
)
FUNCTION_WORDS = frozenset(ENGLISH.split())
LEAST_Z = 3.0  # standard errors by which a word is more probable in one class
LEAST_ODDS = 2.0  # and the factor by which saying it must raise the odds of the class


class SuggestedLabel(NamedTuple):
    """A word that the model says besides the labels.

    Parameters
    ----------
    word : str
        Its most probable spelling, without space around it.
    spellings : tuple of str
        All tokens that spell it, most probable first.
    mean_probability : float
        Probability that the model gives to it, mean over the texts.
    share_ahead : float
        Share of the texts in which it is more probable than every label.
    goes_with : label or None
        The class whose texts bring it out; None where it goes with no class in
        particular, or labels were not given.
    log_odds : float
        By how much the log-odds of that class are higher, given that the model says
        the word (natural log); nan without a class.

    Examples
    --------
    >>> from sklearn_logprob.suggestions import SuggestedLabel
    >>> print(SuggestedLabel("awful", (" awful",), 0.04, 0.1, "negative", 2.5))
    'awful': 4.0% of the probability, ahead of all labels in 10% of the texts; \
a surface form of 'negative'?
    """

    word: str
    spellings: tuple[str, ...]
    mean_probability: float
    share_ahead: float
    goes_with: Any = None
    log_odds: float = float("nan")

    def __str__(self) -> str:
        """Say it in words."""
        advice = (
            "a label of its own?"
            if self.goes_with is None
            else f"a surface form of {self.goes_with!r}?"
        )
        return (
            f"{self.word!r}: {self.mean_probability:.1%} of the probability, ahead of "
            f"all labels in {self.share_ahead:.0%} of the texts; {advice}"
        )


class SuggestedLabels(list[SuggestedLabel]):
    """Suggestions, the most probable one first; ``print`` shows a line for each.

    Parameters
    ----------
    iterable : iterable of SuggestedLabel, default=()
        The suggestions.

    Examples
    --------
    >>> from sklearn_logprob.suggestions import SuggestedLabels
    >>> print(SuggestedLabels())
    Nothing that the model says besides the labels is worth becoming one.
    """

    def __str__(self) -> str:
        """Give a line for each."""
        nothing = "Nothing that the model says besides the labels is worth becoming one."
        return "\n".join(map(str, self)) or nothing


def suggest_labels(
    outcomes: Sequence[Outcome],
    spellings: Sequence[Sequence[str]],
    y: ArrayLike | None = None,
    min_probability: float = 0.01,
    *,
    per_row: int = 1,
) -> SuggestedLabels:
    """Find the words besides the labels that the model says most.

    Spellings that differ in case and surrounding space are one word. Left out are
    beginnings of labels, lone letters, punctuation, English function words, and what
    the model was seen to go on with to a longer word. A word goes with a class where
    it is more probable in texts of the class than in others, by 3 standard errors, and
    its being said at least doubles the odds of the class.

    Parameters
    ----------
    outcomes : sequence of Answer or RowError
        `per_row` of them for each text.
    spellings : sequence of sequence of str
        What counts for each class.
    y : array-like of shape (n_texts,), default=None
        Labels of the texts.
    min_probability : float, default=0.01
        Mean probability below which a word is not worth a label.
    per_row : int, default=1
        How many answers there are about each text; their probabilities are averaged.

    Returns
    -------
    suggestions : SuggestedLabels
        A list of `SuggestedLabel`, the most probable one first.

    Examples
    --------
    >>> from sklearn_logprob import Answer, TokenLogprobs
    >>> from sklearn_logprob.suggestions import suggest_labels
    >>> top = ((" superb", -0.5), (" bad", -1.5), (" the", -3.0))
    >>> answer = Answer((TokenLogprobs(" superb", -0.5, top),))
    >>> print(suggest_labels([answer], [["bad"], ["good"]]))
    'superb': 60.7% of the probability, ahead of all labels in 100% of the texts; \
a label of its own?
    """
    said = [_said(outcome) for outcome in outcomes]
    total: Counter[str] = Counter()
    for shown in said:
        total.update(shown)
    words = _words(total, spellings, _fragments(outcomes))
    mass = {word: sum(total[t] for t in tokens) for word, tokens in words.items()}
    least = min_probability * len(outcomes)
    ranked = sorted((w for w in mass if mass[w] >= least), key=lambda w: (-mass[w], w))
    by_row = (len(outcomes) // per_row, per_row, -1)
    p = [[sum(s.get(t, 0.0) for t in words[w]) for w in ranked] for s in said]
    P = np.reshape(p, (*by_row[:2], len(ranked))).mean(axis=1)
    labels = np.exp(read(outcomes, spellings).scores)[:, [bool(f) for f in spellings]]
    best = np.nan_to_num(labels.reshape(by_row)).mean(axis=1)
    ahead = (best.max(axis=1, keepdims=True) < P).mean(axis=0)
    found = SuggestedLabels()
    for column, word in enumerate(ranked):
        tokens = sorted(words[word], key=lambda token: (-total[token], token))
        found.append(
            SuggestedLabel(
                _bare(tokens[0]),
                tuple(tokens),
                float(P[:, column].mean()),
                float(ahead[column]),
                *_class_of(P[:, column], y),
            )
        )
    return found


def _said(outcome: Outcome) -> dict[str, float]:
    """Give the first tokens, or the drawn texts, with their probabilities."""
    said: defaultdict[str, float] = defaultdict(float)
    for token, probability in shares(outcome) if isinstance(outcome, Answer) else ():
        said[token] += probability
    return said


def _bare(token: str) -> str:
    return token.strip(AROUND)


def _words(
    tokens: Iterable[str], spellings: Sequence[Sequence[str]], fragments: set[str]
) -> dict[str, list[str]]:
    """Group the tokens that are words, by the word."""
    reader = AnswerReader(spellings)
    labels = [form.casefold() for forms in spellings for form in forms]
    words: defaultdict[str, list[str]] = defaultdict(list)
    for token in tokens:
        bare = _bare(token)
        word = bare.casefold()
        if (
            WORD.fullmatch(bare)
            and word not in FUNCTION_WORDS
            and token not in fragments
            and not any(reader.match(token))
            and not any(label.startswith(word) for label in labels)
        ):
            words[word].append(token)
    return words


def _fragments(outcomes: Sequence[Outcome]) -> set[str]:
    """Give the tokens that mostly turned out to begin a longer word."""
    times, longer = Counter[str](), Counter[str]()
    for outcome in outcomes:
        if isinstance(outcome, Answer) and len(outcome.positions) > 1:
            first, second = outcome.positions[:2]
            times[first.token] += 1
            longer[first.token] += second.token[:1].isalnum()
    return {token for token, n in longer.items() if 2 * n > times[token]}


def _class_of(p: Floats, y: ArrayLike | None) -> tuple[Any, float]:
    """Give the class that a word goes with, and what saying it does to its log-odds."""
    nothing = (None, float("nan"))
    if y is None or not p.any():
        return nothing
    target: NDArray[Any] = np.asarray(y)
    check_consistent_length(p, target)
    found = []
    for label in np.unique(target):
        own = target == label
        inside, outside = p[own], p[~own]
        if min(len(inside), len(outside)) < 2:
            continue
        error = np.sqrt(inside.var() / len(inside) + outside.var() / len(outside))
        # One text of average probability is added: few texts bring no infinite odds.
        odds = (inside.sum() + p.mean() * own.mean()) / len(inside)
        odds /= (outside.sum() + p.mean() * (1 - own.mean())) / len(outside)
        gap = inside.mean() - outside.mean()
        if gap > LEAST_Z * error and odds >= LEAST_ODDS:
            found.append((float(np.log(odds)), label))
    if not found:
        return nothing
    log_odds, label = max(found, key=lambda pair: pair[0])
    return (label.item() if isinstance(label, np.generic) else label), log_odds
