"""What is learnt where several labels may apply: a head for each, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from sklearn_logprob._errors import LogprobError
from sklearn_logprob._features import TokenFeatures
from sklearn_logprob._heads import Head
from sklearn_logprob._rare_labels import RareLabelCalibration
from sklearn_logprob._types import Floats, Outcome
from sklearn_logprob.label_reports import LabelReports
from sklearn_logprob.thresholds import BestMetric, FixedThreshold, make_selector

__all__ = ["LabelHeads", "label_selectors"]

Codes = NDArray[np.intp]

OF_ONE_LABEL = {"f1_macro": "f1", "f1_micro": "f1", "f1_weighted": "f1"}
"""What scikit-learn's averages over labels are an average of."""


class LabelHeads:
    """A `Head` for each label, with the columns "does not apply" and "applies".

    Parameters
    ----------
    names : sequence of length L
        The labels, for reports and errors.
    heads : sequence of Head
        One a label.
    pooled : selector or None, default=None
        Chooses one threshold for all labels, on all their rows together.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._heads import Head
    >>> from sklearn_logprob._label_heads import LabelHeads
    >>> from sklearn_logprob.calibration import make_calibrator
    >>> from sklearn_logprob.readout import make_readout
    >>> parts = np.arange(2), np.full(2, 0.5), make_calibrator(None)
    >>> heads = LabelHeads("ab", [Head(*parts, make_readout("labels")) for _ in "ab"])
    >>> S = np.log([[[0.2, 0.6], [0.5, 0.1]]])
    >>> P = heads.learn(S, None, []).proba(S, [])
    >>> heads.shown(P).round(2), heads.decide(P)
    (array([[0.75, 0.17]]), array([[1, 0]]))
    """

    n_classes = 2

    def __init__(
        self, names: Sequence[Any], heads: Sequence[Head], pooled: Any = None
    ) -> None:
        self.names = list(names)
        self.heads = list(heads)
        self.pooled = pooled

    @property
    def calibrator(self) -> list[Any]:
        """The fitted calibrator of each label."""
        found = [head.calibrator for head in self.heads]
        return [
            c.calibrator_ if isinstance(c, RareLabelCalibration) else c for c in found
        ]

    @property
    def class_prior(self) -> Floats:
        """Share of the rows that each label applies to."""
        return np.array([head.class_prior[1] for head in self.heads])

    @property
    def threshold(self) -> Floats:
        """Probability from which on each label is predicted; nan where costs decide."""
        return np.array([head.threshold for head in self.heads], dtype=float)

    @property
    def selector(self) -> Any:
        """What chose each label's threshold; for a common one, what chose that."""
        return self.pooled or [head.selector for head in self.heads]

    @property
    def rejector(self) -> None:
        """None: rejecting is about one decision a row."""
        return None

    @property
    def report(self) -> LabelReports | None:
        """A report for each label."""
        reports = [head.report for head in self.heads]
        if None in reports:
            return None
        return LabelReports(dict(zip(self.names, reports, strict=True)))

    def learn(
        self,
        S: Floats,
        codes: Codes | None,
        outcomes: Sequence[Outcome],
        features: TokenFeatures | None = None,
    ) -> LabelHeads:
        """Learn everything, label by label.

        Parameters
        ----------
        S : ndarray of shape (n, L, 2)
            Log scores (natural log) of "no" and "yes"; NaN where there is no answer.
        codes : ndarray of int of shape (n, L) or None
            Whether each label applies.
        outcomes : sequence of Answer or RowError
            What the scores were read from: for each row one question, or one a label.
        features : TokenFeatures, default=None
            Makes features of the outcomes of a question; unfitted.

        Returns
        -------
        LabelHeads
            Itself.
        """
        self.per_row = 1 if features is None else features.per_row
        columns: Any = [None] * len(self.heads) if codes is None else codes.T
        parts = S.swapaxes(0, 1), columns, self._split(S, outcomes)
        each = zip(self.heads, *parts, strict=True)
        seen = [head.calibrate(s, y, own, copy(features)) for head, s, y, own in each]
        if self.pooled is not None:
            P = np.concatenate([one.proba for one in seen])
            told = [one.codes for one in seen if one.codes is not None]
            self.pooled.fit(P, np.concatenate(told))
            for head in self.heads:
                head.decisions.selector = FixedThreshold(self.pooled.threshold_)
        for name, head, one in zip(self.names, self.heads, seen, strict=True):
            try:
                head.settle(one, judge_threshold=self.pooled is None)
            except LogprobError as error:
                raise type(error)(f"Label {name!r}: {error}") from None
        return self

    def proba(self, S: Floats, outcomes: Sequence[Outcome]) -> Floats:
        """Give probabilities.

        Parameters
        ----------
        S : ndarray of shape (n, L, 2)
            Log scores (natural log) of "no" and "yes".
        outcomes : sequence of Answer or RowError
            What they were read from.

        Returns
        -------
        P : ndarray of shape (n, L, 2)
            Of "does not apply" and "applies"; NaN where there is no answer.
        """
        each = zip(self.heads, S.swapaxes(0, 1), self._split(S, outcomes), strict=True)
        return np.stack([head.proba(s, own) for head, s, own in each], axis=1)

    def _split(self, S: Floats, outcomes: Sequence[Outcome]) -> list[Sequence[Outcome]]:
        """Give each label's outcomes; those of a question about all labels to each."""
        size, n_labels = self.per_row, len(self.heads)
        if len(outcomes) == len(S) * size:
            return [outcomes] * n_labels
        blocks = [outcomes[i : i + size] for i in range(0, len(outcomes), size)]
        return [list(chain(*blocks[label::n_labels])) for label in range(n_labels)]

    def decide(self, P: Floats) -> Codes:
        """Tell which labels apply.

        Parameters
        ----------
        P : ndarray of shape (n, L, 2)
            Probabilities.

        Returns
        -------
        decided : ndarray of int of shape (n, L)
            1 where the label applies.
        """
        each = zip(self.heads, P.swapaxes(0, 1), strict=True)
        return np.column_stack([head.decide(p) for head, p in each])

    def accept(self, P: Floats) -> NoReturn:
        """Refuse: a row has no single decision."""
        _refuse("accept relies on one decision a row. Hold predict_proba against a bound")

    def sets(self, P: Floats, coverage: float) -> NoReturn:
        """Refuse: a row has no single true class."""
        _refuse("predict_set holds one true class a row. Use predict, with threshold=")

    def adapted(self, P: Floats | None, class_prior: ArrayLike | None) -> LabelHeads:
        """Give a copy adapted to other shares of rows that the labels apply to.

        Parameters
        ----------
        P : ndarray of shape (n, L, 2) or None
            Probabilities of rows with the new shares.
        class_prior : array-like of shape (L,) or None
            The new shares, where they are known.

        Returns
        -------
        LabelHeads
            With the same thresholds.
        """
        n_labels = len(self.heads)
        priors: Any = [None] * n_labels
        if class_prior is not None:
            share: Floats = np.asarray(class_prior, dtype=float)
            if share.shape != (n_labels,):
                raise ValueError(
                    "The 'class_prior' parameter of adapt_prior must be a share of rows "
                    f"for each of the {n_labels} labels. Got {class_prior!r} instead."
                )
            priors = np.column_stack([1 - share, share])
        other = copy(self)
        other.heads = [
            head.adapted(None if P is None else P[:, label], priors[label])
            for label, head in enumerate(self.heads)
        ]
        return other

    def shown(self, P: Floats) -> Floats:
        """Give what `predict_proba` shows: the probability that each label applies."""
        return P[..., 1]

    def named(self, decided: Codes, classes: NDArray[Any]) -> Codes:
        """Give what `predict` returns: an indicator matrix."""
        return decided


