"""A progress bar for work that takes several calls of `collect`."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from sklearn_logprob.collect import SHOW_AFTER

__all__ = ["progress"]


def progress(total: int | None, verbose: Any, unit: str) -> Any:
    """Give a bar on stderr that is to be updated and closed.

    Parameters
    ----------
    total : int or None
        Number of steps; None where it is not known.
    verbose : "auto", bool or int
        "auto" shows it in a terminal when the work takes more than 2 seconds, a true
        value always, a false one never.
    unit : str
        What a step is.

    Returns
    -------
    bar : tqdm.tqdm
        A context manager.

    Examples
    --------
    >>> from sklearn_logprob._progress import progress
    >>> with progress(3, False, "step") as bar:
    ...     bar.update(3)
    """
    if verbose == "auto":  # tqdm's disable=None: only in a terminal
        return tqdm(total=total, unit=unit, disable=None, delay=SHOW_AFTER)
    return tqdm(total=total, unit=unit, disable=not verbose)
