"""From rows of X to label log scores: what is asked, and how the answers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from sklearn_logprob._inputs import Rows
from sklearn_logprob._types import Answer, Backend, Request, Usage
from sklearn_logprob.cache import resolve_cache
from sklearn_logprob.collect import collect
from sklearn_logprob.prompts import PromptTemplate
from sklearn_logprob.scoring import (
    LabelScores,
    choices_of,
    label_scores,
    other_tokens,
    tokens_to_read,
)

__all__ = ["LABEL_SCORINGS", "LabelScorer"]

LABEL_SCORINGS = ("auto", "first_token", "sequence")


@dataclass(frozen=True)
class LabelScorer:
    """One way to ask a model for the scores of a fixed set of labels.

    Parameters
    ----------
    backend : Backend
        Who answers.
    template : PromptTemplate
        How a row becomes a prompt.
    forms : mapping of class to sequence of str
        Surface forms; the first of each class is what ``{labels}`` shows.
    spellings : sequence of sequence of str
        What counts for each class.
    label_scoring : {"auto", "first_token", "sequence"}
        How much of a label is read.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, PromptTemplate, Usage
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob.scorer import LabelScorer
    >>> scorer = LabelScorer(
    ...     FakeBackend({"great": {"good": 2.0}}),
    ...     PromptTemplate("Review: {text}"),
    ...     forms={0: ("bad",), 1: ("good",)},
    ...     spellings=[("bad",), ("good",)],
    ...     label_scoring="auto",
    ... )
    >>> rows = Rows(("text",), [("so great",)])
    >>> requests = scorer.requests(rows)
    >>> answers = scorer.ask(requests, cache=None, usage=Usage(), verbose=False)
    >>> scorer.read(answers).scores.round(2)
    array([[-2.35, -0.35]])
    """

    backend: Backend
    template: PromptTemplate
    forms: Mapping[Any, Sequence[str]]
    spellings: Sequence[Sequence[str]]
    label_scoring: str

    def requests(self, rows: Rows) -> list[Request]:
        """Build one request a row.

        Parameters
        ----------
        rows : Rows
            Field values.

        Returns
        -------
        requests : list of Request
            In the order of the rows.

        Raises
        ------
        PromptError
            If the template does not fit the rows.
        """
        exact = self.backend.scores_choices and self.label_scoring != "first_token"
        asked = Request(
            messages=(),
            choices=choices_of(self.spellings) if exact else (),
            max_tokens=1 if exact else self._tokens_to_read(),
            top_logprobs=self.backend.max_top_logprobs,
        )
        shown = [forms[0] for forms in self.forms.values()]
        return [
            replace(asked, messages=messages)
            for messages in self.template.render(rows, shown)
        ]

    def _tokens_to_read(self) -> int:
        if self.label_scoring == "first_token":
            return 1
        whole = self.label_scoring == "sequence"
        return tokens_to_read(self.spellings, whole=whole)

    def ask(
        self, requests: Sequence[Request], cache: Any, usage: Usage, verbose: Any
    ) -> list[Answer]:
        """Get the answers, from the cache or the model.

        Parameters
        ----------
        requests : sequence of Request
            What `requests` built.
        cache : "auto", path, Cache or None
            Where answers are kept.
        usage : Usage
            Counts what is spent, in place.
        verbose : "auto", bool or int
            Whether to show a progress bar.

        Returns
        -------
        answers : list of Answer
            One a request.
        """
        where = resolve_cache(cache)
        return collect(self.backend, requests, where, usage=usage, verbose=verbose)

    def read(self, answers: Sequence[Answer]) -> LabelScores:
        """Read the label log scores.

        Parameters
        ----------
        answers : sequence of Answer
            One a row.

        Returns
        -------
        scores : LabelScores
            Natural log, with bounds.
        """
        return label_scores(answers, self.spellings)

    def others(self, answers: Sequence[Answer]) -> NDArray[Any]:
        """Tabulate what else the model wanted to say.

        Parameters
        ----------
        answers : sequence of Answer
            One a row.

        Returns
        -------
        table : structured ndarray
            ``token`` and ``mean_probability``.
        """
        return other_tokens(answers, self.spellings)
