"""A server in a process of its own that fails as it is told, and clients to be killed.

    with served(folder, FINE) as server:
        ...                      # server.url speaks OpenAI's format
    server.requests()            # what arrived: (row, status, seconds)

Every row has its own answer, which `own_score` knows: a row that is lost, answered twice
or exchanged with another shows. Run with a command, this file is the server or a client.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["FINE", "Counted", "Faults", "Server", "check", "client", "ended", "served"]

OK = 200
TIMEOUT = 3.0  # seconds that clients wait for an answer; a busy machine is slow too


@dataclass(frozen=True)
class Faults:
    """How a server fails: shares of requests, and seconds."""

    delay: float = 0.01
    errors: float = 0.0
    resets: float = 0.0
    stalls: float = 0.0  # answers that come too late
    storm_every: float = math.inf  # when all are refused for a while
    storm: float = 0.3
    build: str = "fp_1"


FINE = Faults()


class Counted(NamedTuple):
    """What became of the rows, and what it took."""

    lost: int
    doubled: int  # answered again although nothing was killed with it under way
    misplaced: int
    extra: int  # requests answered beyond one a row


def own_score(row: int) -> float:
    """Give the log-probability of "yes" that belongs to a row."""
    return -0.1 - row / 1e6


def text_of(row: int) -> str:
    """Write a row."""
    return f"row {row} of many"


def completion(prompt: str, build: str) -> bytes:
    """Answer a row with its own score."""
    yes = own_score(int(prompt.split()[1]))
    top = [("yes", yes), ("no", math.log(-math.expm1(yes)))]
    shown = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in top]
    choice = {
        "index": 0,
        "finish_reason": "length",
        "message": {"role": "assistant", "content": "yes"},
        "logprobs": {"content": [{**shown[0], "top_logprobs": shown}]},
    }
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    found = {"choices": [choice], "usage": usage, "system_fingerprint": build}
    return json.dumps(found).encode()


async def serve(port: int, log: str, faults: Faults) -> None:
    """Serve until killed."""
    from aiohttp import web

    rng, began = random.Random(port), time.monotonic()
    file = open(log, "a", buffering=1)  # noqa: SIM115 -- until the process ends

    async def reply(request: web.Request) -> web.Response:
        prompt = (await request.json())["messages"][-1]["content"]
        row, drawn = prompt.split()[1], rng.random()
        passed = time.monotonic() - began

        def note(status: int) -> None:
            file.write(f"{row} {status} {time.time()}\n")

        if passed % faults.storm_every > faults.storm_every - faults.storm:
            note(429)
            wait = {"Retry-After": str(math.ceil(faults.storm))}
            return web.Response(status=429, text="{}", headers=wait)
        await asyncio.sleep(faults.delay)
        if drawn < faults.errors:
            note(500)
            return web.Response(status=500, text="{}")
        if drawn < faults.errors + faults.resets:
            note(0)
            request.transport.abort()
            return web.Response()
        if drawn < faults.errors + faults.resets + faults.stalls:
            note(504)
            await asyncio.sleep(3 * TIMEOUT)
            return web.Response(status=500, text="{}")
        note(OK)
        body = completion(prompt, faults.build)
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", reply)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


class Server:
    """A server process that can be killed and started again at the same address."""

    def __init__(self, folder: Path, faults: Faults) -> None:
        self.log = folder / "requests.txt"
        self.faults = faults
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        """What to give as ``base_url``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start, and wait until it listens."""
        told = json.dumps(asdict(self.faults))
        self.process = subprocess.Popen(
            [sys.executable, __file__, "serve", str(self.port), str(self.log), told],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def kill(self) -> None:
        """End without a word."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def requests(self) -> list[tuple[int, int, float]]:
        """Give row, status and time of every request so far."""
        text = self.log.read_text() if self.log.exists() else ""
        lines = [line.split() for line in text.splitlines()]
        return [(int(r), int(s), float(t)) for r, s, t in lines]

    def answered(self) -> Counter[int]:
        """Count the answers that each row got."""
        return Counter(row for row, status, _ in self.requests() if status == OK)


