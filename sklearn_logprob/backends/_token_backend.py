"""The backend for servers that take tokens as numbers, without an engine's format."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import (
    LogprobsUnavailableError,
    MissingKeyError,
    PromptTooLongError,
)
from sklearn_logprob._types import Answer, Outcome, Request
from sklearn_logprob.backends._overlap import overlap
from sklearn_logprob.backends._params import check_common
from sklearn_logprob.backends._token_server import TokenServer

__all__ = ["TokenBackend"]

TEMPLATE_ROOM = 512  # tokens that a chat template is taken to add at most

# A model that thinks first would begin with a tag instead of a label.
NO_THINKING = {"enable_thinking": False}


class TokenBackend(ABC, BaseEstimator):
    """What the backends for vLLM and SGLang do alike.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.

    Examples
    --------
    >>> from sklearn_logprob.backends._token_backend import TokenBackend
    >>> from sklearn_logprob.backends.sglang import SGLangBackend
    >>> isinstance(SGLangBackend(), TokenBackend)
    True
    """

    answer_params: ClassVar[tuple[str, ...]] = (
        "model",
        "base_url",
        "exact",
        "max_top_logprobs",
        "chat_template_kwargs",
    )

    model: str | None
    base_url: str
    api_key_env: str | None
    exact: bool
    max_top_logprobs: int
    chat_template_kwargs: Mapping[str, Any] | None
    max_concurrency: int
    max_retries: int
    timeout: float

    @property
    def scores_choices(self) -> bool:
        """Whether it scores given text: with ``exact=True``."""
        return self.exact

    def answer_identity(self) -> dict[str, Any]:
        """Ask the server which model it serves: its address alone does not tell.

        What it says is believed for half a minute.

        Returns
        -------
        identity : dict
            The model as served, the address, and `answer_params`; no secrets.

        Raises
        ------
        BackendError
            If the server is down, or serves another model: even answers that are in the
            cache need it.
        """
        server = self._server()
        return {
            **dict(server.served().identity),
            "base_url": server.url,
            "exact": self.exact,
            "max_top_logprobs": self.max_top_logprobs,
            "chat_template_kwargs": json.loads(server.template),
        }

    def check(self, requests: Sequence[Request]) -> list[PromptTooLongError]:
        """Find what is wrong without evaluating anything.

        Parameters
        ----------
        requests : sequence of Request
            What is going to be asked.

        Returns
        -------
        failures : list of PromptTooLongError
            One for each prompt that does not fit the context with its longest choice.

        Raises
        ------
        ValueError
            A parameter has a wrong value.
        MissingKeyError
            The environment variable holds no key.
        BackendError
            There is no such server, it wants another key, or serves another model.
        """
        server = self._server()
        n_ctx = server.served().listed.n_ctx if requests else 0
        failures = []
        for index, request in enumerate(requests):
            if _most_tokens(request) > n_ctx:  # only then is it worth to count
                tokens, choices = server.split(request)
                needed = len(tokens) + max(request.max_tokens, *map(len, choices), 1)
                if needed > n_ctx:
                    message = (
                        f"The prompt of {{row}} needs {needed} tokens with its answer, "
                        f"but {server.who} takes {n_ctx}: shorten the text, or start "
                        "the server with a longer context."
                    )
                    failures.append(PromptTooLongError(message, index))
        return failures

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
        LogprobError
            The first failure that is not one request's own, after the answers that
            were under way.
        """
        if not requests:
            return iter(())
        ask = partial(self._ask, self._server())
        return overlap(ask, requests, self.max_concurrency)

    @abstractmethod
    def _connect(self, url: str, key: str, template: str) -> TokenServer:
        """Give the server at an address, asked in its own format."""

    def _server(self) -> TokenServer:
        check_common(self)  # before the key is looked up by a name that may be one
        parts = urlsplit(self.base_url)
        web = parts.scheme in ("http", "https") and parts.hostname
        if not web or "@" in parts.netloc or parts.query:
            secret = "@" in self.base_url or parts.query
            got = "one with a secret" if secret else repr(self.base_url)
            raise ValueError(
                f"The 'base_url' parameter of {type(self).__name__} must be an http(s) "
                f"URL without user, password and query. Got {got} instead."
            )
        url = self.base_url.rstrip("/").removesuffix("/v1").rstrip("/")
        given = self.chat_template_kwargs
        if not isinstance(given, Mapping | None):
            raise ValueError(
                f"The 'chat_template_kwargs' parameter of {type(self).__name__} must be "
                f"a dict or None. Got {given!r} instead."
            )
        told = json.dumps(NO_THINKING if given is None else dict(given), sort_keys=True)
        return self._connect(url, self._key(url), told)

    def _key(self, url: str) -> str:
        if self.api_key_env is None:
            return ""
        key = os.environ.get(self.api_key_env, "").strip()
        if not (key and key.isascii() and key.isprintable()):
            raise MissingKeyError(
                f"The environment variable {self.api_key_env!r} holds no key for {url}."
                " Set it to what the server was started with (--api-key)."
            )
        return key

    def _ask(self, server: TokenServer, index: int, request: Request) -> Answer:
        n_top = min(request.top_logprobs, self.max_top_logprobs)
        n_top = max(n_top, bool(request.choices))  # their scores are log-probabilities
        tokens, choices = server.split(request)
        firsts = sorted({choice[0] for choice in choices})
        written = server.write(tokens, request, n_top, firsts, index)
        if not n_top:
            drawn = ((written.text, 1),)
            return Answer(usage=written.usage, draws=drawn, build=server.served().build)
        if not written.steps or not written.steps[0].shown.top:
            raise LogprobsUnavailableError(
                f"{server.who} answered without log-probabilities: it must be "
                f"{server.engine} {server.oldest} or later."
            )
        first = written.steps[0]
        scored = server.scores(tokens, choices, first, index) if choices else ()
        return Answer(
            tuple(step.shown for step in written.steps),
            tuple(zip(request.choices, scored, strict=True)),
            written.usage,
            build=server.served().build,
        )


def _most_tokens(request: Request) -> int:
    """Bound the tokens of prompt and answer: each is a byte of text at least."""
    texts = [text for _, text in request.messages]
    longest = max((len(choice.encode()) for choice in request.choices), default=0)
    room = max(longest, request.max_tokens)
    return sum(len(text.encode()) for text in texts) + room + TEMPLATE_ROOM
