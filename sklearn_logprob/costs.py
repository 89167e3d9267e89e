"""Decisions with the least expected cost, given what each mistake costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

__all__ = ["LeastCost", "cost_array"]

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.intp]


class LeastCost(BaseEstimator):
    """Decide for the class with the least expected cost under the probabilities.

    The class j for which ``sum_k P[i, k] * C[k, j]`` is smallest, where C[k, j] is what
    it costs to decide j if k is true. It learns nothing: costs and calibrated
    probabilities settle the decision. Of classes that cost the same it is the first.

    Parameters
    ----------
    cost_matrix : array-like of shape (K, K) or mapping
        Costs, with a row for each true class and a column for each decided one, in the
        order of the columns of P; or ``{(true, decided): cost}``, in which right
        decisions cost 0 unless they are named. Gains are negative costs. Only
        differences within a row matter.

    Attributes
    ----------
    cost_matrix_ : ndarray of shape (K, K)
        The costs as an array.
    threshold_ : float or None
        For two classes the probability of column 1 from which on it costs less,
        ``c_FP / (c_FP + c_FN)`` where right decisions cost nothing. None for more
        classes, whose decisions are no thresholds in general, and where a mistake costs
        less than the right decision.

    References
    ----------
    C. Elkan (2001), "The foundations of cost-sensitive learning", IJCAI.

    Examples
    --------
    A fire that is missed costs nine times as much as a false alarm:

    >>> from sklearn_logprob.costs import LeastCost
    >>> selector = LeastCost([[0, 1], [9, 0]]).fit([[0.8, 0.2]])
    >>> selector.threshold_, selector.decide([[0.8, 0.2], [0.95, 0.05]])
    (0.1, array([1, 0]))
    """

    needs_labels = False

    def __init__(self, cost_matrix: ArrayLike | Mapping[tuple[Any, Any], float]) -> None:
        self.cost_matrix = cost_matrix

    def for_classes(
        self, classes: Sequence[Any], order: ArrayLike | None = None
    ) -> LeastCost:
        """Give the same costs for the columns of a classifier's probabilities.

        Parameters
        ----------
        classes : sequence of K labels
            What the mapping's keys mean, and the order of the array's rows and columns.
        order : array-like of K ints, optional
            The columns of P, as positions in `classes`; None for the same order.

        Returns
        -------
        LeastCost
            An unfitted one, whose `cost_matrix` is an array.
        """
        costs = cost_array(self.cost_matrix, classes)
        columns = np.arange(len(costs)) if order is None else np.asarray(order)
        return LeastCost(costs[np.ix_(columns, columns)])

    def fit(self, P: ArrayLike, y: object = None) -> LeastCost:
        """Take the costs over.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Probabilities; they tell the number of classes.
        y : object, optional
            Not used.

        Returns
        -------
        LeastCost
            Itself, with `threshold_` and `cost_matrix_`.
        """
        n_classes = np.shape(P)[1]
        self.cost_matrix_ = cost_array(self.cost_matrix, range(n_classes))
        self.threshold_ = None
        if n_classes == 2:
            saved = self.cost_matrix_[[0, 1], [1, 0]] - self.cost_matrix_.diagonal()
            if saved.min() >= 0 and saved.max() > 0:
                self.threshold_ = float(saved[0] / saved.sum())
        return self

    def decide(self, P: ArrayLike, costs: ArrayLike | None = None) -> Codes:
        """Give the class with the least expected cost.

        Parameters
        ----------
        P : array-like of shape (n, K)
            Probabilities.
        costs : array-like of shape (n, K, K), optional
            Costs of each row, in place of `cost_matrix`: the sum at stake may differ.

        Returns
        -------
        ndarray of shape (n,)
            Column numbers of P.
        """
        check_is_fitted(self, "cost_matrix_")
        probabilities: Floats = np.asarray(P, dtype=float)
        n, n_classes = probabilities.shape
        if costs is None:
            expected = probabilities @ _savings(self.cost_matrix_)
        else:
            each = _finite(costs, (n, n_classes, n_classes), "costs of decide")
            expected = np.einsum("nk,nkj->nj", probabilities, _savings(each))
        return np.asarray(expected.argmax(axis=1), dtype=np.intp)


def cost_array(
    cost_matrix: ArrayLike | Mapping[tuple[Any, Any], float], classes: Sequence[Any]
) -> Floats:
    """Turn costs into an array.

    Parameters
    ----------
    cost_matrix : array-like of shape (K, K) or mapping
        Costs, or ``{(true, decided): cost}``.
    classes : sequence of K labels
        The order of rows and columns, and what a mapping's keys may be.

    Returns
    -------
    costs : ndarray of shape (K, K)
        A row for each true class, a column for each decided one.

    Raises
    ------
    ValueError
        If the shape is wrong, a cost is no finite number, or the mapping names an
        unknown class or lacks a pair.

    Examples
    --------
    >>> from sklearn_logprob.costs import cost_array
    >>> cost_array({("ham", "spam"): 5, ("spam", "ham"): 1}, ["ham", "spam"])
    array([[0., 5.],
           [1., 0.]])
    """
    n_classes = len(classes)
    if not isinstance(cost_matrix, Mapping):
        return _finite(cost_matrix, (n_classes, n_classes), "cost_matrix of LeastCost")
    code = {label: k for k, label in enumerate(classes)}
    costs: dict[tuple[int, int], float] = {(k, k): 0.0 for k in range(n_classes)}
    for pair, cost in cost_matrix.items():
        if not isinstance(pair, tuple) or len(pair) != 2 or not code.keys() >= set(pair):
            raise ValueError(
                "The keys of 'cost_matrix' of LeastCost must be pairs (true, decided) of "
                f"the classes {list(classes)}. Got {pair!r} instead."
            )
        costs[code[pair[0]], code[pair[1]]] = cost
    pairs = [(k, j) for k in range(n_classes) for j in range(n_classes)]
    missing = [(classes[k], classes[j]) for k, j in pairs if (k, j) not in costs]
    if missing:
        raise ValueError(
            "The 'cost_matrix' parameter of LeastCost must name the cost of every "
            f"mistake (true, decided). It lacks {', '.join(map(str, missing[:5]))}."
        )
    flat = [costs[pair] for pair in pairs]
    return cost_array(np.reshape(flat, (n_classes, n_classes)), classes)


def _finite(costs: ArrayLike, shape: tuple[int, ...], name: str) -> Floats:
    """Give costs as numbers, in the shape that is wanted."""
    try:
        array: Floats = np.asarray(costs, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(
            f"The {name} must be finite numbers of shape {shape}, true classes first and "
            f"decided ones last. Got {costs!r} instead."
        )
    return array


def _savings(costs: Floats) -> Floats:
    """Give what each decision saves, compared with the worst one for that true class.

    So a constant added to a row changes nothing, and equal costs for all mistakes are
    the identity, whose decision is exactly the most probable class.
    """
    return np.asarray(costs.max(axis=-1, keepdims=True) - costs)
