"""What the client costs: requests per second against a server that takes a fixed time.

    python benchmarks/client_overhead.py [--quick]

The server runs on the same machine and answers every request after 50 or 300 ms with 20
alternatives. With c requests in flight, c / latency requests per second are the ideal;
what is missing is the client's (and, from about a thousand a second on, the server's,
which shares the processor). All clients take turns in every round, so that they meet the
same disturbances, and a ratio is the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

import aiohttp
import openai
from _loopback import served

from sklearn_logprob import Answer, OllamaBackend, OpenAIBackend, Request

LATENCIES = (50, 300)  # milliseconds
IN_FLIGHT = (1, 16, 64, 256)
N_ROUNDS = 5
SECONDS = 3.0  # of one client in one round, if it is ideal
MOST_PER_SECOND = 1500  # that any client reaches; limits how long a round takes
N_TOP = 20
PROMPT = (
    "Review: {number}. A slow start, but warm and funny in the end; the two leads carry "
    "it through a middle that another film would have cut. Is it positive or negative?"
)

BARE, SDK, LOOP = "bare aiohttp", "openai SDK, threads", "openai SDK, one by one"
OPENAI, OLLAMA = "openai backend", "ollama backend"


class Measured(NamedTuple):
    """One client in one round."""

    per_second: float
    cpu_ms: float


class Ratio(NamedTuple):
    """Of one client, in the median over the rounds."""

    of_ideal: float
    of_bare: float
    of_sdk: float


Run: TypeAlias = Callable[[int], object]


def bare_aiohttp(url: str, in_flight: int) -> Iterator[Run]:
    """Post and parse, nothing else."""
    loop = asyncio.new_event_loop()

    async def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=in_flight)
        return aiohttp.ClientSession(connector=connector)

    client = loop.run_until_complete(session())

    async def work(numbers: Iterator[int]) -> None:
        for number in numbers:
            body = chat_body(number)
            async with client.post(f"{url}/v1/chat/completions", json=body) as reply:
                choice = json.loads(await reply.text())["choices"][0]
            assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == N_TOP

    async def together(count: int) -> None:
        numbers = iter(range(count))
        await asyncio.gather(*(work(numbers) for _ in range(in_flight)))

    yield lambda count: loop.run_until_complete(together(count))
    loop.run_until_complete(client.close())
    loop.close()


def sdk_in_threads(url: str, in_flight: int) -> Iterator[Run]:
    """As an answer on the web does it: the synchronous SDK, a pool of threads."""
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client,
        ThreadPoolExecutor(in_flight) as pool,
    ):
        yield lambda count: list(pool.map(lambda i: ask_sdk(client, i), range(count)))


def sdk_one_by_one(url: str, in_flight: int) -> Iterator[Run]:
    """As published notebooks do it: a loop over the rows."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield lambda count: [ask_sdk(client, number) for number in range(count)]


def openai_backend(url: str, in_flight: int) -> Iterator[Run]:
    """Ours, in OpenAI's format."""
    backend = OpenAIBackend(
        "loopback",
        base_url=f"{url}/v1",
        api_key_env="NO_KEY_IS_NEEDED",
        max_concurrency=in_flight,
    )
    yield lambda count: ask_backend(backend, count)


def ollama_backend(url: str, in_flight: int) -> Iterator[Run]:
    """Ours, in Ollama's format."""
    backend = OllamaBackend("loopback", host=url, max_concurrency=in_flight)
    yield lambda count: ask_backend(backend, count)


CLIENTS = {
    BARE: bare_aiohttp,
    OPENAI: openai_backend,
    OLLAMA: ollama_backend,
    SDK: sdk_in_threads,
    LOOP: sdk_one_by_one,
}


def chat_body(number: int) -> dict[str, Any]:
    """Write the request that all send to OpenAI's format."""
    return {
        "model": "loopback",
        "messages": [{"role": "user", "content": PROMPT.format(number=number)}],
        "max_tokens": 1,
        "temperature": 1,
        "logprobs": True,
        "top_logprobs": N_TOP,
    }


def ask_sdk(client: openai.OpenAI, number: int) -> None:
    """Ask once, and read the alternatives."""
    reply = client.chat.completions.create(**chat_body(number))
    assert len(reply.choices[0].logprobs.content[0].top_logprobs) == N_TOP


