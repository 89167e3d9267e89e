"""Servers that take and give tokens as numbers: what vLLM and SGLang have in common.

A prompt is split on the server and goes back to it as numbers, so nothing depends on how
tokens look as text. Each engine adds its format: how texts are split, and how the next
token's log-probabilities are asked for.
"""

from __future__ import annotations

import functools
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    PromptTooLongError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Message, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._http import HttpError, call_json
from sklearn_logprob.backends._params import MALFORMED
from sklearn_logprob.backends._trie import TokenTrie, continuation

__all__ = ["UNDERFLOW", "Served", "Step", "TokenServer", "Written", "log_prob"]

Read = TypeVar("Read")
Path: TypeAlias = tuple[int, ...]

DECIMALS = 6  # float32 log-probabilities hold no more, and the cache stays small
UNDERFLOW = -104.0  # where float32 probabilities end; engines say -9999, null or -3.4e38
BELIEVED = 30  # seconds for which a server is taken to serve the same model
TAIL = 2  # tokens at the prompt's end with which the beginning of a label may merge


class Listed(NamedTuple):
    """What the list of models says of one."""

    name: str
    root: str
    n_ctx: int
    adapter: bool


class Served(NamedTuple):
    """What is known of the model that is asked."""

    listed: Listed
    identity: tuple[tuple[str, Any], ...]

    @property
    def build(self) -> str:
        """Give what is served under the model's name, and by which version."""
        told = (value for name, value in self.identity if name != "model")
        return " ".join(str(value) for value in told if value)


class Step(NamedTuple):
    """One generated position: what is shown, and all log-probabilities by number."""

    shown: TokenLogprobs
    log_probs: Mapping[int, float]


class Written(NamedTuple):
    """What a model wrote after a prompt."""

    text: str
    steps: tuple[Step, ...]  # none where no log-probabilities were asked for
    usage: TokenUsage


