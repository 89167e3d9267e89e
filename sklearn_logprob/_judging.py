"""Scores of calibrators and thresholds on rows that they did not see."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from sklearn_logprob._errors import FewLabelsWarning, LogprobError
from sklearn_logprob._resampling import (
    Resamples,
    Score,
    area_under_curve,
    calibration_error,
    mean_of,
    metric_of,
    skill_of,
)
from sklearn_logprob._types import Floats
from sklearn_logprob.calibration import (
    AffineCalibration,
    NoCalibration,
    calibrated_proba,
    cross_val_proba,
)
from sklearn_logprob.metrics import calibration_noise_floor
from sklearn_logprob.thresholds import METRICS, decide, needs_labels

__all__ = ["Judge", "Scores"]

Codes = NDArray[np.intp]
Scores = dict[str, Score]

N_BINS = 15


@dataclass(frozen=True)
class Judge:
    """Scores of a calibrator and a selector, fitted in folds.

    Parameters
    ----------
    S, y : ndarray
        Label log scores and class codes.
    calibrator, selector : estimator
        Unfitted; the selector may be None.
    cv : int or splitter
        Outer folds.
    seed : int
        For folds and draws.
    order : ndarray of int
        Columns in the order in which the selector looks at them.
    metrics : tuple of str, default=("accuracy", "f1_macro")
        What is said of decisions.
    """

    S: Floats
    y: Codes
    calibrator: Any
    selector: Any
    cv: Any
    seed: int
    order: Codes
    metrics: tuple[str, ...] = ("accuracy", "f1_macro")

    @cached_property
    def prior(self) -> Floats:
        # The default calibrator, shown no scores, learns how frequent the classes are.
        return self._out_of_fold(AffineCalibration("temperature"), np.zeros_like(self.S))

    @cached_property
    def calibrated(self) -> Floats:
        return self._out_of_fold(self.calibrator, self.S)

    def log_loss(self, P: Floats) -> Floats:
        """Give the loss of each row."""
        loss: Floats = -np.log(P[np.arange(len(P)), self.y])
        return loss

    def scores(self, n_resamples: int, confidence: float) -> dict[str, Scores]:
        """Give all scores, by what is judged and by name."""
        rng = np.random.default_rng(self.seed)
        resamples = Resamples(len(self.y), n_resamples, confidence, rng)
        raw = calibrated_proba(NoCalibration().fit(self.S), self.S)
        scores = {
            "prior": self._losses(self.prior, resamples)
            | self._decisions(self.prior.argmax(axis=1), resamples),
            "raw": self._all(raw, resamples),
            "calibrated": self._all(self.calibrated, resamples),
        }
        tuned = None if self.selector is None else self._tuned()
        if tuned is not None:
            scores["tuned"] = scores["calibrated"] | self._decisions(tuned, resamples)
        return scores

    def _tuned(self) -> Codes | None:
        """Decide by thresholds from the other folds; None where one has no threshold."""
        inner = self.cv if isinstance(self.cv, Integral) else 5
        tuned = Tuned(self.calibrator, self.selector, inner, self.seed, self.order)
        try:
            return np.asarray(self._out_of_fold(tuned, self.S).argmax(axis=1))
        except LogprobError as error:
            warnings.warn(
                f"The report has no tuned scores, for without one fold: {error}",
                FewLabelsWarning,
                stacklevel=5,
            )
            return None

    def _out_of_fold(self, classifier: Any, S: Floats) -> Floats:
        return cross_val_proba(classifier, S, self.y, self.cv, self.seed)

    def _all(self, P: Floats, resamples: Resamples) -> Scores:
        skill = skill_of(self.log_loss(P), self.log_loss(self.prior))
        floor = calibration_noise_floor(P, N_BINS, debiased=True, random_state=self.seed)
        return {
            **self._losses(P, resamples),
            "skill": resamples.score(skill),
            "roc_auc": resamples.score(area_under_curve(self.y, P)),
            "calibration_error": resamples.score(calibration_error(self.y, P, N_BINS)),
            "noise_floor": Score(floor),
            **self._decisions(P.argmax(axis=1), resamples),
        }

    def _losses(self, P: Floats, resamples: Resamples) -> Scores:
        distance = ((P - np.eye(P.shape[1])[self.y]) ** 2).sum(axis=1)
        brier = distance / 2 if P.shape[1] == 2 else distance
        losses = {"log_loss": self.log_loss(P), "brier_score": brier}
        return {name: resamples.score(mean_of(loss)) for name, loss in losses.items()}

    def _decisions(self, decided: Codes, resamples: Resamples) -> Scores:
        names = dict.fromkeys(self.metrics)
        aim = getattr(self.selector, "metric", None)
        if isinstance(aim, str) and aim in METRICS:
            names[aim] = None
        place = np.argsort(self.order)
        y, decided, n_classes = place[self.y], place[decided], len(place)
        return {
            name: resamples.score(metric_of(name, y, decided, n_classes))
            for name in names
        }


class Tuned(ClassifierMixin, BaseEstimator):
    """Calibrator and threshold as one classifier, which is certain of its decisions."""

    def __init__(
        self, calibrator: Any, selector: Any, cv: Any, random_state: Any, order: Codes
    ) -> None:
        self.calibrator = calibrator
        self.selector = selector
        self.cv = cv
        self.random_state = random_state
        self.order = order

    def fit(self, S: Floats, y: Codes) -> Tuned:
        """Choose the threshold on out-of-fold probabilities of these rows."""
        self.classes_ = np.arange(S.shape[1])
        self.calibrator_ = clone(self.calibrator).fit(S, y)
        P, codes = np.empty((0, S.shape[1])), None
        if needs_labels(self.selector):
            P = cross_val_proba(self.calibrator, S, y, self.cv, self.random_state)
            P, codes = P[:, self.order], np.argsort(self.order)[y]
        self.selector_ = clone(self.selector).fit(P, codes)
        return self

    def predict_proba(self, S: Floats) -> Floats:
        """Give 1 to the class that is decided on."""
        P = calibrated_proba(self.calibrator_, S)[:, self.order]
        if hasattr(self.selector_, "decide"):  # costs of many classes are no threshold
            decided = self.selector_.decide(P)
        else:
            decided = decide(P, self.selector_.threshold_)
        certain: Floats = np.eye(len(self.order))[self.order[decided]]
        return certain
