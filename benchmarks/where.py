"""Where the time of local scoring goes: tokenising, the model, its logits, Python.

    python benchmarks/where.py

`speed.py`'s film reviews behind two demonstrations, and its queries with four labels of
one token and ten of several, by both backends, PyTorch with one thread. The parts exclude
each other; "model" is the engine's own call, which no code of ours can make shorter.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from _banking77 import fetch
from _machine import describe
from speed import ASKED, FOUR, TEN

from sklearn_logprob import LlamaCppBackend, Request, TransformersBackend
from sklearn_logprob.backends import (
    _hf_engine,
    _hf_reading,
    _hf_rows,
    _llama_engine,
    _llama_rows,
)
from sklearn_logprob.backends._llama_vocab import LlamaVocab
from sklearn_logprob.datasets import fetch_rotten_tomatoes
from sklearn_logprob.demo import TEMPLATES

PARTS = ("tokenise", "model", "logits", "rest")
N_TEXTS, ROUNDS = 96, 3


class Clock:
    """Seconds in parts of a program, each without the parts within it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inside: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done here."""
        self._tick()
        self._inside.append(name)
        try:
            yield
        finally:
            self._tick()
            self._inside.pop()

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._inside:
            self.seconds[self._inside[-1]] += now - self._since
        self._since = now

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count every call of a function."""
        inner: Callable[..., Any] = getattr(owner, name)

        @wraps(inner)
        def timed(*given: Any, **named: Any) -> Any:
            with self.part(part):
                return inner(*given, **named)

        setattr(owner, name, timed)


def watched(clock: Clock) -> dict[str, Any]:
    """Give both backends, loaded, with their parts under the clock."""
    torch.set_num_threads(1)  # one pass at a time: the clock is one
    torch_backend = TransformersBackend(dtype="bfloat16")
    backends = {"llama-cpp, f32": LlamaCppBackend(), "transformers, bf16": torch_backend}
    for owner, name in ((LlamaVocab, "tokenize"), (LlamaVocab, "labels")):
        clock.watch(owner, name, "tokenise")
    clock.watch(_llama_engine.llama_cpp, "llama_decode", "model")
    clock.watch(_llama_rows.Row, "read", "logits")
    for name in ("split", "tokenize", "labels"):
        clock.watch(_hf_engine.HfEngine, name, "tokenise")
    for name in ("_steps", "_wanted"):
        clock.watch(_hf_reading, name, "logits")
    clock.watch(_hf_rows, "_log_of_sum", "logits")
    passes = torch_backend._engine()._passes
    clock.watch(passes.model, "forward", "model")
    return backends


def works() -> dict[str, list[Request]]:
    """Give what is asked, as `speed.py` asks it."""
    reviews = fetch_rotten_tomatoes(subset="test").data[:N_TEXTS].tolist()
    prefix = TEMPLATES["two, set apart"].removesuffix(" {text}\nSentiment:")
    queries = fetch()[0][:N_TEXTS]

    def requests(start: str, texts: list[str], end: str, labels: list[str]) -> list:
        choices = tuple(sorted(f" {label}" for label in labels))
        return [
            Request((("prompt", f"{start} {i}. {t}\n{end}:"),), choices, top_logprobs=200)
            for i, t in enumerate(texts)
        ]

    return {
        "reviews, two labels": requests(
            prefix, reviews, "Sentiment", ["negative", "positive"]
        ),
        "queries, four labels of one token": requests(
            ASKED.format(FOUR[0]), queries, "Topic", FOUR
        ),
        "queries, ten labels of several": requests(
            ASKED.format(TEN[0]), queries, "Topic", TEN
        ),
    }


def main() -> None:
    """Print the table."""
    for line in describe("llama-cpp-python", "transformers", "torch"):
        print(f"- {line}")
    print(f"\n| | ms a row | {' | '.join(f'{p}, %' for p in PARTS)} |")
    print("|---|---|" + "---|" * len(PARTS))
    clock = Clock()
    backends = watched(clock)
    for name, requests in works().items():
        for way, backend in backends.items():
            list(backend.answer(requests[:2]))  # what is done once only
            clock.seconds.clear()
            for _ in range(ROUNDS):
                with clock.part("rest"):
                    list(backend.answer(requests))
            total = sum(clock.seconds.values())
            cells = [f"{100 * clock.seconds[part] / total:.1f}" for part in PARTS]
            per_row = 1e3 * total / ROUNDS / len(requests)
            print(f"| {name}: {way} | {per_row:.1f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
