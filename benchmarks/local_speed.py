"""What the shared prefix is worth: rows per second of the embedded model.

    python benchmarks/local_speed.py

Both ways use the same weights, the same prompts and the same label trie. "loop" clears
the model's memory before each prompt; "backend" keeps what a prompt shares with the one
before it. They take turns in one run, so that both meet the same disturbances.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import llama_cpp

from sklearn_logprob import LlamaCppBackend, LogprobClassifier, Request
from sklearn_logprob.backends.llama_cpp import find_gguf
from sklearn_logprob.datasets import fetch_rotten_tomatoes
from sklearn_logprob.demo import TEMPLATES

N_ROWS = 60
N_ROUNDS = 5
MOST_NATS = 2e-2  # another order of summing changes float32 scores a little
CLAIM = 1.5

TEMPLATE = TEMPLATES["two, set apart"]

Scores = list[dict[str, float]]


def with_backend(backend: LlamaCppBackend, requests: Sequence[Request]) -> Scores:
    """Ask as the classifier does."""
    answers = dict(backend.answer(requests))
    return [dict(answers[index].choices) for index in range(len(requests))]


def with_loop(backend: LlamaCppBackend, requests: Sequence[Request]) -> Scores:
    """Ask one prompt at a time, the model's memory cleared before each."""
    engine = backend._engine()
    scores = []
    for request in requests:
        llama_cpp.llama_memory_clear(engine._memory, True)
        engine._evaluated = []
        [(_, answer)] = backend.answer([request])
        assert answer.usage.cached_tokens == 0
        scores.append(dict(answer.choices))
    return scores


def timed(ask, backend: LlamaCppBackend, requests: Sequence[Request]) -> float:
    """Give rows per second."""
    start = time.perf_counter()
    ask(backend, requests)
    return len(requests) / (time.perf_counter() - start)


def main() -> None:
    """Print the machine, the check, and the ratios."""
    backend = LlamaCppBackend()
    print_machine(find_gguf(backend.model_path))
    texts = fetch_rotten_tomatoes(subset="test").data[:N_ROWS].tolist()
    labels = ["negative", "positive"]
    clf = LogprobClassifier(backend, prompt=TEMPLATE, classes=labels, calibrator=None)
    requests = clf.fit().requests(texts)

    one, other = with_loop(backend, requests), with_backend(backend, requests)
    largest = max(
        abs(a[choice] - b[choice])
        for a, b in zip(one, other, strict=True)
        for choice in a
    )
    print(f"rows: {N_ROWS}; choices a row: {len(one[0])}; rounds: {N_ROUNDS}")
    print(f"largest difference of a score: {largest:.4f} nats (at most {MOST_NATS})")
    if largest >= MOST_NATS:
        raise SystemExit("The two do not compute the same: no comparison.")

    loop, ours = [], []
    for _ in range(N_ROUNDS):
        loop.append(timed(with_loop, backend, requests))
        ours.append(timed(with_backend, backend, requests))
    ratios = sorted(b / a for a, b in zip(loop, ours, strict=True))
    median = statistics.median(ratios)
    print(f"loop:    {statistics.median(loop):6.2f} rows/s (median)")
    print(f"backend: {statistics.median(ours):6.2f} rows/s (median)")
    print(f"ratio:   {median:.2f} (median; {ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(
        f"at least {CLAIM} from the shared prefix: {'yes' if median >= CLAIM else 'NO'}"
    )


def print_machine(weights: Path) -> None:
    """Say where this ran, and whether anything else did."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"
    print(f"cpu: {cpu_model()}, {cores} cores; Python {platform.python_version()}")
    print(f"weights: {weights.name}, {weights.stat().st_size / 1e6:.0f} MB")
    print(f"llama-cpp-python {version('llama-cpp-python')}")
    load = os.getloadavg()[0]
    print(f"load at the start: {load:.2f}")
    if load > 1.0:
        print("WARNING: the machine is busy; do not quote these numbers.")


def cpu_model() -> str:
    """Name the processor, as Linux does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return named[0] if named else platform.machine()


if __name__ == "__main__":
    main()
