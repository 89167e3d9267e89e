"""System One decisions: TypeSafe, OpenRouter, Perplexity, and the many local servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sklearn_logprob.backends._decisions import QUESTION
from sklearn_logprob.backends._decisions_base import DecisionsBackend

__all__ = ["SystemOneBackend"]

_HOSTS = (".typesafe.ai", ".openrouter.ai", ".perplexity.ai", ".fireworks.ai")


class SystemOneBackend(DecisionsBackend):
    """Class probabilities from ``POST {base_url}{path}`` in the System One format.

    The model gives a probability for every label, in one pass and without writing. The
    prompt's text is the ``state``; its system messages stand before the question.

    Parameters
    ----------
    model : str, default="jev-latest"
        Name of the model; servers with a single one ignore it.
    base_url : str, default=None
        Where the server is, such as ``"http://localhost:8000/v1"`` (llama.cpp, Ollama,
        vLLM, SGLang). None is TypeSafe.
    path : str, default="/systemone"
        What follows `base_url`. OpenRouter: ``"/api/alpha/decisions"`` after
        ``"https://openrouter.ai"``; Perplexity: ``"/v1/decisions"`` after
        ``"https://api.perplexity.ai"``.
    api_key_env : str, default="TYPESAFE_API_KEY"
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
    .. [1] TypeSafe, "API reference", https://docs.typesafe.ai/api

    Examples
    --------
    >>> from sklearn_logprob.backends.systemone import SystemOneBackend
    >>> SystemOneBackend(base_url="http://localhost:8000/v1").answer_identity()["path"]
    '/systemone'
    """

    answer_params: ClassVar[tuple[str, ...]] = (*DecisionsBackend.answer_params, "path")

    def __init__(
        self,
        model: str = "jev-latest",
        *,
        base_url: str | None = None,
        path: str = "/systemone",
        api_key_env: str = "TYPESAFE_API_KEY",
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
        self.path = path
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
        return "https://api.typesafe.ai/v1"

    def _wants_key(self, url: str) -> bool:
        return f".{urlsplit(url).hostname}".endswith(_HOSTS)

    def _body(self, text: str, instructions: str, options: Mapping[str, str]) -> Any:
        question = {
            "type": "choice",
            "instructions": instructions,
            # null: the option says it all
            "criteria": {option: said or None for option, said in options.items()},
        }
        return {"model": self.model, "state": text, "questions": {QUESTION: question}}