def label_selectors(threshold: Any, n_labels: int) -> tuple[list[Any], Any]:
    """Turn the `threshold` parameter of a classifier into a selector for each label.

    Parameters
    ----------
    threshold : None, float, sequence of L floats, str or selector
        A number or a selector counts for every label. scikit-learn's macro and weighted
        averages of F1 are at their best where each label's F1 is; "f1_micro" takes one
        threshold for all.
    n_labels : int
        The number of labels, L.

    Returns
    -------
    selectors : list of selector or None
        One a label, unfitted.
    pooled : selector or None
        What chooses one threshold for all labels instead.

    Raises
    ------
    ValueError
        Where the threshold is none of these.

    Examples
    --------
    >>> from sklearn_logprob._label_heads import label_selectors
    >>> label_selectors([0.3, 0.5], 2)[0]
    [FixedThreshold(value=0.3), FixedThreshold(value=0.5)]
    >>> label_selectors("f1_micro", 2)
    ([None, None], BestMetric())
    """
    listed = isinstance(threshold, list | tuple | np.ndarray)
    if listed and len(threshold) != n_labels:
        raise ValueError(
            "The 'threshold' parameter of LogprobClassifier must be one number for all "
            f"labels, or one for each of the {n_labels}. Got {threshold!r} instead."
        )
    each = threshold if listed else [threshold] * n_labels
    one = BestMetric(threshold) if isinstance(threshold, str) else threshold
    metric = one.metric if isinstance(one, BestMetric) else None
    if isinstance(metric, str) and metric in OF_ONE_LABEL:
        one = clone(one).set_params(metric=OF_ONE_LABEL[metric])
        each = [one] * n_labels
    selectors = [make_selector(value, 2) for value in each]
    if metric == "f1_micro":
        return [None] * n_labels, selectors[0]
    named = [s.for_classes([0, 1]) if hasattr(s, "for_classes") else s for s in selectors]
    return named, None


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"{what}: here several labels may apply to a row.")
