"""Kills, faults, full disks: rows lost, doubled, misplaced, and requests too many.

    python benchmarks/faults.py [--quick] [--only kill]

A server in a process of its own (`tests/faulty.py`) gives every row an answer of its own,
and writes down every request. Clients ask for all rows through `LogprobClassifier`, and
what they end with is compared, row by row. *extra* are answers beyond one a row;
*allowed* is what was under way at kills and restarts, or could not be kept; *doubled* are
any more, and requests beyond a limit.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from _machine import describe  # noqa: E402 -- beside this file
from faulty import (  # noqa: E402
    Faults,
    Server,
    ask,
    check,
    client,
    ended,
    hurry,
    kill_after,
    served,
)

from sklearn_logprob import CacheWarning  # noqa: E402
from sklearn_logprob.cache import Cache  # noqa: E402

CONCURRENCY = 16
UNDER_WAY = CONCURRENCY + CONCURRENCY // 4  # with what is handed over
COLUMNS = ("fault", "runs", "rows", "lost", "doubled", "misplaced", "extra", "allowed")


class Size(NamedTuple):
    """How much of everything."""

    kills: int
    killed_rows: int
    failing_rows: int
    shared_rows: int
    cache_rows: int
    damages: int
    limited_rows: int


FULL = Size(50, 2000, 20_000, 2000, 2000, 200, 4000)
QUICK = Size(4, 400, 600, 300, 300, 20, 300)

Row = tuple[str, int, int, int, int, int, int, int]

NOTES: list[str] = []


def kills(place: Path, size: Size) -> Row:
    """Kill the process at random moments, and let a last one end."""
    rng, out = random.Random(0), place / "scores.npy"
    n = size.killed_rows
    with served(place) as server:
        for _ in range(size.kills):
            with client(server, place / "cache", n, out) as process:
                later = rng.randrange(2 * n // size.kills)
                kill_after(process, server, later, rng.uniform(0, 0.02))
        with client(server, place / "cache", n, out) as process:
            assert ended(process) == 0
        allowed = size.kills * UNDER_WAY
        found = check(np.load(out), server, allowed)
    return ("kill -9 at random moments", size.kills + 1, n, *found, allowed)


def failing(place: Path, size: Size) -> Row:
    """Errors, resets, stalls, storms of 429, and a restart in the middle."""
    faults = Faults(0.01, 0.01, 0.01, 0.01, storm_every=4.7, storm=0.4)
    n, out = size.failing_rows, place / "scores.npy"
    with served(place, faults) as server:
        with client(server, place / "cache", n, out) as process:
            while len(server.answered()) < n // 2 and process.poll() is None:
                time.sleep(0.2)
            server.kill()
            server.start()
            assert ended(process, 3600) == 0
        # what the server stalls and resets is never answered; a restart cuts answers off
        found = check(np.load(out), server, UNDER_WAY)
    name = "1 % errors, 1 % resets, 1 % stalls, 429s, a restart"
    return (name, 1, n, *found, UNDER_WAY)


def shared(place: Path, size: Size) -> Row:
    """Two processes with four threads each, all asking for everything."""
    outs, n = [place / "a.npy", place / "b.npy"], size.shared_rows
    with served(place) as server:
        with (
            client(server, place / "cache", n, outs[0], n_threads=4) as one,
            client(server, place / "cache", n, outs[1], n_threads=4) as two,
        ):
            assert ended(one) == ended(two) == 0
        found = check(np.concatenate([np.load(out) for out in outs]), server)
    return ("two processes, eight threads, one cache", 8, n, *found, 0)


def ctrl_c(place: Path, size: Size) -> Row:
    """Interrupt in mid-run, and run again."""
    n, out = size.shared_rows, place / "scores.npy"
    with served(place, Faults(delay=0.2)) as server:
        with client(server, place / "cache", n, out) as process:
            while len(server.answered()) < n // 2:
                time.sleep(0.05)
            pressed = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert ended(process), "it was interrupted"
            note(f"Ctrl-C: {time.monotonic() - pressed:.2f} s to the end")
        with client(server, place / "cache", n, out) as process:
            assert ended(process) == 0
        found = check(np.load(out), server, UNDER_WAY)
    return ("Ctrl-C in mid-run", 2, n, *found, UNDER_WAY)


@contextmanager
def small_disk(place: Path, megabytes: float) -> Iterator[Callable[[], None]]:
    """Mount a file system in memory where that is allowed; else limit files' sizes.

    What it gives makes room.
    """
    place.mkdir()
    options = f"size={int(megabytes * 1024)}k"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place],
        capture_output=True,
        check=False,
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if made.returncode:
        limit = int(megabytes * 2**20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    larger = ["mount", "-o", "remount,size=64m", place]
    try:
        yield lambda: subprocess.run(larger, check=True) and None
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def full_disk(place: Path, size: Size) -> Row:
    """Ask for everything on a disk that becomes full, and again when there is room."""
    n, disk = size.cache_rows, place / "disk"
    rows = list(range(n))
    with served(place) as server, small_disk(disk, n / 1000) as make_room:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", CacheWarning)
            first = ask(server.url, disk / "cache", rows)
        assert any("cannot be used" in str(w.message) for w in said)
        make_room()
        kept = len(Cache(disk / "cache"))
        second = ask(server.url, disk / "cache", rows)
        found = check(np.array([first, second]), server, allowed=n - kept)
        Cache(disk / "cache").close()
    assert 0 < kept < n
    return ("a disk that becomes full, said", 2, n, *found, n - kept)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nothing be written there: by a mount where that is allowed, or by modes."""
    bound = ["mount", "--bind", folder, folder]
    mounted = not subprocess.run(bound, capture_output=True, check=False).returncode
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    else:
        (folder / "cache.db").chmod(0o400)
        folder.chmod(0o500)
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        else:
            folder.chmod(0o700)
            (folder / "cache.db").chmod(0o600)


