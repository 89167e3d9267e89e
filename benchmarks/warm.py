"""What is around the model when every answer is known: `predict_proba` on a warm cache.

    python benchmarks/warm.py [--rows 100000] [--rounds 3] [--quick]

Made-up answers are stored through the classifier. Then `predict_proba` on the same texts
takes turns with loops that do nothing but read the same answers:

- *JSONDisk*: token and log-probability pairs, by diskcache's own class for JSON values;
- *plain*: the same pairs by ``json.loads(cache.get(key))`` of an ordinary cache;
- *texts*: ``cache.get(key)`` on the classifier's own folder, nothing parsed.

*first* is `predict_proba` in a process that has read nothing yet, *second* when it runs
again. A ratio is the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import diskcache
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import BaseEstimator

from sklearn_logprob import Answer, LogprobClassifier, Request, TokenLogprobs
from sklearn_logprob._memory import MEMORY
from sklearn_logprob.collect import request_keys

RESULTS = Path(__file__).parent / "results"
PROMPT = "Review: {text}\nIs it {labels}?\nSentiment:"
VOCABULARY = [f" token{i}" for i in range(20_000)]
LABELS = [f"label {i}" for i in range(77)]
TARGETS = {"first": 1.3, "second": 0.3}


class Known(BaseEstimator):
    """Makes answers up from a hash of the prompt, as quickly as Python can."""

    answer_params = ("n_tokens", "n_labels")

    def __init__(self, n_tokens: int, n_labels: int) -> None:
        self.n_tokens = n_tokens
        self.n_labels = n_labels

    @property
    def scores_choices(self) -> bool:
        """Without tokens there are choices."""
        return self.n_tokens == 0

    @property
    def max_top_logprobs(self) -> int:
        """As many as there are to be."""
        return self.n_tokens

    def answer_identity(self) -> dict[str, int]:
        """Give both parameters."""
        return {"n_tokens": self.n_tokens, "n_labels": self.n_labels}

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answer in order."""
        for index, request in enumerate(requests):
            digest = sha256(request.messages[0][1].encode()).digest()
            rng = np.random.default_rng(list(digest[:8]))
            n = self.n_tokens or len(request.choices)
            raw = np.sort(rng.exponential(1.0, n))[::-1]
            values = np.log(raw / raw.sum()).tolist()
            if not self.n_tokens:
                yield (
                    index,
                    Answer(choices=tuple(zip(request.choices, values, strict=True))),
                )
                continue
            start = int(rng.integers(len(VOCABULARY) - n))
            texts = VOCABULARY[start : start + n]
            said = rng.permutation(n)[: self.n_labels]
            for place, label in zip(said, LABELS, strict=False):
                texts[place] = f" {label}"
            top = tuple(zip(texts, values, strict=True))
            yield index, Answer((TokenLogprobs(*top[0], top),))


class Case(NamedTuple):
    """One kind of answer."""

    name: str
    n_tokens: int
    n_labels: int


CASES = (
    Case("20 tokens, 2 labels", 20, 2),
    Case("200 tokens, 4 labels", 200, 4),
    Case("choices only, 4 labels", 0, 4),
)


class Warm:
    """A classifier whose answers are all stored, and the same answers in other caches."""

    def __init__(self, case: Case, n_rows: int, folder: str) -> None:
        labels = LABELS[: case.n_labels]
        backend = Known(case.n_tokens, case.n_labels)
        self.clf = LogprobClassifier(
            backend,
            prompt=PROMPT,
            classes=labels,
            label_scoring="auto" if backend.scores_choices else "first_token",
            cache=f"{folder}/ours",
            verbose=False,
        ).fit()
        self.texts = [
            f"number {i}, warm and funny, and so it goes" for i in range(n_rows)
        ]
        self.clf.predict_proba(self.texts[:1])
        requests = list(self.clf.requests(self.texts))
        self.keys = request_keys(backend, requests)
        self.clf.predict_proba(self.texts)
        self.texts_alone = diskcache.Cache(f"{folder}/ours")
        self.plain = diskcache.Cache(f"{folder}/plain")
        self.json_disk = diskcache.Cache(f"{folder}/json", disk=diskcache.JSONDisk)
        with self.plain.transact(), self.json_disk.transact():
            for key, (_, answer) in zip(self.keys, backend.answer(requests), strict=True):
                pairs = answer.positions[0].top if answer.positions else answer.choices
                self.plain.set(key, json.dumps(pairs))
                self.json_disk.set(key, pairs)

    def ways(self, n: int) -> dict[str, Callable[[], Any]]:
        """Everything that takes turns, on the first n rows."""
        keys, texts = self.keys[:n], self.texts[:n]

        def loop(read: Callable[[str], Any]) -> Callable[[], None]:
            def run() -> None:
                for key in keys:
                    read(key)  # kept by nobody: a list of them all would take longer

            return run

        return {
            "plain": loop(lambda key: json.loads(self.plain.get(key))),
            "JSONDisk": loop(self.json_disk.get),
            "texts": loop(self.texts_alone.get),
            "first": lambda: self.clf.predict_proba(texts),
            "second": lambda: self.clf.predict_proba(texts),
        }

    def close(self) -> None:
        """Let the files go."""
        for cache in (self.plain, self.json_disk, self.texts_alone):
            cache.close()


