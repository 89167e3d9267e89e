"""OpenAI's decisions: OpenAI itself, Azure, vLLM, Fireworks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn_logprob.backends._decisions import QUESTION
from sklearn_logprob.backends._decisions_base import DecisionsBackend
from sklearn_logprob.backends._openai_wire import is_openai

__all__ = ["OpenAIDecisionsBackend"]


class OpenAIDecisionsBackend(DecisionsBackend):
    """Class probabilities from ``POST {base_url}/decisions`` in OpenAI's format.

    The model gives a probability for every label, in one pass and without writing. The
    prompt's text is the ``input``; its system messages stand before the question.

    Parameters
    ----------
    model : str, default="gpt-6-luna"
        Name of the model; OpenAI documents this one only.
    base_url : str, default=None
        Where the server is, such as ``"http://localhost:8000/v1"`` (vLLM) or
        ``"https://api.fireworks.ai/inference/v1"``. None is the environment variable
        ``OPENAI_BASE_URL``, or else OpenAI itself.
    api_key_env : str, default="OPENAI_API_KEY"
        Name of the environment variable that holds the key. It is read when asking,
        sent to `base_url`, and stored nowhere.
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
    .. [1] OpenAI, "Decisions", https://developers.openai.com/api/docs/guides/decisions

    Examples
    --------
    >>> from sklearn_logprob.backends.openai_decisions import OpenAIDecisionsBackend
    >>> backend = OpenAIDecisionsBackend("qwen3", base_url="http://localhost:8000/v1")
    >>> backend.answer_identity()["instructions"]
    'Which label fits?'
    """

    def __init__(
        self,
        model: str = "gpt-6-luna",
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
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
        return os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"

    def _wants_key(self, url: str) -> bool:
        return is_openai(url)

    def _body(self, text: str, instructions: str, options: Mapping[str, str]) -> Any:
        question = {
            "type": "choice",
            "name": QUESTION,
            "instructions": instructions,
            "choices": [
                {"value": option, **({"description": said} if said else {})}
                for option, said in options.items()
            ],
        }
        return {"model": self.model, "input": text, "questions": [question]}

    def _find(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = content["answers"][0]
        return answer

    def _probabilities(self, answer: Mapping[str, Any]) -> dict[Any, Any]:
        return {one["value"]: one["probability"] for one in answer["probabilities"]}