@dataclass(frozen=True)
class TokenServer(ABC):
    """Where a server is, and how to ask it."""

    url: str
    model: str | None
    key: str = field(repr=False)
    template: str  # JSON: what the chat template is told
    timeout: float
    max_retries: int

    engine: ClassVar[str]
    oldest: ClassVar[str]  # the version that can do all that is asked here

    @property
    def who(self) -> str:
        """How messages call it."""
        return f"{self.engine} at {self.url}"

    def served(self) -> Served:
        """Give what is served, as the server said less than half a minute ago."""
        return _served(self, int(time.monotonic() // BELIEVED))

    def split(self, request: Request) -> tuple[list[int], tuple[Path, ...]]:
        """Give the tokens of the prompt, and of each choice as it follows the prompt."""
        role, text = request.messages[0]
        if role == "prompt":
            [tokens] = self.tokenize([text], start=True)
        else:
            tokens = self.write_chat(request.messages)
        tail = tuple(tokens[-TAIL:])
        return tokens, _after(self, self.served(), tail, request.choices)

    def scores(
        self, tokens: list[int], choices: Sequence[Path], first: Step, index: int
    ) -> list[float]:
        """Give the log-probability of each choice, as disjoint events."""
        trie = TokenTrie(choices)
        after = {}
        for path, wanted in trie.children.items():
            known = {} if path else first.log_probs
            missing = [token for token in wanted if token not in known]
            asked = self.log_probs([*tokens, *path], missing, index) if missing else {}
            after[path] = {**known, **asked}
        return [round(value, DECIMALS) for value in trie.log_probs(after)]

    @abstractmethod
    def describe(self) -> Served:
        """Ask what is served."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str], *, start: bool = False) -> list[list[int]]:
        """Split texts; `start` puts the tokens before them that begin every prompt."""

    @abstractmethod
    def detokenize(self, tokens: Sequence[int]) -> str:
        """Give the text of some tokens."""

    @abstractmethod
    def write_chat(self, messages: Sequence[Message]) -> list[int]:
        """Put chat messages into the model's template, and give the tokens."""

    @abstractmethod
    def write(
        self,
        tokens: Sequence[int],
        request: Request,
        n_top: int,
        wanted: Iterable[int],
        index: int,
    ) -> Written:
        """Let the model write on, with its `n_top` likeliest tokens at each position.

        An engine that can gives the log-probabilities of the `wanted` tokens, too.
        """

    @abstractmethod
    def log_probs(
        self, tokens: Sequence[int], wanted: Sequence[int], index: int
    ) -> dict[int, float]:
        """Give the log-probability of some tokens after a prompt, likely or not."""

    def choose(self, listed: Mapping[str, Any]) -> Listed:
        """Give what ``GET /v1/models`` lists of the model: the first, if none is named.

        LoRA adapters are listed after it, without the length of the context.
        """
        cards = listed["data"]
        n_ctx = int(cards[0].get("max_model_len") or sys.maxsize)
        known = [
            Listed(str(c["id"]), str(c.get("root")), n_ctx, bool(c.get("parent")))
            for c in cards
        ]
        named = (c for c in known if self.model in (c.name, c.root))
        chosen = known[0] if self.model is None else next(named, None)
        if chosen is None:
            names = ", ".join(repr(each.name) for each in known)
            raise BackendError(
                f"{self.who} has no model {self.model!r}. It serves {names}: name one "
                "of these."
            )
        return chosen

    def read(
        self, reader: Callable[[Mapping[str, Any]], Read], reply: Mapping[str, Any]
    ) -> Read:
        """Take a reply apart, or say that it is in no format that is known here."""
        try:
            return reader(reply)
        except MALFORMED:
            pass
        said = str(reply).replace(self.key or "\0", "[key]")[:300]
        raise BackendError(
            f"{self.who} did not answer in {self.engine}'s format: it must be "
            f"{self.engine} {self.oldest} or later. It said: {said}"
        )

    def call(
        self, path: str, body: Mapping[str, Any] | None = None, index: int = 0
    ) -> dict[str, Any]:
        """Send JSON, or get it; `index` is the request that an error names."""
        failure: LogprobError
        try:
            return call_json(
                self.url + path,
                body,
                who=self.who,
                headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
                secret=self.key,
                timeout=self.timeout,
                max_retries=self.max_retries,
            )
        except HttpError as error:
            failure = self.explain(error, path, index)
        raise failure

    def explain(self, error: HttpError, path: str, index: int) -> LogprobError:
        """Say what a refusal means and what mends it."""
        if "context length" in error.said or "maximum model length" in error.said:
            return PromptTooLongError(
                f"The prompt of {{row}} is too long. {error} Shorten the text, or start "
                "the server with a longer context.",
                index,
            )
        if error.status == 401:
            return BackendError(
                f"{error} What the server was started with (--api-key) belongs into an "
                "environment variable, and that variable's name into api_key_env=."
            )
        if error.status in (404, 405, 501):
            return UnsupportedRequestError(
                f"There is no {path} of {self.who} (HTTP {error.status}): {error.said}. "
                f"It must be {self.engine} {self.oldest} or later, with nothing in front "
                "of it that passes OpenAI's endpoints only. For these, use OpenAIBackend."
            )
        return error


def log_prob(value: float | None) -> float:
    """Give a log-probability as every engine means it, finite and at most 0.

    Parameters
    ----------
    value : float or None
        What the server says; None, NaN, -9999 and the lowest float32 all mean that the
        probability underflowed.

    Returns
    -------
    log_prob : float
        Natural log.

    Examples
    --------
    >>> from sklearn_logprob.backends._token_server import log_prob
    >>> log_prob(-1.5), log_prob(None), log_prob(1e-9)
    (-1.5, -104.0, 0.0)
    """
    if value is None or not value > UNDERFLOW:
        return UNDERFLOW
    return round(min(value, 0.0), DECIMALS)


@functools.lru_cache(maxsize=16)
def _served(server: TokenServer, period: int) -> Served:
    return server.describe()


@functools.lru_cache(maxsize=4096)
def _after(
    server: TokenServer, served: Served, tail: Path, choices: tuple[str, ...]
) -> tuple[Path, ...]:
    """Split each choice as it follows a prompt that ends so.

    Prompts of one template end alike, so this is asked once and not for every row.
    """
    if not choices:
        return ()
    end = server.detokenize(tail)
    begun, *joint = server.tokenize([end, *(end + choice for choice in choices)])
    after = [continuation(begun, each, ()) for each in joint]
    apart = [choice for choice, path in zip(choices, after, strict=True) if not path]
    alone = iter(server.tokenize(apart))
    return tuple(path or tuple(next(alone)) for path in after)
