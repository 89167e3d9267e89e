"""X as rows of text: texts or a table in, with scikit-learn's checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

__all__ = ["Rows", "cell_text", "forget_rows", "is_missing", "read_rows", "seen_rows"]

# What str() makes of the values that stand for "nothing here", whatever library they
# come from: None, float and Decimal NaN, NaT, pandas.NA, and infinities.
_NO_VALUE = {
    "None",
    "nan",
    "NaN",
    "NaT",
    "<NA>",
    "inf",
    "-inf",
    "Infinity",
    "-Infinity",
}

_NUMBER = (Real, Decimal, np.bool_)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of X as text, ready to fill a template.

    Parameters
    ----------
    columns : tuple of str
        Names of the fields; ``("text",)`` where X is a list of texts.
    values : list of tuple of str
        One value per column for each row.
    aliases : tuple of str, default=()
        Other names of the first column, such as the name of a Series.

    Examples
    --------
    >>> from sklearn_logprob._inputs import Rows
    >>> rows = Rows(("text",), [("fine",), ("dull",)], aliases=("review",))
    >>> len(rows), rows.positions
    (2, {'text': 0, 'review': 0})
    """

    columns: tuple[str, ...]
    values: list[tuple[str, ...]]
    aliases: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def positions(self) -> dict[str, int]:
        """Every name that a template may use, with the column it stands for."""
        names = {name: position for position, name in enumerate(self.columns)}
        also = ("text", *self.aliases) if len(self.columns) == 1 else self.aliases
        return names | dict.fromkeys(also, 0)

    def __str__(self) -> str:
        if self.columns != ("text",):
            return f"X has the columns: {', '.join(self.columns)}"
        names = " or ".join(f"{{{name}}}" for name in self.positions)
        return f"X has one field only, {names}"


def read_rows(X: Any, estimator: Any, *, reset: bool) -> Rows:
    """Read X, checking it as scikit-learn does.

    Tables set or are held against ``n_features_in_`` and ``feature_names_in_``. Texts
    set neither; the name of a Series seen in `fit` is remembered, so that a template
    written for it also serves a plain list.

    Parameters
    ----------
    X : array-like of shape (n_samples,) or (n_samples, n_features)
        Texts (list, array or Series of str), or a table (2-D array, DataFrame of
        pandas or polars, list of lists) of texts and numbers.
    estimator : estimator
        Keeps what X looked like in `fit`, and is named in messages.
    reset : bool
        True in `fit`. False holds X against what `fit` saw; an estimator that saw no
        X takes it as it comes, and is left unchanged.

    Returns
    -------
    rows : Rows
        The values as text.

    Raises
    ------
    ValueError
        If X is empty, has missing values or the wrong shape, or is not of the kind or
        the columns that `fit` saw.
    TypeError
        If X is sparse, or a cell holds something other than a text or a number.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn_logprob._inputs import read_rows
    >>> read_rows([["fine", 3], ["dull", 5]], BaseEstimator(), reset=True)
    Rows(columns=('x0', 'x1'), values=[('fine', '3'), ('dull', '5')], aliases=())
    """
    if isinstance(X, (str, bytes)):
        raise ValueError("X must be a list of texts, not one text. Wrap it: [X].")
    if isinstance(X, Iterator | Mapping | Set) and not hasattr(X, "shape"):
        raise ValueError(
            "X must be a list of texts, an array or a DataFrame. Got a "
            f"{type(X).__name__} instead: make one of these of it."
        )
    fitted = vars(estimator)
    if reset:
        forget_rows(estimator)
    elif "n_features_in_" not in fitted and "_text_aliases" not in fitted:
        estimator, reset = copy(estimator), True
        fitted = vars(estimator)
    owner = type(estimator).__name__
    texts = _flat_values(X)
    if texts is None:
        if "_text_aliases" in fitted:
            raise ValueError(
                f"X is a table, but {owner} was fitted on texts. Pass the column of "
                "texts, or fit on the table."
            )
        table = _read_table(X, estimator, reset=reset)
        return _remember(table, estimator) if reset else table
    if "n_features_in_" in fitted:
        raise ValueError(
            f"X holds texts, but {owner} was fitted on a table with "
            f"{estimator.n_features_in_} column(s). Pass a table with these columns, "
            "or fit on texts."
        )
    rows: list[tuple[str, ...]] = [
        (_checked_text(value, row),) for row, value in enumerate(texts)
    ]
    if reset:
        name = getattr(X, "name", None)
        named = isinstance(name, str) and name not in ("", "text")
        estimator._text_aliases = (name,) if named else ()
    read = Rows(("text",), rows, estimator._text_aliases)
    return _remember(read, estimator) if reset else read


def forget_rows(estimator: Any) -> None:
    """Remove what an earlier `fit` learnt about X, before a `fit` that sees no X.

    Parameters
    ----------
    estimator : estimator
        The estimator that was given to `read_rows`.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn_logprob._inputs import forget_rows, read_rows
    >>> estimator = BaseEstimator()
    >>> rows = read_rows([["fine", 3]], estimator, reset=True)
    >>> forget_rows(estimator)
    >>> hasattr(estimator, "n_features_in_")
    False
    """
    for name in ("n_features_in_", "feature_names_in_", "_text_aliases", "_seen"):
        vars(estimator).pop(name, None)


