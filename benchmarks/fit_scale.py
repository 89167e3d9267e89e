"""How fitting grows with the rows: seconds and memory of everything after the answers.

    python benchmarks/fit_scale.py                # about 20 minutes on two idle cores
    python benchmarks/fit_scale.py --only report  # what begins so

Every case runs in a process of its own, forked from one that holds nothing but the data,
so that its peak of resident memory above the start is what it took. Scores are those of
an over-confident model with a preference for some labels.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from sklearn_logprob import (
    BatchCalibration,
    BestMetric,
    ChowRule,
    LeastCost,
    PrecisionAtLeast,
    RecallAtLeast,
    RiskAtMost,
    TokenReadout,
    cross_val_proba,
    make_calibrator,
    make_report,
)
from sklearn_logprob._heads import Head
from sklearn_logprob.calibration import CALIBRATORS
from sklearn_logprob.prediction_sets import LeastAmbiguousSets
from sklearn_logprob.priors import em_prior
from sklearn_logprob.readout import make_readout
from sklearn_logprob.thresholds import METRICS

SMALL, LARGE, LONG = (10_000, 10), (100_000, 10), (1_000_000, 2)
READOUT_SIZES = (1_000, 5_000)
N_TOKENS, VOCABULARY = 200, 8_000
REPEATED = 2.0  # seconds below which the median of three runs counts
TARGET = 2.0
ROUNDS = 3
BINARY = ("f1", "jaccard")
RESULT = Path(__file__).parent / "results" / "fit_scale.md"

FORK = get_context("fork")


class Data(NamedTuple):
    """Label log scores, calibrated probabilities of the same rows, and class codes."""

    S: Any
    P: Any
    y: Any


class Cost(NamedTuple):
    """What a case took."""

    seconds: float
    megabytes: float
    load: float


def simulate(n: int, n_classes: int) -> Data:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(n, n_classes)) - np.linspace(0, 2, n_classes)
    P = softmax(logits, axis=1)
    y = (rng.random((n, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(0, n_classes - 1)
    S = log_softmax(1.7 * logits + np.linspace(0, 3, n_classes), axis=1)
    return Data(S - rng.exponential(size=(n, 1)), P, y)


def tokens(n: int) -> tuple[Data, Any]:
    """Give scores of six classes with 200 other tokens a row, some of which tell."""
    data, rng = simulate(n, 6), np.random.default_rng(1)
    columns = rng.zipf(1.3, size=(n, N_TOKENS)) * 6 + data.y[:, None]
    told = rng.random((n, N_TOKENS)) < 0.03
    columns = np.where(told, columns, rng.integers(VOCABULARY, size=columns.shape))
    values = rng.exponential(2, size=columns.size)
    ends = np.arange(n + 1) * N_TOKENS
    F = sparse.csr_matrix(
        (values, (columns % VOCABULARY).ravel(), ends), shape=(n, VOCABULARY)
    )
    F.sum_duplicates()
    return data, F


def cases(n_classes: int) -> Iterator[tuple[str, Callable[[Data], Any]]]:
    """Give everything that is fitted, by name."""
    for name in CALIBRATORS:
        made = make_calibrator(name)
        yield f"calibrator {name}", lambda d, made=made: made.fit(d.S, d.y)
    yield "calibrator batch", lambda d: BatchCalibration().fit(d.S)
    yield "calibrator batch, prior", lambda d: BatchCalibration("labels").fit(d.S, d.y)
    yield "prior by EM", lambda d: em_prior(d.P, np.full(n_classes, 1 / n_classes))
    auto = make_calibrator("auto")
    yield "out of fold, auto", lambda d: cross_val_proba(auto, d.S, d.y, 5, 0)
    for metric in METRICS:
        for method in ("plug-in", "search"):
            if n_classes == 2 or metric not in BINARY:
                best = BestMetric(metric, method=method)
                yield f"threshold {metric}, {method}", partial(threshold, best)
    yield "threshold callable", partial(threshold, BestMetric(accuracy))
    if n_classes == 2:
        for confidence in (None, 0.9):
            shown = "" if confidence is None else f", {confidence}"
            points = PrecisionAtLeast, RecallAtLeast
            for point in points:
                name = f"threshold {point.__name__}{shown}"
                yield name, partial(threshold, point(0.7, confidence=confidence))
    costs = LeastCost(1 - np.eye(n_classes))
    yield "threshold LeastCost", lambda d: costs.fit(d.P).decide(d.P)
    yield "reject ChowRule", lambda d: ChowRule(0.2).fit(d.P, d.y).accept(d.P)
    yield "reject RiskAtMost", lambda d: RiskAtMost(0.1).fit(d.P, d.y).accept(d.P)
    sets = LeastAmbiguousSets(0.9)
    yield "prediction sets", lambda d: sets.fit(d.P, d.y).predict_set(d.P)
    aim = "f1" if n_classes == 2 else "f1_macro"
    yield "report", lambda d: str(make_report(d.S, d.y, "auto", aim, random_state=0))


def threshold(selector: Any, data: Data) -> Any:
    return selector.fit(data.P, data.y)


def accuracy(y_true: Any, y_pred: Any) -> float:
    return float((y_true == y_pred).mean())


def apart(work: Callable[[], Any]) -> Any:
    """Call in a process of its own and give what is returned."""
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: theirs.send(work()))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def cost(work: Callable[[], Any]) -> Cost:
    """Measure a case; to be called in a process of its own."""
    warnings.simplefilter("ignore")
    load, before = os.getloadavg()[0], peak()
    taken: list[float] = []
    while not taken or (len(taken) < 3 and taken[0] < REPEATED):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return Cost(statistics.median(taken), peak() - before, load)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def against_logistic_regression(data: Data) -> list[str]:
    """Time the default fit and scikit-learn's in turns."""
    warnings.simplefilter("ignore")

    def default() -> None:
        Head(
            np.arange(LARGE[1]),
            np.bincount(data.y) / len(data.y),
            make_calibrator("auto"),
            make_readout("labels"),
            selector=BestMetric("f1_macro"),
            random_state=0,
        ).learn(data.S, data.y, [])

    rivals = {
        "LogisticRegression()": LogisticRegression(),
        "LogisticRegression(max_iter=10000)": LogisticRegression(max_iter=10_000),
    }
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        taken = {}
        for name, fit in {
            "default": default,
            **{k: partial(v.fit, data.S, data.y) for k, v in rivals.items()},
        }.items():
            start = time.perf_counter()
            fit()
            taken[name] = time.perf_counter() - start
        rounds.append(taken)
    ours = statistics.median(taken["default"] for taken in rounds)
    lines = [f"Default calibrator and macro-F1 threshold, with its folds: {ours:.2f} s."]
    for name, rival in rivals.items():
        theirs = statistics.median(taken[name] for taken in rounds)
        ratio = statistics.median(taken["default"] / taken[name] for taken in rounds)
        lines.append(
            f"{name}: {theirs:.2f} s, {rival.n_iter_[0]} iterations; ratio {ratio:.2f}, "
            f"at most {TARGET:g}: {'yes' if ratio <= TARGET else 'no'}."
        )
    return lines


