"""Claude models, behind Anthropic's Messages endpoint: text, and no log-probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import (
    LogprobsUnavailableError,
    MissingKeyError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Outcome, Request
from sklearn_logprob.backends._anthropic_batch import AnthropicBatches
from sklearn_logprob.backends._anthropic_wire import (
    answer_of,
    ask_body,
    continues,
    explain,
    thinks,
)
from sklearn_logprob.backends._batch_wire import check_mode
from sklearn_logprob.backends._limits import Heed, Metered
from sklearn_logprob.backends._overlap import overlap
from sklearn_logprob.backends._params import check_common
from sklearn_logprob.backends._service import Service

__all__ = ["AnthropicBackend"]

VERSION = "2023-06-01"  # of the format: not the newest, but what all servers know


class AnthropicBackend(Metered, BaseEstimator):
    """A Claude model behind Anthropic's Messages endpoint, to be asked for text.

    Claude returns no log-probabilities, whatever is said elsewhere. So this backend is
    for ``SamplingBackend`` and ``VerbalisedBackend``, which make probabilities of texts.

    Parameters
    ----------
    model : str, default="claude-haiku-4-5"
        Name of the model. Names change within a year or two.
    base_url : str, default=None
        Where the server is: what stands before ``/v1/messages`` in the address. None is
        the environment variable ``ANTHROPIC_BASE_URL``, or else Anthropic itself.
    api_key_env : str, default="ANTHROPIC_API_KEY"
        Name of the environment variable that holds the key. It is read when asking,
        sent to `base_url` in a header, and stored nowhere.
    thinking : str, default="auto"
        Whether the model thinks before it answers. Claude 5 and later do so unless told
        not to: ``"auto"`` tells them, but for the Fable and Mythos families, which
        always think. ``"adaptive"`` and other text is sent as it is, None sends nothing.
    thinking_tokens : int, default=4096
        Where thinking is not switched off, the tokens that it may take, besides those
        of the answer.
    extra_body : dict, default=None
        Further fields of the request, such as ``{"output_config": {"effort": "low"}}``.
    mode : {"live", "batch"}, default="live"
        "batch" sends everything in lists, through jobs that may take a day and cost half.
        An interrupted call goes on waiting for its jobs when it is made again, in another
        process too.
    price : tuple of float, default=None
        US dollars for one million tokens: prompt, cached, generated. None: list price,
        or half of it for a batch.
    requests_per_minute, tokens_per_minute : float, default=None
        How fast to ask at most.
    max_requests : int, default=None
        The most requests that this process may send to the model; those that are sent
        again count.
    max_cost : float, default=None
        The most US dollars that this process may spend on the model.
    max_concurrency : int, default=8
        The most requests at the same time.
    max_retries : int, default=5
        How often to ask again after a rate limit or a server error.
    timeout : float, default=60.0
        Seconds to wait for one answer.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.
    scores_choices : bool
        False: the endpoint cannot score given text.
    max_top_logprobs : int
        0: the endpoint returns no log-probabilities.
    requests_per_row : int
        1: the most calls that a request takes.

    References
    ----------
    .. [1] Anthropic, "Create a Message", API reference,
       https://docs.anthropic.com/en/api/messages

    Examples
    --------
    >>> from sklearn_logprob.backends.anthropic import AnthropicBackend
    >>> AnthropicBackend("claude-sonnet-5").answer_identity()["thinking"]
    'disabled'
    """

    answer_params: ClassVar[tuple[str, ...]] = (
        "model",
        "base_url",
        "thinking",
        "thinking_tokens",
        "extra_body",
    )
    scores_choices: bool = False
    max_top_logprobs: int = 0
    requests_per_row: int = 1

    api_key_env: str

    def __init__(
        self,
        model: str = "claude-haiku-4-5",
        *,
        base_url: str | None = None,
        api_key_env: str = "ANTHROPIC_API_KEY",
        thinking: str | None = "auto",
        thinking_tokens: int = 4096,
        extra_body: Mapping[str, Any] | None = None,
        mode: Literal["live", "batch"] = "live",
        price: tuple[float, float, float] | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_requests: int | None = None,
        max_cost: float | None = None,
        max_concurrency: int = 8,
        max_retries: int = 5,
        timeout: float = 60.0,
    ) -> None:
        self.model = model
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.thinking = thinking
        self.thinking_tokens = thinking_tokens
        self.extra_body = extra_body
        self.mode = mode
        self.price = price
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.max_requests = max_requests
        self.max_cost = max_cost
        self.max_concurrency = max_concurrency
        self.max_retries = max_retries
        self.timeout = timeout

    @property
    def all_at_once(self) -> bool:
        """Whether `answer` should get all requests in one call."""
        return self.mode == "batch"

    def answer_identity(self) -> dict[str, Any]:
        """Give what an answer depends on besides the request.

        Returns
        -------
        identity : dict
            `answer_params` as they are sent: defaults resolved, no secrets.
        """
        return {
            "model": self.model,
            "base_url": self._url(),
            "thinking": thinks(self.thinking, self.model),
            "thinking_tokens": self.thinking_tokens,
            "extra_body": dict(self.extra_body or {}),
        }

    def check(self, requests: Sequence[Request]) -> None:
        """Find what is wrong without asking the model.

        Parameters
        ----------
        requests : sequence of Request
            What is going to be asked.

        Raises
        ------
        ValueError
            A parameter has a wrong value.
        MissingKeyError
            Anthropic wants a key, and there is none.
        LogprobsUnavailableError
            A request wants log-probabilities.
        UnsupportedRequestError
            The model does not continue an answer that the request begins.
        """
        url = self._url()
        check_common(self)
        check_mode(self)
        self._check_limits()
        if not isinstance(self.thinking_tokens, int) or self.thinking_tokens < 0:
            raise ValueError(
                "The 'thinking_tokens' parameter of AnthropicBackend must be an integer "
                f"of at least 0. Got {self.thinking_tokens!r} instead."
            )
        if requests:
            self._key(url)
        if any(r.top_logprobs or r.choices or r.options for r in requests):
            raise LogprobsUnavailableError(
                "Claude returns no log-probabilities, whichever the model. Use "
                f"backend='sampling:anthropic:{self.model}', which counts what it "
                f"answers, or 'verbalised:anthropic:{self.model}', which asks it for "
                "probabilities."
            )
        begun = any(request.messages[-1][0] == "assistant" for request in requests)
        if begun and not continues(self.model):
            raise UnsupportedRequestError(
                f"{self.model!r} does not continue an answer that the prompt begins (a "
                "trailing assistant message); only Claude 4.5 does. Put that text at "
                "the end of the user message."
            )

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask, many requests at a time.

        Every answer is drawn, whether the request asks for a draw or not: the endpoint
        has no other way.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Returns
        -------
        outcomes : iterator of (int, Answer or RowError)
            Each with its position in `requests`, as they arrive.

        Raises
        ------
        BackendError
            The first failure that is not a row's own, after the answers under way;
            `LimitReachedError` where a limit would be crossed.
        """
        self.check(requests)
        if not requests:
            return iter(())
        gate, service = self._gate(), self._service()
        if self.mode == "batch":
            read = partial(self._read, service)
            return AnthropicBatches(service, self._body, read, gate).answer(requests)
        ask = partial(self._ask, service, gate.heed)
        return overlap(ask, requests, self.max_concurrency, gate=gate)

    def _url(self) -> str:
        url = (
            self.base_url
            or os.environ.get("ANTHROPIC_BASE_URL")
            or "https://api.anthropic.com"
        )
        parts = urlsplit(url)
        web = parts.scheme in ("http", "https") and parts.hostname
        if not web or "@" in parts.netloc or parts.query:
            got = "one with a secret" if "@" in url or parts.query else repr(url)
            raise ValueError(
                "The 'base_url' parameter of AnthropicBackend must be an http(s) URL "
                f"without user, password and query. Got {got} instead. Keys belong into "
                "the environment variable that api_key_env= names."
            )
        return url.rstrip("/")

    def _key(self, url: str) -> str:
        key = os.environ.get(self.api_key_env, "").strip()
        if not key and not f".{urlsplit(url).hostname}".endswith(".anthropic.com"):
            return ""
        if not (key and key.isascii() and key.isprintable()):
            raise MissingKeyError(
                f"The environment variable {self.api_key_env!r} holds no key for {url}."
                " Set it, or name another one with api_key_env=. Without any key, use "
                "backend='llama-cpp' (a small embedded model) or backend='fake'."
            )
        return key

    def _ask(self, service: Service, heed: Heed, index: int, request: Request) -> Answer:
        content = service.call("/v1/messages", self._body(request), index, heed=heed)
        return self._read(service, content, index)

    def _body(self, request: Request) -> dict[str, Any]:
        body = ask_body(
            request,
            model=self.model,
            thinking=thinks(self.thinking, self.model),
            thinking_tokens=self.thinking_tokens,
        )
        return body | dict(self.extra_body or {})

    def _read(self, service: Service, content: dict[str, Any], index: int) -> Answer:
        return answer_of(
            content, index, model=self.model, who=service.who, key=service.key
        )

    def _service(self) -> Service:
        url = self._url()
        key = self._key(url)
        return Service(
            url,
            f"{self.model!r} at {url}",
            {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})},
            key,
            timeout=self.timeout,
            max_retries=self.max_retries,
            explain=partial(explain, key_name=self.api_key_env),
        )