def ask_backend(backend: Any, count: int) -> None:
    """Ask `count` requests as the classifier does."""
    requests = [
        Request((("user", PROMPT.format(number=number)),)) for number in range(count)
    ]
    answered = 0
    for _, answer in backend.answer(requests):
        assert isinstance(answer, Answer)
        assert len(answer.positions[0].top) == N_TOP
        answered += 1
    assert answered == count


def measured(name: str, url: str, in_flight: int, count: int) -> Measured:
    """Time one client, its connections being open."""
    for run in CLIENTS[name](url, in_flight):
        run(in_flight)
        wall, cpu = time.perf_counter(), time.process_time()
        run(count)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Measured(count / wall, 1000 * cpu / count)


def compare(
    url: str, milliseconds: int, in_flight: int, *, rounds: int, seconds: float
) -> dict[str, Ratio]:
    """Measure all clients under one condition, and print a table."""
    ideal = 1000 * in_flight / milliseconds
    # whole waves: a part of one would take as long as a whole one
    waves = max(3, round(seconds * min(ideal, MOST_PER_SECOND) / in_flight))
    names = [name for name in CLIENTS if name != LOOP or in_flight == 1]
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            run = measured(name, f"{url}/{milliseconds}", in_flight, waves * in_flight)
            found[name].append(run)

    def relative(name: str, other: str) -> float:
        pairs = zip(found[name], found[other], strict=True)
        return statistics.median(one.per_second / two.per_second for one, two in pairs)

    print(f"\n{milliseconds} ms, {in_flight} in flight: {ideal:.0f} requests/s are ideal")
    print(f"{'':24}{'requests/s':>11}{'of ideal':>10}{'of bare':>9}{'CPU ms':>8}")
    ratios = {}
    for name, runs in found.items():
        rate = statistics.median(run.per_second for run in runs)
        cpu = statistics.median(run.cpu_ms for run in runs)
        ratio = Ratio(rate / ideal, relative(name, BARE), relative(name, SDK))
        ratios[name] = ratio
        shares = f"{ratio.of_ideal:>10.2f}{ratio.of_bare:>9.2f}"
        print(f"{name:24}{rate:>11.0f}{shares}{cpu:>8.2f}")
    return ratios


def print_claims(found: dict[tuple[int, int], dict[str, Ratio]]) -> None:
    """Say which targets are met."""
    print()
    for name in (OPENAI, OLLAMA):
        slow, fast = found[300, 64][name], found[50, 64][name]
        claims = [("of the ideal, 300 ms, 64 in flight", slow.of_ideal, 0.95)]
        claims += [("of bare aiohttp, 50 ms, 64 in flight", fast.of_bare, 0.75)]
        if name == OPENAI:
            claims += [("times its SDK in threads, 50 ms, 64", fast.of_sdk, 1.9)]
        for what, value, target in claims:
            met = "yes" if value >= target else "NO"
            print(f"{name}: {value:.2f} {what} (at least {target}): {met}")


def print_machine() -> None:
    """Say where this ran, and whether anything else did."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"
    packages = ", ".join(f"{p} {version(p)}" for p in ("openai", "aiohttp", "requests"))
    print(f"{cores} cores; Python {platform.python_version()}; {packages}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"load at the start: {load:.2f}")
    if load > 0.5:
        print("WARNING: the machine is busy; do not quote these numbers.")


def main() -> None:
    """Print the machine, a table for each condition, and the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="64 in flight, one round")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="of one client in one round (default %(default)s): the first answers come "
        "all at once and take turns, which long rounds show less of",
    )
    given = parser.parse_args()
    quick = given.quick
    os.environ.setdefault("NO_PROXY", "127.0.0.1")
    print_machine()
    found = {}
    with served() as url:
        for milliseconds in LATENCIES:
            for in_flight in (64,) if quick else IN_FLIGHT:
                found[milliseconds, in_flight] = compare(
                    url,
                    milliseconds,
                    in_flight,
                    rounds=1 if quick else N_ROUNDS,
                    seconds=given.seconds,
                )
    print_claims(found)


if __name__ == "__main__":
    main()
