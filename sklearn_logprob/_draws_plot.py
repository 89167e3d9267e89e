"""Shares of sampled answers on their way to the probability that one call reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_logprob._drawing import COLORS, axes_for
from sklearn_logprob._sweep import share_interval
from sklearn_logprob.soft_hard import draw_answers

__all__ = ["SoftHardDisplay"]

SHOWN = 40  # characters of a text


class SoftHardDisplay:
    """Share of a label among sampled answers, against how many were drawn.

    Parameters
    ----------
    said : array-like of bool of shape (n_texts, n_draws)
        Whether each answer says the label.
    probability : array-like of shape (n_texts,)
        The label's probability from one call.
    texts : sequence of str, default=None
        What the model was asked about.
    label : object, default=None
        The label, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure that holds it.
    lines_ : list of matplotlib Line2D
        The shares, one line a text.

    See Also
    --------
    sklearn_logprob.soft_hard.soft_against_hard : The same as a table.

    Examples
    --------
    >>> from sklearn_logprob.plots import SoftHardDisplay
    >>> display = SoftHardDisplay([[True, False, True, True]], [0.7]).plot()
    >>> display.lines_[0].get_ydata().round(2).tolist()
    [1.0, 0.5, 0.67, 0.75]
    """

    def __init__(
        self,
        said: ArrayLike,
        probability: ArrayLike,
        *,
        texts: Sequence[str] | None = None,
        label: Any = None,
    ) -> None:
        self.said = np.asarray(said, dtype=bool)
        self.probability = np.asarray(probability, dtype=np.float64)
        self.texts = texts
        self.label = label

    @classmethod
    def from_predictions(
        cls,
        said: ArrayLike,
        probability: ArrayLike,
        *,
        texts: Sequence[str] | None = None,
        label: Any = None,
        ax: Any = None,
    ) -> SoftHardDisplay:
        """Draw answers that are there.

        Parameters
        ----------
        said : array-like of bool of shape (n_texts, n_draws)
            Whether each answer says the label.
        probability : array-like of shape (n_texts,)
            The label's probability from one call.
        texts : sequence of str, default=None
            What the model was asked about.
        label : object, default=None
            The label, for the axis.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : SoftHardDisplay
            The lines.
        """
        return cls(said, probability, texts=texts, label=label).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        label: Any = None,
        n_draws: int = 100,
        ax: Any = None,
    ) -> SoftHardDisplay:
        """Draw answers of a fitted classifier's model about a few texts.

        Parameters
        ----------
        estimator : LogprobClassifier
            Fitted.
        X : array-like
            A few texts; more than four are hard to tell apart.
        label : label, default=None
            One of its classes; None: the last.
        n_draws : int, default=100
            How many answers to draw for each text.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : SoftHardDisplay
            The lines.
        """
        classes = estimator.classes_.tolist()
        label = classes[-1] if label is None else label
        if label not in classes:
            raise ValueError(
                f"The 'label' parameter of SoftHardDisplay must be one of {classes}. "
                f"Got {label!r} instead."
            )
        drawn, k = draw_answers(estimator, X, n_draws), classes.index(label)
        said, probability = drawn.said[:, :, k], drawn.probability[:, k]
        return cls(said, probability, texts=drawn.texts, label=label).plot(ax=ax)

    def plot(self, ax: Any = None) -> SoftHardDisplay:
        """Draw the shares, their 95 % intervals, and the probabilities.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : SoftHardDisplay
            Itself, with `ax_`, `figure_` and `lines_`.
        """
        ax = axes_for(ax)
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, []
        n_texts, n_draws = self.said.shape
        number = np.arange(1, n_draws + 1)
        for i in range(n_texts):
            color, hits = COLORS[i % len(COLORS)], self.said[i].cumsum()
            low, high = share_interval(hits, number)
            ax.fill_between(number, low, high, color=color, alpha=0.12, linewidth=0)
            self.lines_ += ax.plot(
                number, hits / number, color=color, label=self._name(i)
            )
            ax.axhline(self.probability[i], color=color, linestyle="--", linewidth=1.2)
        ax.plot([], [], color="black", linestyle="--", label="probability from one call")
        said = "the label" if self.label is None else repr(str(self.label))
        ax.set(
            xscale="log",
            xlim=(1, n_draws),
            ylim=(0, 1.02),
            xlabel="answers drawn, one call each",
            ylabel=f"share of answers that say {said}",
        )
        ax.xaxis.set_major_formatter("{x:.0f}")
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize="small"
        )
        return self

    def _name(self, i: int) -> str:
        if self.texts is None:
            return f"text {i}"
        text = self.texts[i]
        return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
