"""From rows of X to label log scores: what is asked, and how the answers are read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sklearn_logprob._chains import agree, average, read
from sklearn_logprob._draws import sampling_error
from sklearn_logprob._errors import (
    FailedRowsWarning,
    LogprobsUnavailableError,
    RowError,
    UnsupportedRequestError,
)
from sklearn_logprob._features import TokenFeatures
from sklearn_logprob._garbage import no_garbage
from sklearn_logprob._inputs import Rows
from sklearn_logprob._parts import Part, TemplateFeatures
from sklearn_logprob._types import Answer, Backend, Floats, Outcome, Request, Usage
from sklearn_logprob._views import View, plain_view
from sklearn_logprob.cache import resolve_cache
from sklearn_logprob.collect import collect
from sklearn_logprob.ensembles import PromptEnsemble, members_of
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
AROUND = 8  # tokens that a text may have besides the label, such as "**Answer:** "


@dataclass(frozen=True)
class LabelScorer:
    """One way to ask a model for the scores of a fixed set of labels.

    Parameters
    ----------
    backend : Backend
        Who answers.
    template : PromptTemplate or PromptEnsemble
        How a row becomes a prompt, or several.
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
    template: PromptTemplate | PromptEnsemble
    forms: Mapping[Any, Sequence[str]]
    views: Sequence[View]
    label_scoring: str = "auto"
    descriptions: Sequence[str] = ()
    on_error: Literal["raise", "nan"] = "raise"

    @no_garbage()
    def requests(self, rows: Rows) -> list[Request]:
        """Build the requests: one for each row, template, view and chain of thought.

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
        several = [part.requests(rows, self._asked(part)) for part in self.parts]
        return [
            request
            for parts in zip(*several, strict=True)
            for requests in parts
            for request in requests
        ]

    @property
    def parts(self) -> list[Part]:
        """The ways in which a row is asked about, in the order of its requests."""
        return [Part(t, view) for t in members_of(self.template) for view in self._shown]

    @property
    def per_row(self) -> int:
        """How many requests a question about a row takes."""
        return sum(part.n_chains for part in self.parts)

    @property
    def n_questions(self) -> int:
        """How many questions are asked about a row."""
        return 1

    @property
    def unnamed(self) -> list[int]:
        """The column of everything that is no label, if there is one."""
        return [k for k, forms in enumerate(self._shown[0].spellings) if not forms]

    @property
    def stacks(self) -> bool:
        """Whether it is learnt how far to trust each template."""
        return getattr(self.template, "combine", "average") == "stack"

    @property
    def features(self) -> Any:
        """What turns outcomes into what a read-out learns from besides the scores."""
        if self.stacks:
            return TemplateFeatures(self.read_templates)
        return TokenFeatures(per_row=self.per_row)

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

    def _asked(self, part: Part) -> Request:
        """Build what the requests of all rows have in common."""
        backend, reasoning = self.backend, part.max_tokens
        n_top = backend.max_top_logprobs
        if self._decides:
            if reasoning is not None or self.label_scoring == "first_token":
                raise UnsupportedRequestError(
                    f"{type(backend).__name__} decides between whole labels at once: "
                    "leave label_scoring= at 'auto', and max_tokens= of the prompt at "
                    "None."
                )
            if not all(self.views[0].spellings):
                raise UnsupportedRequestError(
                    f"{type(backend).__name__} divides all probability among the labels, "
                    "so that nothing is left for other='class' of Verbalizer: leave it "
                    "at 'normalise', and give none_option='none of the above'."
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
        if n_top and self.label_scoring == "first_token":
            return Request((), top_logprobs=n_top)
        whole = not n_top or self.label_scoring == "sequence"
        n_tokens = tokens_to_read(self.views[0].spellings, whole=whole)
        n_tokens += 0 if n_top else AROUND
        return Request((), max_tokens=n_tokens, top_logprobs=n_top)

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
            per_row=self.per_row * self.n_questions,
        )
        parts = [part for part in self.parts for _ in range(part.n_chains)]
        if any(part.max_tokens is not None for part in parts):
            size = len(parts) * self.n_questions
            outcomes = [
                parts[i % len(parts)].concluded(outcome, i // size)
                for i, outcome in enumerate(outcomes)
            ]
        self._report(outcomes)
        return outcomes

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        """Raise, or warn of, the rows with a question that no request answers."""
        per_row, n_questions = self.per_row, self.n_questions
        lost = np.array([isinstance(outcome, RowError) for outcome in outcomes], bool)
        failed: dict[int, Any] = {}
        for question in np.flatnonzero(lost.reshape(-1, per_row).all(axis=1)).tolist():
            failed.setdefault(question // n_questions, outcomes[question * per_row])
        if not failed:
            return
        if self.on_error == "raise":
            raise next(iter(failed.values()))
        told = "".join(f"\n  {error}" for error in list(failed.values())[:NAMED])
        more = f"\n  and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        n_rows = len(outcomes) // (per_row * n_questions)
        warnings.warn(
            f"{len(failed)} of {n_rows} rows of X got no answer "
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
        several = self._read_parts(outcomes)
        return several[0] if len(several) == 1 else agree(several)

    def read_templates(self, outcomes: Sequence[Outcome]) -> Floats:
        """Read the label log scores of each template.

        Parameters
        ----------
        outcomes : sequence of Answer or RowError
            What `ask` gave.

        Returns
        -------
        scores : ndarray of shape (n_templates, n_rows, n_classes)
            Natural log; NaN where a template has no answer about a row.
        """
        several, n_views = self._read_parts(outcomes), len(self._shown)
        starts = range(0, len(several), n_views)
        return np.array([agree(several[i : i + n_views]).scores for i in starts])

    @no_garbage()
    def _read_parts(self, outcomes: Sequence[Outcome]) -> list[LabelScores]:
        several, per_row, start = [], self.per_row, 0
        for part in self.parts:
            places = range(start, start + part.n_chains)
            asked = [o for i, o in enumerate(outcomes) if i % per_row in places]
            scores = self._read(asked, part.view.spellings)
            several.append(average(scores, part.n_chains) if len(places) > 1 else scores)
            start = places.stop
        return several

    def _read(
        self, asked: Sequence[Outcome], spellings: Sequence[Sequence[str]]
    ) -> LabelScores:
        return read(asked, spellings)

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
