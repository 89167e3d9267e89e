"""Honest scores of a calibrator and a threshold, from rows that they have not seen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from sklearn_logprob._errors import FewLabelsWarning, UninformativeModelWarning
from sklearn_logprob._evidence import as_scores
from sklearn_logprob._judging import Judge, Scores
from sklearn_logprob._resampling import Score
from sklearn_logprob._types import Floats
from sklearn_logprob.calibration import IsotonicCalibration, make_calibrator
from sklearn_logprob.thresholds import make_selector, needs_labels

__all__ = ["Report", "make_report"]

Codes = NDArray[np.intp]

FEW_PER_CLASS = 8  # fewer rows of a class, and its threshold is mostly noise
FEW_FOR_ISOTONIC = 1000
SHOWN = ("raw", "calibrated", "tuned")


def make_report(
    S: ArrayLike,
    y: ArrayLike,
    calibrator: Any = "auto",
    threshold: Any = None,
    *,
    cv: Any = 5,
    random_state: int | np.random.RandomState | None = None,
    order: ArrayLike | None = None,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    metrics: Sequence[str] = ("accuracy", "f1_macro"),
) -> Report:
    """Judge a calibrator and a threshold on rows that they have not seen.

    Nothing is computed yet: the report does so when it is first looked at.

    Parameters
    ----------
    S : array-like of shape (n, K)
        Label log scores (natural log), finite.
    y : array-like of shape (n,)
        Class codes, 0 to K - 1.
    calibrator : str, classifier or None, default="auto"
        As for `LogprobClassifier`.
    threshold : None, float, array-like of shape (K,), str or selector, default=None
        As for `LogprobClassifier`. A learnt one is chosen anew in each fold, on
        out-of-fold probabilities of the rows that the fold is not about.
    cv : int or splitter, default=5
        Outer folds. The inner ones, for thresholds, are as many, or 5 for a splitter.
    random_state : int, RandomState instance or None, default=None
        Shuffles the folds and draws the resamples.
    order : array-like of shape (K,), default=None
        Columns in the order in which a threshold looks at them, the positive class of
        two last. None: as they are.
    n_resamples : int, default=1000
        Bootstrap resamples of the rows.
    confidence : float, default=0.95
        How often the intervals should hold the true score.
    metrics : sequence of str, default=("accuracy", "f1_macro")
        What is said of decisions, by names in `METRICS`; "f1" is about the last of two
        classes.

    Returns
    -------
    report : Report
        The scores, to be computed.

    Warns
    -----
    FewLabelsWarning
        If thresholds are chosen with under 8 rows of a class, or isotonic curves are
        fitted to under 1000 rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.report import make_report
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 50)
    >>> S = np.column_stack([np.zeros(100), rng.normal(2 * y + 3)])
    >>> report = make_report(S, y, threshold="f1", random_state=0)
    >>> bool(report.scores["raw"]["accuracy"] < report.scores["tuned"]["accuracy"])
    True
    """
    scores, codes = as_scores(S), np.asarray(y).astype(np.intp)
    n_classes = scores.shape[1]
    selector = make_selector(threshold, n_classes)
    fitted_to = make_calibrator(calibrator)
    columns = np.arange(n_classes) if order is None else np.asarray(order)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    judge = Judge(scores, codes, fitted_to, selector, cv, seed, columns, tuple(metrics))
    return Report(judge, n_resamples, confidence)


class Report:
    """Out-of-fold scores, before and after calibration and tuning, with intervals.

    `make_report` makes it, and `LogprobClassifier.fit` does so for ``report_``. What it
    holds is computed when it is first looked at, at the cost of some fits of the
    calibrator and of no request to the model. ``print`` shows it as a table.

    A pickle holds the scores if they were looked at before, and never what they are
    made from.

    Parameters
    ----------
    judge : Judge
        What the scores are computed from.
    n_resamples : int
        Bootstrap resamples of the rows.
    confidence : float
        How often the intervals should hold the true score.

    Attributes
    ----------
    scores : dict of dict of Score
        Scores by what is judged, and by name. "raw" is the softmax of the scores and
        its largest class; "calibrated" is the calibrator's probabilities and their
        largest class; "tuned" decides by the threshold, if there is one; "prior" knows
        nothing but how frequent the classes are. A ``Score`` is a tuple (value, low,
        high). Of the names, those of scikit-learn have its meaning; "brier_score" of
        two classes is halved as there, "roc_auc" is the mean over the classes, each
        against the rest; "skill" is the share of the log loss of "prior" that is saved;
        "calibration_error" is `metrics.debiased_calibration_error`, and "noise_floor"
        what 95 % of calibrated models with these probabilities stay under. A threshold
        for another metric has that as well.
    n_samples : int
        Number of rows.
    confidence : float
        How often the intervals should hold the true score.

    Warns
    -----
    FewLabelsWarning
        When first looked at, if labels are too few for the threshold or calibrator.
    UninformativeModelWarning
        When first looked at, if the calibrated log loss is not below that of "prior" by
        more than the standard error of their difference.

    Notes
    -----
    Intervals are percentiles over resamples of the rows, less their bias. They hold for
    the out-of-fold predictions as they are: what other folds, or another training set,
    would have changed is not in them.

    References
    ----------
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; Cawley and Talbot,
    "On Over-fitting in Model Selection and Subsequent Selection Bias in Performance
    Evaluation", JMLR 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.report import make_report
    >>> y = np.arange(40) % 2
    >>> S = np.log(np.where(np.eye(2)[y] == 1, 0.7, 0.3))
    >>> make_report(S, y).scores["raw"]["accuracy"]
    Score(value=1.0, low=1.0, high=1.0)
    """

    def __init__(self, judge: Judge, n_resamples: int, confidence: float) -> None:
        self._judge: Judge | None = judge
        self._n_resamples = n_resamples
        self.n_samples = len(judge.y)
        self.confidence = confidence

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Scores by what is judged, and by name."""
        if self._judge is None:
            raise RuntimeError(
                "This report was saved before it was looked at, and what it is made "
                "from is not in the file. Call str(report_) before, or fit again."
            )
        judge = self._judge
        if len(judge.y) < 4 or np.bincount(judge.y).max() < 2:
            raise ValueError(
                "A report needs rows to hold out: label 4 or more, and a class twice."
            )
        counts = np.bincount(judge.y, minlength=judge.S.shape[1])
        _warn_few(counts, judge.calibrator, judge.selector)
        _warn_uninformative(judge.log_loss(judge.prior), judge.log_loss(judge.calibrated))
        return judge.scores(self._n_resamples, self.confidence)

    def to_dict(self) -> dict[str, Any]:
        """Give plain numbers, ready for JSON.

        Returns
        -------
        report : dict
            "n_samples", "confidence", and "scores" with "value", "low" and "high" for
            each; None where there is no interval.
        """
        scores = {
            row: {
                name: {k: None if np.isnan(v) else v for k, v in score._asdict().items()}
                for name, score in named.items()
            }
            for row, named in self.scores.items()
        }
        about = {"n_samples": self.n_samples, "confidence": self.confidence}
        return {**about, "scores": scores}

    def to_frame(self) -> Any:
        """Give a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each score of each that is judged (a two-level index), and the
            columns "value", "low" and "high".

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415
        except ImportError:
            raise ImportError(
                "Report.to_frame needs pandas: pip install pandas. Without it, "
                "to_dict() has the same numbers."
            ) from None
        flat = {(r, n): s for r, named in self.scores.items() for n, s in named.items()}
        index = pd.MultiIndex.from_tuples(flat, names=["judged", "score"])
        return pd.DataFrame(list(flat.values()), index=index, columns=list(Score._fields))

    def __str__(self) -> str:
        shown = [self.scores[row] for row in SHOWN if row in self.scores]
        titles = [f"{row:>23}" for row in SHOWN if row in self.scores]
        lines = [" " * 18 + "".join(titles)]
        for name in shown[-1]:
            cells = [f"{_show(scores[name]):>23}" for scores in shown]
            lines.append(f"{name:<18}" + "".join(cells))
        prior = self.scores["prior"]
        return "\n".join(
            [
                *lines,
                f"{self.n_samples} rows, none judged by what was learnt from it; "
                f"{self.confidence:.0%} intervals.",
                f"Class frequencies alone: log_loss {prior['log_loss'].value:.3f}, "
                f"accuracy {prior['accuracy'].value:.3f}.",
            ]
        )

    def __repr__(self) -> str:
        if "scores" not in vars(self):
            return f"<Report on {self.n_samples} rows, computed when printed>"
        row = [row for row in SHOWN if row in self.scores][-1]
        loss, accuracy = (self.scores[row][n].value for n in ("log_loss", "accuracy"))
        return (
            f"<Report on {self.n_samples} rows: {row}, log_loss {loss:.3f}, "
            f"accuracy {accuracy:.3f}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_judge": None}


def _show(score: Score) -> str:
    if np.isnan(score.low):
        return f"{score.value:.3f}" + " " * 15
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _warn_few(counts: Codes, calibrator: Any, selector: Any) -> None:
    """Warn where labels are too few for what is asked of them."""
    rarest = int(counts.min())
    if selector is not None and needs_labels(selector) and rarest < FEW_PER_CLASS:
        warnings.warn(
            f"The threshold is chosen with {rarest} rows of the rarest class; under "
            f"{FEW_PER_CLASS} it is mostly noise. Label more rows, or keep "
            "threshold=None.",
            FewLabelsWarning,
            stacklevel=4,
        )
    if isinstance(calibrator, IsotonicCalibration) and counts.sum() < FEW_FOR_ISOTONIC:
        warnings.warn(
            f"Isotonic calibration is fitted to {counts.sum()} rows; under "
            f"{FEW_FOR_ISOTONIC} calibrator='auto' does better.",
            FewLabelsWarning,
            stacklevel=4,
        )


def _warn_uninformative(prior_loss: Floats, loss: Floats) -> None:
    """Warn where calibrated probabilities are no better than class frequencies."""
    gain = prior_loss - loss
    error = gain.std() / np.sqrt(len(gain))
    if gain.mean() <= error:
        warnings.warn(
            "By these labels the model knows nothing about the classes: its calibrated "
            f"log loss out of fold is {loss.mean():.3f}, and that of the class "
            f"frequencies {prior_loss.mean():.3f} (standard error of the difference "
            f"{error:.3f}). Try other prompts or label words, or label more rows.",
            UninformativeModelWarning,
            stacklevel=4,
        )
