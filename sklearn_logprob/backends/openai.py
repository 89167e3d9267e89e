"""OpenAI's chat wire format: OpenAI itself and the many servers that speak it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, ClassVar, Literal

import openai
from sklearn.base import BaseEstimator

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Outcome, Request
from sklearn_logprob.backends._batch_wire import check_mode
from sklearn_logprob.backends._limits import Heed, Metered
from sklearn_logprob.backends._openai_batch import OpenAIBatches
from sklearn_logprob.backends._openai_client import (
    Connection,
    connection,
    read_key,
    server_url,
)
from sklearn_logprob.backends._openai_errors import excerpt, explain, instead
from sklearn_logprob.backends._openai_reading import answer_of, refused
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
from sklearn_logprob.backends._presets import wants_key

__all__ = ["OpenAIBackend"]


class OpenAIBackend(Metered, BaseEstimator):
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
        8 at xAI, 5 at Fireworks; llama-server has no limit. 0 says that it returns no
        log-probabilities, only text.
    extra_body : dict, default=None
        Further fields of the request. For vLLM and SGLang to continue a trailing
        assistant message: ``{"continue_final_message": True,
        "add_generation_prompt": False}``.
    api_version : str, default=None
        For Azure's dated routes, such as ``"2024-10-21"``; `base_url` is then the
        resource, ``"https://NAME.openai.azure.com"``, and `model` the deployment. Azure's
        route that ends in ``/openai/v1`` needs none.
    mode : {"live", "batch"}, default="live"
        "batch" sends everything in files, through jobs that may take a day and cost half.
        An interrupted call goes on waiting for its jobs when it is made again, in another
        process too.
    max_concurrency : int, default=8
        The most requests at the same time.
    max_retries : int, default=5
        How often the client asks again after a rate limit or a server error.
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
        "api_version",
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
        api_version: str | None = None,
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
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.reasoning_effort = reasoning_effort
        self.max_top_logprobs = max_top_logprobs
        self.extra_body = extra_body
        self.api_version = api_version
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
            "reasoning_effort": resolve_effort(self.reasoning_effort, self.model),
            "max_top_logprobs": self.max_top_logprobs,
            "extra_body": dict(self.extra_body or {}),
            "api_version": self.api_version,
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
        LogprobsUnavailableError
            The request wants log-probabilities, and the model is known to return none.
        """
        url = self._url()
        check_common(self)
        check_mode(self, "api_version")
        self._check_limits()
        if not requests:
            return
        known = self._connection().refused.get(self._whom())
        if any(r.top_logprobs for r in requests):
            if not self.max_top_logprobs:
                raise LogprobsUnavailableError(
                    f"{self.model!r} at {url} returns no log-probabilities, says "
                    f"max_top_logprobs=0. {instead(self.model)}"
                )
            if known:
                raise LogprobsUnavailableError(known)
        if self._is_openai() and any(r.messages[-1][0] == "assistant" for r in requests):
            raise UnsupportedRequestError(
                f"{url} does not continue an answer that the prompt begins (a trailing "
                "assistant message). Put that text at the end of the user message."
            )

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask, many requests at a time.

        A model that has not returned log-probabilities yet is asked one request before
        the others. After the first failure nothing new is sent; the answers under way
        are paid for, so they are yielded before the failure is raised.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Returns
        -------
        outcomes : iterator of (int, Answer or RowError)
            Each with its position in `requests`, as they arrive. A refusal, a content
            filter and a prompt that is too long are outcomes.

        Raises
        ------
        LogprobError
            The first failure that is not a request's own.
        """
        self.check(requests)
        return self._answer(requests) if requests else iter(())

    def _answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        asked, whom = self._connection(), self._whom()
        if self.mode == "batch":
            desk = OpenAIBatches(
                self.model, self.api_key_env, asked, self._body, self._gate()
            )
            yield from desk.answer(requests)
            return
        unproven = whom not in asked.proven and any(r.top_logprobs for r in requests)
        gate = self._gate()
        outcomes = overlap(
            partial(self._ask, asked, gate.heed),
            requests,
            self.max_concurrency,
            gate=gate,
            first_alone=unproven,
        )
        with closing(outcomes):
            try:
                for index, outcome in outcomes:
                    if isinstance(outcome, Answer) and outcome.positions:
                        asked.proven.add(whom)
                    yield index, outcome
            except LogprobsUnavailableError as error:
                if self._is_openai() and whom not in asked.proven:
                    asked.refused[whom] = str(error)
                raise

    def _connection(self) -> Connection:
        url = self._url()
        required = self._is_openai() or wants_key(url)
        key = read_key(self.api_key_env, url, required=required)
        return connection(url, key, self.timeout, self.max_retries, self.api_version)

    def _whom(self) -> str:
        return json.dumps(self.answer_identity(), sort_keys=True, default=str)

    def _is_openai(self) -> bool:
        return self.api_version is not None or is_openai(self._url())

    def _url(self) -> str:
        return server_url(self.base_url, owner=type(self).__name__)

    def _body(self, request: Request) -> dict[str, Any]:
        body = chat_body(
            request,
            openai=self._is_openai(),
            model=self.model,
            effort=resolve_effort(self.reasoning_effort, self.model),
            top_logprobs=self.max_top_logprobs,
        )
        return body | dict(self.extra_body or {})

    async def _ask(
        self, asked: Connection, heed: Heed, index: int, request: Request
    ) -> Answer:
        body = self._body(request)
        reply, text = await self._post(asked, heed, index, body)
        hidden = request.top_logprobs and reply.withholds_token(request)
        if hidden and not self._is_openai() and not refused(reply, text):
            again = body | WHOLE_CHARACTERS
            reply, text = await self._post(asked, heed, index, again)
        return answer_of(reply, text, request, index, model=self.model, url=asked.url)

    async def _post(
        self, asked: Connection, heed: Heed, index: int, body: dict[str, Any]
    ) -> tuple[Reply, str]:
        failure: LogprobError
        try:
            received = await asked.post(body)
        except openai.OpenAIError as error:
            if isinstance(error, openai.APIStatusError):
                heed(error.response.headers)
            failure = explain(
                error,
                index=index,
                model=self.model,
                url=asked.url,
                key=asked.key,
                api_key_env=self.api_key_env,
            )
        else:
            heed(received.headers)
            reply = read_reply(received.text)
            if reply is not None:
                return reply, received.text
            failure = BackendError(
                f"{asked.url} did not answer in OpenAI's format: check base_url= (it "
                f"usually ends in /v1). It said: {excerpt(received.text, asked.key)}"
            )
        # Not in the handler: the client's error holds the request, and with it the
        # key, and would be kept as the context of ours.
        raise failure
