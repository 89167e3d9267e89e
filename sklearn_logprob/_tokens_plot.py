"""What a model wanted to say instead of a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_logprob._drawing import BLUE, GREY, ORANGE, axes_for
from sklearn_logprob._inputs import read_rows
from sklearn_logprob._types import Floats
from sklearn_logprob.scoring import label_mass

__all__ = ["OtherTokensDisplay"]


class OtherTokensDisplay:
    """How much probability goes to the labels, and how much to which other tokens.

    Parameters
    ----------
    tokens : sequence of str
        Other tokens, most probable first.
    probability : ndarray of shape (n_tokens,)
        Their mean probability over the texts.
    mass : float, default=None
        Mean probability of all labels together.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure that holds it.
    bars_ : matplotlib BarContainer
        The labels, the tokens, and all other tokens together.

    See Also
    --------
    sklearn_logprob.LogprobClassifier : Its `other_tokens_` is the same as a table.

    Examples
    --------
    >>> from sklearn_logprob.plots import OtherTokensDisplay
    >>> display = OtherTokensDisplay(["the", "It"], [0.2, 0.1], mass=0.6)
    >>> [float(bar.get_width()) for bar in display.plot().bars_]
    [0.6, 0.2, 0.1, 0.1]
    """

    def __init__(
        self, tokens: Sequence[str], probability: ArrayLike, *, mass: float | None = None
    ) -> None:
        self.tokens = tokens
        self.probability: Floats = np.asarray(probability, dtype=np.float64)
        self.mass = mass

    @classmethod
    def from_predictions(
        cls,
        other_tokens: Any,
        *,
        mass: float | None = None,
        n_tokens: int = 12,
        ax: Any = None,
    ) -> OtherTokensDisplay:
        """Draw a table of tokens.

        Parameters
        ----------
        other_tokens : structured ndarray
            With "token" and "mean_probability", such as ``clf.other_tokens_``.
        mass : float, default=None
            Mean probability of all labels together.
        n_tokens : int, default=12
            How many tokens to show.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : OtherTokensDisplay
            The bars.
        """
        shown = other_tokens[:n_tokens]
        tokens = [str(token) for token in shown["token"]]
        return cls(tokens, shown["mean_probability"], mass=mass).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, n_tokens: int = 12, ax: Any = None
    ) -> OtherTokensDisplay:
        """Ask a fitted classifier about texts, and draw what it would say.

        Parameters
        ----------
        estimator : LogprobClassifier
            Fitted. Texts that it has seen cost no request.
        X : array-like
            Texts or table.
        n_tokens : int, default=12
            How many tokens to show.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : OtherTokensDisplay
            The bars.
        """
        scorer, rows = estimator._scorer, read_rows(X, estimator, reset=False)
        outcomes = estimator._ask(scorer.requests(rows))
        mass = float(np.nanmean(label_mass(scorer.read(outcomes).scores)))
        others = scorer.others(outcomes)
        return cls.from_predictions(others, mass=mass, n_tokens=n_tokens, ax=ax)

    def plot(self, ax: Any = None) -> OtherTokensDisplay:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : OtherTokensDisplay
            Itself, with `ax_`, `figure_` and `bars_`.
        """
        # spaces and line breaks are shown as what they are
        names, widths = [repr(token) for token in self.tokens], self.probability.tolist()
        colors = [ORANGE] * len(names)
        if self.mass is not None:
            rest = round(max(0.0, 1.0 - self.mass - sum(widths)), 12)
            names = ["all labels", *names, "all other tokens"]
            widths = [self.mass, *widths, rest]
            colors = [BLUE, *colors, GREY]
        ax = axes_for(ax, height=1.2 + 0.28 * len(names))
        self.ax_, self.figure_ = ax, ax.figure
        self.bars_ = ax.barh(range(len(names)), widths, color=colors)
        ax.bar_label(self.bars_, [f"{width:.1%}" for width in widths], padding=3)
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.margins(x=0.12)
        ax.set_xlim(left=0)
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.set_xlabel("probability at the place of the label (mean over the texts)")
        ax.spines[["top", "right"]].set_visible(False)
        return self
