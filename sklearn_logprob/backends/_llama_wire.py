"""llama-server's own format: what is sent, and how the answer is read.

Tokens go out and come back as numbers, and log-probabilities are those before sampling:
what is reported of a token that a logit bias makes the server draw knows nothing of the
bias. Asked for probabilities after sampling, it gives the odds among biased tokens.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import log
from typing import Any, NamedTuple, TypeAlias, TypeVar

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    PromptTooLongError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Request, TokenUsage
from sklearn_logprob.backends._http import HttpError, call_json
from sklearn_logprob.backends._openai_wire import WHOLE_CHARACTERS
from sklearn_logprob.backends._params import MALFORMED, temperature_of
from sklearn_logprob.backends._server_chat import ChatSplitter, Part
from sklearn_logprob.backends._trie import continuation

__all__ = ["DECIMALS", "SHOWN", "LlamaServer", "Model", "NextTokens"]

Read = TypeVar("Read")
Token: TypeAlias = tuple[int, str, float]
"""Number, text and log-probability (natural log)."""

DECIMALS = 6  # float32 log-probabilities hold no more, and the cache stays small
UNDERFLOW = -104.0  # where the server's float32 probabilities end; it says -3.4e38 then
SHOWN = 200  # likeliest tokens, among which those of the labels are looked for first
FORCE = 100.0  # a logit bias beyond most differences of logits; float32 rounds larger
MARK = -1  # no token: stands between texts that are split in one request
BELIEVED = 30  # seconds for which a server is taken to serve the same model


class Model(NamedTuple):
    """What a server says of the model that it serves."""

    identity: dict[str, Any]
    n_ctx: int  # of one slot
    n_vocab: int


class NextTokens(NamedTuple):
    """What a server says of the token after a prompt."""

    drawn: Token | None  # None where it ends inside a character: the server hides it
    shown: tuple[Token, ...]  # likeliest first
    cached: int  # prompt tokens that were not evaluated again

    @property
    def said(self) -> tuple[str, float]:
        """Give the token that an answer goes on with: drawn, or else the likeliest."""
        return (self.drawn or self.shown[0])[1:]

    @property
    def log_probs(self) -> dict[int, float]:
        """Give those that are shown, by number."""
        return {token: log_prob for token, _, log_prob in self.shown}

    def top(self, n: int) -> tuple[tuple[str, float], ...]:
        """Give the `n` likeliest, without those whose probability underflowed."""
        return tuple((text, p) for _, text, p in self.shown[:n] if p > UNDERFLOW)


@dataclass(frozen=True)
class LlamaServer:
    """Where a server is, and how to ask it."""

    url: str
    key: str = field(repr=False)
    timeout: float
    max_retries: int

    @property
    def who(self) -> str:
        """How messages call it."""
        return f"llama-server at {self.url}"

    def model(self) -> Model:
        """Give what is served, as the server said less than half a minute ago."""
        return _model(self, int(time.monotonic() // BELIEVED))

    def split(self, request: Request) -> tuple[list[int], list[tuple[int, ...]]]:
        """Give the tokens of the prompt, and of each choice as it follows the prompt."""
        parts, control = self._parts(request)
        *before, end = parts
        joint = [[*before, f"{end}{choice}"] for choice in request.choices]
        alone: list[list[Part]] = [[choice] for choice in request.choices]
        # Only the first text gets the token that some models begin every text with.
        texts: list[list[Part]] = [[""], parts, *joint, *alone]
        start, prompt, *found = self._tokenize(texts, control=control)
        after = zip(found[: len(joint)], found[len(joint) :], strict=True)
        return [*start, *prompt], [continuation(prompt, *each) for each in after]

    def likeliest(self, tokens: Sequence[int], n: int, index: int) -> NextTokens:
        """Give the `n` likeliest tokens after a prompt."""
        first = found = self._complete(tokens, n, index, {})
        if found.drawn is None:
            found = self._complete(tokens, n, index, WHOLE_CHARACTERS)
        if found.drawn is not None:
            # what a grammar made it draw does not matter
            return found._replace(drawn=found.shown[0], cached=first.cached)
        raise LogprobsUnavailableError(
            f"{self.who} answered without log-probabilities. It must be llama.cpp's own "
            "server, of 2025 or later."
        )

    def generate(
        self, tokens: Sequence[int], request: Request, n: int, index: int
    ) -> tuple[str, list[NextTokens], TokenUsage]:
        """Let the model write on: the text, the tokens that are shown, and the usage."""
        drawing = {"temperature": temperature_of(request), "seed": request.draw}
        plain = {"samplers": ["temperature"], "n_predict": request.max_tokens}
        reply = self.call("/completion", _body(tokens, n, drawing | plain), index)
        text, steps, written, cached = self._read(_written, reply)
        if n and not steps:
            steps = [self.likeliest(tokens, n, index)]  # all of it parts of characters
        return text, steps, TokenUsage(len(tokens), written, cached)

    def log_probs(
        self,
        tokens: Sequence[int],
        wanted: Sequence[int],
        shown: Mapping[int, float],
        index: int,
    ) -> dict[int, float]:
        """Give the log-probability of some tokens after a prompt, likely or not.

        What is not `shown` takes one request, or two: the log-probability of the
        likeliest of them, and the odds of all others against it.
        """
        found = {token: shown[token] for token in wanted if token in shown}
        missing = [token for token in wanted if token not in shown]
        if missing and not found:
            likeliest, value = self._drawn(tokens, missing, index)
            found[likeliest] = value
            missing.remove(likeliest)
        if missing:
            anchor = max(found, key=found.__getitem__)
            odds = self._odds(tokens, [anchor, *missing], index)
            for token in missing:
                if token in odds and anchor in odds:
                    found[token] = found[anchor] + odds[token] - odds[anchor]
                else:
                    found[token] = self._drawn(tokens, [token], index)[1]
        return found

    def _drawn(
        self, tokens: Sequence[int], among: Sequence[int], index: int
    ) -> tuple[int, float]:
        """Give the likeliest of some tokens, and its log-probability."""
        found = self._complete(tokens, 1, index, _bias(among))
        if found.drawn is None:  # a part of a character cannot be drawn and be shown
            everything = self.likeliest(tokens, self.model().n_vocab, index).log_probs
            return max(((t, everything[t]) for t in among), key=lambda pair: pair[1])
        token, _, value = found.drawn
        if token not in among:
            raise LogprobsUnavailableError(
                f"{self.who} does not draw the tokens that a logit bias asks for, so it "
                "gives no exact scores: start it without a grammar or JSON schema."
            )
        return token, value

    def _odds(
        self, tokens: Sequence[int], among: Sequence[int], index: int
    ) -> dict[int, float]:
        """Give the log-probabilities of some tokens if no others could be drawn."""
        drawing = {"post_sampling_probs": True, "samplers": [], "temperature": 1}
        body = _body(tokens, len(among), _bias(among) | drawing)
        return self._read(_odds, self.call("/completion", body, index))

    def _complete(
        self, tokens: Sequence[int], n: int, index: int, further: Mapping[str, Any]
    ) -> NextTokens:
        reply = self.call("/completion", _body(tokens, n, further), index)
        found = self._read(_next_tokens, reply)
        if found.drawn is not None and not found.shown:
            raise LogprobsUnavailableError(
                f"{self.who} gives no log-probabilities of tokens that a draft model "
                "proposed: start it without one."
            )
        return found

    def _parts(self, request: Request) -> tuple[list[Part], bool]:
        """Give the prompt in parts, and whether control tokens are read in its texts."""
        [(role, text), *_] = request.messages
        if role == "prompt":
            return [text], False
        model = self.model()
        chat = _chat_splitter(self, str(model.identity), model.n_vocab)
        marked = chat.mark(request.messages)
        said = [{"role": role, "content": text} for role, text in marked]
        # A model that thinks first would begin with a tag instead of a label.
        body = {"messages": said, "chat_template_kwargs": {"enable_thinking": False}}
        written = self.call("/apply-template", body)
        prompt = self._read(lambda reply: str(reply["prompt"]), written)
        parts = chat.parts(prompt)
        return ([prompt], True) if parts is None else (parts, False)

    def _tokenize(
        self, texts: Sequence[Sequence[Part]], *, control: bool
    ) -> list[list[int]]:
        """Split texts in one request: numbers among them come back as they are."""
        content = [part for parts in texts for part in (*parts, MARK)]
        body = {"content": content, "add_special": True, "parse_special": control}
        parts = self._read(_between_marks, self.call("/tokenize", body))
        if len(parts) != len(texts):
            raise BackendError(f"{self.who} does not split a list of texts: update it.")
        return parts

    def _read(
        self, reader: Callable[[Mapping[str, Any]], Read], reply: Mapping[str, Any]
    ) -> Read:
        try:
            return reader(reply)
        except MALFORMED:
            pass
        said = str(reply).replace(self.key or "\0", "[key]")[:300]
        raise BackendError(
            f"{self.who} did not answer in llama-server's format of 2025 or later. It "
            f"said: {said}"
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
            failure = self._explain(error, path, index)
        raise failure

    def _explain(self, error: HttpError, path: str, index: int) -> LogprobError:
        if error.status == 400 and "context size" in error.said:
            return PromptTooLongError(
                f"The prompt of {{row}} is too long. {error} Shorten the text, or start "
                "the server with more (--ctx-size, which its slots share).",
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
                "Give base_url= without /v1. A server that speaks OpenAI's format only "
                "is for OpenAIBackend."
            )
        return error


@functools.lru_cache(maxsize=16)
def _model(server: LlamaServer, period: int) -> Model:
    props, listed = server.call("/props"), server.call("/v1/models")
    return server._read(_described, {"props": props, "models": listed})


@functools.lru_cache(maxsize=16)
def _chat_splitter(server: LlamaServer, model: str, n_vocab: int) -> ChatSplitter:
    """Read the server's vocabulary, once for a model."""
    asked = {"content": [*range(n_vocab)], "with_pieces": True}
    reply = server.call("/tokenize", asked)
    pieces = server._read(lambda told: [t["piece"] for t in told["tokens"]], reply)
    return ChatSplitter(pieces, server._tokenize)


