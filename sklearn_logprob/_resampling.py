"""Scores of predictions, with bootstrap intervals.

Each score here is a function of sums over the rows. So a resample is a product of how
often each row was drawn with these sums, and a thousand resamples are one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from sklearn_logprob._bins import Bins, squared_error
from sklearn_logprob._counts import METRICS
from sklearn_logprob._types import Floats

__all__ = [
    "Resamples",
    "Score",
    "Statistic",
    "area_under_curve",
    "calibration_error",
    "mean_of",
    "metric_of",
    "skill_of",
]

Codes = NDArray[np.intp]

MOST_GROUPS = 2000
SIGNED = {"matthews_corrcoef", "cohen_kappa"}  # from -1 to 1, the others from 0


class Score(NamedTuple):
    """A number and an interval about it.

    Parameters
    ----------
    value : float
        On all rows.
    low, high : float
        Ends of the interval; nan where there is none.
    """

    value: float
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class Statistic:
    """A function of sums: row i adds ``values[i, j]`` to sum number ``index[i, j]``.

    Parameters
    ----------
    index : ndarray of int of shape (n, m)
        Numbers of sums.
    values : ndarray of shape (n, m)
        What is added.
    size : int
        How many sums there are.
    value : callable
        From sums (..., size) to values (...).
    finish : callable
        From values to what is shown.
    """

    index: Codes
    values: Floats
    size: int
    value: Callable[[Floats], Floats]
    finish: Callable[[Floats], Floats]

    def sums(self, group: Codes, n_groups: int) -> Floats:
        at = group[:, None] * self.size + self.index
        flat = np.bincount(at.ravel(), self.values.ravel(), n_groups * self.size)
        return flat.astype(float).reshape(n_groups, self.size)


class Resamples:
    """How often each row is drawn in each resample.

    Above 2000 rows, random groups of rows are drawn in place of single ones: their sums
    vary as the rows do, and the cost no longer depends on the number of rows.
    """

    def __init__(
        self, n: int, n_resamples: int, confidence: float, rng: np.random.Generator
    ) -> None:
        self.n_groups = min(n, MOST_GROUPS)
        self.group = rng.permutation(n) % self.n_groups
        drawn = rng.integers(self.n_groups, size=(n_resamples, self.n_groups))
        drawn += np.arange(n_resamples)[:, None] * self.n_groups
        times = np.bincount(drawn.ravel(), minlength=n_resamples * self.n_groups)
        self.times = times.reshape(n_resamples, self.n_groups).astype(float)
        self.ends = [(1 - confidence) / 2, (1 + confidence) / 2]

    def score(self, statistic: Statistic) -> Score:
        """Give the value, and percentiles of the resampled values less their bias."""
        sums = statistic.sums(self.group, self.n_groups)
        value = statistic.value(sums.sum(axis=0))
        drawn = statistic.value(self.times @ sums)
        drawn = drawn[~np.isnan(drawn)]
        if len(drawn) == 0:
            return Score(float(statistic.finish(value)))
        # Rows that are drawn twice look like a pattern: what it adds on average goes.
        low, high = np.quantile(drawn - drawn.mean() + value, self.ends)
        return Score(*(float(statistic.finish(v)) for v in (value, low, high)))


def mean_of(loss: Floats) -> Statistic:
    """Mean of a loss over the rows."""
    columns = np.column_stack([loss, np.ones_like(loss)])
    return _columns(columns, lambda s: s[..., 0] / s[..., 1], _positive)


def skill_of(loss: Floats, reference: Floats) -> Statistic:
    """Share of the mean of a reference loss that is saved."""
    columns = np.column_stack([loss, reference])
    return _columns(columns, lambda s: 1 - s[..., 0] / s[..., 1], np.asarray)


def _columns(
    columns: Floats, value: Callable[[Floats], Floats], finish: Callable[[Floats], Floats]
) -> Statistic:
    size = columns.shape[1]
    index = np.broadcast_to(np.arange(size), columns.shape)
    return Statistic(index, columns, size, value, finish)


def metric_of(name: str, y: Codes, decided: Codes, n_classes: int) -> Statistic:
    """Compute a metric of `METRICS`, which are functions of counts."""

    def value(sums: Floats) -> Floats:
        counts = sums.reshape(*sums.shape[:-1], 3, n_classes)
        return METRICS[name](*np.moveaxis(counts, -2, 0))

    index = np.column_stack([y, n_classes + y, 2 * n_classes + decided])
    values = np.ones(index.shape)
    values[:, 0] = y == decided
    finish = _signed_unit if name in SIGNED else _unit
    return Statistic(index, values, 3 * n_classes, value, finish)


def area_under_curve(y: Codes, P: Floats) -> Statistic:
    """Area under the ROC curve, each class against the rest, the mean of all.

    In a resample, a row keeps the share of the other side that it beats in the whole
    sample: the first-order term of the resampled area.
    """
    n_classes = P.shape[1]
    is_class = np.eye(n_classes, dtype=bool)[y]
    beaten = np.empty_like(P)
    for k, (own, p) in enumerate(zip(is_class.T, P.T, strict=True)):
        ranks, rest = rankdata(p), ~own
        beaten[own, k] = (ranks[own] - rankdata(p[own])) / max(1, rest.sum())
        beaten[rest, k] = 1 - (ranks[rest] - rankdata(p[rest])) / max(1, own.sum())
    area = (beaten * is_class).sum(axis=0) / is_class.sum(axis=0).clip(1)

    def value(sums: Floats) -> Floats:
        own, rest, n_own, n_rest = np.moveaxis(
            sums.reshape(*sums.shape[:-1], 4, n_classes), -2, 0
        )
        both = (n_own > 0) & (n_rest > 0)
        areas = own / np.where(both, n_own, 1) + rest / np.where(both, n_rest, 1) - area
        n_both = both.sum(-1)
        total = np.where(both, areas, 0).sum(-1)
        return np.asarray(np.where(n_both > 0, total / n_both.clip(1), np.nan))

    column = np.where(is_class, 0, n_classes) + np.arange(n_classes)
    index = np.hstack([column, column + 2 * n_classes])
    values = np.hstack([beaten, np.ones_like(P)])
    return Statistic(index, values, 4 * n_classes, value, _unit)


def calibration_error(y: Codes, P: Floats, n_bins: int) -> Statistic:
    """Debiased root mean square calibration error; the bins are those of all rows."""
    bins = Bins(P, n_bins)
    residual = P - np.eye(P.shape[1])[y]
    index = np.hstack([bins.index + part * bins.size for part in range(3)])
    values = np.hstack([np.ones_like(P), residual, residual**2])

    def value(sums: Floats) -> Floats:
        return squared_error(*np.split(sums, 3, axis=-1))

    return Statistic(index, values, 3 * bins.size, value, _root)


def _positive(values: Floats) -> Floats:
    return np.maximum(values, 0)


def _unit(values: Floats) -> Floats:
    return np.clip(values, 0, 1)


def _signed_unit(values: Floats) -> Floats:
    return np.clip(values, -1, 1)


def _root(values: Floats) -> Floats:
    return np.sqrt(np.maximum(values, 0))