@contextmanager
def served(folder: Path, faults: Faults = FINE) -> Iterator[Server]:
    """Run a server."""
    server = Server(Path(folder), faults)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def classifier(url: str, cache: object, **params: object):
    """Make a classifier of rows that asks the server."""
    from sklearn_logprob import LogprobClassifier, OpenAIBackend

    params = {"max_concurrency": 16, "timeout": TIMEOUT, "max_retries": 8, **params}
    backend = OpenAIBackend("model", base_url=url, **params)
    clf = LogprobClassifier(
        backend, prompt="{text}", classes=["no", "yes"], cache=cache, verbose=False
    )
    return clf.fit()


def ask(url: str, cache: object, rows: list[int], **params: object) -> np.ndarray:
    """Give the score of "yes" of each row."""
    clf = classifier(url, cache, **params)
    return clf.label_scores([text_of(row) for row in rows])[:, 1]


def hurry(
    server: Server, n: int, cache: Path | None = None, **limits: object
) -> np.ndarray:
    """Ask for all rows in four threads, each with a quarter and a cache of its own.

    A quarter that a limit stopped is NaN, whatever of it is in its cache.
    """
    from sklearn_logprob import LimitReachedError

    scores = np.full(n, np.nan)

    def work(k: int) -> None:
        kept = None if cache is None else cache / str(k)
        with suppress(LimitReachedError):
            scores[k::4] = ask(server.url, kept, list(range(k, n, 4)), **limits)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return scores


@contextmanager
def client(
    server: Server, cache: Path, n: int, out: Path, *, n_threads: int = 1, concurrency=16
):
    """Start a process that asks all rows, in as many threads; they all ask everything."""
    given = [server.url, str(cache), str(n), str(out), str(n_threads), str(concurrency)]
    with out.with_suffix(".err").open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, "ask", *given],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=errors,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen, seconds: float = 600.0) -> int:
    """Wait for a client, and give its exit status."""
    return process.wait(seconds)


def kill_after(process: subprocess.Popen, server: Server, n: int, delay: float) -> None:
    """Kill a client once the server has got n further requests, and a moment later."""
    start = server.log.stat().st_size if server.log.exists() else 0
    while process.poll() is None:
        size = server.log.stat().st_size if server.log.exists() else 0
        if size - start > 26 * n:  # bytes of a line
            break
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()


def check(scores: np.ndarray, server: Server, allowed: int = 0) -> Counted:
    """Compare what came back, and what was asked, with what should have been."""
    rows = np.arange(scores.shape[-1])
    own = np.vectorize(own_score)(rows)
    counts = server.answered()
    extra = sum(counts.values()) - len(counts)
    return Counted(
        lost=int(np.isnan(scores).sum()),
        doubled=max(0, extra - allowed),
        misplaced=int((np.abs(scores - own) > 1e-9).sum()),
        extra=extra,
    )


def main() -> None:
    """Be the server, or a client."""
    command, *given = sys.argv[1:]
    if command == "serve":
        port, log, told = given
        asyncio.run(serve(int(port), log, replace(FINE, **json.loads(told))))
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs may inherit another
    url, cache, n, out, n_threads, concurrency = given
    orders = [list(range(int(n))) for _ in range(int(n_threads))]
    for seed, order in enumerate(orders):
        random.Random(f"{os.getpid()}{seed}" if seed else 0).shuffle(order)
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        scores = np.full(int(n), np.nan)
        asked = ask(url, cache, orders[number], max_concurrency=int(concurrency))
        scores[orders[number]] = asked
        found[number] = scores

    if len(orders) == 1:
        work(0)
    else:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(len(orders))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    np.save(out, np.array([found[k] for k in range(len(orders))]))


if __name__ == "__main__":
    main()