def measured(warm: Warm, n: int, rounds: int) -> dict[str, list[float]]:
    """Let all ways take turns; microseconds a row, by round."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        MEMORY.clear()
        for name, way in warm.ways(n).items():
            start = time.perf_counter()
            way()
            found.setdefault(name, []).append(1e6 * (time.perf_counter() - start) / n)
    return found


def check(warm: Warm) -> None:
    """Insist that what comes from the memory, the disk and the model is the same."""
    some = warm.texts[:200]
    MEMORY.clear()
    disk = warm.clf.predict_proba(some)
    known = LogprobClassifier(**{**warm.clf.get_params(deep=False), "cache": None}).fit()
    np.testing.assert_array_equal(warm.clf.predict_proba(some), disk)
    np.testing.assert_array_equal(known.predict_proba(some), disk)
    assert warm.clf.usage_.requests == len(warm.texts), "the cache was not warm"


def over_cases(n_rows: int, rounds: int) -> Iterator[str]:
    """Measure each kind of answer; lines of a table."""
    names = ["JSONDisk", "plain", "texts", "first", "second"]
    ratios = [(ours, bare) for ours in TARGETS for bare in names[:2]]
    titles = [*names, *(f"{ours} ÷ {bare}" for ours, bare in ratios)]
    yield f"| answers | {' | '.join(titles)} |"
    yield "|---|" + "---|" * len(titles)
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            warm = Warm(case, n_rows, folder)
            check(warm)
            found = measured(warm, n_rows, rounds)
            warm.close()
        cells = [f"{statistics.median(found[name]):.1f}" for name in names]
        for ours, bare in ratios:
            pairs = zip(found[ours], found[bare], strict=True)
            ratio = statistics.median(one / other for one, other in pairs)
            met = "at most" if ratio <= TARGETS[ours] else "MORE THAN"
            cells.append(f"{ratio:.2f} ({met} {TARGETS[ours]})")
        yield f"| {case.name} | {' | '.join(cells)} |"


def curves(n_rows: int, rounds: int) -> dict[str, list[tuple[int, str, float]]]:
    """Measure a row's cost against the number of rows, and of labels."""
    found: dict[str, list[tuple[int, str, float]]] = {"rows": [], "labels": []}

    def add(kind: str, x: int, warm: Warm, n: int) -> None:
        times = measured(warm, n, max(rounds, min(30, 20_000 // n)))
        for name in ("JSONDisk", "plain", "first", "second"):
            found[kind].append((x, name, statistics.median(times[name])))

    with tempfile.TemporaryDirectory() as folder:
        warm = Warm(CASES[0], n_rows, folder)
        for power in range(len(str(n_rows))):
            add("rows", 10**power, warm, 10**power)
        warm.close()
    for n_labels in (2, 4, 10, 26, 77):
        with tempfile.TemporaryDirectory() as folder:
            n = max(1, n_rows // 20)
            warm = Warm(Case("choices", 0, n_labels), n, folder)
            add("labels", n_labels, warm, n)
            warm.close()
    return found


def draw(found: dict[str, list[tuple[int, str, float]]], path: Path) -> None:
    """Plot both curves."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    titles = {
        "rows": "20 tokens, 2 labels, by the number of rows",
        "labels": "choices only, by the number of labels",
    }
    for axis, (kind, points) in zip(axes, found.items(), strict=True):
        for name, style in (
            ("JSONDisk", "x:"),
            ("plain", "o--"),
            ("first", "s-"),
            ("second", "^-"),
        ):
            xs = [x for x, which, _ in points if which == name]
            axis.loglog(
                xs, [y for _, which, y in points if which == name], style, label=name
            )
        axis.set(title=titles[kind], xlabel=kind)
        xs = sorted({x for x, _, _ in points})
        axis.set_xticks(xs, labels=[f"{x:,}" for x in xs])
        axis.set_xticks([], minor=True)
        axis.grid(which="both", alpha=0.2)
    axes[0].set_ylabel("µs a row")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def machine() -> Iterator[str]:
    """Say where this ran, and whether anything else did."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    yield f"{cores} cores; Python {platform.python_version()}; numpy {np.__version__}; "
    yield f"diskcache {diskcache.__version__}; load at the start {load:.2f}"
    if load > 0.5:
        yield "\n\nWARNING: the machine was busy; do not quote these numbers."


def main() -> None:
    """Print and write the table and the curves."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="2,000 rows, one round, no file"
    )
    given = parser.parse_args()
    n_rows, rounds = (2_000, 1) if given.quick else (given.rows, given.rounds)
    lines = ["# `predict_proba` on a warm cache", "", "".join(machine()), ""]
    lines += [f"Microseconds a row, {n_rows} rows, median of {rounds} rounds:", ""]
    print("\n".join(lines))
    for line in over_cases(n_rows, rounds):
        print(line, flush=True)
        lines.append(line)
    found = curves(n_rows, rounds)
    curve = ["", "| | | JSONDisk | plain | first | second |", "|---|---|---|---|---|---|"]
    for kind, points in found.items():
        for x in dict.fromkeys(x for x, _, _ in points):
            cells = [f"{y:.1f}" for place, _, y in points if place == x]
            curve.append(f"| {kind} | {x} | {' | '.join(cells)} |")
    print("\n".join(curve))
    if given.quick:
        return
    RESULTS.mkdir(exist_ok=True)
    draw(found, RESULTS / "warm.png")
    lines += [*curve, "", "![Cost of a row](warm.png)", ""]
    (RESULTS / "warm.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
