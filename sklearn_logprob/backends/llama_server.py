"""llama-server, llama.cpp's own HTTP server: exact scores of whole labels."""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import MissingKeyError, PromptTooLongError
from sklearn_logprob._types import Answer, Outcome, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._llama_wire import (
    BELIEVED,
    DECIMALS,
    SHOWN,
    LlamaServer,
    NextTokens,
)
from sklearn_logprob.backends._overlap import overlap
from sklearn_logprob.backends._params import check_common
from sklearn_logprob.backends._trie import TokenTrie

__all__ = ["LlamaServerBackend"]

TEMPLATE_ROOM = 512  # tokens that a chat template is taken to add at most


class LlamaServerBackend(BaseEstimator):
    """A model behind llama-server, asked in its own format.

    It scores label sequences exactly, as `LlamaCppBackend` does, which the chat
    endpoint that `OpenAIBackend` asks cannot: here tokens go out and come back as
    numbers, and a token that is not among the likeliest is asked for by name, since
    the server's log-probabilities are those before a logit bias.

    Parameters
    ----------
    base_url : str, default="http://127.0.0.1:8080"
        Where the server is, without ``/v1``.
    api_key_env : str, default=None
        Name of the environment variable that holds the key, for a server started with
        ``--api-key``. It is read when asking, and stored nowhere.
    max_top_logprobs : int, default=200
        The most alternatives to return at a position; the server has no limit.
    max_concurrency : int, default=1
        The most requests at the same time: as many as the server has slots
        (``--parallel``). Each slot keeps the prompt that it evaluated last, and a row
        costs what differs from it. More requests than slots take each other's place,
        and every row is evaluated from its beginning.
    max_retries : int, default=5
        How often to ask again after a server's fault or while it loads the model.
    timeout : float, default=300.0
        Seconds to wait for one answer.

    Notes
    -----
    A row takes one request for the likeliest tokens; one more if the labels' first tokens
    are not all among them; and for each longer beginning of a label, one where a single
    token follows, two where several do. Chat messages are written with the server's chat
    template, thinking switched off where it knows how. Control tokens (``<|im_end|>``)
    come from the template alone: to know them, the first chat of a process has the server
    split every token of its vocabulary, which takes seconds.

    References
    ----------
    .. [1] llama.cpp, "LLaMA.cpp HTTP Server",
       https://github.com/ggml-org/llama.cpp/tree/master/tools/server

    Examples
    --------
    >>> from sklearn_logprob.backends.llama_server import LlamaServerBackend
    >>> LlamaServerBackend("http://gpu-box:8080", max_concurrency=4)
    LlamaServerBackend(base_url='http://gpu-box:8080', max_concurrency=4)
    """

    answer_params: ClassVar[tuple[str, ...]] = ("base_url", "max_top_logprobs")
    scores_choices: bool = True

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        api_key_env: str | None = None,
        max_top_logprobs: int = 200,
        max_concurrency: int = 1,
        max_retries: int = 5,
        timeout: float = 300.0,
    ) -> None:
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.max_top_logprobs = max_top_logprobs
        self.max_concurrency = max_concurrency
        self.max_retries = max_retries
        self.timeout = timeout

    def answer_identity(self) -> dict[str, Any]:
        """Ask the server which model it serves: its address alone does not tell.

        What it says is believed for half a minute.

        Returns
        -------
        identity : dict
            Address, and file, sizes and chat template of the model.

        Raises
        ------
        BackendError
            If the server is down: even answers that are in the cache need it.
        """
        server = self._server()
        return {
            "base_url": server.url,
            "max_top_logprobs": self.max_top_logprobs,
            **server.model().identity,
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
            One for each prompt that does not fit a slot with its longest choice.

        Raises
        ------
        ValueError
            A parameter has a wrong value.
        MissingKeyError
            The environment variable holds no key, or the server wants another.
        BackendError
            There is no llama-server.
        """
        server = self._server()
        n_ctx = server.model().n_ctx if requests else 0
        failures = []
        for index, request in enumerate(requests):
            if _most_tokens(request) > n_ctx:  # only then is it worth to count
                tokens, choices = server.split(request)
                needed = len(tokens) + max(request.max_tokens, *map(len, choices), 1)
                if needed > n_ctx:
                    message = (
                        f"The prompt of {{row}} needs {needed} tokens with its answer, "
                        f"but a slot of {server.who} holds {n_ctx}: shorten the text, "
                        "or start the server with more (--ctx-size, which its slots "
                        "share)."
                    )
                    failures.append(PromptTooLongError(message, index))
        return failures

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask, `max_concurrency` requests at a time.

        After the first failure nothing new is sent; the answers under way are yielded
        before the failure is raised.

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
        if not requests:
            return iter(())
        server = self._server()
        ask = partial(
            self._ask, server, _build(server, int(time.monotonic() // BELIEVED))
        )
        # alone, for it may be the one that has the vocabulary read
        return overlap(ask, requests, self.max_concurrency, first_alone=True)

    def _server(self) -> LlamaServer:
        check_common(self)  # before the key is looked up by a name that may be one
        parts = urlsplit(self.base_url)
        web = parts.scheme in ("http", "https") and parts.hostname
        if not web or "@" in parts.netloc:
            url = self.base_url
            got = "a URL with a user or password" if "@" in url else repr(url)
            raise ValueError(
                "The 'base_url' parameter of LlamaServerBackend must be an http(s) URL "
                f"without user and password. Got {got} instead."
            )
        url = self.base_url.rstrip("/")
        return LlamaServer(url, self._key(url), self.timeout, self.max_retries)

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

    def _ask(
        self, server: LlamaServer, build: str, index: int, request: Request
    ) -> Answer:
        n_top = min(request.top_logprobs, self.max_top_logprobs)
        tokens, choices = server.split(request)
        if request.max_tokens > 1 or request.draw or not n_top:
            text, steps, usage = server.generate(tokens, request, n_top, index)
            if not n_top:
                return Answer(usage=usage, draws=((text, 1),), build=build)
        else:
            first = server.likeliest(tokens, max(n_top, SHOWN), index)
            steps, usage = [first], TokenUsage(len(tokens), 1, first.cached)
        scored = (
            _scores(server, tokens, choices, steps[0], index) if request.choices else ()
        )
        return Answer(
            tuple(TokenLogprobs(*step.said, step.top(n_top)) for step in steps),
            tuple(zip(request.choices, scored, strict=True)),
            usage,
            build=build,
        )


@functools.lru_cache(maxsize=16)
def _build(server: LlamaServer, period: int) -> str:
    """Give the server's build and model, as it said less than half a minute ago."""
    props = server.call("/props")
    file = re.split(r"[/\\]", str(props.get("model_path") or ""))[-1]
    return f"{props.get('build_info') or ''} {file}".strip()


def _scores(
    server: LlamaServer,
    tokens: list[int],
    choices: Sequence[tuple[int, ...]],
    first: NextTokens,
    index: int,
) -> list[float]:
    """Log-probability of each choice, as disjoint events."""
    trie = TokenTrie(choices)
    after = {
        path: server.log_probs(
            [*tokens, *path], wanted, {} if path else first.log_probs, index
        )
        for path, wanted in trie.children.items()
    }
    return [round(value, DECIMALS) for value in trie.log_probs(after)]


def _most_tokens(request: Request) -> int:
    """Bound the tokens of prompt and answer: each is a byte of text at least."""
    texts = [text for _, text in request.messages]
    longest = max((len(choice.encode()) for choice in request.choices), default=0)
    room = max(longest, request.max_tokens)
    return sum(len(text.encode()) for text in texts) + room + TEMPLATE_ROOM
