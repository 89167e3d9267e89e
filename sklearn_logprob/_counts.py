"""Metrics of decisions, as functions of counts.

Of each class three numbers count: the rows of it (true), those decided for it
(predicted), and those both (hits). Labels give whole numbers, probabilities expected
ones. Every metric here needs them only through a few sums over the classes, so that
moving one row changes two summands and not all classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["METRICS", "CountMetric"]

Floats: TypeAlias = NDArray[np.float64]
Terms: TypeAlias = Callable[[Floats, Any, Floats, Any], tuple[Floats, ...]]


@dataclass(frozen=True)
class CountMetric:
    """A metric as a function of sums over the classes.

    Parameters
    ----------
    terms : callable
        From hits, true, predicted and class numbers to the summands, class by class.
    value : callable
        From true and the sums to the metric.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._counts import METRICS
    >>> METRICS["accuracy"](np.array([3.0, 2.0]), np.array([5.0, 5.0]), None)
    array(0.5)
    """

    terms: Terms
    value: Callable[..., Floats]

    def __call__(self, hits: Floats, true: Floats, predicted: Any) -> Floats:
        """Evaluate; leading axes are alternatives."""
        classes = np.arange(np.shape(true)[-1])
        summands = self.terms(hits, true, predicted, classes)
        return self.value(true, *(each.sum(axis=-1) for each in summands))


def _ratio(a: Floats, b: Any) -> Floats:
    """Divide, with scikit-learn's default for an undefined metric: 0."""
    ratio: Floats = np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b)))
    np.divide(a, b, out=ratio, where=np.asarray(b) > 0)
    return ratio


def _f1(hits: Floats, true: Any, predicted: Floats) -> Floats:
    return _ratio(2 * hits, true + predicted)


def _kappa(true: Floats, hits: Floats, chance: Floats) -> Floats:
    n = true.sum(axis=-1)
    chance = _ratio(chance, n**2)
    return _ratio(_ratio(hits, n) - chance, 1 - chance)


def _matthews(true: Floats, hits: Floats, chance: Floats, squares: Floats) -> Floats:
    n = true.sum(axis=-1)
    spread = (n**2 - squares) * (n**2 - (true**2).sum(axis=-1))
    return _ratio(n * hits - chance, np.sqrt(spread.clip(0)))


_accuracy = CountMetric(
    lambda h, t, p, k: (h,), lambda true, hits: _ratio(hits, true.sum(axis=-1))
)

METRICS: dict[str, CountMetric] = {
    "accuracy": _accuracy,
    "balanced_accuracy": CountMetric(
        lambda h, t, p, k: (_ratio(h, t),),
        lambda true, recalls: _ratio(recalls, np.count_nonzero(true, axis=-1)),
    ),
    "f1": CountMetric(lambda h, t, p, k: (_f1(h, t, p) * (k == 1),), lambda true, f1: f1),
    "f1_macro": CountMetric(
        lambda h, t, p, k: (_f1(h, t, p), np.asarray(t + p > 0, dtype=float)),
        lambda true, f1, seen: _ratio(f1, seen),
    ),
    "f1_micro": _accuracy,
    "f1_weighted": CountMetric(
        lambda h, t, p, k: (_f1(h, t, p) * t,),
        lambda true, f1: _ratio(f1, true.sum(axis=-1)),
    ),
    "jaccard": CountMetric(
        lambda h, t, p, k: (_ratio(h, t + p - h) * (k == 1),), lambda true, ratio: ratio
    ),
    "matthews_corrcoef": CountMetric(lambda h, t, p, k: (h, p * t, p**2), _matthews),
    "cohen_kappa": CountMetric(lambda h, t, p, k: (h, p * t), _kappa),
}
