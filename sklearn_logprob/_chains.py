"""Several answers about a row: after reasoning, and with the labels shown in turns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sklearn_logprob._types import Answer, Outcome, TokenLogprobs
from sklearn_logprob.scoring import LabelScores, label_scores

__all__ = ["after_prefix", "agree", "average", "read"]


def after_prefix(answer: Answer, prefix: str) -> Answer | None:
    """Cut everything up to the last `prefix` in what the model wrote.

    Parameters
    ----------
    answer : Answer
        Tokens with their alternatives, or texts.
    prefix : str
        What stands before the label, such as ``"Answer:"``. Its case does not matter.

    Returns
    -------
    rest : Answer or None
        What follows. None if the prefix is not there, or nothing follows.

    Examples
    --------
    >>> from sklearn_logprob import Answer, TokenLogprobs
    >>> from sklearn_logprob._chains import after_prefix
    >>> tokens = ["Dull", ".", " Answer", ":", " bad", "."]
    >>> answer = Answer(tuple(TokenLogprobs(token, -0.1) for token in tokens))
    >>> [position.token for position in after_prefix(answer, "Answer:").positions]
    [' bad', '.']
    """
    if answer.draws:
        draws = tuple(
            (text[end:], times)
            for text, times in answer.draws
            if (end := _end(text, prefix)) is not None and text[end:].strip()
        )
        return replace(answer, draws=draws) if draws else None
    end = _end("".join(position.token for position in answer.positions), prefix)
    rest = () if end is None else _from(answer.positions, end)
    said = "".join(position.token for position in rest).strip()
    return replace(answer, positions=rest) if said else None


def average(scores: LabelScores, n_chains: int) -> LabelScores:
    """Average the probabilities of the chains of each row.

    Parameters
    ----------
    scores : LabelScores
        One row a chain, those of a row of X one after the other; NaN where a chain has
        no label.
    n_chains : int
        How many there are for each row.

    Returns
    -------
    averaged : LabelScores
        One row for each row of X; NaN where none of its chains has a label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._chains import average
    >>> from sklearn_logprob.scoring import LabelScores, label_scores
    >>> S = np.log([[0.9, 0.1], [0.5, 0.5]])
    >>> two = LabelScores(S, S, S, np.zeros((2, 2), bool))
    >>> np.exp(average(two, 2).scores)
    array([[0.7, 0.3]])
    """
    n_classes = scores.scores.shape[1]
    shape = (-1, n_chains, n_classes)
    read = ~np.isnan(scores.scores).any(axis=1).reshape(-1, n_chains, 1)
    n_read = read.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = [
            np.log(np.where(read, np.exp(values.reshape(shape)), 0).sum(axis=1) / n_read)
            for values in (scores.scores, scores.lower, scores.upper)
        ]
    censored = np.all(scores.censored.reshape(shape) | ~read, axis=1)
    return LabelScores(mean[0], mean[1], mean[2], np.asarray(censored))


def read(outcomes: Sequence[Outcome], spellings: Sequence[Sequence[str]]) -> LabelScores:
    """Read the label log scores, with NaN where there is no answer.

    Parameters
    ----------
    outcomes : sequence of Answer or RowError
        One a sample.
    spellings : sequence of sequence of str
        What counts for each class.

    Returns
    -------
    scores : LabelScores
        Natural log, with bounds.

    Examples
    --------
    >>> from sklearn_logprob import Answer, RefusedError
    >>> from sklearn_logprob._chains import read
    >>> outcomes = [Answer(choices=(("yes", -0.5),)), RefusedError("no", 1)]
    >>> read(outcomes, [["yes"]]).scores
    array([[-0.5],
           [ nan]])
    """
    answered = np.array([isinstance(each, Answer) for each in outcomes], dtype=bool)
    answers = [each for each in outcomes if isinstance(each, Answer)]
    found = label_scores(answers, spellings)
    shape = (len(answered), len(spellings))
    values = np.full((3, *shape), np.nan)
    values[:, answered] = found.scores, found.lower, found.upper
    censored = np.ones(shape, dtype=bool)
    censored[answered] = found.censored
    return LabelScores(values[0], values[1], values[2], censored)


def agree(several: Sequence[LabelScores]) -> LabelScores:
    """Average the scores of the views of each row.

    Parameters
    ----------
    several : sequence of LabelScores
        One a view, with the same rows.

    Returns
    -------
    averaged : LabelScores
        Mean label log scores (natural log), over the views that have an answer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._chains import agree
    >>> from sklearn_logprob.scoring import LabelScores, label_scores
    >>> one, other = np.log([[0.8, 0.2]]), np.log([[0.2, 0.2]])
    >>> no = np.zeros((1, 2), bool)
    >>> views = [LabelScores(S, S, S, no) for S in (one, other)]
    >>> np.exp(agree(views).scores)
    array([[0.4, 0.2]])
    """
    read = np.array([~np.isnan(view.scores).any(axis=1) for view in several])[..., None]
    mean = []
    with np.errstate(invalid="ignore"):
        for name in ("scores", "lower", "upper"):
            values = np.array([getattr(view, name) for view in several])
            mean.append(np.where(read, values, 0).sum(axis=0) / read.sum(axis=0))
    censored = np.all([view.censored for view in several], axis=0)
    return LabelScores(mean[0], mean[1], mean[2], np.asarray(censored))


def _end(text: str, prefix: str) -> int | None:
    found = list(re.finditer(re.escape(prefix.strip()), text, re.IGNORECASE))
    return found[-1].end() if found else None


def _from(positions: Sequence[TokenLogprobs], end: int) -> tuple[TokenLogprobs, ...]:
    """Give the positions behind a place in the text.

    Of a token that reaches over the place (``": bad"``) the part behind it counts, and of
    its alternatives those that share the part before.
    """
    start = 0
    for number, position in enumerate(positions, 1):
        begun, left = position.token[: end - start], position.token[end - start :]
        start += len(position.token)
        if start >= end and left.strip():
            top = tuple(
                (token[len(begun) :], value)
                for token, value in position.top
                if token.startswith(begun)
            )
            return (TokenLogprobs(left, position.logprob, top), *positions[number:])
        if start >= end:
            return tuple(positions[number:])
    return ()