def seen_rows(rows: Rows, estimator: Any) -> NDArray[np.bool_] | None:
    """Tell which rows `fit` saw.

    Parameters
    ----------
    rows : Rows
        Any rows.
    estimator : estimator
        The estimator that was given to `read_rows`.

    Returns
    -------
    seen : ndarray of bool of shape (n_rows,) or None
        True for a row that was in X, and about once in a million for one that was not,
        since 32 bits of each are kept. None where the estimator knows of no X.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn_logprob._inputs import read_rows, seen_rows
    >>> estimator = BaseEstimator()
    >>> rows = read_rows(["fine", "dull"], estimator, reset=True)
    >>> seen_rows(read_rows(["dull", "new"], estimator, reset=False), estimator)
    array([ True, False])
    """
    seen = getattr(estimator, "_seen", None)
    return None if seen is None else np.isin(_digests(rows), seen)


def _remember(rows: Rows, estimator: Any) -> Rows:
    """Keep what tells these rows from others, and cannot be turned back into text."""
    estimator._seen = np.unique(_digests(rows))
    return rows


def _digests(rows: Rows) -> NDArray[np.uint32]:
    texts = ("\0".join(values).encode(errors="surrogatepass") for values in rows.values)
    return np.fromiter(map(crc32, texts), dtype=np.uint32, count=len(rows))


def is_missing(value: object) -> bool:
    """Tell whether a value says "nothing here", whatever library it comes from.

    Parameters
    ----------
    value : object
        Of a table or a list.

    Returns
    -------
    missing : bool
        True for None, NaN, NaT, pandas.NA and infinities; False for texts.

    Examples
    --------
    >>> from sklearn_logprob._inputs import is_missing
    >>> is_missing(float("nan")), is_missing("nan")
    (True, False)
    """
    return not isinstance(value, str) and str(value) in _NO_VALUE


def cell_text(value: object, place: str) -> str:
    """Give the text of one value of a table.

    Parameters
    ----------
    value : str or number
        Numbers read as Python prints them: ``3``, ``0.5``, ``True``.
    place : str
        Where the value is, to begin the error message.

    Returns
    -------
    text : str
        The value as text.

    Raises
    ------
    ValueError
        If the value is None, NaN or infinite.
    TypeError
        If the value is neither a text nor a number.

    Examples
    --------
    >>> from sklearn_logprob._inputs import cell_text
    >>> cell_text(0.5, "Row 0, column 'x0' of X")
    '0.5'
    """
    text = str(value)
    if isinstance(value, str):
        return text
    if is_missing(value):
        raise ValueError(
            f"{place} is {text}: None, NaN and inf cannot be put into a prompt. Drop "
            "such rows or replace these values, e.g. with ''."
        )
    if not isinstance(value, _NUMBER):
        raise TypeError(
            f"{place} is of type {type(value).__name__}: the argument must be a "
            "string or a number. Convert it, e.g. with str()."
        )
    return text


def _flat_values(X: Any) -> list[Any] | None:
    """Give the values of a 1-D X; None where scikit-learn is to judge X."""
    if isinstance(X, (list, tuple)):
        flat = not X or not isinstance(X[0], (list, tuple, np.ndarray))
    else:
        flat = len(getattr(X, "shape", ())) == 1
    if not flat:
        return None
    values = list(X)
    if not values:
        raise ValueError("X is empty: 0 samples, while at least 1 is required.")
    if all(isinstance(value, _NUMBER) and str(value) != "nan" for value in values):
        raise ValueError(
            f"X must hold texts, and holds numbers: row 0 is {values[0]}. Pass the "
            "column of texts. If these numbers are to be asked about, make a table of "
            "them: Reshape your data with X.reshape(-1, 1), or pass a DataFrame."
        )
    return values


def _checked_text(value: object, row: int) -> str:
    if isinstance(value, str):
        return str(value)  # numpy's str_ becomes a plain str
    text = str(value)
    shown = text if isinstance(value, _NUMBER) else f"of type {type(value).__name__}"
    if is_missing(value):
        raise ValueError(
            f"X must hold texts: row {row} is {text}. Drop such rows or replace them, "
            "e.g. with ''."
        )
    raise ValueError(
        f"X must hold texts: row {row} is {shown}. Make texts of such rows, or drop them."
    )


def _read_table(X: Any, estimator: Any, *, reset: bool) -> Rows:
    if isinstance(X, (list, tuple)):
        X = np.array(X, dtype=object)  # else numpy turns [["a", nan]] into texts
    # The columns of a frame may have no dtype in common, which older releases look for.
    dtype = object if hasattr(X, "columns") else None
    checked = validate_data(
        estimator, X, reset=reset, dtype=dtype, ensure_all_finite=False
    )
    default = [f"x{position}" for position in range(checked.shape[1])]
    columns = tuple(map(str, getattr(estimator, "feature_names_in_", default)))
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise ValueError(f"X has two columns named {twice!r}. Rename one of them.")
    texts = [
        [
            cell_text(value, f"Row {row}, column {name!r} of X")
            for row, value in enumerate(column)
        ]
        for name, column in zip(columns, _table_columns(X, checked), strict=True)
    ]
    return Rows(columns, list(zip(*texts, strict=True)))


def _table_columns(X: Any, checked: Any) -> list[Any]:
    """Give the columns, each with its own dtype: one array would make 1 into 1.0."""
    if hasattr(X, "iter_columns"):  # polars
        return [column.to_numpy() for column in X.iter_columns()]
    if hasattr(X, "items"):  # pandas
        return [column.to_numpy() for _, column in X.items()]
    return list(checked.T)
