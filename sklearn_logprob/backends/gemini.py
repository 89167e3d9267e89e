"""Gemini models, behind Google's Gemini API or Vertex AI."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import (
    BackendError,
    LogprobsUnavailableError,
    MissingKeyError,
    RefusedError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Outcome, Request
from sklearn_logprob.backends._batch_wire import check_mode
from sklearn_logprob.backends._gemini_batch import GeminiBatches
from sklearn_logprob.backends._gemini_wire import (
    WHO_RETURNS_LOGPROBS,
    ask_body,
    explain,
    read_reply,
)
from sklearn_logprob.backends._limits import Heed, Metered
from sklearn_logprob.backends._overlap import overlap
from sklearn_logprob.backends._params import check_common
from sklearn_logprob.backends._service import Service

__all__ = ["GeminiBackend"]

NOT_BLOCKED = (None, "STOP", "MAX_TOKENS", "FINISH_REASON_UNSPECIFIED")


class GeminiBackend(Metered, BaseEstimator):
    """A Gemini model behind Google's Gemini API or Vertex AI.

    Parameters
    ----------
    model : str, default="gemini-2.5-flash-lite"
        Name of the model.
    api_key_env : str, default="GEMINI_API_KEY"
        Name of the environment variable that holds the key. It is read when asking,
        sent to `base_url` in a header, and stored nowhere.
    access_token_env : str, default=None
        Name of the environment variable that holds an access token, which is then sent
        in place of the key, as Vertex AI wants it. ``gcloud auth print-access-token``
        prints one that is good for an hour.
    base_url : str, default="https://generativelanguage.googleapis.com/v1beta"
        What stands before ``/models/`` in the address. For Vertex AI:
        ``"https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/publishers/google"``.
    thinking_budget : int or "auto", default="auto"
        The most tokens to reason with; models that reason first give no
        log-probabilities of their answer. ``"auto"`` sends 0 to the gemini-2.5-flash
        family, which can do without, and nothing to others. None sends nothing.
    max_top_logprobs : int, default=20
        The most alternatives at a position; Google allows 20.
    mode : {"live", "batch"}, default="live"
        "batch" sends everything in lists, through jobs that may take a day and cost half;
        on the Gemini API only. Whether their answers have log-probabilities is not known
        here: try few rows. An interrupted call goes on waiting for its jobs when it is
        made again, in another process too.
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
        price, where it is known, or half of it for a batch.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.
    scores_choices : bool
        False: the endpoint cannot score given text.

    References
    ----------
    .. [1] Google, "Generating content", API reference,
       https://ai.google.dev/api/generate-content

    Examples
    --------
    >>> from sklearn_logprob.backends.gemini import GeminiBackend
    >>> GeminiBackend("gemini-2.5-flash-lite").answer_identity()["thinking_budget"]
    0
    """

    answer_params: ClassVar[tuple[str, ...]] = (
        "model",
        "base_url",
        "thinking_budget",
        "max_top_logprobs",
    )
    scores_choices: bool = False

    def __init__(
        self,
        model: str = "gemini-2.5-flash-lite",
        *,
        api_key_env: str = "GEMINI_API_KEY",
        access_token_env: str | None = None,
        base_url: str = "https://generativelanguage.googleapis.com/v1beta",
        thinking_budget: int | str | None = "auto",
        max_top_logprobs: int = 20,
        mode: Literal["live", "batch"] = "live",
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
        self.api_key_env = api_key_env
        self.access_token_env = access_token_env
        self.base_url = base_url
        self.thinking_budget = thinking_budget
        self.max_top_logprobs = max_top_logprobs
        self.mode = mode
        self.max_concurrency = max_concurrency
        self.max_retries = max_retries
        self.timeout = timeout
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.max_requests = max_requests
        self.max_cost = max_cost
        self.price = price

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
            "thinking_budget": self._budget(),
            "max_top_logprobs": self.max_top_logprobs,
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
            There is no key, or no access token where one is named.
        UnsupportedRequestError
            Google does not continue an answer that the request begins.
        """
        self._url()
        self._check_parameters()
        if requests:
            self._header()
        if any(request.messages[-1][0] == "assistant" for request in requests):
            raise UnsupportedRequestError(
                "Gemini does not reliably continue an answer that the prompt begins (a "
                "trailing assistant message). Put that text at the end of the user "
                "message."
            )

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask, many requests at a time.

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
            The first failure that is not a row's own.
        """
        self.check(requests)
        if not requests:
            return iter(())
        gate, service = self._gate(), self._service()
        if self.mode == "batch":
            desk = GeminiBatches(self.model, service, self._body, self._read, gate)
            return desk.answer(requests)
        ask = partial(self._ask, service, gate.heed)
        return overlap(ask, requests, self.max_concurrency, gate=gate)

    def _check_parameters(self) -> None:
        if not re.fullmatch(r"[\w.@-]+", self.model):
            raise ValueError(
                "The 'model' parameter of GeminiBackend must be the name of a model, "
                f"such as 'gemini-2.5-flash-lite'. Got {self.model!r} instead."
            )
        if self.thinking_budget != "auto" and isinstance(self.thinking_budget, str):
            raise ValueError(
                "The 'thinking_budget' parameter of GeminiBackend must be 'auto', a "
                f"number of tokens or None. Got {self.thinking_budget!r} instead."
            )
        check_common(self)
        check_mode(self)
        vertex = self.access_token_env or "/publishers/" in self._url()
        if self.mode == "batch" and vertex:
            raise ValueError(
                "The 'mode' parameter of GeminiBackend must be 'live' with Vertex AI, "
                "whose batches have another format. Got 'batch' instead: use a key of "
                "the Gemini API."
            )
        self._check_limits()

    def _url(self) -> str:
        parts = urlsplit(self.base_url)
        web = parts.scheme in ("http", "https") and parts.hostname
        if not web or "@" in parts.netloc or parts.query:
            secret = "@" in self.base_url or parts.query
            got = "one with a user, password or key" if secret else repr(self.base_url)
            raise ValueError(
                "The 'base_url' parameter of GeminiBackend must be an http(s) URL "
                f"without user, password and key. Got {got} instead. Keys belong into "
                "the environment variable that api_key_env= names."
            )
        return self.base_url.rstrip("/")

    def _budget(self) -> int | str | None:
        if self.thinking_budget != "auto":
            return self.thinking_budget
        return 0 if self.model.startswith("gemini-2.5-flash") else None

    def _header(self) -> tuple[str, str]:
        """Give the environment variable in use, and what it holds."""
        name = self.access_token_env or self.api_key_env
        key = os.environ.get(name, "").strip()
        if not (key and key.isascii() and key.isprintable()):
            what = "access token" if self.access_token_env else "key"
            raise MissingKeyError(
                f"The environment variable {name!r} holds no {what} for {self._url()}. "
                "Set it, or name another one with api_key_env= or access_token_env=. "
                "Without any key, use backend='llama-cpp' (a small embedded model) or "
                "backend='fake'."
            )
        return name, key

    def _ask(self, service: Service, heed: Heed, index: int, request: Request) -> Answer:
        path = f"/models/{self.model}:generateContent"
        content = service.call(path, self._body(request), index, heed=heed)
        return self._read(content, request, index)

    def _body(self, request: Request) -> dict[str, Any]:
        return ask_body(
            request, top_logprobs=self.max_top_logprobs, budget=self._budget()
        )

    def _read(self, content: dict[str, Any], request: Request, index: int) -> Answer:
        reply = read_reply(content)
        if reply is None:
            raise BackendError(
                f"{self._who()} did not answer in Google's format: check base_url=."
            )
        shown = reply.positions and reply.positions[0].top
        if shown and not (request.top_logprobs > 1 and reply.placeholders):
            return Answer(reply.positions, usage=reply.usage, build=reply.build)
        if reply.text and not request.top_logprobs:
            return Answer(usage=reply.usage, draws=((reply.text, 1),), build=reply.build)
        blocked = (content.get("promptFeedback") or {}).get("blockReason")
        if blocked or reply.finish_reason not in NOT_BLOCKED:
            raise RefusedError(
                f"{self._who()} gives no answer to {{row}}: "
                f"{blocked or reply.finish_reason}.",
                index,
            )
        thoughts = (content.get("usageMetadata") or {}).get("thoughtsTokenCount")
        why = (
            "It spent its tokens on reasoning first: use a model that need not, such as "
            "gemini-2.5-flash-lite with thinking_budget=0. "
            if thoughts
            else ""
        )
        raise LogprobsUnavailableError(
            f"{self._who()} answered without log-probabilities (finishReason: "
            f"{reply.finish_reason}). {why}{WHO_RETURNS_LOGPROBS}"
        )

    def _service(self) -> Service:
        name, key = self._header()
        token = {"Authorization": f"Bearer {key}"}
        return Service(
            self._url(),
            self._who(),
            token if self.access_token_env else {"x-goog-api-key": key},
            key,
            timeout=self.timeout,
            max_retries=self.max_retries,
            explain=partial(explain, key_name=name),
        )

    def _who(self) -> str:
        return f"{self.model!r} at {self._url()}"
