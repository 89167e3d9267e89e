"""Decisions: what `predict`, `accept` and `predict_set` go by, learnt together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_logprob._types import Floats
from sklearn_logprob.prediction_sets import LeastAmbiguousSets
from sklearn_logprob.thresholds import decide, needs_labels

__all__ = ["Decisions"]

Codes = NDArray[np.intp]


class Decisions:
    """Turns probabilities into classes, and tells which ones to rely on.

    Parameters
    ----------
    order : ndarray of int of shape (n_classes,)
        The classes, the positive one last, as selectors want them.
    selector : selector or None
        Chooses the threshold. None: the most probable class.
    rejector : rejector or None
        Tells what to rely on.

    Attributes
    ----------
    threshold : float, ndarray of shape (n_classes,) or None
        What the selector chose.
    true_proba : ndarray of shape (n,) or None
        Out-of-fold probability of the true class of each row of `learn`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob import FixedThreshold
    >>> from sklearn_logprob._deciding import Decisions
    >>> decisions = Decisions(np.arange(2), FixedThreshold(0.7), None)
    >>> decisions.learn(np.empty((0, 2)), None).decide(np.array([[0.4, 0.6]]))
    array([0])
    """

    def __init__(self, order: Codes, selector: Any, rejector: Any) -> None:
        self.order = order
        self.selector = selector
        self.rejector = rejector
        self.true_proba: NDArray[np.float32] | None = None
        n_classes = len(order)
        even = 0.5 if n_classes == 2 else np.full(n_classes, 1 / n_classes)
        self.threshold: Any = even

    def learn(self, P: Floats, codes: Codes | None) -> Decisions:
        """Learn from probabilities of calibrators that did not see the row.

        Parameters
        ----------
        P : ndarray of shape (n, n_classes)
            Out-of-fold probabilities; not looked at without labels.
        codes : ndarray of int of shape (n,) or None
            Classes of the rows; None without labels.

        Returns
        -------
        Decisions
            Itself.
        """
        n_classes = len(self.order)
        if codes is not None:
            true = P[np.arange(len(codes)), codes]
            self.true_proba = np.asarray(true, dtype=np.float32)  # a pickle stays small
        if self.selector is not None and n_classes > 1:
            if codes is None or not needs_labels(self.selector):
                self.selector.fit(np.empty((0, n_classes)), None)
            else:
                self.selector.fit(P[:, self.order], np.argsort(self.order)[codes])
            self.threshold = self.selector.threshold_
        if self.rejector is not None:
            self.rejector.fit(P, codes, self.decide(P))
        return self

    def decide(self, P: Floats) -> Codes:
        """Turn probabilities into classes.

        Parameters
        ----------
        P : ndarray of shape (n, n_classes)
            Calibrated probabilities.

        Returns
        -------
        codes : ndarray of int of shape (n,)
            Positions in the columns.
        """
        ordered = P[:, self.order]
        if hasattr(self.selector, "decide"):
            return np.asarray(self.order[self.selector.decide(ordered)])
        # With the threshold at its default, ties go to the first class as in argmax.
        threshold = None if self.selector is None else self.threshold
        return np.asarray(self.order[decide(ordered, threshold)])

    def accept(self, P: Floats, decided: Codes) -> NDArray[np.bool_]:
        """Tell which decisions to rely on.

        Parameters
        ----------
        P : ndarray of shape (n, n_classes)
            Calibrated probabilities.
        decided : ndarray of int of shape (n,)
            What `decide` gave.

        Returns
        -------
        accepted : ndarray of bool of shape (n,)
            False in rows of NaN.

        Raises
        ------
        ValueError
            Without a rejector.
        """
        if self.rejector is None:
            raise ValueError(
                "accept needs LogprobClassifier(..., reject=ChowRule(0.1)) or "
                "reject=RiskAtMost(0.05)."
            )
        return np.asarray(self.rejector.accept(P, decided))

    def sets(self, P: Floats, coverage: float) -> NDArray[np.bool_]:
        """Give all classes that a stated coverage does not rule out.

        Parameters
        ----------
        P : ndarray of shape (n, n_classes)
            Calibrated probabilities.
        coverage : float
            How often the true class should be in the set.

        Returns
        -------
        sets : ndarray of bool of shape (n, n_classes)
            Whether each class is in the set.

        Raises
        ------
        ValueError
            Where nothing was learnt from labels.
        """
        if self.true_proba is None:
            raise ValueError("predict_set needs labels: fit(X, y).")
        p = self.true_proba[:, None]
        learnt = LeastAmbiguousSets(coverage).fit(p, np.zeros(len(p), dtype=np.intp))
        return np.asarray(learnt.predict_set(P))
