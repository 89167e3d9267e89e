"""OpenAI's chat wire format: OpenAI itself and the many servers that speak it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

import openai
from sklearn.base import BaseEstimator

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    MissingKeyError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Request
from sklearn_logprob.backends._openai_errors import (
    WHO_RETURNS_LOGPROBS,
    excerpt,
    explain,
)
from sklearn_logprob.backends._openai_wire import (
    WHOLE_CHARACTERS,
    Reply,
    chat_body,
    is_openai,
    read_reply,
    resolve_effort,
)
from sklearn_logprob.backends._overlap import overlap
from sklearn_logprob.backends._params import check_common

__all__ = ["OpenAIBackend"]

_NO_KEY = "no-key-needed"  # the client wants one, compatible servers often do not


class OpenAIBackend(BaseEstimator):
    """A model behind OpenAI's chat endpoint, or behind a server that imitates it.

    Parameters
    ----------
    model : str, default="gpt-4.1-mini"
        Name of the model (on Azure: of the deployment).
    base_url : str, default=None
        Where the server is, such as ``"http://localhost:8000/v1"``. None is the
        environment variable ``OPENAI_BASE_URL``, or else OpenAI itself.
    api_key_env : str, default="OPENAI_API_KEY"
        Name of the environment variable that holds the key. It is read when asking,
        sent to `base_url`, and stored nowhere.
    reasoning_effort : str, default="auto"
        Models that reason first give no log-probabilities. ``"auto"`` sends ``"none"``
        to those that may be told not to (gpt-5.1 and later) and nothing to others;
        None sends nothing; any other text is sent as it is.
    max_top_logprobs : int, default=20
        The most alternatives that the server returns at a position: 20 at OpenAI,
        8 at xAI, 5 at Fireworks; llama-server has no limit.
    extra_body : dict, default=None
        Further fields of the request. For vLLM and SGLang to continue a trailing
        assistant message: ``{"continue_final_message": True,
        "add_generation_prompt": False}``.
    max_concurrency : int, default=8
        The most requests at the same time.
    max_retries : int, default=5
        How often the client asks again after a rate limit or a server error.
    timeout : float, default=60.0
        Seconds to wait for one answer.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.
    scores_choices : bool
        False: the endpoint cannot score given text.

    References
    ----------
    .. [1] OpenAI, "Create chat completion", API reference,
       https://platform.openai.com/docs/api-reference/chat/create

    Examples
    --------
    >>> from sklearn_logprob.backends.openai import OpenAIBackend
    >>> backend = OpenAIBackend("qwen3", base_url="http://localhost:8000/v1")
    >>> backend.answer_identity()["base_url"]
    'http://localhost:8000/v1'
    """

    answer_params: ClassVar[tuple[str, ...]] = (
        "model",
        "base_url",
        "reasoning_effort",
        "max_top_logprobs",
        "extra_body",
    )
    scores_choices: bool = False

    def __init__(
        self,
        model: str = "gpt-4.1-mini",
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        reasoning_effort: str | None = "auto",
        max_top_logprobs: int = 20,
        extra_body: Mapping[str, Any] | None = None,
        max_concurrency: int = 8,
        max_retries: int = 5,
        timeout: float = 60.0,
    ) -> None:
        self.model = model
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.reasoning_effort = reasoning_effort
        self.max_top_logprobs = max_top_logprobs
        self.extra_body = extra_body
        self.max_concurrency = max_concurrency
        self.max_retries = max_retries
        self.timeout = timeout

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
            "reasoning_effort": resolve_effort(self.reasoning_effort, self.model),
            "max_top_logprobs": self.max_top_logprobs,
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
            OpenAI wants a key, and there is none.
        UnsupportedRequestError
            OpenAI does not continue an answer that the request begins.
        """
        url = self._url()
        check_common(self)
        if requests:
            self._key(url)
        if is_openai(url) and any(r.messages[-1][0] == "assistant" for r in requests):
            raise UnsupportedRequestError(
                f"{url} does not continue an answer that the prompt begins (a trailing "
                "assistant message). Put that text at the end of the user message."
            )

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Ask, many requests at a time.

        After the first failure nothing new is sent; the answers under way are paid for,
        so they are yielded before the failure is raised.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Returns
        -------
        answers : iterator of (int, Answer)
            Each with its position in `requests`, as they arrive.

        Raises
        ------
        LogprobError
            The first failure: `BackendError` and its kinds, or `PromptTooLongError`.
        """
        self.check(requests)
        if not requests:
            return iter(())
        url = self._url()
        client = _client(url, self._key(url), self.timeout, self.max_retries)
        return overlap(partial(self._ask, client), requests, self.max_concurrency)

    def _url(self) -> str:
        url = (
            self.base_url
            or os.environ.get("OPENAI_BASE_URL")
            or "https://api.openai.com/v1"
        )
        parts = urlsplit(url)
        web = parts.scheme in ("http", "https") and parts.hostname
        if not web or "@" in parts.netloc:
            got = "a URL with a user or password" if "@" in url else repr(url)
            raise ValueError(
                "The 'base_url' parameter of OpenAIBackend must be an http(s) URL "
                f"without user and password. Got {got} instead. Keys belong into the "
                "environment variable that api_key_env= names."
            )
        return url

    def _key(self, url: str) -> str:
        key = os.environ.get(self.api_key_env, "").strip()
        if not key and not is_openai(url):
            return _NO_KEY
        if not (key and key.isascii() and key.isprintable()):
            raise MissingKeyError(
                f"The environment variable {self.api_key_env!r} holds no key for {url}."
                " Set it, or name another one with api_key_env=. Without any key, use "
                "backend='llama-cpp' (a small embedded model) or backend='fake'."
            )
        return key

    def _ask(self, client: openai.OpenAI, index: int, request: Request) -> Answer:
        url = str(client.base_url)
        body = chat_body(
            request,
            url=url,
            model=self.model,
            effort=resolve_effort(self.reasoning_effort, self.model),
            top_logprobs=self.max_top_logprobs,
        )
        body.update(self.extra_body or {})
        reply = self._post(client, index, body)
        if reply.withholds_token(request) and not is_openai(url):
            reply = self._post(client, index, body | WHOLE_CHARACTERS)
        if not reply.positions or (request.top_logprobs > 1 and reply.placeholders):
            what = "only placeholders for" if reply.positions else "no"
            raise LogprobsUnavailableError(
                f"{self.model!r} at {url} answered with {what} log-probabilities "
                f"(finish_reason: {reply.finish_reason}). {WHO_RETURNS_LOGPROBS}"
            )
        return Answer(reply.positions, usage=reply.usage)

    def _post(self, client: openai.OpenAI, index: int, body: dict[str, Any]) -> Reply:
        url, key = str(client.base_url), client.api_key
        failure: LogprobError
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model, messages=body["messages"], extra_body=body
            )
        except openai.OpenAIError as error:
            failure = explain(
                error,
                index=index,
                model=self.model,
                url=url,
                key=key,
                api_key_env=self.api_key_env,
            )
        else:
            reply = read_reply(raw.text)
            if reply is not None:
                return reply
            failure = BackendError(
                f"{url} did not answer in OpenAI's format: check base_url= (it usually "
                f"ends in /v1). It said: {excerpt(raw.text, key)}"
            )
        # Not in the handler: the client's error holds the request, and with it the
        # key, and would be kept as the context of ours.
        raise failure


@lru_cache(maxsize=16)
def _client(url: str, key: str, timeout: float, max_retries: int) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=url, api_key=key, timeout=timeout, max_retries=max_retries
    )
