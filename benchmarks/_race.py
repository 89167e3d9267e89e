"""Systems that take turns on the same work, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from sklearn_logprob.backends._cpu import physical_cores

WORKER = Path(__file__).with_name("_workers.py")


class Work(NamedTuple):
    """Prompts ``prefix + " " + tail``, and what may follow after a space.

    With `spellings`, which only ours know, all that counts for a label by default.
    """

    prefix: str
    tails: list[str]
    labels: list[str]
    spellings: bool = False

    def first(self, n: int) -> Work:
        """Take the first n texts."""
        return self._replace(tails=self.tails[:n])


class Entrant(NamedTuple):
    """Who takes part: a name in `_workers.SYSTEMS`, and the weights it is given."""

    system: str
    weights: str
    python: str = sys.executable


class Worker:
    """One entrant's process."""

    def __init__(self, entrant: Entrant) -> None:
        command = [entrant.python, str(WORKER), entrant.system, entrant.weights]
        self._process = subprocess.Popen(
            [*command, str(physical_cores())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.peak = 0.0

    def run(self, work: Work, *, exact: bool = False) -> dict[str, Any]:
        """Do some work, and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {**work._asdict(), "exact": exact}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended early: run it by hand.")
        found: dict[str, Any] = json.loads(line)
        self.peak = found["peak"]
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def race(
    workers: Mapping[str, Worker], works: Mapping[str, Work], n_rounds: int
) -> dict[str, list[float]]:
    """Give each worker's milliseconds a text, round by round; each has its own work."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for name, work in works.items():
        workers[name].run(work.first(2))  # what is done once only
    for _ in range(n_rounds):
        for name, work in works.items():
            seconds = workers[name].run(work)["seconds"]
            found[name].append(seconds / len(work.tails) * 1e3)
    return found


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """Give the median of the ratios within a round."""
    return median(a / b for a, b in zip(of, to, strict=True))


def largest_difference(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Give how far two systems' joint log-probabilities are apart at most."""
    return max(
        abs(p - q)
        for row, column in zip(one, other, strict=True)
        for p, q in zip(row, column, strict=True)
    )
