"""Tables as they are written: row by row, and in place only when complete."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

from sklearn_logprob.cli._tables import (
    DELIMITERS,
    PIPE,
    Record,
    Table,
    import_pyarrow,
)

__all__ = ["writing"]

Write: TypeAlias = Callable[[list[Record]], None]


@contextmanager
def writing(
    table: Table, like: Any = None, floats: Collection[str] = ()
) -> Iterator[Write]:
    """Open a table for writing.

    A file is written beside its place, as ``NAME.part``, and takes its place at the end:
    what has the name is complete.

    Parameters
    ----------
    table : Table
        Where to.
    like : pyarrow.Schema or None, default=None
        Types of columns, for Parquet; others follow from the first batch.
    floats : collection of str, default=()
        Columns that hold floating-point numbers, for Parquet.

    Yields
    ------
    write : callable
        Takes a list of rows. The first one tells the columns, but for JSON lines.
    """
    if table.path == PIPE:
        yield _text_writer(table.format, sys.stdout)
        return
    place = Path(table.path)
    whole = not place.exists() or place.is_file()  # else a device or a named pipe
    part = place.with_name(f"{place.name}.part") if whole else place
    if table.format == "parquet":
        with _parquet_writer(part, like, floats) as write:
            yield write
    else:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield _text_writer(table.format, file)
    if whole:
        os.replace(part, place)


def _text_writer(form: str, file: IO[str]) -> Write:
    return _json_writer(file) if form == "jsonl" else _csv_writer(file, DELIMITERS[form])


def _json_writer(file: IO[str]) -> Write:
    def write(records: list[Record]) -> None:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
        file.flush()

    return write


def _csv_writer(file: IO[str], delimiter: str) -> Write:
    header: list[str] = []
    writer = csv.writer(_Lines(file), delimiter=delimiter, lineterminator="\r\n")

    def write(records: list[Record]) -> None:
        if not header:
            header.extend(_names(records))
            writer.writerow(header)
        new = [name for name in _names(records) if name not in header]
        if new:
            raise ValueError(
                f"A later row has the column {new[0]!r}, which the first ones had not: "
                "write JSON lines (.jsonl) instead."
            )
        for record in records:
            writer.writerow([_cell(record.get(name)) for name in header])
        file.flush()

    return write


class _Lines:
    r"""Ends rows with ``\n``; the module quotes a ``\r`` only where it ends rows too."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, row: str) -> None:
        self.file.write(row.removesuffix("\r\n") + "\n")


def _names(records: list[Record]) -> dict[str, None]:
    return dict.fromkeys(name for record in records for name in record)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


@contextmanager
def _parquet_writer(path: Path, like: Any, floats: Collection[str]) -> Iterator[Write]:
    pa = import_pyarrow()
    opened: list[Any] = []

    def write(records: list[Record]) -> None:
        if not opened:
            schema = _schema(pa, records, like, floats)
            opened.append(pa.parquet.ParquetWriter(path, schema))
        opened[0].write_table(pa.Table.from_pylist(records, opened[0].schema))

    try:
        yield write
    finally:
        for file in opened:
            file.close()


def _schema(pa: Any, records: list[Record], like: Any, floats: Collection[str]) -> Any:
    kinds = {field.name: field.type for field in like or ()}
    kinds |= dict.fromkeys(floats, pa.float64())
    for name in _names(records):
        if name not in kinds:
            kind = pa.array([record.get(name) for record in records]).type
            # of a column that begins empty we know only that it can be printed
            kinds[name] = pa.string() if pa.types.is_null(kind) else kind
    return pa.schema([(name, kinds[name]) for name in _names(records)])
