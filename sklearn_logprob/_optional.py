"""What is imported only where it is needed, and need not be installed."""

from __future__ import annotations

from typing import Any

__all__ = ["import_pandas"]


def import_pandas(wanted_by: str) -> Any:
    """Import pandas.

    Parameters
    ----------
    wanted_by : str
        What needs it.

    Returns
    -------
    pandas : module
        The module.

    Raises
    ------
    ImportError
        If it is not installed; says how to install it.

    Examples
    --------
    >>> from sklearn_logprob._optional import import_pandas
    >>> import_pandas("This example").__name__
    'pandas'
    """
    try:
        import pandas as pd  # noqa: PLC0415 -- optional
    except ImportError:
        raise ImportError(f"{wanted_by} needs pandas: pip install pandas.") from None
    return pd