def _described(said: Mapping[str, Any]) -> Model:
    props, meta = said["props"], said["models"]["data"][0]["meta"]
    template = str(props.get("chat_template") or "")
    identity = {
        "model_path": str(props["model_path"]),
        "chat_template": sha256(template.encode()).hexdigest(),
        **{name: int(meta[name]) for name in ("n_params", "n_vocab", "size")},
    }
    n_ctx = int(props["default_generation_settings"]["n_ctx"])
    return Model(identity, n_ctx, int(meta["n_vocab"]))


def _between_marks(reply: Mapping[str, Any]) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for token in reply["tokens"]:
        if token == MARK:
            parts.append([])
        else:
            parts[-1].append(int(token))
    return parts[:-1]


def _bias(tokens: Sequence[int]) -> dict[str, Any]:
    return {"logit_bias": [[token, FORCE] for token in tokens]}


def _body(tokens: Sequence[int], n: int, further: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"prompt": [*tokens], "n_predict": 1, "n_probs": n, "cache_prompt": True}
    return {**asked, "temperature": 0, **further}


def _odds(reply: Mapping[str, Any]) -> dict[int, float]:
    entries = reply.get("completion_probabilities") or [{"top_probs": []}]
    shown = entries[0]["top_probs"]
    return {int(each["id"]): log(each["prob"]) for each in shown if each["prob"] > 0}


