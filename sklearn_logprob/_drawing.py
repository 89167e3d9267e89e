"""What all pictures have in common."""

from __future__ import annotations

from typing import Any

__all__ = ["BLUE", "COLORS", "GREY", "ORANGE", "axes_for"]

# Okabe and Ito's palette, told apart by people with any kind of colour vision. Their
# yellow and sky blue are left out: too faint for lines on white.
BLUE, ORANGE, GREEN, PURPLE, VERMILION = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
)
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE)
GREY = "0.45"


def axes_for(ax: Any, height: float | None = None) -> Any:
    """Give where to draw, a new figure for None.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Where to draw.
    height : float, default=None
        Of a new figure, in inches.

    Returns
    -------
    ax : matplotlib Axes
        Those, or new ones.

    Raises
    ------
    ImportError
        If matplotlib is not installed; says how to install it.

    Examples
    --------
    >>> from sklearn_logprob._drawing import axes_for
    >>> axes_for("my axes")
    'my axes'
    """
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415 -- optional
    except ImportError:
        raise ImportError(
            "Pictures need matplotlib: pip install 'sklearn-logprob[plots]'."
        ) from None

    size = None if height is None else (6.4, height)
    return plt.subplots(figsize=size, layout="constrained")[1]
