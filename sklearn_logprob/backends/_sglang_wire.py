"""SGLang's native endpoints: what is sent, and how the answer is read.

Facts from the source of SGLang 0.5.23 (and 0.5.6, 0.5.11, 0.5.12 for what came when):

- log-probabilities are those after bias, grammar and temperature, filters apart. None of
  them is sent, and temperature 0 is read as 1 with ``top_k=1``, so nothing is divided;
- tokens that are asked for by number come beside the likeliest, in the same answer;
- ``/v1/tokenize`` writes chat messages with the model's template.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

__all__ = ["SGLangServer"]

# The server may have other defaults (--preferred-sampling-params).
UNFILTERED = {
    "top_p": 1,
    "top_k": -1,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}


@dataclass(frozen=True)
class SGLangServer(TokenServer):
    """An SGLang server, and how to ask it."""

    engine: ClassVar[str] = "SGLang"
    oldest: ClassVar[str] = "0.5.6"

    def describe(self) -> Served:
        """Ask for the list of models, and where the weights come from."""
        listed = self.read(self.choose, self.call("/v1/models"))
        info = self.read(_described, self.call("/model_info"))
        return Served(listed, (("model", listed.name), ("root", listed.root), *info))

    def tokenize(self, texts: Sequence[str], *, start: bool = False) -> list[list[int]]:
        """Split texts in one request."""
        if not texts:
            return []
        body = {"prompt": [*texts], "add_special_tokens": start}
        return self.read(_token_lists, self.call("/v1/tokenize", body))

    def write_chat(self, messages: Sequence[Message]) -> list[int]:
        """Put chat messages into the template; a trailing answer is gone on with."""
        body = {
            "messages": [{"role": role, "content": text} for role, text in messages],
            "continue_final_message": messages[-1][0] == "assistant",
            "chat_template_kwargs": json.loads(self.template),
        }
        reply = self.call("/v1/tokenize", body)
        return self.read(lambda said: [int(token) for token in said["tokens"]], reply)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Give the text of some tokens."""
        body = {"tokens": [*tokens], "skip_special_tokens": False}
        return self.read(lambda r: str(r["text"]), self.call("/v1/detokenize", body))

    def write(
        self,
        tokens: Sequence[int],
        request: Request,
        n_top: int,
        wanted: Iterable[int],
        index: int,
    ) -> Written:
        """Let the model write on, and give the `wanted` tokens in the same answer."""
        drawing = {"temperature": 1, "sampling_seed": request.draw}
        params = {
            "max_new_tokens": request.max_tokens,
            **(drawing if request.draw else {}),
        }
        by_number = [*wanted] if n_top else []
        text, usage, steps = self._generate(tokens, params, n_top, by_number, index)
        return Written(text, tuple(steps), usage)

    def log_probs(
        self, tokens: Sequence[int], wanted: Sequence[int], index: int
    ) -> dict[int, float]:
        """Give the log-probability of some tokens, of any number."""
        *_, steps = self._generate(tokens, {"max_new_tokens": 1}, 1, wanted, index)
        found = steps[0].log_probs if steps else {}
        if not set(wanted) <= set(found):
            raise LogprobsUnavailableError(
                f"{self.who} does not give the tokens that are asked for by number "
                f"(token_ids_logprob): update it to {self.oldest} or later. exact=False "
                "reads the likeliest tokens instead."
            )
        return dict(found)

    def explain(self, error: HttpError, path: str, index: int) -> LogprobError:
        """Say what a refusal means and what mends it."""
        if path == "/v1/tokenize" and error.status in (400, 422):
            return UnsupportedRequestError(
                f"{error} SGLang before 0.5.12 does not write chat messages: if this is "
                "one, update it or give raw prompts."
            )
        return super().explain(error, path, index)

    def _generate(
        self,
        tokens: Sequence[int],
        params: Mapping[str, Any],
        n_top: int,
        wanted: Sequence[int],
        index: int,
    ) -> tuple[str, TokenUsage, list[Step]]:
        shown: dict[str, Any] = {}
        if n_top:
            shown = {
                "return_logprob": True,
                "logprob_start_len": -1,  # of what is written, not of the prompt
                "top_logprobs_num": n_top,
                "return_text_in_logprobs": True,
                **({"token_ids_logprob": [*wanted]} if wanted else {}),
            }
        sampling = {"temperature": 0, **UNFILTERED, **params}
        listed = self.served().listed
        adapter = {"lora_path": listed.name} if listed.adapter else {}
        body = {"input_ids": [*tokens], "sampling_params": sampling, **shown, **adapter}
        reply = self.call("/generate", body, index)
        return self.read(lambda said: _written(said, n_top), reply)


def _described(info: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    path, version = str(info["model_path"]), info.get("weight_version")
    return ("model_path", path), ("weight_version", version)


def _token_lists(reply: Mapping[str, Any]) -> list[list[int]]:
    return [[int(token) for token in tokens] for tokens in reply["tokens"]]


def _written(reply: Mapping[str, Any], n_top: int) -> tuple[str, TokenUsage, list[Step]]:
    """Take an answer apart; an entry is (log-probability, number, text or null)."""
    meta = reply["meta_info"]
    usage = TokenUsage(
        prompt_tokens=int(meta.get("prompt_tokens") or 0),
        completion_tokens=int(meta.get("completion_tokens") or 0),
        cached_tokens=int(meta.get("cached_tokens") or 0),
    )
    chosen = (meta.get("output_token_logprobs") or ()) if n_top else ()
    tops = meta.get("output_top_logprobs") or [None] * len(chosen)
    asked = meta.get("output_token_ids_logprobs") or [None] * len(chosen)
    steps = []
    for (value, _, text), top, some in zip(chosen, tops, asked, strict=True):
        pairs = [(str(name), log_prob(p)) for p, _, name in top or ()]
        shown = sorted((p for p in pairs if p[1] > UNDERFLOW), key=lambda pair: -pair[1])
        by_number = {int(t): log_prob(p) for p, t, _ in (*(top or ()), *(some or ()))}
        said = TokenLogprobs(str(text), log_prob(value), tuple(shown))
        steps.append(Step(said, by_number))
    return str(reply["text"]), usage, steps