def scaling(only: str) -> list[str]:
    """Give the table of all cases."""
    measured: dict[str, dict[tuple[int, int], Cost]] = {}
    for size in (SMALL, LARGE, LONG):
        data = simulate(*size)
        for name, work in cases(size[1]):
            if name.startswith(only):
                found = apart(partial(cost, partial(work, data)))
                measured.setdefault(name, {})[size] = found
                print(
                    f"{size[0]:>9,} x {size[1]:<3} {name:40}", *shown(found), flush=True
                )
    lines = [
        "| fit | 10,000 × 10: s | 100,000 × 10: s | MB | exponent | load | "
        "1,000,000 × 2: s | MB | load |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, costs in measured.items():
        small, large, long = (costs.get(size) for size in (SMALL, LARGE, LONG))
        cells = [*shown(small)[:1], *shown(large)[:2], exponent(small, large, 10)]
        cells += [*shown(large)[2:], *shown(long)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def readout() -> list[str]:
    """Give the table of the read-out, which works on thousands of tokens."""
    lines = [
        f"| read-out | 1,000 × {N_TOKENS} tokens: s | 5,000 × {N_TOKENS}: s | MB | "
        "exponent | load |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for weight in (1.0, "auto"):
        found = []
        for n in READOUT_SIZES:
            data, F = tokens(n)
            made = TokenReadout(weight=weight, random_state=0)
            found.append(apart(partial(cost, partial(made.fit, data.S, F, data.y))))
        small, large = found
        growth = exponent(small, large, READOUT_SIZES[1] / READOUT_SIZES[0])
        cells = [*shown(small)[:1], *shown(large)[:2], growth, *shown(large)[2:]]
        lines.append(f"| weight={weight!r} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def shown(found: Cost | None) -> list[str]:
    if found is None:
        return ["", "", ""]
    return [f"{found.seconds:.3f}", f"{found.megabytes:.0f}", f"{found.load:.1f}"]


def exponent(small: Cost | None, large: Cost | None, times: float) -> str:
    """Give the power of the number of rows by which the time grows."""
    if small is None or large is None:
        return ""
    return f"{np.log(large.seconds / small.seconds) / np.log(times):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    only = parser.parse_args().only
    lines = [
        "# Fitting at scale",
        "",
        "Written by `benchmarks/fit_scale.py`. MB is peak memory above the data; the "
        "scores are 8 MB for 100,000 × 10 and 16 MB for 1,000,000 × 2. The exponent is "
        "the power of the number of rows by which the time grew from 10,000 to 100,000 "
        "rows: 1 is linear. The load is that of one minute when the case began.",
        "",
        f"{os.cpu_count()} cores; Python {platform.python_version()}, numpy "
        f"{version('numpy')}, scipy {version('scipy')}, scikit-learn "
        f"{version('scikit-learn')}, venn-abers {version('venn-abers')}",
        "",
    ]
    if not only:
        lines += [f"## 100,000 × 10, load {os.getloadavg()[0]:.1f}", ""]
        told = apart(partial(against_logistic_regression, simulate(*LARGE)))
        lines += [f"- {line}" for line in told]
        print(*told, sep="\n", flush=True)
        lines += ["", "## The read-out", "", *readout(), "", "## Everything else", ""]
    lines += scaling(only)
    if not only:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
