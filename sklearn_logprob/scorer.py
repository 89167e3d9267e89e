"""From rows of X to label log scores: what is asked, and how the answers are read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sklearn_logprob._chains import after_prefix, agree, average, read
from sklearn_logprob._draws import sampling_error
from sklearn_logprob._errors import (
    FailedRowsWarning,
    LogprobsUnavailableError,
    PromptError,
    RowError,
    UnreadableAnswerError,
    UnsupportedRequestError,
)
from sklearn_logprob._inputs import Rows
from sklearn_logprob._types import (
    Answer,
    Backend,
    Message,
    Outcome,
    Request,
    Usage,
)
from sklearn_logprob._views import View, plain_view
from sklearn_logprob.cache import resolve_cache
from sklearn_logprob.collect import collect
from sklearn_logprob.prompts import PromptTemplate
from sklearn_logprob.scoring import (
    LabelScores,
    choices_of,
    other_tokens,
    tokens_to_read,
)

__all__ = ["LABEL_SCORINGS", "ON_ERROR", "LabelScorer"]

LABEL_SCORINGS = ("auto", "first_token", "sequence")
ON_ERROR = ("raise", "nan")

NAMED = 5  # failures that a warning tells in full
SHOWN = 80  # characters of a text without a label
AROUND = 8  # tokens that a text may have besides the label, such as "**Answer:** "


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
    views : sequence of View
        How the labels are shown to the model, in one way or in several.
    label_scoring : {"auto", "first_token", "sequence"}, default="auto"
        How much of a label is read.
    descriptions : sequence of str, default=()
        What each class means, for backends that show the labels one by one.
    on_error : {"raise", "nan"}, default="raise"
        Whether a row that fails for a reason of its own ends the work.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, PromptTemplate, Usage
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob._views import plain_view
    >>> from sklearn_logprob.scorer import LabelScorer
    >>> scorer = LabelScorer(
    ...     FakeBackend({"great": {"good": 2.0}}),
    ...     PromptTemplate("Review: {text}"),
    ...     forms={0: ("bad",), 1: ("good",)},
    ...     views=[plain_view([("bad",), ("good",)], [("bad",), ("good",)])],
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
    views: Sequence[View]
    label_scoring: str = "auto"
    descriptions: Sequence[str] = ()
    on_error: Literal["raise", "nan"] = "raise"

    def requests(self, rows: Rows) -> list[Request]:
        """Build the requests: one for each row, view and chain of thought.

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
        LogprobsUnavailableError
            If the backend returns texts only.
        """
        asked = self._asked()
        shared = asked.choices, asked.max_tokens, asked.top_logprobs, asked.options
        draws = range(1, self.n_chains + 1) if self.n_chains > 1 else [0]
        # the answers of demonstrations are the words where the labels are shown as such
        rendered = [
            self.template.render(
                rows, view.listed, *([view.answers] if view.answers else [])
            )
            for view in self._shown
        ]
        self._check_listed(rendered)
        return [
            Request(messages, *shared, draw)
            for views in zip(*rendered, strict=True)
            for messages in views
            for draw in draws
        ]

    @property
    def n_chains(self) -> int:
        """How many chains of thought a row takes in each view."""
        return int(getattr(self.template, "n_chains", 1))

    @property
    def per_row(self) -> int:
        """How many requests a row takes."""
        return self.n_chains * len(self._shown)

    @property
    def _decides(self) -> bool:
        return bool(getattr(self.backend, "decides", False))

    @property
    def _shown(self) -> Sequence[View]:
        """How the labels are shown: a deciding backend gets them as options."""
        if not self._decides:
            return self.views
        words = [(forms[0],) for forms in self.forms.values()]
        return [plain_view(words, words)]

    def _render(self, rows: Rows, view: View) -> list[tuple[Message, ...]]:
        if not view.answers:  # users' own templates need not know of codes
            return self.template.render(rows, view.listed)
        return self.template.render(rows, view.listed, view.answers)

    def _check_listed(self, rendered: Sequence[Sequence[tuple[Message, ...]]]) -> None:
        for view, prompts in zip(self._shown, rendered, strict=True):
            if view.answers and prompts:
                text = "\n".join(content for _, content in prompts[0])
                if view.listed[0] not in text:
                    raise PromptError(
                        "The verbalizer answers with codes, and the prompt does not say "
                        "what they mean: put {labels} into it, on a line of its own."
                    )

    def _asked(self) -> Request:
        """Build what the requests of all rows have in common."""
        backend, reasoning = self.backend, getattr(self.template, "max_tokens", None)
        n_top = backend.max_top_logprobs
        if self._decides:
            if reasoning is not None or self.label_scoring == "first_token":
                raise UnsupportedRequestError(
                    f"{type(backend).__name__} decides between whole labels at once: "
                    "leave label_scoring= at 'auto', and max_tokens= of the prompt at "
                    "None."
                )
            shown = self._shown[0].listed
            described = zip(shown, self.descriptions or [""] * len(shown), strict=True)
            return Request((), top_logprobs=n_top, options=tuple(sorted(described)))
        if reasoning is not None:
            return Request((), max_tokens=reasoning, top_logprobs=n_top)
        if backend.scores_choices and self.label_scoring != "first_token":
            return Request((), choices_of(self.views[0].spellings), top_logprobs=n_top)
        if not n_top and not getattr(backend, "draws_samples", False):
            name = type(backend).__name__
            raise LogprobsUnavailableError(
                f"{name} returns texts without log-probabilities. Draw answers and count "
                f"them, SamplingBackend({name}(...)) or 'sampling:NAME:MODEL', or let "
                "the model name probabilities, 'verbalised:NAME:MODEL'."
            )
        n_tokens = self._tokens_to_read() if n_top else self._whole() + AROUND
        return Request((), max_tokens=n_tokens, top_logprobs=n_top)

    def _tokens_to_read(self) -> int:
        if self.label_scoring == "first_token":
            return 1
        if self.label_scoring == "sequence":
            return self._whole()
        return tokens_to_read(self.views[0].spellings)

    def _whole(self) -> int:
        return tokens_to_read(self.views[0].spellings, whole=True)

    def ask(
        self, requests: Sequence[Request], cache: Any, usage: Usage, verbose: Any
    ) -> list[Outcome]:
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
        outcomes : list of Answer or RowError
            One a request.
        """
        outcomes = collect(
            self.backend,
            requests,
            resolve_cache(cache),
            usage=usage,
            verbose=verbose,
            on_error=self.on_error,
            per_row=self.per_row,
        )
        if getattr(self.template, "max_tokens", None) is not None:
            outcomes = [self._concluded(i, o) for i, o in enumerate(outcomes)]
        self._report(outcomes)
        return outcomes

    def _concluded(self, position: int, outcome: Outcome) -> Outcome:
        """Leave the reasoning out of an answer."""
        if isinstance(outcome, RowError):
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
            position,
        ).for_row(position // self.per_row)

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        """Raise, or warn of, the rows of which no request has an answer."""
        lost = np.array([isinstance(outcome, RowError) for outcome in outcomes], bool)
        rows = np.flatnonzero(lost.reshape(-1, self.per_row).all(axis=1)).tolist()
        failed: dict[int, Any] = {row: outcomes[row * self.per_row] for row in rows}
        if not failed:
            return
        if self.on_error == "raise":
            raise next(iter(failed.values()))
        told = "".join(f"\n  {error}" for error in list(failed.values())[:NAMED])
        more = f"\n  and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        warnings.warn(
            f"{len(failed)} of {len(outcomes) // self.per_row} rows of X got no answer "
            f"and count as NaN: {', '.join(map(str, failed))}.{told}{more}",
            FailedRowsWarning,
            stacklevel=5,
        )

    def read(self, outcomes: Sequence[Outcome]) -> LabelScores:
        """Read the label log scores.

        Parameters
        ----------
        outcomes : sequence of Answer or RowError
            What `ask` gave.

        Returns
        -------
        scores : LabelScores
            Natural log, with bounds; NaN in rows without an answer.
        """
        shown, n_chains = self._shown, self.n_chains
        several, per_row = [], self.per_row
        for number, view in enumerate(shown):
            places = range(number * n_chains, (number + 1) * n_chains)
            asked = [o for i, o in enumerate(outcomes) if i % per_row in places]
            scores = read(asked, view.spellings)
            several.append(average(scores, n_chains) if n_chains > 1 else scores)
        return several[0] if len(shown) == 1 else agree(several)

    def sampling_error(self, outcomes: Sequence[Outcome]) -> float:
        """Give the median standard error of the leading label, where texts are drawn.

        Parameters
        ----------
        outcomes : sequence of Answer or RowError
            What `ask` gave.

        Returns
        -------
        error : float
            Probability; nan where nothing was drawn.
        """
        return sampling_error(_answers(outcomes), self._shown[0].spellings)

    def others(self, outcomes: Sequence[Outcome]) -> NDArray[Any]:
        """Tabulate what else the model wanted to say.

        Parameters
        ----------
        outcomes : sequence of Answer or RowError
            What `ask` gave.

        Returns
        -------
        table : structured ndarray
            ``token`` and ``mean_probability``.
        """
        return other_tokens(_answers(outcomes), self._shown[0].spellings)


def _answers(outcomes: Sequence[Outcome]) -> list[Answer]:
    return [outcome for outcome in outcomes if isinstance(outcome, Answer)]