def said_so(server: Server, cache: Path, n: int, words: str) -> np.ndarray:
    """Ask all rows, and see that it is said what became of the cache."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", CacheWarning)
        scores = ask(server.url, cache, list(range(n)))
    assert any(words in str(w.message) for w in said), [str(w.message) for w in said]
    return scores


def unwritable(place: Path, size: Size) -> Row:
    """Ask for half, then for everything where nothing can be written, and once more."""
    n, cache = size.cache_rows, place / "cache"
    with served(place) as server:
        ask(server.url, cache, list(range(n // 2)))
        Cache(cache).close()
        with read_only(cache):
            first = said_so(server, cache, n, "cannot be used")
            Cache(cache).close()
        second = ask(server.url, cache, list(range(n)))
        found = check(np.array([first, second]), server, allowed=n - n // 2)
    return ("a read-only cache, said", 3, n, *found, n - n // 2)


def another_version(place: Path, size: Size) -> Row:
    """Find a database of other tables in the cache's place."""
    n, cache = size.cache_rows, place / "cache"
    with served(place) as server:
        ask(server.url, cache, list(range(n)))
        Cache(cache).close()
        (cache / "cache.db").unlink()
        connection = sqlite3.connect(cache / "cache.db")
        with connection:
            connection.execute("CREATE TABLE Cache (name TEXT, answer TEXT)")
        connection.close()
        first = said_so(server, cache, n, "of another version")
        second = ask(server.url, cache, list(range(n)))
        found = check(np.array([first, second]), server, allowed=n)
        Cache(cache).close()
    return ("a cache of another version, said", 3, n, *found, n)


def damaged(place: Path, size: Size) -> Row:
    """Flip, zero and cut bytes of the cache, at random; every run ends right."""
    rng, n = random.Random(0), 300
    lost = doubled = misplaced = 0
    with served(place) as server:
        ask(server.url, place / "cache", list(range(n)))
        Cache(place / "cache").close()
        for _ in range(size.damages):
            before = server.answered()
            spoil(place / "cache" / "cache.db", rng)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CacheWarning)
                scores = ask(server.url, place / "cache", list(range(n)))
            Cache(place / "cache").close()
            found = check(scores, server, sys.maxsize)
            lost, misplaced = lost + found.lost, misplaced + found.misplaced
            again = server.answered() - before
            doubled += sum(again.values()) - len(again)
    name = "a cache cut, zeroed or flipped at random"
    allowed = size.damages * n  # all answers may be in what was damaged
    return (name, size.damages, n, lost, doubled, misplaced, found.extra, allowed)


