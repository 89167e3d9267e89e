"""Honest scores where several labels may apply: a report for each, and their mean."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from sklearn_logprob._judging import Scores
from sklearn_logprob._resampling import Score
from sklearn_logprob.report import SHOWN, Report

__all__ = ["LabelReports"]

COLUMNS = ("log_loss", "roc_auc", "f1")


class LabelReports(Mapping[Any, Report]):
    """A `Report` for each label, and what they say on average.

    A mapping from labels to reports. Each is about one label against its absence, on
    rows that its calibrator and threshold have not seen, and is computed when it is
    first looked at. ``print`` shows all.

    Parameters
    ----------
    reports : mapping of label to Report
        In the order of the columns of y.

    Attributes
    ----------
    scores : dict of dict of Score
        The mean of the labels' scores, by what is judged and by name, as in `Report`;
        that of "f1" is scikit-learn's ``f1_score(average="macro")``. Without intervals,
        for the labels' rows are the same ones. Labels without a score, such as the
        ROC-AUC of one that never applies, do not count.

    Warns
    -----
    FewLabelsWarning, UninformativeModelWarning
        As `Report` does, with the label's name.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob import LabelReports, make_report
    >>> y = np.arange(40) % 2
    >>> S = np.log(np.where(np.eye(2)[y] == 1, 0.7, 0.3))
    >>> reports = LabelReports({"sport": make_report(S, y)})
    >>> reports["sport"]
    <Report on 40 rows, computed when printed>
    >>> reports.scores["raw"]["accuracy"].value
    1.0
    """

    def __init__(self, reports: Mapping[Any, Report]) -> None:
        self._reports: dict[Any, Report] = dict(reports)

    def __getitem__(self, label: Any) -> Report:
        return self._reports[label]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._reports)

    def __len__(self) -> int:
        return len(self._reports)

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """The mean of the labels' scores, by what is judged and by name."""
        judged: dict[str, dict[str, list[float]]] = {}
        for label, report in self.items():
            for row, named in _scores_of(label, report).items():
                for name, score in named.items():
                    judged.setdefault(row, {}).setdefault(name, []).append(score.value)
        return {
            row: {name: Score(_mean(values)) for name, values in named.items()}
            for row, named in judged.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Give plain numbers, ready for JSON.

        Returns
        -------
        report : dict
            "labels" with what `Report.to_dict` gives for each, and "mean" with a number
            for each score.
        """
        mean = {
            row: {name: score.value for name, score in named.items()}
            for row, named in self.scores.items()
        }
        labels = {str(label): report.to_dict() for label, report in self.items()}
        return {"labels": labels, "mean": mean}

    def to_frame(self) -> Any:
        """Give a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            What `Report.to_frame` gives, with the label as a further level of the index.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        frames = {label: report.to_frame() for label, report in self.items()}
        import pandas as pd  # noqa: PLC0415

        return pd.concat(frames, names=["label"])

    def __str__(self) -> str:
        self.scores  # noqa: B018 - with the names of labels in its warnings
        rows = [row for row in SHOWN if row in self.scores]
        width = max(len("mean"), *(len(str(label)) for label in self))
        titles = [f"{name} {row}" for name in COLUMNS for row in rows]
        lines = [" ".join([" " * width, *(f"{title:>19}" for title in titles)])]
        about = {**{label: r.scores for label, r in self.items()}, "mean": self.scores}
        for label, scores in about.items():
            cells = [
                f"{scores[row][name].value:>19.3f}" for name in COLUMNS for row in rows
            ]
            lines.append(" ".join([f"{label!s:<{width}}", *cells]))
        return "\n".join([*lines, "No row is judged by what was learnt from it."])

    def __repr__(self) -> str:
        return f"<LabelReports on {len(self)} labels, computed when printed>"


def _scores_of(label: Any, report: Report) -> dict[str, Scores]:
    """Compute a report, its warnings with the label's name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores: dict[str, Scores] = report.scores
    for warning in caught:
        warnings.warn(
            f"Label {label!r}: {warning.message}", warning.category, stacklevel=4
        )
    return scores


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
