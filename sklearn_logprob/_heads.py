"""What is learnt from the answers to one question: calibration, decisions, a report."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from sklearn_logprob._adapted import adapt
from sklearn_logprob._deciding import Decisions
from sklearn_logprob._evidence import Evidence
from sklearn_logprob._reading_out import read_out
from sklearn_logprob._types import Floats, Outcome
from sklearn_logprob.calibration import NoCalibration, calibrated_proba, cross_val_proba
from sklearn_logprob.readout import TokenReadout
from sklearn_logprob.report import make_report

__all__ = ["Head", "Seen"]

Codes = NDArray[np.intp]


class Seen(NamedTuple):
    """The rows that something was learnt from.

    Parameters
    ----------
    evidence : ndarray of shape (n, n_classes), or Evidence
        Label log scores (natural log), with the features of a read-out.
    codes : ndarray of int of shape (n,) or None
        Classes; None without labels.
    proba : ndarray of shape (n, n_classes)
        Probabilities from calibrators that did not see the row; empty without labels.
    """

    evidence: Floats | Evidence
    codes: Codes | None
    proba: Floats


class Head:
    """From label log scores and answers to probabilities and decisions.

    Parameters
    ----------
    order : ndarray of int of shape (n_classes,)
        The classes, the positive one last, as selectors want them.
    class_prior : ndarray of shape (n_classes,)
        Share of each class in y; decides rows without an answer.
    calibrator : classifier
        Unfitted.
    readout : TokenReadout
        Unfitted.
    selector, rejector : estimator or None
        Unfitted.
    cv, random_state : int or splitter, int or RandomState
        Folds.
    metrics : sequence of str
        What the report says of decisions.

    Attributes
    ----------
    calibrator : classifier
        Fitted by `learn`.
    report : Report or None
        None where nothing was learnt from labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._heads import Head
    >>> from sklearn_logprob.calibration import make_calibrator
    >>> from sklearn_logprob.readout import make_readout
    >>> head = Head(np.arange(2), np.full(2, 0.5), make_calibrator(None),
    ...             make_readout("labels"))
    >>> S = np.log([[0.2, 0.6]])
    >>> P = head.learn(S, None, []).proba(S, [])
    >>> P, head.decide(P)
    (array([[0.25, 0.75]]), array([1]))
    """

    def __init__(
        self,
        order: Codes,
        class_prior: Floats,
        calibrator: Any,
        readout: TokenReadout,
        *,
        selector: Any = None,
        rejector: Any = None,
        cv: Any = 5,
        random_state: Any = None,
        metrics: Sequence[str] = ("accuracy", "f1_macro"),
    ) -> None:
        self.class_prior = class_prior
        self.calibrator = calibrator
        self.readout = readout
        self.decisions = Decisions(order, selector, rejector)
        self.folds = {"cv": cv, "random_state": random_state}
        self.metrics = metrics
        self.features: Any = None
        self.report: Any = None

    @property
    def n_classes(self) -> int:
        """How many classes there are to choose from."""
        return len(self.decisions.order)

    @property
    def selector(self) -> Any:
        """What chooses the threshold, or None."""
        return self.decisions.selector

    @property
    def rejector(self) -> Any:
        """What tells which decisions to rely on, or None."""
        return self.decisions.rejector

    @property
    def threshold(self) -> Any:
        """What probabilities are held against, in the classifier's form."""
        return self.decisions.threshold

    def learn(
        self,
        S: Floats,
        codes: Codes | None,
        outcomes: Sequence[Outcome],
        features: Any = None,
    ) -> Head:
        """Learn everything.

        Parameters
        ----------
        S : ndarray of shape (n, n_classes)
            Label log scores (natural log); NaN in rows without an answer.
        codes : ndarray of int of shape (n,) or None
            Classes; None without labels.
        outcomes : sequence of Answer or RowError
            What the scores were read from.
        features : TokenFeatures or TemplateFeatures, default=None
            Makes features of outcomes; unfitted.

        Returns
        -------
        Head
            Itself.
        """
        return self.settle(self.calibrate(S, codes, outcomes, features))

    def calibrate(
        self,
        S: Floats,
        codes: Codes | None,
        outcomes: Sequence[Outcome],
        features: Any = None,
    ) -> Seen:
        """Learn the map to probabilities.

        Parameters
        ----------
        S, codes, outcomes, features
            As for `learn`.

        Returns
        -------
        seen : Seen
            What `settle` takes.
        """
        answered = np.asarray(~np.isnan(S).any(axis=1))
        asked = bool(answered.any())
        codes = codes[answered] if asked and codes is not None else None
        self.features, evidence, found = read_out(
            self.readout,
            S[answered],
            codes,
            outcomes,
            answered=answered,
            features=features,
        )
        self.unfitted = self.calibrator if found is None else found
        calibrator = clone(self.unfitted)
        if not asked:  # nothing to learn from: probabilities stay the model's own
            calibrator, evidence = NoCalibration(), np.zeros((1, self.n_classes))
        self.calibrator = calibrator.fit(evidence, codes)
        self.learnt_prior = calibrated_proba(self.calibrator, evidence).mean(axis=0)
        P: Floats = np.empty((0, self.n_classes))
        if codes is not None:
            P = cross_val_proba(self.unfitted, evidence, codes, **self.folds)
        return Seen(evidence, codes, P)

    def settle(self, seen: Seen, *, judge_threshold: bool = True) -> Head:
        """Learn how to decide, and prepare the report.

        Parameters
        ----------
        seen : Seen
            What `calibrate` gave.
        judge_threshold : bool, default=True
            Whether the selector has seen these rows only, so that it can be judged.

        Returns
        -------
        Head
            Itself.
        """
        self.decisions.learn(seen.proba, seen.codes)
        if seen.codes is not None and self.n_classes > 1:
            self.report = make_report(
                seen.evidence,
                seen.codes,
                self.unfitted,
                self.selector if judge_threshold else None,
                order=self.decisions.order,
                metrics=self.metrics,
                **self.folds,
            )
        return self

    def proba(self, S: Floats, outcomes: Sequence[Outcome]) -> Floats:
        """Give probabilities.

        Parameters
        ----------
        S : ndarray of shape (n, n_classes)
            Label log scores (natural log); NaN in rows without an answer.
        outcomes : sequence of Answer or RowError
            What they were read from.

        Returns
        -------
        P : ndarray of shape (n, n_classes)
            NaN in rows without an answer.
        """
        return calibrated_proba(self.calibrator, self.evidence(S, outcomes))

    def evidence(self, S: Floats, outcomes: Sequence[Outcome]) -> Any:
        """Give what the calibrator takes.

        Parameters
        ----------
        S : ndarray of shape (n, n_classes)
            Label log scores (natural log).
        outcomes : sequence of Answer or RowError
            What they were read from.

        Returns
        -------
        evidence : ndarray or Evidence
            The scores, with the features that the read-out uses.
        """
        known = self.features
        return S if known is None else Evidence(S, known.transform(outcomes))

    def decide(self, P: Floats) -> Codes:
        """Turn probabilities into classes; rows of NaN go by `class_prior`.

        Parameters
        ----------
        P : ndarray of shape (n, n_classes)
            Probabilities.

        Returns
        -------
        codes : ndarray of int of shape (n,)
            Positions in the columns.
        """
        answered = ~np.isnan(P).any(axis=1, keepdims=True)
        return self.decisions.decide(np.where(answered, P, self.class_prior))

    def accept(self, P: Floats) -> NDArray[np.bool_]:
        """Tell which decisions to rely on, as `Decisions.accept` does."""
        return self.decisions.accept(P, self.decide(P))

    def sets(self, P: Floats, coverage: float) -> NDArray[np.bool_]:
        """Give the classes that a coverage does not rule out, as `Decisions.sets`."""
        return self.decisions.sets(P, coverage)

    def adapted(self, P: Floats | None, class_prior: ArrayLike | None) -> Head:
        """Give a copy that is adapted to other class frequencies, as `adapt` does."""
        other = copy(self)
        other.calibrator = adapt(self.calibrator, self.learnt_prior, P, class_prior)
        other.class_prior = other.learnt_prior = other.calibrator.class_prior
        return other

    def shown(self, P: Floats) -> Floats:
        """Give what `predict_proba` shows of the probabilities: all."""
        return P

    def named(self, decided: Codes, classes: NDArray[Any]) -> NDArray[Any]:
        """Give what `predict` returns for decisions: the classes."""
        return np.asarray(classes[decided])
