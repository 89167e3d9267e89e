"""``sklearn-logprob predict``: a table in, the table with predictions out."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sklearn_logprob._errors import LogprobError, RowError
from sklearn_logprob._private_files import check_folder
from sklearn_logprob._progress import progress
from sklearn_logprob._types import TokenUsage, Usage
from sklearn_logprob.cli._models import (
    load,
    said_usage,
    show_plan,
    text_columns,
    verbosity,
)
from sklearn_logprob.cli._rows import (
    check_columns,
    check_texts,
    empty_rows,
    to_texts,
)
from sklearn_logprob.cli._tables import PIPE, Record, Table
from sklearn_logprob.cli._writing import writing
from sklearn_logprob.thresholds import FixedThreshold

__all__ = ["run"]


def run(arguments: Namespace) -> None:
    """Classify a table, holding one batch of it in memory.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    source = Table.of(arguments.input, arguments.format)
    same = None if source.format == "parquet" else source.format
    target = Table.of(arguments.output, arguments.format or same)
    check_folder(target.path)
    if source.lasts and target.lasts and Path(source.path).samefile(target.path):
        raise ValueError(f"{target} is the input: name another file with --output.")
    clf = load(arguments)
    _set_threshold(clf, arguments.threshold)
    job = _Job(clf, source, arguments)
    if arguments.dry_run:
        show_plan(job.plans(), lambda: job.n_seen)
        return
    with writing(target, source.schema(), job.columns) as write:
        for records in job.results():
            write(records)
    if target.path != PIPE:
        print(f"{job.n_seen} rows, {said_usage(clf.usage_)}\nwrote {target}")


def _set_threshold(clf: Any, threshold: float | None) -> None:
    if threshold is None:
        return
    if len(clf.classes_) != 2 or not 0 <= threshold <= 1:
        raise ValueError(
            "--threshold must be a probability of the positive one of two classes. Got "
            f"{threshold} for {len(clf.classes_)} classes."
        )
    decisions = clf._head.decisions
    decisions.selector, decisions.threshold = FixedThreshold(threshold), threshold


class _Job:
    """Rows on their way from a table to another one."""

    def __init__(self, clf: Any, source: Table, arguments: Namespace) -> None:
        self.clf = clf
        self.source = source
        self.arguments = arguments
        self.text = text_columns(clf, arguments.text)
        self.table = hasattr(clf, "feature_names_in_")
        self.columns = [f"probability_{label}" for label in clf.classes_]
        accepts = clf._head.rejector is not None
        self.methods = ["predict", "predict_proba", *(["accept"] if accepts else [])]
        self.added = ["prediction", *self.columns, *(["accepted"] if accepts else [])]
        self.n_seen = 0
        self.batch: list[Record] = []
        self.answerable: list[int] = []
        self.total = self._look_through() if source.lasts else None

    def results(self) -> Iterator[list[Record]]:
        """Give the rows of each batch, with the predictions."""
        verbose = verbosity(self.arguments)
        self.clf.set_params(verbose=False)  # one bar over all batches in its place
        found_for = self.clf.predict_batches(self._texts(), self.methods)
        with progress(self.total, verbose, "row") as bar:
            self.clf.usage_ = usage = _ShownUsage(bar, self.clf._scorer)
            while True:
                with self._naming_rows():
                    found = next(found_for, None)
                if found is None:
                    return
                usage.settle(self.n_seen)
                yield self._filled(found)

    def plans(self) -> Iterator[Any]:
        """Give what each batch would take."""
        return (self.clf.requests(X) for X in self._texts() if len(X))

    def _texts(self) -> Iterator[Any]:
        for batch, answerable in self._batches():
            self.batch, self.answerable = batch, answerable
            asked = [self.batch[i] for i in self.answerable]
            yield to_texts(asked, self.text, table=self.table) if asked else []

    def _look_through(self) -> int:
        """Count the rows, and refuse what must fail, before anything is asked."""
        empty: list[int] = []
        for records, answerable in self._batches(strict=False):
            start = self.n_seen - len(records)
            there = set(answerable)
            empty += [start + i for i in range(len(records)) if i not in there]
        if self.arguments.on_error == "raise":
            check_texts(self.source, empty, self.text)
        total, self.n_seen = self.n_seen, 0
        return total

    def _batches(self, strict: bool = True) -> Iterator[tuple[list[Record], list[int]]]:
        """Give batches, each with the positions of the rows that have a text."""
        size, limit = self.arguments.batch_size, self.arguments.limit
        for records in self.source.batches(size, limit):
            if not self.n_seen:
                check_columns(self.source, records, self.text, "--text")
            self._check_names(records)
            empty = empty_rows(self.source, records, self.text, self.n_seen)
            if strict and self.arguments.on_error == "raise":
                numbers = [self.n_seen + i for i in empty]
                check_texts(self.source, numbers, self.text)
            left_out = set(empty)
            self.n_seen += len(records)
            yield records, [i for i in range(len(records)) if i not in left_out]

    @contextmanager
    def _naming_rows(self) -> Iterator[None]:
        """Say which rows of the table are X, where rows of X are told of."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                yield
            except RowError as error:
                raise LogprobError(f"{self._whereabouts()}: {error}") from None
        for warning in caught:
            if issubclass(warning.category, UserWarning):
                told = f"{self._whereabouts()}: {warning.message}"
                warnings.warn(told, warning.category, stacklevel=2)

    def _whereabouts(self) -> str:
        some = "" if len(self.answerable) == len(self.batch) else " with a text"
        start = self.n_seen - len(self.batch)
        return f"X is the rows {start} to {self.n_seen - 1} of {self.source}{some}"

    def _check_names(self, records: list[Record]) -> None:
        known = {name for record in records for name in record}
        taken = [name for name in self.added if name in known]
        if taken:
            raise ValueError(
                f"{self.source} has a column {taken[0]!r} already, which predict adds: "
                "rename it or take it out."
            )

    def _filled(self, found: Any) -> list[Record]:
        labels, P, *accepted = found
        blank: Record = dict.fromkeys(self.added, None)
        if accepted:
            blank["accepted"] = False
        filled = [{**record, **blank} for record in self.batch]
        for place, i in enumerate(self.answerable):
            p = P[place].tolist()
            if p[0] == p[0]:  # no answer, no prediction, whatever is most frequent
                filled[i]["prediction"] = str(labels[place])
                filled[i].update(zip(self.columns, p, strict=True))
            if accepted:
                filled[i]["accepted"] = bool(accepted[0][place])
        return filled


class _ShownUsage(Usage):
    """Usage that moves a bar while a batch is under way."""

    def __init__(self, bar: Any, scorer: Any) -> None:
        super().__init__()
        self._bar = bar
        self._per_row = scorer.per_row * scorer.n_questions
        self._n_answers = 0

    def add_sent(self, spent: TokenUsage, cost: float = 0.0, calls: int = 1) -> None:
        """Count one answer, and show it."""
        super().add_sent(spent, cost, calls)
        self._n_answers += 1
        if self.cost > 0:
            self._bar.set_postfix_str(f"${self.cost:.4f}", refresh=False)
        self._bar.update(int(self._n_answers % self._per_row == 0))

    def settle(self, n_rows: int) -> None:
        """Show how many rows are done: equal ones and known ones were not asked."""
        self._bar.update(n_rows - self._bar.n)
