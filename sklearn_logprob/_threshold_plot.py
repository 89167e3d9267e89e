"""Precision, recall and F1 against the threshold, with the point that was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from sklearn_logprob._drawing import COLORS, GREY, axes_for
from sklearn_logprob._sweep import Average, share_interval, sweep
from sklearn_logprob._types import Floats

__all__ = ["ThresholdDisplay"]

Unit = Literal["probability", "log score"]
NAMES = {"probability": "probability", "log score": "label log score, nats"}


class ThresholdDisplay:
    """Precision, recall and F1 against the decision threshold.

    Parameters
    ----------
    precision, recall : ndarray of shape (n_thresholds,)
        Of the positive class, where it is predicted at or above the threshold.
    thresholds : ndarray of shape (n_thresholds,)
        Increasing.
    f1 : ndarray of shape (n_thresholds,), default=None
        The F1 score; None leaves it out.
    chosen : float, default=None
        A threshold to mark.
    chosen_at : mapping of str to (float, float, float), default=None
        "precision" and "recall" at the chosen threshold, each with the ends of an
        interval about it.
    confidence : float, default=0.95
        Of these intervals.
    pos_label : object, default=None
        The positive class, for the label of the axis.
    unit : {"probability", "log score"}, default="probability"
        What thresholds are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure that holds it.
    lines_ : list of matplotlib Line2D
        Precision, recall, and F1 where there is one.

    See Also
    --------
    sklearn.metrics.PrecisionRecallDisplay : One against the other.
    sklearn_logprob.curves.threshold_curve : The same as a table.

    Examples
    --------
    >>> from sklearn_logprob.plots import ThresholdDisplay
    >>> display = ThresholdDisplay.from_predictions([0, 1, 1], [0.2, 0.4, 0.9])
    >>> display.precision.round(2).tolist()
    [0.67, 1.0, 1.0]
    """

    def __init__(
        self,
        precision: Floats,
        recall: Floats,
        thresholds: Floats,
        *,
        f1: Floats | None = None,
        chosen: float | None = None,
        chosen_at: Mapping[str, tuple[float, float, float]] | None = None,
        confidence: float = 0.95,
        pos_label: Any = None,
        unit: Unit = "probability",
    ) -> None:
        self.precision = precision
        self.recall = recall
        self.thresholds = thresholds
        self.f1 = f1
        self.chosen = chosen
        self.chosen_at = chosen_at
        self.confidence = confidence
        self.pos_label = pos_label
        self.unit = unit

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_score: ArrayLike,
        *,
        pos_label: Any = None,
        labels: ArrayLike | None = None,
        average: Average = "micro",
        chosen: float | None = None,
        confidence: float = 0.95,
        unit: Unit = "probability",
        ax: Any = None,
    ) -> ThresholdDisplay:
        """Compute the curves from labels and scores, and draw them.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or 0 and 1 for each label.
        y_score : array-like of shape (n_samples,) or (n_samples, n_labels)
            Probability or log score of the positive class, or of each label.
        pos_label : label, default=None
            The positive class.
        labels : array-like of shape (n_labels,), default=None
            What the columns of `y_score` are about, where `y_true` holds labels.
        average : {"micro", "samples"}, default="micro"
            Of several labels; see `threshold_curve`.
        chosen : float, default=None
            A threshold to mark. Rows that it was chosen on flatter it.
        confidence : float, default=0.95
            Of the Clopper-Pearson intervals at the chosen threshold. They are drawn for
            scores of one label, whose rows are independent.
        unit : {"probability", "log score"}, default="probability"
            What the scores are.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ThresholdDisplay
            The curves.
        """
        found = sweep(
            y_true, y_score, pos_label=pos_label, labels=labels, average=average
        )
        chosen_at = {}
        if chosen is not None and np.ndim(y_score) == 1:
            at = int(np.searchsorted(found.threshold, chosen))
            hits = found.hits[at]
            for name, n in (
                ("precision", found.predicted[at]),
                ("recall", found.positives),
            ):
                low, high = share_interval(hits, n, confidence)
                if n:
                    chosen_at[name] = float(hits / n), float(low), float(high)
        # at inf nothing is predicted, which is no point of a picture
        curves = found.precision[:-1], found.recall[:-1], found.threshold[:-1]
        return cls(
            *curves,
            f1=found.f1[:-1],
            chosen=chosen,
            chosen_at=chosen_at,
            confidence=confidence,
            pos_label=pos_label,
            unit=unit,
        ).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        confidence: float = 0.95,
        ax: Any = None,
    ) -> ThresholdDisplay:
        """Compute and draw the curves of a fitted binary `LogprobClassifier`.

        Parameters
        ----------
        estimator : LogprobClassifier
            Fitted, of two classes.
        X : array-like
            Texts or table, best of rows that `fit` did not see.
        y : array-like of shape (n_samples,)
            Labels.
        confidence : float, default=0.95
            Of the intervals at the classifier's threshold.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ThresholdDisplay
            The curves, with the classifier's threshold marked.
        """
        if len(estimator.classes_) != 2:
            raise ValueError(
                "ThresholdDisplay shows classifiers of two classes; this one has "
                f"{len(estimator.classes_)}. For several labels use from_predictions."
            )
        pos_label = estimator.pos_label
        if pos_label is None:
            pos_label = estimator.classes_[1]
        column = estimator.classes_.tolist().index(pos_label)
        return cls.from_predictions(
            y,
            estimator.predict_proba(X)[:, column],
            pos_label=pos_label,
            chosen=estimator.threshold_,
            confidence=confidence,
            ax=ax,
        )

    def plot(self, ax: Any = None) -> ThresholdDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ThresholdDisplay
            Itself, with `ax_`, `figure_` and `lines_`.
        """
        ax = axes_for(ax)
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, []
        curves = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        for (name, values), color, line in zip(
            curves.items(), COLORS, ("-", "--", ":"), strict=False
        ):
            if values is not None:
                # what a threshold gives holds from just above the one before it
                self.lines_ += ax.plot(
                    self.thresholds,
                    values,
                    line,
                    color=color,
                    drawstyle="steps-pre",
                    label=self._label(name),
                )
        if self.chosen is not None:
            label = f"threshold {self.chosen:.2f}"
            ax.axvline(self.chosen, color=GREY, linewidth=1, label=label, zorder=1)
            self._draw_intervals(ax)
        about = NAMES[self.unit]
        if self.pos_label is not None:
            about += f" of {str(self.pos_label)!r}"
        ax.set(
            xlabel=f"decision threshold ({about})",
            ylabel="precision, recall, F1",
            ylim=(0, 1.03),
        )
        if self.unit == "probability":
            ax.set_xlim(0, 1)
        ax.legend(loc="best", fontsize="small")
        return self

    def _draw_intervals(self, ax: Any) -> None:
        from matplotlib.transforms import ScaledTranslation  # noqa: PLC0415

        # side by side, a few points off the line, so that both can be seen
        for (value, low, high), color, points in zip(
            (self.chosen_at or {}).values(), COLORS, (-4, 4), strict=False
        ):
            aside = ScaledTranslation(points / 72, 0, ax.figure.dpi_scale_trans)
            ax.errorbar(
                self.chosen,
                value,
                yerr=[[value - low], [high - value]],
                fmt="o",
                capsize=4,
                color=color,
                zorder=3,
                transform=ax.transData + aside,
            )

    def _label(self, name: str) -> str:
        if name not in (self.chosen_at or {}):
            return name
        value, low, high = (self.chosen_at or {})[name]
        return f"{name} {value:.2f} ({self.confidence:.0%}: {low:.2f} to {high:.2f})"
