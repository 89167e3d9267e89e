"""Probabilities that a model names itself, for models that show none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from sklearn_logprob._errors import (
    RowError,
    UnreadableAnswerError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Outcome, Request
from sklearn_logprob.backends._repeated import (
    RepeatedBackend,
    ask_repeatedly,
    build,
    total,
)
from sklearn_logprob.backends._verbal import (
    INSTRUCTION,
    ask_in_words,
    read_words,
    tokens_needed,
)

__all__ = ["VerbalisedBackend"]


class VerbalisedBackend(RepeatedBackend):
    """Asks another backend for the probability of each label, in words.

    For models that write text and show no log-probabilities. The instruction and the
    labels, with their descriptions, follow the prompt; the answer is one JSON object
    [1]_. Models like round numbers, so many texts get equal probabilities; several
    elicitations, averaged, break ties. Probabilities are taken as at least 0.01.

    Parameters
    ----------
    backend : str or Backend, default="anthropic"
        Who is asked, such as ``"anthropic:claude-haiku-4-5"`` or an object.
    n_elicitations : int, default=1
        How many answers are averaged. One is the likeliest, as far as the backend can
        give that; several are drawn.
    instruction : str, default=INSTRUCTION
        What is said after the prompt. ``{labels}`` stands for the list of the labels.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.
    decides : bool
        True: it is asked with options.
    scores_choices : bool
        False: it is asked with options, not with spellings.
    max_top_logprobs : int
        0: it shows no tokens.
    requests_per_row : int
        The most calls of the model that a request takes.

    References
    ----------
    .. [1] K. Tian et al., "Just Ask for Calibration: Strategies for Eliciting Calibrated
       Confidence Scores from Language Models Fine-Tuned with Human Feedback", EMNLP
       2023, arXiv:2305.14975.

    Examples
    --------
    >>> from sklearn_logprob.backends.verbalised import VerbalisedBackend
    >>> backend = VerbalisedBackend("anthropic:claude-haiku-4-5", n_elicitations=3)
    >>> backend.requests_per_row
    3
    """

    answer_params: ClassVar[tuple[str, ...]] = (
        "backend",
        "n_elicitations",
        "instruction",
    )
    decides: bool = True

    def __init__(
        self,
        backend: Any = "anthropic",
        *,
        n_elicitations: int = 1,
        instruction: str = INSTRUCTION,
    ) -> None:
        self.backend = backend
        self.n_elicitations = n_elicitations
        self.instruction = instruction

    def _times(self) -> int:
        return self.n_elicitations

    def _check(self, requests: Sequence[Request]) -> None:
        self._check_count("n_elicitations")
        if "{labels}" not in self.instruction:
            raise ValueError(
                "The 'instruction' parameter of VerbalisedBackend must say with "
                f"{{labels}} where the labels go. Got {self.instruction!r} instead."
            )
        if not all(request.options for request in requests):
            raise UnsupportedRequestError(
                "Probabilities in words are about whole labels, and the request has no "
                "options: leave label_scoring= at 'auto'."
            )
        if any(request.messages[-1][0] == "assistant" for request in requests):
            raise UnsupportedRequestError(
                "An answer that the prompt begins (a trailing assistant message) leaves "
                "no place for the question for probabilities. Put that text at the end "
                "of the user message."
            )

    def _written(self, request: Request, number: int) -> Request:
        n = self.n_elicitations
        return replace(
            request,
            messages=ask_in_words(request.messages, request.options, self.instruction),
            max_tokens=tokens_needed(request.options),
            top_logprobs=0,
            choices=(),
            options=(),
            draw=request.draw if n == 1 else request.draw * n + number + 1,
        )

    def _answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        asked = {
            index: [self._written(request, n) for n in range(self.n_elicitations)]
            for index, request in enumerate(requests)
        }
        for index, outcome in ask_repeatedly(self._inner(), asked):
            if isinstance(outcome, RowError):
                yield index, outcome
                continue
            texts = [answer.draws[0][0] for answer in outcome]
            forms = [form for form, _ in requests[index].options]
            read = [words for text in texts for words in read_words(text, forms)]
            if not read:
                yield index, _unreadable(texts[0], index)
                continue
            logs = np.log(np.mean(read, axis=0)).tolist()
            choices = tuple(zip(forms, logs, strict=True))
            usage, who = total(outcome), build(outcome)
            yield index, Answer(choices=choices, usage=usage, build=who)


def _unreadable(text: str, index: int) -> UnreadableAnswerError:
    return UnreadableAnswerError(
        "For {row} the model named no probability of any label. Try another model, or "
        f"ask otherwise with instruction=. It said: {text.strip()[:100]!r}",
        index,
    )