def _next_tokens(reply: Mapping[str, Any]) -> NextTokens:
    cached = int((reply.get("timings") or {}).get("cache_n") or 0)
    entries = reply.get("completion_probabilities")
    if not entries:
        return NextTokens(None, (), cached)
    shown = sorted(map(_token, entries[0]["top_logprobs"]), key=lambda t: -t[2])
    return NextTokens(_token(entries[0]), tuple(shown), cached)


def _written(reply: Mapping[str, Any]) -> tuple[str, list[NextTokens], int, int]:
    entries = reply.get("completion_probabilities") or ()
    steps = [_next_tokens({"completion_probabilities": [entry]}) for entry in entries]
    cached = int((reply.get("timings") or {}).get("cache_n") or 0)
    return str(reply["content"]), steps, int(reply["tokens_predicted"]), cached


def _token(entry: Mapping[str, Any]) -> Token:
    value = entry["logprob"]
    # null, NaN and the lowest float32 all mean a probability that underflowed.
    log_prob = min(value, 0.0) if value is not None and value > UNDERFLOW else UNDERFLOW
    # a list, for bytes(10**12) would be a terabyte
    text = bytes([*entry["bytes"]]).decode("utf-8", "replace")
    return int(entry["id"]), text, round(log_prob, DECIMALS)
