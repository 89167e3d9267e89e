"""Asking about several labels a row: a question for each, or one for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sklearn_logprob._errors import PromptError, UnsupportedRequestError
from sklearn_logprob._inputs import Rows
from sklearn_logprob._lists import ENOUGH, mention_scores
from sklearn_logprob._parts import Part
from sklearn_logprob._types import Outcome, Request
from sklearn_logprob._views import View, plain_view
from sklearn_logprob.scorer import LabelScorer
from sklearn_logprob.scoring import LabelScores, tokens_to_read
from sklearn_logprob.verbalizers import Verbalizer

__all__ = ["MULTILABEL", "QUESTIONS", "OneQueryScorer", "PerLabelScorer", "yes_or_no"]

MULTILABEL = ("per_label", "one_query")
FIELD = "label"
SOME_LABEL = "\x00"  # in no template

QUESTIONS = {
    "per_label": '<row>\n\nDoes the label "{label}" apply? Answer yes or no.\nAnswer:',
    "one_query": "Which of these labels apply to the text: {labels}? List those that "
    "apply, or write none.\n\n<row>\nLabels:",
}
"""What ``prompt=None`` asks. A label comes last, so that its row is read only once."""


def yes_or_no(labels: Sequence[str]) -> View:
    """Give the answers to one question; ``{labels}`` lists all labels.

    Parameters
    ----------
    labels : sequence of str
        First surface forms.

    Returns
    -------
    view : View
        With the classes "no" and "yes".

    Examples
    --------
    >>> from sklearn_logprob._asking import yes_or_no
    >>> yes_or_no(["sport", "art"])
    View(listed=('sport', 'art'), spellings=(('no', 'No'), ('yes', 'Yes')), answers={})
    """
    spellings = Verbalizer({0: "no", 1: "yes"}).spellings([0, 1])
    return View(tuple(labels), tuple(spellings))


@dataclass(frozen=True)
class PerLabelScorer(LabelScorer):
    """Asks whether a label applies, for each row and label.

    Parameters
    ----------
    asked : sequence of str, default=()
        What ``{label}`` stands for in each question.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, PromptTemplate
    >>> from sklearn_logprob._asking import PerLabelScorer, yes_or_no
    >>> from sklearn_logprob._inputs import Rows
    >>> scorer = PerLabelScorer(
    ...     FakeBackend(), PromptTemplate("{text} Is it about {label}?"),
    ...     forms={"sport": ("sport",), "art": ("art",)},
    ...     views=[yes_or_no(["sport", "art"])], asked=("sport", "art"),
    ... )
    >>> for request in scorer.requests(Rows(("text",), [("A goal!",)])):
    ...     print(request.messages[0][1])
    A goal! Is it about sport?
    A goal! Is it about art?
    """

    asked: Sequence[str] = ()

    @property
    def n_questions(self) -> int:
        """One a label."""
        return len(self.forms)

    @property
    def _shown(self) -> Sequence[View]:
        words = [("no",), ("yes",)]
        return [plain_view(words, words)] if self._decides else self.views

    def requests(self, rows: Rows) -> list[Request]:
        """Build the requests, those of a row one after the other."""
        if FIELD in rows.positions:
            raise PromptError(
                "The prompt asks for {label}, which is both the label asked about and a "
                "column of X. Rename the column."
            )
        probe = self._with_labels(replace(rows, values=rows.values[:1]), [SOME_LABEL])
        for part in self.parts:
            for messages in part.template.render(probe, part.view.listed):
                if not any(SOME_LABEL in content for _, content in messages):
                    raise PromptError(
                        "multilabel='per_label' asks about one label at a time, and the "
                        "prompt does not say which: put {label} into it, after the "
                        "fields of X, or use multilabel='one_query'."
                    )
        return super().requests(self._with_labels(rows, self.asked))

    def _with_labels(self, rows: Rows, labels: Sequence[str]) -> Rows:
        """Repeat each row for each label, which becomes its last column."""
        text = ("text",) if len(rows.columns) == 1 else ()
        values = [(*row, label) for row in rows.values for label in labels]
        return Rows((*rows.columns, FIELD), values, (*text, *rows.aliases))

    def read(self, outcomes: Sequence[Outcome]) -> LabelScores:
        """Read scores of shape (n, L, 2), of "no" and "yes"."""
        found, shape = super().read(outcomes), (-1, self.n_questions, 2)
        return LabelScores(
            found.scores.reshape(shape),
            found.lower.reshape(shape),
            found.upper.reshape(shape),
            found.censored.reshape(shape),
        )


@dataclass(frozen=True)
class OneQueryScorer(LabelScorer):
    """Asks for the list of labels that apply, and reads every position of it.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, PromptTemplate
    >>> from sklearn_logprob._asking import OneQueryScorer
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob._views import plain_view
    >>> forms = [("sport",), ("art",)]
    >>> scorer = OneQueryScorer(
    ...     FakeBackend(), PromptTemplate("{text} It is about"),
    ...     forms=dict(zip("sa", forms)), views=[plain_view(forms, forms)],
    ... )
    >>> scorer.requests(Rows(("text",), [("A goal!",)]))[0].max_tokens
    6
    """

    def _asked(self, part: Part) -> Request:
        n_top = self.backend.max_top_logprobs
        if self._decides or not n_top:
            raise UnsupportedRequestError(
                "multilabel='one_query' reads the tokens of a list, and "
                f"{type(self.backend).__name__} returns none with log-probabilities: use "
                "multilabel='per_label'."
            )
        spellings = self.views[0].spellings
        room = sum(1 + tokens_to_read([forms], whole=True) for forms in spellings)
        return Request((), max_tokens=part.max_tokens or room, top_logprobs=n_top)

    def _read(
        self, asked: Sequence[Outcome], spellings: Sequence[Sequence[str]]
    ) -> LabelScores:
        return mention_scores(asked, spellings)

    def read(self, outcomes: Sequence[Outcome]) -> LabelScores:
        """Read scores of shape (n, L, 2): of a label left out, and of one mentioned."""
        found = super().read(outcomes)
        bounds = found.scores, found.upper, found.lower
        left_out = [np.log1p(-np.exp(np.minimum(bound, ENOUGH))) for bound in bounds]
        said = found.scores, found.lower, found.upper
        scores, lower, upper = (
            np.stack(pair, axis=-1) for pair in zip(left_out, said, strict=True)
        )
        censored = np.repeat(found.censored[..., None], 2, axis=-1)
        return LabelScores(scores, lower, upper, censored)
