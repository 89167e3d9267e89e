"""From rows of a table to what a classifier takes, checked before anything is asked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from sklearn_logprob._errors import FailedRowsWarning
from sklearn_logprob._inputs import cell_text
from sklearn_logprob._optional import import_pandas
from sklearn_logprob.cli._tables import DELIMITERS, Record, Table

__all__ = [
    "Texts",
    "check_columns",
    "check_texts",
    "empty_rows",
    "labelled",
    "labels_of",
    "to_texts",
]

NAMED = 5  # rows that a message names


class Texts(list[str]):
    """Texts that know their column's name, as a Series does; a template may use it.

    Parameters
    ----------
    texts : iterable of str
        The texts.
    name : str
        The column.
    """

    def __init__(self, texts: Iterable[str], name: str) -> None:
        super().__init__(texts)
        self.name = name


def check_columns(
    table: Table, records: Sequence[Record], wanted: Sequence[str], option: str
) -> None:
    """Refuse columns that the first rows do not have.

    Parameters
    ----------
    table : Table
        Where the rows are from.
    records : sequence of dict
        Its first rows.
    wanted : sequence of str
        Columns.
    option : str
        What names them.

    Raises
    ------
    ValueError
        Names the columns that there are.
    """
    known = dict.fromkeys(name for record in records for name in record)
    for name in wanted:
        if name not in known:
            # one column only: spreadsheets of many countries write semicolons
            mark = DELIMITERS.get(table.format) if len(known) == 1 else None
            parted = f" Cells must be separated by {mark!r}." if mark else ""
            raise ValueError(
                f"{table} has no column {name!r}; there are "
                f"{', '.join(map(repr, known))}. Say which with {option}.{parted}"
            )


def empty_rows(
    table: Table, records: Sequence[Record], columns: Sequence[str], start: int = 0
) -> list[int]:
    """Find the rows without a text, and refuse values that are none.

    Parameters
    ----------
    table : Table
        Where the rows are from.
    records : sequence of dict
        Rows.
    columns : sequence of str
        Columns of texts.
    start : int, default=0
        Number of the first of these rows.

    Returns
    -------
    empty : list of int
        Positions in `records`.

    Raises
    ------
    TypeError
        If a value is neither a text nor a number; names row and column.
    """
    empty = []
    for position, record in enumerate(records):
        values = [record.get(column) for column in columns]
        if any(_is_missing(value) for value in values):
            empty.append(position)
            continue
        for column, value in zip(columns, values, strict=True):
            cell_text(value, f"Row {start + position}, column {column!r} of {table}")
    return empty


def check_texts(table: Table, empty: Sequence[int], columns: Sequence[str]) -> None:
    """Refuse rows without a text.

    Parameters
    ----------
    table : Table
        Where the rows are from.
    empty : sequence of int
        Numbers of rows.
    columns : sequence of str
        Columns of texts.

    Raises
    ------
    ValueError
        If there are any.
    """
    if empty:
        raise ValueError(
            f"{table} has no text in {len(empty)} rows, {_some(empty)} (the first is "
            f"row 0), column {', '.join(map(repr, columns))}. Take them out, or leave "
            "them blank with --on-error nan."
        )


def to_texts(records: Sequence[Record], columns: Sequence[str], *, table: bool) -> Any:
    """Make the X of a classifier.

    Parameters
    ----------
    records : sequence of dict
        Rows, with texts.
    columns : sequence of str
        Columns of texts.
    table : bool
        Whether a template fills in the columns by their names.

    Returns
    -------
    X : Texts or pandas.DataFrame
        A frame where it is a table.
    """
    texts = [[str(record[column]) for record in records] for column in columns]
    if not table:
        return Texts(texts[0], columns[0])
    pd = import_pandas("More than one --text column")
    return pd.DataFrame(dict(zip(columns, texts, strict=True)))


def labelled(
    table: Table, text: Sequence[str], arguments: Any, *, frame: bool
) -> tuple[Any, list[str]]:
    """Read labelled rows.

    Parameters
    ----------
    table : Table
        Where they are.
    text : sequence of str
        Columns of texts.
    arguments : Namespace
        ``label``, the column of classes; ``limit``; and perhaps ``on_error``, by which
        rows without a text are left out.
    frame : bool
        Whether X is a table.

    Returns
    -------
    X : Texts or pandas.DataFrame
        The texts.
    y : list of str
        The classes, as text.
    """
    records = list(chain.from_iterable(table.batches(1000, arguments.limit)))
    check_columns(table, records, text, "--text")
    check_columns(table, records, [arguments.label], "--label")
    empty = empty_rows(table, records, text)
    if getattr(arguments, "on_error", "raise") == "raise":
        check_texts(table, empty, text)
    left_out = set(empty)
    kept = [record for i, record in enumerate(records) if i not in left_out]
    if not kept:
        raise ValueError(f"{table} has no row with a text.")
    if empty:
        told = f"{len(empty)} rows of {table} have no text and are left out."
        warnings.warn(told, FailedRowsWarning, stacklevel=2)
    return to_texts(kept, text, table=frame), labels_of(table, kept, arguments.label)


def labels_of(table: Table, records: Sequence[Record], column: str) -> list[str]:
    """Give the classes as text, which is all that a CSV file has.

    Parameters
    ----------
    table : Table
        Where the rows are from.
    records : sequence of dict
        Rows.
    column : str
        Column of classes.

    Returns
    -------
    labels : list of str
        One a row.

    Raises
    ------
    ValueError
        If a row has none.
    """
    missing = [i for i, record in enumerate(records) if _is_missing(record.get(column))]
    if missing:
        raise ValueError(
            f"{table} has no class in column {column!r} in {len(missing)} rows, "
            f"{_some(missing)} of those with a text. Take them out."
        )
    return [str(record[column]) for record in records]


def _is_missing(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or str(value).strip() == ""


def _some(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:NAMED]))
    return shown + (", …" if len(numbers) > NAMED else "")
