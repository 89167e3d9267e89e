"""``sklearn-logprob thresholds``: what each threshold gives on labelled rows."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np

from sklearn_logprob._optional import import_pandas
from sklearn_logprob._private_files import check_folder
from sklearn_logprob.cli._models import load, said_usage, show_plan
from sklearn_logprob.cli._tables import Table
from sklearn_logprob.cli._writing import writing
from sklearn_logprob.cli.evaluate import codes_of, judged_rows
from sklearn_logprob.curves import threshold_curve

__all__ = ["run"]

COLUMNS = ("threshold", "precision", "recall", "f1", "positive_rate", "cost")


def run(arguments: Namespace) -> None:
    """Print the thresholds that people look for, and write all of them.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    import_pandas("sklearn-logprob thresholds")  # or nothing is asked
    target = None
    if arguments.output is not None:
        target = Table.of(arguments.output, arguments.format)
        check_folder(target.path)
    clf = load(arguments)
    positive = _positive(clf, arguments.pos_label)
    X, codes = judged_rows(clf, arguments)
    if arguments.dry_run:
        show_plan([clf.requests(X)], codes.__len__)
        return
    [(labels, P)] = clf.predict_batches([X], ("predict", "predict_proba"))
    answered = ~np.isnan(P).any(axis=1)
    truth, scores = codes[answered] == positive, P[answered, positive]
    costs = {"cost_fp": arguments.cost_fp, "cost_fn": arguments.cost_fn}
    curve = threshold_curve(truth.astype(int), scores, **costs)
    decided = labels[answered] == clf.classes_[positive]
    now = threshold_curve(truth.astype(int), decided.astype(float), **costs)
    chosen = {
        "now": {**now[now["threshold"] > 0].iloc[0], "threshold": _now(clf, positive)},
        **_chosen(curve, arguments),
    }
    name = clf.classes_[positive]
    print(f"{len(scores)} rows; predict {str(name)!r} from this probability on:\n")
    _print(chosen)
    print(
        "\nChosen and judged on the same rows, which flatters all but 'now'. fit "
        f"--threshold\nchooses out of fold; predict --threshold decides.\n"
        f"{said_usage(clf.usage_)}"
    )
    if target is not None:
        with writing(target) as write:
            write(curve[list(COLUMNS)].to_dict("records"))
        print(f"wrote {target}")


def _positive(clf: Any, pos_label: str | None) -> int:
    if pos_label is not None:
        return int(codes_of(clf, [pos_label], "--pos-label")[0])
    if len(clf.classes_) != 2:
        raise ValueError(
            "Say which class the threshold is about with --pos-label: one of "
            f"{', '.join(repr(str(label)) for label in clf.classes_)}."
        )
    return int(clf._head.decisions.order[-1])


def _now(clf: Any, positive: int) -> float:
    """Give the threshold in use, for this class; nan where several decide together."""
    if clf.threshold_ is None or np.ndim(clf.threshold_):
        return np.nan
    last = clf._head.decisions.order[-1] == positive
    return float(clf.threshold_ if last else 1 - clf.threshold_)


def _chosen(curve: Any, arguments: Namespace) -> dict[str, Any]:
    """Give the rows of the curve that are best at something."""
    chosen = {
        "best f1": curve.loc[curve["f1"].idxmax()],
        "least cost": curve.loc[curve["cost"].idxmin()],
    }
    for kept, other in (("precision", "recall"), ("recall", "precision")):
        least = getattr(arguments, kept)
        if least is None:
            continue
        enough = curve[(curve[kept] >= least) & (curve["recall"] > 0)]
        if enough.empty:
            raise ValueError(
                f"No threshold has a {kept} of {least:g} on these rows; the most is "
                f"{curve.loc[curve['recall'] > 0, kept].max():.3f}."
            )
        chosen[f"{kept} >= {least:g}"] = enough.loc[enough[other].idxmax()]
    return chosen


def _print(chosen: dict[str, Any]) -> None:
    print(f"{'':<20}" + "".join(f"{name:>14}" for name in COLUMNS))
    for name, row in chosen.items():
        print(f"{name:<20}" + "".join(f"{row[column]:>14.3f}" for column in COLUMNS))
