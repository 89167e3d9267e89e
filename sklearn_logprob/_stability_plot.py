"""Histograms of what the true class scores, one above the other for each wording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_logprob._drawing import BLUE, GREY, ORANGE, axes_for
from sklearn_logprob._sensitivity import VARIED, true_scores
from sklearn_logprob._types import Floats
from sklearn_logprob.stability import stability

__all__ = ["StabilityDisplay"]

AXES = {
    "score": "label log score of the true class (nats)",
    "raw": "log-probability of the true class among the labels (nats)",
    "calibrated": "log-probability of the true class, calibrated out of fold (nats)",
}
BOTH = "log-probability of the true class (nats; mean: minus the log loss)"
SHORT = {"score": "texts", "raw": "texts before fit", "calibrated": "texts after fit"}
# of log-probabilities the mean, which is the log loss; log scores have long tails
MIDDLES: dict[str, tuple[str, Callable[[Floats], Any]]] = {
    "score": ("median", np.median),
    "raw": ("mean before fit", np.mean),
    "calibrated": ("mean after fit", np.mean),
}
COLORS = {"score": BLUE, "raw": ORANGE, "calibrated": BLUE}
HEIGHT = 0.85  # of the highest bar of a row, whose baselines are 1 apart


class StabilityDisplay:
    """Distribution of the true class's log score, by model, prompt or label words.

    Parameters
    ----------
    values : mapping of str to mapping of str to ndarray
        Name of a row → "score", "raw" or "calibrated" → natural logarithms.
    n_bins : int, default=30
        Bins over the range of all values.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure that holds it.
    lines_ : list of matplotlib Line2D
        The median of each histogram of scores, or the mean of log-probabilities, which
        is minus the log loss.
    edges_ : ndarray of shape (n_bins + 1,)
        The edges of the bins.
    highest_ : int
        Number of texts in the highest bar; all rows have the same scale.

    See Also
    --------
    sklearn_logprob.stability.stability : Makes what is drawn.

    Examples
    --------
    >>> from sklearn_logprob.plots import StabilityDisplay
    >>> display = StabilityDisplay({"plain": {"score": [-2.0, -1.0]}}, n_bins=2).plot()
    >>> display.edges_.tolist()
    [-2.0, -1.5, -1.0]
    """

    def __init__(self, values: Any, *, n_bins: int = 30) -> None:
        self.values = values
        self.n_bins = n_bins

    @classmethod
    def from_predictions(
        cls,
        frame: Any,
        *,
        by: str | Sequence[str] = "style",
        value: str | Sequence[str] = "score",
        n_bins: int = 30,
        ax: Any = None,
    ) -> StabilityDisplay:
        """Draw what `stability` gave.

        Parameters
        ----------
        frame : pandas.DataFrame
            What it gave, or a part of it.
        by : "model", "style", "label_style" or several of them, default="style"
            What the rows of the picture are.
        value : {"score", "raw", "calibrated"} or two of them, default="score"
            The label log score of the true class; the same normalised over the labels;
            or its log-probability after calibration by other rows.
        n_bins : int, default=30
            Bins over the range of all values.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : StabilityDisplay
            The histograms.
        """
        columns = [by] if isinstance(by, str) else list(by)
        wanted = [value] if isinstance(value, str) else list(value)
        for name, given, known in (("by", columns, VARIED), ("value", wanted, AXES)):
            if not set(given) <= set(known):
                raise ValueError(
                    f"The {name!r} parameter of StabilityDisplay must be among "
                    f"{', '.join(map(repr, known))}. Got {given!r} instead."
                )
        found = {name: true_scores(frame, name) for name in wanted}
        values = {
            " / ".join(key): {name: part[name].to_numpy() for name in wanted}
            for key, part in frame[columns].assign(**found).groupby(columns, sort=False)
        }
        return cls(values, n_bins=n_bins).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        styles: Any = None,
        label_styles: Any = None,
        by: str | Sequence[str] = "style",
        value: str | Sequence[str] = "score",
        n_bins: int = 30,
        ax: Any = None,
    ) -> StabilityDisplay:
        """Ask a classifier's model in several wordings, and draw the scores.

        Parameters
        ----------
        estimator : LogprobClassifier
            Its backend, verbalizer, calibrator, folds and cache are used.
        X : array-like
            Texts or table.
        y : array-like of shape (n_samples,)
            Labels.
        styles, label_styles : as in `stability`, default=None
            The wordings; None: all of them.
        by, value, n_bins, ax : as in `from_predictions`
            What is drawn.

        Returns
        -------
        display : StabilityDisplay
            The histograms.
        """
        frame = stability(
            estimator.backend,
            X,
            y,
            styles=styles,
            label_styles=label_styles,
            verbalizer=estimator.verbalizer,
            calibrator=estimator.calibrator,
            cv=estimator.cv,
            cache=estimator.cache,
            verbose=estimator.verbose,
            random_state=estimator.random_state,
        )
        return cls.from_predictions(frame, by=by, value=value, n_bins=n_bins, ax=ax)

    def plot(self, ax: Any = None) -> StabilityDisplay:
        """Draw the histograms, the first row on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : StabilityDisplay
            Itself, with `ax_`, `figure_`, `lines_` and `edges_`.
        """
        ax = axes_for(ax, height=1.4 + 0.55 * len(self.values))
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_: list[Any] = []
        everything = np.concatenate(
            [v for row in self.values.values() for v in row.values()]
        )
        self.edges_ = np.histogram_bin_edges(everything, bins=self.n_bins)
        # one scale for all rows: equal areas are equal numbers of texts
        self.highest_ = max(
            int(np.histogram(values, self.edges_)[0].max())
            for row in self.values.values()
            for values in row.values()
        )
        for place, row in enumerate(reversed(self.values.values())):
            ax.axhline(place, color=GREY, linewidth=0.5)
            for name, values in row.items():
                self._draw(ax, place, name, values)
        names = list(next(iter(self.values.values())))
        ax.set_yticks(range(len(self.values)), reversed(self.values))
        ax.tick_params(axis="y", length=0)
        ax.set(ylim=(-0.1, len(self.values)), xlim=(self.edges_[0], self.edges_[-1]))
        ax.set_xlabel(AXES[names[0]] if len(names) == 1 else BOTH)
        ax.spines[["top", "right", "left"]].set_visible(False)
        handles = ax.get_legend_handles_labels()
        by_label = dict(zip(handles[1], handles[0], strict=True))
        ax.legend(
            by_label.values(), by_label, loc="lower left", bbox_to_anchor=(0, 1), ncols=2,
            frameon=False, fontsize="small",
        )  # fmt: skip
        return self

    def _draw(self, ax: Any, place: int, name: str, values: Floats) -> None:
        color = COLORS[name]
        filled = {"fill": True, "alpha": 0.55} if color == BLUE else {"linewidth": 1.5}
        ax.stairs(
            place + np.histogram(values, self.edges_)[0] * (HEIGHT / self.highest_),
            self.edges_,
            baseline=place,
            color=color,
            label=f"{SHORT[name]} (highest bar: {self.highest_})",
            **filled,
        )
        label, average = MIDDLES[name]
        middle = float(average(values))
        self.lines_ += ax.plot(
            [middle, middle],
            [place, place + HEIGHT],
            color=color,
            linestyle="-" if color == BLUE else "--",
            label=label,
        )
