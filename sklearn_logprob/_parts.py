"""A row is asked about in parts: each is a template together with a view of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_logprob._chains import after_prefix
from sklearn_logprob._errors import PromptError, UnreadableAnswerError
from sklearn_logprob._inputs import Rows
from sklearn_logprob._types import Answer, Floats, Outcome, Request
from sklearn_logprob._views import View

__all__ = ["Part", "TemplateFeatures", "deviations"]

SHOWN = 80  # characters of a text without a label


@dataclass(frozen=True)
class Part:
    """One way of asking about a row.

    Parameters
    ----------
    template : PromptTemplate
        How the row becomes a prompt.
    view : View
        How the labels are shown.

    Examples
    --------
    >>> from sklearn_logprob import PromptTemplate, Request
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob._parts import Part
    >>> from sklearn_logprob._views import View
    >>> part = Part(PromptTemplate("{text}, {labels}?"), View(("no", "yes"), ()))
    >>> [[request]] = part.requests(Rows(("text",), [("Well",)]), Request(()))
    >>> request.messages
    (('prompt', 'Well, no, yes?'),)
    """

    template: Any
    view: View

    @property
    def n_chains(self) -> int:
        """How many chains of thought a row takes."""
        return int(getattr(self.template, "n_chains", 1))

    @property
    def max_tokens(self) -> int | None:
        """How much the model writes first; None where the label comes first."""
        tokens: int | None = getattr(self.template, "max_tokens", None)
        return tokens

    def requests(self, rows: Rows, common: Request) -> list[list[Request]]:
        """Build the requests.

        Parameters
        ----------
        rows : Rows
            Field values.
        common : Request
            What those of all rows have in common.

        Returns
        -------
        requests : list of list of Request
            For each row, one for each chain of thought.

        Raises
        ------
        PromptError
            If the template does not fit the rows, or does not list the options.
        """
        view = self.view  # users' own templates need not know of codes
        answers = [view.answers] if view.answers else []
        rendered = self.template.render(rows, view.listed, *answers)
        if view.answers and rendered:
            text = "\n".join(content for _, content in rendered[0])
            if view.listed[0] not in text:
                raise PromptError(
                    "The verbalizer answers with codes, and the prompt does not say "
                    "what they mean: put {labels} into it, on a line of its own."
                )
        draws = range(1, self.n_chains + 1) if self.n_chains > 1 else [0]
        shared = common.choices, common.max_tokens, common.top_logprobs, common.options
        return [
            [Request(messages, *shared, draw) for draw in draws] for messages in rendered
        ]

    def concluded(self, outcome: Outcome, row: int) -> Outcome:
        """Leave the reasoning out of an answer.

        Parameters
        ----------
        outcome : Answer or RowError
            What came.
        row : int
            The row of X.

        Returns
        -------
        outcome : Answer or RowError
            The same where the label comes first; an error where there is no label.
        """
        if self.max_tokens is None or not isinstance(outcome, Answer):
            return outcome
        prefix = self.template.answer_prefix
        label = after_prefix(outcome, prefix)
        if label is not None:
            return label
        tokens = "".join(place.token for place in outcome.positions)
        wrote = next((text for text, _ in outcome.draws), tokens)
        ending = wrote[-SHOWN:].replace("{", "(").replace("}", ")")
        return UnreadableAnswerError(
            f"The model wrote no label after {prefix!r} for {{row}}: ask for it in the "
            "prompt, or give it more room with a larger max_tokens. Its text ends: "
            f"{ending!r}.",
            row,
        ).for_row(row)


@dataclass(frozen=True)
class TemplateFeatures:
    """What each template says beyond their average, as features of a stack.

    Parameters
    ----------
    read : callable
        From outcomes to the label log scores of each template, of shape (n_templates,
        n_samples, n_classes).
    """

    read: Callable[[Sequence[Outcome]], Floats]

    def fit(self, outcomes: Sequence[Outcome]) -> TemplateFeatures:
        """Learn nothing."""
        return self

    def transform(self, outcomes: Sequence[Outcome]) -> Any:
        """Give `deviations`."""
        return deviations(self.read(outcomes))


def deviations(scores: Floats) -> Any:
    """Tell how much each of several scores deviates from their average.

    Parameters
    ----------
    scores : ndarray of shape (n_templates, n_samples, n_classes)
        Label log scores (natural log); NaN where a template has no answer.

    Returns
    -------
    F : sparse matrix of shape (n_samples, n_templates * n_classes), in CSR format
        Scores less their mean over the classes, and then over the templates that have
        an answer; 0 for the others.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._parts import deviations
    >>> deviations(np.log([[[0.8, 0.2]], [[0.2, 0.8]]])).toarray().round(2)
    array([[ 0.69, -0.69, -0.69,  0.69]])
    """
    s = scores - scores.mean(axis=2, keepdims=True)
    known = ~np.isnan(s)
    # Differences to one of them first: equal templates then deviate by nothing at all.
    first = np.nanmax(np.where(known, s, -np.inf), axis=0)
    apart = np.where(known, s - first, 0.0)
    mean = apart.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    away = np.where(known, apart - mean, 0.0)
    return sparse.csr_matrix(away.transpose(1, 0, 2).reshape(s.shape[1], -1))
