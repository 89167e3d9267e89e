"""The decision backend, without the format that each kind of server adds."""

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
    BackendError,
    MissingKeyError,
    RefusedError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Outcome, Request, TokenUsage
from sklearn_logprob.backends._decisions import (
    QUESTION,
    explain,
    refusal_in,
    scores,
    wording,
)
from sklearn_logprob.backends._http import HttpError, call_json
from sklearn_logprob.backends._limits import Heed, Metered
from sklearn_logprob.backends._overlap import overlap
from sklearn_logprob.backends._params import MALFORMED, build_of, check_common

__all__ = ["DecisionsBackend"]


class DecisionsBackend(Metered, ABC, BaseEstimator):
    """What all decision backends do alike: one request is one question of type choice.

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

    Examples
    --------
    >>> from sklearn_logprob.backends._decisions_base import DecisionsBackend
    >>> from sklearn_logprob.backends.systemone import SystemOneBackend
    >>> isinstance(SystemOneBackend(), DecisionsBackend)
    True
    """

    answer_params: ClassVar[tuple[str, ...]] = ("model", "base_url", "instructions")
    decides: bool = True
    scores_choices: bool = False
    max_top_logprobs: int = 0

    path: str = "/decisions"
    base_url: str | None
    api_key_env: str
    instructions: str
    max_concurrency: int
    max_retries: int
    timeout: float

    def answer_identity(self) -> dict[str, Any]:
        """Give what an answer depends on besides the request.

        Returns
        -------
        identity : dict
            `answer_params`, with the address resolved; no secrets.
        """
        given = {name: getattr(self, name) for name in self.answer_params}
        return {**given, "base_url": self._url()}

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
            The server wants a key, and there is none.
        UnsupportedRequestError
            A request has fewer than two options, or begins an answer.
        """
        self._check_params()
        if requests:
            self._key(self._url())
        for options in {request.options for request in requests}:
            _check_options(options)
        if any(request.messages[-1][0] == "assistant" for request in requests):
            raise UnsupportedRequestError(
                "A decision does not continue an answer that the prompt begins (a "
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
            The first failure, after the answers that were under way.
        """
        self.check(requests)
        gate = self._gate()
        ask = partial(self._ask, gate.heed)
        return overlap(ask, requests, self.max_concurrency, gate=gate)

    @abstractmethod
    def _default_url(self) -> str:
        """Give the address that ``base_url=None`` stands for."""

    @abstractmethod
    def _wants_key(self, url: str) -> bool:
        """Tell whether nobody is answered there without a key."""

    @abstractmethod
    def _body(self, text: str, instructions: str, options: Mapping[str, str]) -> Any:
        """Write the question as JSON."""

    def _headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _find(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give what the reply holds about the question, or nothing."""
        return (content.get("answers") or {}).get(QUESTION) or {}

    def _probabilities(self, answer: Mapping[str, Any]) -> dict[Any, Any]:
        return dict(answer["probabilities"])

    def _usage(self, usage: Mapping[str, Any]) -> TokenUsage:
        details = usage.get("input_tokens_details") or {}
        return TokenUsage(
            prompt_tokens=int(usage.get("input_tokens") or 0),
            completion_tokens=int(usage.get("output_tokens") or 0),
            cached_tokens=int(details.get("cached_tokens") or 0),
        )

    def _ask(self, heed: Heed, index: int, request: Request) -> Answer:
        options = dict(request.options)
        text, instructions = wording(request.messages, self.instructions)
        body = self._body(text, instructions, options)
        url = self._url()
        who, key = f"{self.model!r} at {url}", self._key(url)
        failure: Exception
        try:
            content = call_json(
                f"{url.rstrip('/')}{self.path}",
                body,
                who=who,
                headers=self._headers(key) if key else {},
                secret=key,
                timeout=self.timeout,
                max_retries=self.max_retries,
                heed=heed,
            )
        except HttpError as error:
            failure = explain(
                error,
                who=who,
                index=index,
                n_options=len(options),
                api_key_env=self.api_key_env,
            )
        else:
            refusal, shown, usage = self._read(content, who, key)
            if not refusal:
                choices = scores(shown, list(options), who)
                build = build_of(self.model, content.get("model"))
                return Answer(choices=choices, usage=usage, build=build)
            failure = RefusedError(
                f"{who} decided nothing about {{row}}: {refusal}.", index
            )
        raise failure

    def _read(
        self, content: dict[str, Any], who: str, key: str
    ) -> tuple[str, dict[Any, Any], TokenUsage]:
        """Take a reply apart: a refusal or the probabilities, and the usage."""
        try:
            answer = self._find(content)
            refusal = refusal_in(content, answer)
            shown = {} if refusal else self._probabilities(answer)
            return refusal, shown, self._usage(content.get("usage") or {})
        except MALFORMED:
            said = json.dumps(content, ensure_ascii=False)
        said = (said.replace(key, "[key]") if key else said)[:300]
        raise BackendError(
            f"{who} did not answer in the format of {type(self).__name__}: check "
            f"base_url=, or choose the backend for that server's format. It said: {said}"
        )

    def _url(self) -> str:
        url = self.base_url or self._default_url()
        parts = urlsplit(url)
        web = parts.scheme in ("http", "https") and parts.hostname
        if not web or "@" in parts.netloc or parts.query:
            got = "one with a secret" if "@" in url or parts.query else repr(url)
            raise ValueError(
                f"The 'base_url' parameter of {type(self).__name__} must be an http(s) "
                f"URL without user, password and query. Got {got} instead. Keys belong "
                "into the environment variable that api_key_env= names."
            )
        return url

    def _key(self, url: str) -> str:
        key = os.environ.get(self.api_key_env, "").strip()
        if not key and not self._wants_key(url):
            return ""
        if not (key and key.isascii() and key.isprintable()):
            raise MissingKeyError(
                f"The environment variable {self.api_key_env!r} holds no key for {url}."
                " Set it, or name another one with api_key_env=. Without any key, use "
                "backend='llama-cpp' (a small embedded model) or backend='fake'."
            )
        return key

    def _check_params(self) -> None:
        name = type(self).__name__
        check_common(self)
        self._check_limits()
        asked = isinstance(self.instructions, str) and self.instructions.strip()
        for parameter, fits, wanted in (
            ("instructions", asked, "the text of a question"),
            ("path", str(self.path).startswith("/"), "a path such as '/decisions'"),
        ):
            if not fits:
                raise ValueError(
                    f"The {parameter!r} parameter of {name} must be {wanted}. "
                    f"Got {getattr(self, parameter)!r} instead."
                )


def _check_options(options: tuple[tuple[str, str], ...]) -> None:
    if len(options) < 2:
        raise UnsupportedRequestError(
            f"A decision needs at least 2 options, and the request has {len(options)}."
        )