def spoil(path: Path, rng: random.Random) -> None:
    """Change the file, from one byte to all that is behind some place."""
    if rng.random() < 0.2:
        os.truncate(path, rng.randrange(path.stat().st_size))
    with path.open("r+b") as file:
        for _ in range(rng.choice([1, 3, 30])):
            file.seek(rng.randrange(path.stat().st_size + 1))
            file.write(rng.randbytes(rng.choice([1, 8, 4096])))


def budget(place: Path, size: Size) -> Row:
    """Reach max_requests in four threads while attempts fail, and ask for the rest."""
    n, limit = size.limited_rows, size.limited_rows // 2
    with served(place, Faults(errors=0.1, resets=0.02, storm_every=3.1)) as server:
        hurry(server, n, place, max_requests=limit)
        off = abs(len(server.requests()) - limit)
        found = check(hurry(server, n, place), server)._replace(doubled=off)
    return (f"max_requests={limit}, reached in retries", 8, n, *found, 0)


def money(place: Path, size: Size) -> Row:
    """Reach max_cost in four threads, and ask for the rest; an answer is 21 tokens."""
    n, price = size.limited_rows, (1000.0, 0.0, 1000.0)
    limit = 0.021 * n / 2
    with served(place) as server:
        hurry(server, n, place, max_cost=limit, price=price)
        spent = 0.021 * len(server.requests())
        found = check(hurry(server, n, place), server)
    note(f"max_cost={limit:g}: {spent:g} dollars spent")
    found = found._replace(doubled=int(spent > limit))
    return (f"max_cost={limit:g}, reached", 8, n, *found, 0)


def pace(place: Path, size: Size) -> Row:
    """Keep to 50 requests a second in four threads while attempts fail."""
    n = size.limited_rows // 10
    with served(place, Faults(errors=0.1)) as server:
        found = check(hurry(server, n, place, requests_per_minute=3000.0), server)
        times = np.sort([time for _, _, time in server.requests()])
    most = int((np.searchsorted(times, times + 1.0) - np.arange(len(times))).max())
    note(f"requests_per_minute=3000: {most} in the fullest second")
    found = found._replace(doubled=max(0, most - 50))
    return ("requests_per_minute=3000, with retries", 4, n, *found, 0)


def note(text: str) -> None:
    """Say what the table has no column for."""
    NOTES.append(f"- {text}")
    print(f"# {text}", flush=True)


CASES: dict[str, Callable[[Path, Size], Row]] = {
    "kill": kills,
    "fail": failing,
    "share": shared,
    "ctrl-c": ctrl_c,
    "full": full_disk,
    "read-only": unwritable,
    "version": another_version,
    "damage": damaged,
    "budget": budget,
    "money": money,
    "pace": pace,
}


def main() -> None:
    """Run all cases, print the table, and write it where the run was a full one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=CASES)
    given = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "none is needed"
    about = describe("openai", "aiohttp", "diskcache")
    print("\n".join(f"# {line}" for line in about), flush=True)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    print("\n".join(lines), flush=True)
    wrong = 0
    for name, case in CASES.items():
        if given.only in (None, name):
            with TemporaryDirectory() as place:
                row = case(Path(place), QUICK if given.quick else FULL)
            lines.append("| " + " | ".join(map(str, row)) + " |")
            print(lines[-1], flush=True)
            wrong += sum(row[3:6])
    if not given.quick and given.only is None:
        text = "\n".join(
            ["`python benchmarks/faults.py` printed:", "", *lines, "", *NOTES, "", *about]
        )
        (HERE / "results" / "faults.md").write_text(f"{text}\n")
    sys.exit(f"{wrong} rows lost, doubled or misplaced" if wrong else 0)


if __name__ == "__main__":
    main()
