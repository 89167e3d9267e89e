"""Everything that `accuracy.py` compares: from labelled rows to test probabilities.

A method takes a `Sample` and gives the probabilities of its test rows, or raises
`RefusedError` where it cannot be fitted to so few rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sklearn_logprob.calibration import (
    CALIBRATORS,
    calibrated_proba,
    cross_val_proba,
    make_calibrator,
)
from sklearn_logprob.readout import make_readout

STRENGTHS = {"C": [1.0, 10.0, 100.0]}
FALLBACK = 10.0  # C where a class has under 3 rows
FOLDS = 5


class RefusedError(Exception):
    """Too few rows of a class."""


@dataclass(frozen=True)
class View:
    """What a method may know about rows: their texts, vectors, scores and tokens."""

    texts: np.ndarray
    vectors: np.ndarray
    S: np.ndarray  # label log scores, shape (n, K)
    F: Any  # sparse token features, shape (n, n_tokens)

    def __getitem__(self, rows: Any) -> View:
        return View(self.texts[rows], self.vectors[rows], self.S[rows], self.F[rows])


@dataclass(frozen=True)
class Sample:
    """Labelled rows, and the rows to judge."""

    known: View
    y: np.ndarray
    new: View

    @property
    def n_classes(self) -> int:
        """How many classes there are, seen or not."""
        return self.known.S.shape[1]


@dataclass(frozen=True)
class Result:
    """Probabilities of the test rows; those of the labelled rows, out of fold."""

    P: np.ndarray
    held_out: np.ndarray | None = None


Method = Callable[[Sample], Result]


def raw(sample: Sample) -> Result:
    """Take the model at its word."""
    return Result(softmax(sample.new.S, axis=1))


def without_labels(sample: Sample) -> Result:
    """Calibrate by unlabelled rows: what `fit(X)` does."""
    calibrator = make_calibrator("auto").fit(sample.known.S, None)
    return Result(calibrator.predict_proba(sample.new.S))


def ours(readout: str) -> Method:
    """Read labels, all tokens, or what is better."""

    def method(sample: Sample) -> Result:
        # a token that one labelled row shows tells nothing about others
        shared = np.flatnonzero(np.asarray((sample.known.F > 0).sum(axis=0)).ravel() >= 2)
        known, new = (view.F[:, shared] for view in (sample.known, sample.new))
        learnt = make_readout(readout)
        held_out = learnt.fit_predict_proba(sample.known.S, known, sample.y)
        return Result(learnt.predict_proba(sample.new.S, new), held_out)

    return method


def calibrator(name: str) -> Method:
    """Use one of the package's other calibrators of label scores."""

    def method(sample: Sample) -> Result:
        made = make_calibrator(name)
        fitted = make_calibrator(name).fit(sample.known.S, sample.y)
        held_out = cross_val_proba(made, sample.known.S, sample.y, FOLDS, 0)
        return Result(calibrated_proba(fitted, sample.new.S), held_out)

    return method


class _Scores(ClassifierMixin, BaseEstimator):
    """Hand the label scores on, for what wants a fitted classifier."""

    def fit(self, S: np.ndarray, y: Any = None) -> _Scores:
        self.classes_, self.n_features_in_ = np.arange(S.shape[1]), S.shape[1]
        return self

    def decision_function(self, S: np.ndarray) -> np.ndarray:
        return S[:, 1] - S[:, 0] if S.shape[1] == 2 else S

    def predict_proba(self, S: np.ndarray) -> np.ndarray:
        return softmax(S, axis=1)

    def predict(self, S: np.ndarray) -> np.ndarray:
        return S.argmax(axis=1)


def scikit(kind: str) -> Method:
    """Calibrate raw scores with scikit-learn's own classifier."""

    def method(sample: Sample) -> Result:
        fewest = np.bincount(sample.y, minlength=sample.n_classes).min()
        if fewest < 2:
            raise RefusedError
        model = FrozenEstimator(_Scores().fit(sample.known.S))
        folds = int(min(FOLDS, fewest))
        fitted = CalibratedClassifierCV(model, method=kind, cv=folds)
        return Result(fitted.fit(sample.known.S, sample.y).predict_proba(sample.new.S))

    return method


def tfidf(sample: Sample) -> Result:
    """Words and pairs of words."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known = words.fit_transform(sample.known.texts)
    return Result(_logistic(known, words.transform(sample.new.texts), sample))


def minilm(sample: Sample) -> Result:
    """Sentence embeddings."""
    return Result(_logistic(sample.known.vectors, sample.new.vectors, sample))


def _logistic(known: Any, new: Any, sample: Sample) -> np.ndarray:
    """Fit a logistic regression, its strength by cross-validation where that works."""
    seen, counts = np.unique(sample.y, return_counts=True)
    K, n = sample.n_classes, len(sample.y)
    P = np.full((new.shape[0], K), 1 / (n + K))  # Laplace's rule for unseen classes
    if len(seen) == 1:
        P[:, seen] = 1.0
    else:
        model = LogisticRegression(C=FALLBACK, max_iter=2000, tol=1e-3)
        if counts.min() >= 3:
            model = GridSearchCV(model, STRENGTHS, scoring="neg_log_loss", cv=3)
        P[:, seen] = model.fit(known, sample.y).predict_proba(new)
    P[:, seen] *= 1 - (K - len(seen)) / (n + K)
    return P / P.sum(axis=1, keepdims=True)


OURS = ("labels", "tokens", "auto")
SCIKIT = ("sigmoid", "isotonic", "temperature")
METHODS: dict[str, Method] = {
    "raw": raw,
    **{f"ours, {name}": ours(name) for name in OURS},
    **{f"scikit-learn {kind}": scikit(kind) for kind in SCIKIT},
    **{f"calibrator {name}": calibrator(name) for name in CALIBRATORS if name != "auto"},
    "TF-IDF": tfidf,
    "MiniLM": minilm,
}
NO_LABELS: dict[str, Method] = {"raw": raw, "ours, no labels": without_labels}
