"""Throughput, memory and file descriptors against concurrency, and over a long run.

    python benchmarks/load.py [--quick]
    python benchmarks/load.py --soak 60       # minutes, with 256 requests in flight

A server on the same machine (`_loopback.py`) answers every request after 50 ms with 20
alternatives. Requests go as a stream of tables would: 4,096 at a time through `collect`,
with the cache, and the answers are dropped. Each line is a process of its own, that reads
its memory and its open files from /proc after every chunk: *after 10 %* against *at the
end* tells a leak. The cache's file grows meanwhile, by what *cache* says. A soak prints a
line for each tenth of its time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _loopback import served
from _machine import describe

HERE = Path(__file__).resolve().parent
CHUNK = 4096
SOAK_LINES = 10
PROMPT = "Review: {}. A slow start, but warm and funny in the end. Positive or negative?"
RUNS = {1: 300, 16: 2000, 64: 4000, 256: 100_000}
QUICK = {1: 100, 256: 12_288}
COLUMNS = {
    "concurrency": "in flight",
    "n": "requests",
    "per_second": "requests/s",
    "rss_early": "MB after 10 %",
    "rss_end": "MB at the end",
    "files_early": "files after 10 %",
    "files_end": "files at the end",
    "cache": "cache, MB",
    "cpu": "CPU ms a request",
}


def measure(url: str, n: int, concurrency: int, folder: str) -> dict[str, Any]:
    """Ask in this process."""
    from sklearn_logprob import OpenAIBackend, Request, Usage  # noqa: PLC0415
    from sklearn_logprob.cache import Cache  # noqa: PLC0415
    from sklearn_logprob.collect import collect  # noqa: PLC0415

    backend = OpenAIBackend("loopback", base_url=url, max_concurrency=concurrency)
    cache, usage, seen = Cache(folder), Usage(), []
    began = time.perf_counter()
    chunk = min(CHUNK, max(1, n // 20))
    for start in range(0, n, chunk):
        asked = [
            Request((("user", PROMPT.format(i)),))
            for i in range(start, min(n, start + chunk))
        ]
        collect(backend, asked, cache, usage=usage, verbose=False)
        seen.append((resident(), len(os.listdir("/proc/self/fd"))))
    seconds = time.perf_counter() - began
    assert usage.requests == n == len(cache), "every request once"
    early, end = seen[len(seen) // 10], seen[-1]
    times = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "concurrency": concurrency,
        "n": n,
        "per_second": round(n / seconds),
        "rss_early": early[0],
        "rss_end": end[0],
        "files_early": early[1],
        "files_end": end[1],
        "cache": Path(folder, "cache.db").stat().st_size >> 20,
        "cpu": round(1000 * (times.ru_utime + times.ru_stime) / n, 2),
    }


def soak(minutes: float) -> Iterator[str]:
    """Ask in this process for so long; a line for each tenth of the time."""
    from sklearn_logprob import OpenAIBackend, Request, Usage  # noqa: PLC0415
    from sklearn_logprob.cache import Cache  # noqa: PLC0415
    from sklearn_logprob.collect import collect  # noqa: PLC0415

    yield "| minute | requests | MB | files | threads | cache, MB |"
    yield "|---" * 6 + "|"
    with served() as url, TemporaryDirectory() as folder:
        backend = OpenAIBackend("loopback", base_url=f"{url}/50/v1", max_concurrency=256)
        cache, usage = Cache(folder), Usage()
        began, lines = time.monotonic(), 0
        while lines < SOAK_LINES:
            first = usage.requests
            prompts = [PROMPT.format(i) for i in range(first, first + CHUNK)]
            asked = [Request((("user", prompt),)) for prompt in prompts]
            collect(backend, asked, cache, usage=usage, verbose=False)
            passed = (time.monotonic() - began) / 60
            if passed < minutes * (lines + 1) / SOAK_LINES:
                continue
            lines += 1
            found = [
                round(passed, 1),
                usage.requests,
                resident(),
                len(os.listdir("/proc/self/fd")),
                threading.active_count(),
                Path(folder, "cache.db").stat().st_size >> 20,
            ]
            yield "| " + " | ".join(map(str, found)) + " |"
        assert usage.requests == len(cache), "every request once"
        cache.close()


def resident() -> int:
    """Give the memory that this process holds, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def lines(runs: dict[int, int]) -> Iterator[str]:
    """Measure each concurrency, in a process of its own."""
    yield "| " + " | ".join(COLUMNS.values()) + " |"
    yield "|---" * len(COLUMNS) + "|"
    with served() as url:
        for concurrency, n in runs.items():
            with TemporaryDirectory() as folder:
                given = ["--one", f"{url}/50/v1", str(n), str(concurrency), folder]
                done = subprocess.run(
                    [sys.executable, __file__, *given],
                    stdout=subprocess.PIPE,
                    check=True,
                )
            found = json.loads(done.stdout)
            yield "| " + " | ".join(str(found[name]) for name in COLUMNS) + " |"


def main() -> None:
    """Measure, print, and write down a full run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        url, n, concurrency, folder = given.one
        print(json.dumps(measure(url, int(n), int(concurrency), folder)))
        return
    about = describe("openai", "aiohttp", "diskcache")
    print("\n".join(f"# {line}" for line in about), flush=True)
    told = []
    os.environ["OPENAI_API_KEY"] = "none is needed"
    measured = soak(given.soak) if given.soak else lines(QUICK if given.quick else RUNS)
    for line in measured:
        print(line, flush=True)
        told.append(line)
    if given.quick:
        return
    name, options = ("soak", f" --soak {given.soak:g}") if given.soak else ("load", "")
    text = [f"`python benchmarks/load.py{options}` printed:", "", *told, "", *about]
    (HERE / "results" / f"{name}.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
