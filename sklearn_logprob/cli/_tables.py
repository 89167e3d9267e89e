"""Tables as they are read: CSV, JSON lines and Parquet, in batches of rows."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, TypeAlias

__all__ = ["DELIMITERS", "FORMATS", "PIPE", "Record", "Table", "import_pyarrow"]

Record: TypeAlias = dict[str, Any]
"""One row: column → value. Values of CSV are the texts that stand there."""

PIPE = "-"
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
DELIMITERS = {"csv": ",", "tsv": "\t"}

LONGEST = 2**31 - 1  # characters of a cell; the module's own limit is 131,072


@dataclass(frozen=True)
class Table:
    """A table in a file or a pipe.

    Parameters
    ----------
    path : str
        The file; "-" is the process's standard input or output.
    format : str
        "csv", "tsv", "jsonl" or "parquet".
    """

    path: str
    format: str

    @classmethod
    def of(cls, path: str, given: str | None) -> Table:
        """Tell the format of a table by its name, or else by what the user says.

        Parameters
        ----------
        path : str
            The file or "-".
        given : str or None
            What ``--format`` says.

        Returns
        -------
        table : Table
            Not opened yet.

        Raises
        ------
        ValueError
            If neither tells it, or it is Parquet through a pipe.
        ImportError
            If it is Parquet, and pyarrow is not installed.
        """
        ending = Path(path).suffix.lower()
        found = FORMATS.get(ending) or given or ("csv" if path == PIPE else None)
        if found is None:
            raise ValueError(
                f"{path}: the name does not end in {', '.join(FORMATS)}. Say what it is "
                "with --format, or convert it."
            )
        if found == "parquet" and path == PIPE:
            raise ValueError(
                "Parquet cannot go through a pipe: its index comes last. Use --format "
                "csv or jsonl, or a file."
            )
        if found == "parquet":
            import_pyarrow()  # or nothing is asked
        return cls(path, found)

    def __str__(self) -> str:
        return "the pipe" if self.path == PIPE else self.path

    @property
    def lasts(self) -> bool:
        """Whether it can be read twice."""
        return self.path != PIPE and Path(self.path).is_file()

    def batches(self, size: int, limit: int | None = None) -> Iterator[list[Record]]:
        """Read it, holding one batch in memory.

        Parameters
        ----------
        size : int
            Rows a batch.
        limit : int or None, default=None
            How many rows to read; None: all.

        Yields
        ------
        batch : list of dict
            At least one row.

        Raises
        ------
        ValueError
            If it is not what its format says, or has no rows; tells where.
        OSError
            If it cannot be read.
        """
        with self._told():
            rows = islice(self._records(size), limit)
            empty = True
            while batch := list(islice(rows, size)):
                empty = False
                yield batch
            if empty:
                raise ValueError("has no rows")

    def schema(self) -> Any:
        """Give the types of the columns, where the format has some.

        Returns
        -------
        schema : pyarrow.Schema or None
            None for all but Parquet.
        """
        if self.format != "parquet":
            return None
        with self._told(), import_pyarrow().parquet.ParquetFile(self.path) as file:
            return file.schema_arrow

    def _records(self, size: int) -> Iterator[Record]:
        if self.format == "parquet":
            return _parquet_records(self.path, size)
        lines = _lines(self.path)
        if self.format == "jsonl":
            return _json_records(lines)
        return _csv_records(lines, DELIMITERS[self.format])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of the file what readers say of bytes."""
        try:
            yield
        except UnicodeDecodeError:
            raise ValueError(
                f"{self} is not UTF-8 text. If it is {self.format}, convert it: iconv -f "
                "latin1 -t utf-8; if it is not, say --format."
            ) from None
        except ValueError as error:
            raise ValueError(f"{self} {error}.") from None


def import_pyarrow() -> Any:
    """Import pyarrow, which alone reads and writes Parquet.

    Returns
    -------
    pyarrow : module
        With ``pyarrow.parquet`` imported.

    Raises
    ------
    ImportError
        If it is not installed; names the extra.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 -- optional
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise ImportError(
            "Parquet needs pyarrow: pip install 'sklearn-logprob[tables]'."
        ) from None
    return pa


def _lines(path: str) -> Iterator[str]:
    file: IO[Any]
    if path == PIPE:
        decoded = (line.decode("utf-8") for line in sys.stdin.buffer)
        first = next(decoded, "").removeprefix("\ufeff")
        yield from chain([first] if first else [], decoded)
        return
    with open(path, encoding="utf-8-sig", newline="") as file:
        yield from file


def _csv_records(lines: Iterable[str], delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(LONGEST)
    # strict: a quote that is never closed would swallow the rest of the file
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if not any(header):
            raise ValueError("is empty: the first line must name the columns")
        _check_names(header)
        for cells in reader:
            if len(cells) == len(header):
                yield dict(zip(header, cells, strict=True))
            elif cells:
                raise ValueError(
                    f"has {len(cells)} cells in line {reader.line_num} and {len(header)} "
                    f"columns. They are separated by {delimiter!r}: quote those with one"
                )
    except csv.Error as error:
        raise ValueError(f"is no CSV in line {reader.line_num}: {error}") from None


def _json_records(lines: Iterable[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if "\\u" in line:  # half a surrogate pair is no text, and fails when sent
                json.dumps(record, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            problem = str(error).partition(": line")[0]
            raise ValueError(f"is no JSON in line {number}: {problem}") from None
        if not isinstance(record, dict):
            raise ValueError(
                f"has no object in line {number}: each line must be one, such as "
                '{"text": "fine"}'
            )
        yield record


def _parquet_records(path: str, size: int) -> Iterator[Record]:
    pa = import_pyarrow()
    with open(path, "rb"):  # its own message has no file name
        pass
    try:
        with pa.parquet.ParquetFile(path) as file:
            _check_names(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=size):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, OverflowError, UnicodeError) as error:
        raise ValueError(f"is no Parquet that can be read: {error}") from None


def _check_names(names: list[str]) -> None:
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"has two columns named {twice[0]!r}. Rename one of them")
