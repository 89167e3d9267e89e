"""How often `RiskAtMost` breaks its promise: simulated worlds, and real answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from _methods import Sample, ours
from _sweep import Task, drawn
from scipy.stats import binom

from sklearn_logprob.rejection import RiskAtMost

RUNS, DELTA = 2000, 0.05
RISKS = (0.05, 0.1)
SIZES = (60, 300, 1000)
LABELS = 256

ERROR_RATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "calibrated": lambda c: 1 - c,
    "overconfident": lambda c: 1.6 * (1 - c) + 0.02,
    "with a cliff": lambda c: np.where(c > 0.8, 0.01, 0.5),
}


@dataclass(frozen=True)
class World:
    """Rows to draw from: two-column probabilities, and how often each is wrong."""

    confidence: np.ndarray
    error_rate: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows, and codes that agree with the decision or do not."""
        rows = rng.integers(len(self.confidence), size=n)
        wrong = rng.random(n) < self.error_rate[rows]
        c = self.confidence[rows]
        return np.column_stack([1 - c, c]), (~wrong).astype(int)

    def risk(self, from_confidence: float) -> float:
        """Give the true risk of what is accepted; 0 where that is nothing."""
        accepted = self.confidence >= from_confidence
        return float(self.error_rate[accepted].mean()) if accepted.any() else 0.0


def simulated(name: str) -> World:
    """Give confidences that are uniform, and a known error rate."""
    confidence = np.linspace(0.5, 1, 20001)
    return World(confidence, ERROR_RATES[name](confidence))


def answered(task: Task) -> World:
    """Take the test rows of a data set for all rows there are."""
    rows = drawn(task, LABELS, 0)
    sample = Sample(task.pool[rows], task.split.y_pool[rows], task.test)
    P = ours("auto")(sample).P
    return World(P.max(axis=1), (P.argmax(axis=1) != task.split.y_test).astype(float))


def violations(world: World, n: int, risk: float) -> tuple[float, float]:
    """Give the share of runs above the risk, and the mean share of rows accepted."""
    rng, broken, accepted = np.random.default_rng(0), 0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing accepted: within the promise
        for _ in range(RUNS):
            P, y = world.draw(rng, n)
            rejector = RiskAtMost(risk, delta=DELTA).fit(P, y, np.ones_like(y))
            broken += world.risk(rejector.confidence_) > risk
            accepted += (world.confidence >= rejector.confidence_).mean()
    return broken / RUNS, accepted / RUNS


def promises(task: Task | None) -> pd.DataFrame:
    """Give one row for each world, number of rows and risk."""
    if task is None:
        worlds = {("simulated", name): simulated(name) for name in ERROR_RATES}
    else:
        worlds = {(task.name, "test rows"): answered(task)}
    cells = [
        (*name, n, risk, *violations(world, n, risk))
        for name, world in worlds.items()
        for n in SIZES
        for risk in RISKS
    ]
    return pd.DataFrame(
        cells, columns=["data", "rows", "n", "risk", "violated", "accepted"]
    )


def most_allowed() -> float:
    """Give delta plus Monte Carlo error: the 99 % point of that many runs."""
    return float(binom.ppf(0.99, RUNS, DELTA) / RUNS)
