"""Google's decisions: the Gemini API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sklearn_logprob._types import TokenUsage
from sklearn_logprob.backends._decisions import QUESTION
from sklearn_logprob.backends._decisions_base import DecisionsBackend

__all__ = ["GeminiDecisionsBackend"]


class GeminiDecisionsBackend(DecisionsBackend):
    """Class probabilities from ``POST {base_url}/decisions`` in Google's format.

    The model gives a probability for every label, in one pass and without writing. The
    prompt's text is the ``input``; its system messages stand before the question.

    Parameters
    ----------
    model : str, default="gemini-decision-1"
        Name of the model.
    base_url : str, default=None
        Where the server is. None is ``https://generativelanguage.googleapis.com/v1beta``.
    api_key_env : str, default="GEMINI_API_KEY"
        Name of the environment variable that holds the key. It is read when asking,
        sent to `base_url` as ``x-goog-api-key``, and stored nowhere.
    instructions : str, default="Which label fits?"
        The question.
    max_concurrency : int, default=8
        The most requests at the same time.
    max_retries : int, default=5
        How often to ask again after a rate limit or a server error.
    timeout : float, default=60.0
        Seconds to wait for one answer.
    requests_per_minute, tokens_per_minute : float, default=None
        How fast to ask at most. None: as fast as `max_concurrency` allows. A server
        that says that nothing is left of its own limits is heeded anyway.
    max_requests : int, default=None
        How many requests to send to this model in this process, before an error; those
        that are sent again count.
    max_cost : float, default=None
        How many US dollars to spend on it. The error comes before the limit is crossed.
    price : tuple of float, default=None
        US dollars for one million tokens: (prompt, cached, generated). None: the list
        price, where it is known.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.
    decides : bool
        True: it is asked with options.
    scores_choices : bool
        False: it does not score given text.
    max_top_logprobs : int
        0: no tokens are generated, so none are shown.

    Notes
    -----
    Each class is one option: its first surface form, with its description where the
    verbalizer has one (``Verbalizer(descriptions={...})``). Further surface forms are
    not shown, for they would compete with the first.

    Probabilities below 1e-6 count as 1e-6; ``confidence`` is not used, for every server
    means something else by it.

    References
    ----------
    .. [1] Google, "Decisions API", https://aistudio.google.com/docs/decisions-api

    Examples
    --------
    >>> from sklearn_logprob.backends.gemini_decisions import GeminiDecisionsBackend
    >>> GeminiDecisionsBackend().answer_identity()["base_url"]
    'https://generativelanguage.googleapis.com/v1beta'
    """

    def __init__(
        self,
        model: str = "gemini-decision-1",
        *,
        base_url: str | None = None,
        api_key_env: str = "GEMINI_API_KEY",
        instructions: str = "Which label fits?",
        max_concurrency: int = 8,
        max_retries: int = 5,
        timeout: float = 60.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_requests: int | None = None,
        max_cost: float | None = None,
        price: Sequence[float] | None = None,
    ) -> None:
        self.model = model
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.instructions = instructions
        self.max_concurrency = max_concurrency
        self.max_retries = max_retries
        self.timeout = timeout
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.max_requests = max_requests
        self.max_cost = max_cost
        self.price = price

    def _default_url(self) -> str:
        return "https://generativelanguage.googleapis.com/v1beta"

    def _wants_key(self, url: str) -> bool:
        return f".{urlsplit(url).hostname}".endswith(".googleapis.com")

    def _headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def _body(self, text: str, instructions: str, options: Mapping[str, str]) -> Any:
        question = {
            "type": "choice",
            "instructions": instructions,
            "criteria": dict(options),  # the format knows no null
        }
        return {"model": self.model, "input": text, "questions": {QUESTION: question}}

    def _usage(self, usage: Mapping[str, Any]) -> TokenUsage:
        return TokenUsage(
            prompt_tokens=int(usage.get("total_input_tokens") or 0),
            completion_tokens=int(usage.get("total_output_tokens") or 0),
            cached_tokens=int(usage.get("total_cached_tokens") or 0),
        )
