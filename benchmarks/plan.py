"""What a million and a milliard rows take: dollars, days, disk, machines.

    python benchmarks/plan.py [--rows 1e6 1e9] [--prompt-tokens 120] [--no-local]

What depends on this machine is measured first, in about a minute: processor time of what
stands around the model, of the client of a server and of the embedded model, and the size
of an answer in the cache. Processor time, for it changes little with what else runs. The
rest is arithmetic, with list prices from the package. Limits of requests and tokens a
minute are examples: yours stand in your account.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _loopback import served

from sklearn_logprob import FakeBackend, LogprobClassifier, OpenAIBackend, TokenUsage

MODELS = ("gpt-4.1", "gpt-4.1-mini", "gpt-4o-mini", "gpt-5.4-nano", "gpt-5.1")
LIMITS = ((500, 200_000), (5_000, 2_000_000), (30_000, 150_000_000))  # a minute
JOB = 50_000  # rows, at most, in one job of a batch endpoint
DAY = 86_400
N_MEASURED = 2_000
SENTENCE = "number {} is a film with a slow start, warm and funny in the end"
PROMPT = "Review: {text}\nIs the review {labels}?\nSentiment:"
CLASSES = ["negative", "positive"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e9])
    parser.add_argument("--prompt-tokens", type=int, default=120)
    parser.add_argument("--no-local", action="store_true", help="no embedded model")
    args = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load at the start: {os.getloadavg()[0]:.2f}\n")
    rates, sizes = measure(local=not args.no_local and bool(find_spec("llama_cpp")))
    head = ("measured here, one process", "CPU ms a row", "rows/s a core", "bytes kept")
    table(
        head,
        [
            (name, f"{1000 / r:.2f}", f"{r:,.0f}", f"{sizes.get(name, 0):,.0f}")
            for name, r in rates.items()
        ],
    )
    for n_rows in map(int, args.rows):
        print(f"\n{n_rows:,} rows of {args.prompt_tokens} prompt tokens, 1 generated")
        plan(n_rows, args.prompt_tokens, rates, sizes)


def plan(n_rows: int, n_prompt: int, rates: dict[str, float], sizes: Any) -> None:
    """Print the arithmetic for a number of rows."""
    usage = TokenUsage(n_rows * n_prompt, n_rows)
    table(
        ("US dollars", "live", "batch"),
        [
            (m, *(money(OpenAIBackend(m, mode=w).cost(usage)) for w in ("live", "batch")))
            for m in MODELS
        ],
    )
    n_tokens = n_prompt + 1
    table(
        ("limits a minute: requests, tokens", "rows/s", "time"),
        [
            (f"{r:,}, {t:,}", f"{rate:.0f}", span(n_rows / rate))
            for r, t in LIMITS
            for rate in [min(r, t / n_tokens) / 60]
        ],
    )
    print(
        f"batch: {math.ceil(n_rows / JOB):,} jobs of {JOB:,} rows, "
        f"{n_rows * n_tokens / 1e6:,.0f} million tokens"
    )
    table(
        ("one core, if nothing else limits it", "time", "cores: a day"),
        [
            (name, span(n_rows / rate), f"{math.ceil(n_rows / rate / DAY):,}")
            for name, rate in rates.items()
        ],
    )
    print(
        f"an engine of your own, in one day: {n_rows / DAY:,.0f} rows/s, "
        f"{n_rows * n_prompt / DAY:,.0f} prompt tokens/s that are not in its prefix cache"
    )
    table(
        ("cache", "on disk"),
        [(name, f"{n_rows * size / 1e9:,.1f} GB") for name, size in sizes.items()],
    )


def measure(*, local: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Give rows per second of a core, and bytes of an answer, by what answers."""
    rates, sizes = {}, {}
    fake = FakeBackend({"warm": {"positive": 2.0}})
    with served() as url:
        os.environ["NO_PROXY"] = "127.0.0.1"
        server = OpenAIBackend("m", base_url=f"{url}/50/v1", max_concurrency=64)
        cases: dict[str, tuple[Any, int]] = {
            "no model (fake)": (fake, N_MEASURED),
            "client of a chat server, 64 in flight": (server, N_MEASURED),
        }
        if local:
            cases["embedded model (llama-cpp)"] = ("llama-cpp", N_MEASURED // 10)
        for name, (backend, n) in cases.items():
            rates[name], sizes[name] = ask(backend, n)
    with TemporaryDirectory() as folder:
        clf = classifier(fake, folder)
        texts = rows(10 * N_MEASURED)
        clf.predict_proba(texts)
        rates["all answers in the cache"] = len(texts) / timed(
            lambda: clf.predict_proba(texts)
        )
    return rates, sizes


def ask(backend: Any, n: int) -> tuple[float, float]:
    """Give the rate at which new rows are answered, and what one takes on disk."""
    with TemporaryDirectory() as folder:
        clf = classifier(backend, folder)
        clf.predict_proba(["to load, and to connect", *rows(64, "before")])
        before = on_disk(folder)
        seconds = timed(lambda: clf.predict_proba(rows(n)))
        return n / seconds, (on_disk(folder) - before) / n


def classifier(backend: Any, folder: str) -> LogprobClassifier:
    clf = LogprobClassifier(
        backend, prompt=PROMPT, classes=CLASSES, cache=folder, verbose=False
    )
    return clf.fit()


def rows(n: int, kind: str = "review") -> list[str]:
    return [f"{kind} {SENTENCE.format(i)}" for i in range(n)]


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def on_disk(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).iterdir())


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    first, *others = head
    print(f"{first:<40}" + "".join(f"{other:>14}" for other in others))
    for name, *values in lines:
        print(f"  {name:<38}" + "".join(f"{value:>14}" for value in values))


def money(dollars: float) -> str:
    return f"{dollars:,.0f}" if dollars >= 100 else f"{dollars:,.2f}"


def span(seconds: float) -> str:
    for unit, length in (("years", 365 * DAY), ("days", DAY), ("hours", 3600)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds / 60:,.0f} minutes"


if __name__ == "__main__":
    main()
