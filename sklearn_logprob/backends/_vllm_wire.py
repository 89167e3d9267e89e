"""vLLM's own endpoints: what is sent, and how the answer is read.

Facts from the source of vLLM 0.33.0, and of 0.25.0 and 0.26.0 for what came when:

- log-probabilities are those before temperature, filters and bias (``raw_logprobs``, the
  default of ``--logprobs-mode``); a grammar would change them, so none is sent;
- ``logprob_token_ids`` replaces the likeliest tokens instead of adding to them, so these
  take a request of their own;
- the likeliest come as a mapping by text, where tokens that look alike are one: so they
  are asked for as numbers, and their texts looked up.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, ClassVar

from sklearn_logprob._errors import (
    LogprobError,
    LogprobsUnavailableError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Message, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends._token_server import (
    UNDERFLOW,
    Served,
    Step,
    TokenServer,
    Written,
    log_prob,
)

__all__ = ["VLLMServer"]

MOST_IDS = 128  # MAX_LOGPROB_TOKEN_IDS of vLLM
NUMBER = "token_id:"
COLUMNS = ("tokens", "token_logprobs", "top_logprobs")
INEXACT = "exact=False reads the likeliest tokens instead."

# The server's defaults would come from the model's generation_config.json.
UNFILTERED = {
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}


@dataclass(frozen=True)
class VLLMServer(TokenServer):
    """A vLLM server, and how to ask it."""

    engine: ClassVar[str] = "vLLM"
    oldest: ClassVar[str] = "0.26"

    def describe(self) -> Served:
        """Ask for the list of models, and the version."""
        listed = self.read(self.choose, self.call("/v1/models"))
        version = str(self.call("/version").get("version"))
        identity = (("model", listed.name), ("root", listed.root), ("version", version))
        return Served(listed, identity)

    def tokenize(self, texts: Sequence[str], *, start: bool = False) -> list[list[int]]:
        """Split texts, one request each."""
        return [
            self._tokens({"prompt": text, "add_special_tokens": start}) for text in texts
        ]

    def write_chat(self, messages: Sequence[Message]) -> list[int]:
        """Put chat messages into the template; a trailing answer is gone on with."""
        begun = messages[-1][0] == "assistant"
        return self._tokens(
            {
                "messages": [{"role": r, "content": text} for r, text in messages],
                "add_generation_prompt": not begun,
                "continue_final_message": begun,
                "chat_template_kwargs": json.loads(self.template),
            }
        )

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Give the text of some tokens."""
        body = {"model": self.served().listed.name, "tokens": [*tokens]}
        return self.read(lambda r: str(r["prompt"]), self.call("/detokenize", body))

    def write(
        self,
        tokens: Sequence[int],
        request: Request,
        n_top: int,
        wanted: Iterable[int],
        index: int,
    ) -> Written:
        """Let the model write on; `wanted` tokens need requests of their own."""
        # 0 takes the likeliest token, and divides no log-probability: not even with
        # --logprobs-mode processed_logprobs.
        drawing = {"temperature": 1, "seed": request.draw} if request.draw else {}
        shown = {"logprobs": n_top} if n_top else {}
        body = {"max_tokens": request.max_tokens, **drawing, **shown}
        reply = self._complete(tokens, body, index)
        text, usage, positions = self.read(_written, reply)
        steps = (self._step(*position, n_top) for position in positions if n_top)
        return Written(text, tuple(steps), usage)

    def log_probs(
        self, tokens: Sequence[int], wanted: Sequence[int], index: int
    ) -> dict[int, float]:
        """Give the log-probability of some tokens, 128 a request."""
        found: dict[int, float] = {}
        for start in range(0, len(wanted), MOST_IDS):
            some = [*wanted[start : start + MOST_IDS]]
            body = {"max_tokens": 1, "logprobs": 1, "logprob_token_ids": some}
            *_, positions = self.read(_written, self._complete(tokens, body, index))
            shown = positions[0][1] if positions else {}
            if not set(some) <= set(shown):
                raise LogprobsUnavailableError(
                    f"{self.who} does not give the tokens that are asked for by number "
                    f"(logprob_token_ids): update it to {self.oldest} or later. {INEXACT}"
                )
            found.update(self._trusted(shown))
        return found

    def explain(self, error: HttpError, path: str, index: int) -> LogprobError:
        """Say what a refusal means and what mends it."""
        if "logprob_token_ids" in error.said:
            return UnsupportedRequestError(f"{error} {INEXACT}")
        if "greater than max allowed" in error.said:
            return UnsupportedRequestError(
                f"{error} Lower max_top_logprobs=, or start the server with a larger "
                "--max-logprobs."
            )
        return super().explain(error, path, index)

    def _tokens(self, body: Mapping[str, Any]) -> list[int]:
        reply = self.call("/tokenize", {"model": self.served().listed.name, **body})
        return self.read(lambda r: [int(token) for token in r["tokens"]], reply)

    def _complete(
        self, tokens: Sequence[int], body: Mapping[str, Any], index: int
    ) -> dict[str, Any]:
        shown = {"return_tokens_as_token_ids": True} if "logprobs" in body else {}
        whom = {"model": self.served().listed.name, "prompt": [*tokens]}
        sent = {**whom, "temperature": 0, **UNFILTERED, **shown, **body}
        return self.call("/v1/completions", sent, index)

    def _step(self, said: int, shown: Mapping[int, float | None], n_top: int) -> Step:
        values = self._trusted(shown)
        # Beside requests for tokens by number, the older of vLLM's two model runners
        # shows the likeliest token only, and a filler of probability 0.
        log_probs = {token: v for token, v in values.items() if v > UNDERFLOW}
        likeliest = sorted(log_probs, key=lambda token: -log_probs[token])[:n_top]
        served = self.served()
        texts = {token: _text(self, served, token) for token in {said, *likeliest}}
        top = tuple((texts[token], log_probs[token]) for token in likeliest)
        return Step(TokenLogprobs(texts[said], values[said], top), log_probs)

    def _trusted(self, shown: Mapping[int, float | None]) -> dict[int, float]:
        """Read log-probabilities, unless the server was told to give logits instead."""
        if sum(exp(min(v, 1.0)) for v in shown.values() if v is not None) > 1.01:
            raise LogprobsUnavailableError(
                f"{self.who} gives values that are no log-probabilities: start it "
                "without --logprobs-mode."
            )
        return {token: log_prob(value) for token, value in shown.items()}


def _written(
    reply: Mapping[str, Any],
) -> tuple[str, TokenUsage, list[tuple[int, dict[int, float | None]]]]:
    """Take a completion apart: text, usage, and what each position shows."""
    choice, usage = reply["choices"][0], reply.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    spent = TokenUsage(
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        cached_tokens=int(details.get("cached_tokens") or 0),
    )
    columns = choice.get("logprobs") or dict.fromkeys(COLUMNS, ())
    positions = []
    for said, value, top in zip(*(columns[name] for name in COLUMNS), strict=True):
        pairs = {said: value, **(top or {})}
        shown = {
            int(name.removeprefix(NUMBER)): None if v is None else float(v)
            for name, v in pairs.items()
        }
        positions.append((int(said.removeprefix(NUMBER)), shown))
    return str(choice["text"]), spent, positions


@functools.lru_cache(maxsize=65536)
def _text(server: VLLMServer, served: Served, token: int) -> str:
    return server.detokenize([token])
