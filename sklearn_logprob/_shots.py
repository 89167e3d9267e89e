"""Demonstrations taken from the training data.

A row that demonstrates is not asked about, and enters neither calibration nor the choice
of a threshold: its answer would be in the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state

from sklearn_logprob._checks import check_template
from sklearn_logprob._inputs import Rows
from sklearn_logprob._types import Message
from sklearn_logprob.ensembles import PromptEnsemble
from sklearn_logprob.prompts import PromptTemplate

__all__ = ["NearestShots", "take_shots"]


class NearestShots:
    """A template that shows each row the most similar ones of a pool.

    Parameters
    ----------
    template : PromptTemplate
        What they are put into.
    pool : Rows
        Rows to show.
    answers : sequence of str
        Their labels' words.
    n_shots : int
        How many each row is shown, the most similar one last.

    Raises
    ------
    ValueError
        If there is not one answer for each row of the pool.

    References
    ----------
    .. [1] J. Liu et al. "What Makes Good In-Context Examples for GPT-3?". DeeLIO 2022.

    Examples
    --------
    >>> from sklearn_logprob import PromptTemplate
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob._shots import NearestShots
    >>> pool = Rows(("text",), [("a dull film",), ("a great song",)])
    >>> template = NearestShots(PromptTemplate("{text}:"), pool, ["bad", "good"], 1)
    >>> print(template.render(Rows(("text",), [("great songs",)]), [])[0][0][1])
    a great song: good
    <BLANKLINE>
    great songs:
    """

    def __init__(
        self, template: PromptTemplate, pool: Rows, answers: Sequence[str], n_shots: int
    ) -> None:
        from sklearn.feature_extraction.text import (  # noqa: PLC0415 -- slow to import
            TfidfVectorizer,
        )

        if len(answers) != len(pool):
            raise ValueError(
                f"Each row of the pool needs an answer to show. Got {len(answers)} for "
                f"{len(pool)} rows."
            )
        self.template = template
        self.pool = pool
        self.answers = answers
        self.n_shots = n_shots
        self._vectorizer = TfidfVectorizer(sublinear_tf=True)
        self._vectors = self._vectorizer.fit_transform(_texts(pool))

    @property
    def answer_prefix(self) -> str:
        """What stands before the label."""
        return self.template.answer_prefix

    @property
    def max_tokens(self) -> int | None:
        """How much the model writes first."""
        return self.template.max_tokens

    @property
    def n_chains(self) -> int:
        """How many chains of thought there are."""
        return self.template.n_chains

    def render(
        self,
        rows: Rows,
        labels: Sequence[str],
        answers: Mapping[str, str] = MappingProxyType({}),
    ) -> list[tuple[Message, ...]]:
        """Fill the template with each row and its demonstrations.

        Parameters
        ----------
        rows : Rows
            X as text.
        labels : sequence of str
            What ``{labels}`` lists.
        answers : mapping of str to str, default={}
            What demonstrations answer in place of these words.

        Returns
        -------
        prompts : list of tuple of (role, content)
            The messages of each row.
        """
        if not rows.values:
            return []
        near = self._vectorizer.transform(_texts(rows)) @ self._vectors.T
        order = np.argsort(near.toarray(), axis=1, kind="stable")[:, -self.n_shots :]
        prompts = []
        for values, shown in zip(rows.values, order.tolist(), strict=True):
            template = _shown(self.template, self.pool, self.answers, shown)
            row = Rows(rows.columns, [values], rows.aliases)
            prompts += template.render(row, labels, answers)
        return prompts


def take_shots(
    template: Any,
    rows: Rows,
    codes: NDArray[np.intp] | None,
    words: Sequence[str],
    random_state: Any,
) -> tuple[Any, NDArray[np.intp]]:
    """Put rows into the template as demonstrations, and tell which ones are left.

    Parameters
    ----------
    template : PromptTemplate or PromptEnsemble
        With `n_shots` and `shots`.
    rows : Rows of length n
        X as text.
    codes : ndarray of shape (n,) or None
        Each row's class.
    words : sequence of str
        What a demonstration answers for each class.
    random_state : int, RandomState or None
        Chooses among the rows.

    Returns
    -------
    template : object with a method `render`
        With demonstrations.
    left : ndarray of int
        The rows that no template took, in order.

    Raises
    ------
    ValueError
        Without labels, or with fewer than two rows for each demonstration.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob import PromptTemplate
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob._shots import take_shots
    >>> rows = Rows(("text",), [("dull",), ("fine",), ("great",), ("poor",)])
    >>> codes = np.array([0, 1, 1, 0])
    >>> taken, left = take_shots(
    ...     PromptTemplate(n_shots=2), rows, codes, ["bad", "good"], 0
    ... )
    >>> sorted(answer for _, answer in taken.demonstrations), len(left)
    (['bad', 'good'], 2)
    """
    everything = np.arange(len(rows))
    if not getattr(template, "n_shots", 0):
        return template, everything
    if isinstance(template, PromptEnsemble):
        # one seed, so that the same rows serve all templates as far as possible
        seed = check_random_state(random_state).randint(2**31 - 1)
        each = [take_shots(t, rows, codes, words, seed) for t in template.templates]
        left = reduce(np.intersect1d, [rest for _, rest in each])
        return PromptEnsemble([t for t, _ in each], combine=template.combine), left
    check_template(template)
    n_shots, shots = template.n_shots, template.shots
    if codes is None:
        raise ValueError(
            f"PromptTemplate(n_shots={n_shots}) takes demonstrations from labelled rows, "
            "and fit got no y."
        )
    if len(rows) < 2 * n_shots:
        raise ValueError(
            f"PromptTemplate(n_shots={n_shots}) needs at least {2 * n_shots} rows, for "
            f"those that demonstrate are not learnt from. X has {len(rows)}."
        )
    rng = check_random_state(random_state)
    answers = [words[code] for code in codes]
    order = rng.permutation(len(rows))
    if shots != "random":
        order = _in_turns(order, codes)
    if shots == "nearest":
        pool = np.sort(order[: len(rows) // 2])
        shown = Rows(rows.columns, [rows.values[i] for i in pool], rows.aliases)
        said = [answers[i] for i in pool]
        plain = clone(template).set_params(n_shots=0)
        taken = NearestShots(plain, shown, said, n_shots)
        return taken, np.setdiff1d(everything, pool)
    chosen = order[:n_shots]
    plain = clone(template).set_params(n_shots=0)
    return _shown(plain, rows, answers, chosen.tolist()), np.setdiff1d(everything, chosen)


def _in_turns(order: NDArray[np.intp], codes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Let the classes take turns, each with its rows in the given order."""
    turn = np.empty(len(order), dtype=np.intp)
    for code in np.unique(codes):
        own = np.flatnonzero(codes[order] == code)
        turn[own] = np.arange(len(own))
    return order[np.argsort(turn, kind="stable")]


def _shown(
    template: PromptTemplate, rows: Rows, answers: Sequence[str], chosen: Sequence[int]
) -> PromptTemplate:
    """Add rows to the demonstrations of a template."""
    more = [
        (dict(zip(rows.columns, rows.values[i], strict=True)), answers[i]) for i in chosen
    ]
    demonstrations = [*template.demonstrations, *more]
    shown: PromptTemplate = clone(template).set_params(demonstrations=demonstrations)
    return shown


def _texts(rows: Rows) -> list[str]:
    return ["\n".join(values) for values in rows.values]
