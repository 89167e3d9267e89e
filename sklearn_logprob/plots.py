"""Pictures in scikit-learn's manner; matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve

from sklearn_logprob._types import Floats

__all__ = ["ThresholdDisplay"]


class ThresholdDisplay:
    """Precision and recall against the decision threshold.

    Parameters
    ----------
    precision, recall : ndarray of shape (n_thresholds,)
        Of the positive class, where it is predicted at or above the threshold.
    thresholds : ndarray of shape (n_thresholds,)
        Probabilities, increasing.
    chosen : float, default=None
        A threshold to mark.
    pos_label : object, default=None
        The positive class, for the label of the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure that holds it.
    lines_ : list of matplotlib Line2D
        Precision and recall.

    See Also
    --------
    sklearn.metrics.PrecisionRecallDisplay : One against the other.

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
        chosen: float | None = None,
        pos_label: Any = None,
    ) -> None:
        self.precision = precision
        self.recall = recall
        self.thresholds = thresholds
        self.chosen = chosen
        self.pos_label = pos_label

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        *,
        pos_label: Any = None,
        chosen: float | None = None,
        ax: Any = None,
        plot: bool = False,
    ) -> ThresholdDisplay:
        """Compute the curves from labels and probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Labels.
        y_proba : array-like of shape (n_samples,)
            Probability of the positive class.
        pos_label : label, default=None
            The positive class.
        chosen : float, default=None
            A threshold to mark.
        ax : matplotlib Axes, default=None
            Where to draw.
        plot : bool, default=False
            Whether to draw at once.

        Returns
        -------
        display : ThresholdDisplay
            The curves.
        """
        precision, recall, thresholds = precision_recall_curve(
            y_true, y_proba, pos_label=pos_label
        )
        # Its last point, precision 1 and recall 0, belongs to no threshold.
        display = cls(
            precision[:-1], recall[:-1], thresholds, chosen=chosen, pos_label=pos_label
        )
        return display.plot(ax=ax) if plot or ax is not None else display

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: ArrayLike, *, ax: Any = None
    ) -> ThresholdDisplay:
        """Compute and draw the curves of a fitted binary `LogprobClassifier`.

        Parameters
        ----------
        estimator : LogprobClassifier
            Fitted, of two classes.
        X : array-like
            Texts or table.
        y : array-like of shape (n_samples,)
            Labels.
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
                f"{len(estimator.classes_)}."
            )
        pos_label = estimator.pos_label
        if pos_label is None:
            pos_label = estimator.classes_[1]
        column = estimator.classes_.tolist().index(pos_label)
        proba = estimator.predict_proba(X)[:, column]
        return cls.from_predictions(
            y, proba, pos_label=pos_label, chosen=estimator.threshold_, ax=ax, plot=True
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
        import matplotlib.pyplot as plt  # noqa: PLC0415

        if ax is None:
            _, ax = plt.subplots()
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_ = [
            ax.plot(self.thresholds, values, drawstyle="steps-post", label=label)[0]
            for values, label in (
                (self.precision, "precision"),
                (self.recall, "recall"),
            )
        ]
        if self.chosen is not None:
            at = self._at(self.chosen)
            ax.axvline(
                self.chosen,
                color="0.4",
                linestyle="--",
                label=f"threshold {self.chosen:.2f}",
            )
            for line, value in zip(self.lines_, at, strict=True):
                ax.plot(self.chosen, value, "o", color=line.get_color())
        shown = "" if self.pos_label is None else f" of {str(self.pos_label)!r}"
        ax.set(
            xlabel=f"decision threshold (probability{shown})",
            xlim=(0, 1),
            ylim=(0, 1.03),
        )
        ax.legend(loc="lower left")
        return self

    def _at(self, threshold: float) -> NDArray[Any]:
        """Precision and recall where the positive class starts at the threshold."""
        index = int(np.searchsorted(self.thresholds, threshold))
        if index == len(self.thresholds):
            return np.array([np.nan, 0.0])
        return np.array([self.precision[index], self.recall[index]])
