"""``sklearn-logprob evaluate``: scores of a classifier on labelled rows."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from sklearn_logprob._inputs import read_rows, seen_rows
from sklearn_logprob._resampling import (
    Resamples,
    Score,
    area_under_curve,
    calibration_error,
    mean_of,
    metric_of,
)
from sklearn_logprob._types import Floats
from sklearn_logprob.cli._models import load, said_usage, show_plan, text_columns
from sklearn_logprob.cli._rows import labelled
from sklearn_logprob.cli._tables import Table
from sklearn_logprob.metrics import calibration_noise_floor

__all__ = ["codes_of", "held_out_scores", "judged_rows", "run"]

N_BINS = 15
N_RESAMPLES = 1000
CONFIDENCE = 0.95
METRICS = ("accuracy", "balanced_accuracy", "f1_macro")


def run(arguments: Namespace) -> None:
    """Ask about the rows, and print scores with intervals.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    clf = load(arguments)
    X, codes = judged_rows(clf, arguments)
    if arguments.dry_run:
        show_plan([clf.requests(X)], codes.__len__)
        return
    [(labels, P)] = clf.predict_batches([X], ("predict", "predict_proba"))
    answered = ~np.isnan(P).any(axis=1)
    if not answered.any():
        raise ValueError("No row got an answer.")
    P, codes = P[answered], codes[answered]
    decided = codes_of(clf, labels[answered].tolist(), "the prediction")
    scores = held_out_scores(P, codes, decided)
    confusion = confusion_matrix(codes, decided, labels=np.arange(len(clf.classes_)))
    seen = seen_rows(read_rows(X, clf, reset=False), clf)
    about = {
        "rows": len(codes),
        "without_answer": int((~answered).sum()),
        "seen_in_fit": None if seen is None else int(seen.sum()),
        "classes": [str(label) for label in clf.classes_],
    }
    if arguments.json:
        found = {name: score._asdict() for name, score in scores.items()}
        told = {**about, "scores": found, "confusion": confusion.tolist()}
        print(json.dumps(_without_nan(told), indent=1))
        return
    _print(about, scores, confusion)
    print(f"\n{said_usage(clf.usage_)}")


def judged_rows(clf: Any, arguments: Namespace) -> tuple[Any, NDArray[np.intp]]:
    """Read labelled rows for a classifier that is fitted.

    Parameters
    ----------
    clf : LogprobClassifier
        Fitted.
    arguments : Namespace
        What `_parser` gives.

    Returns
    -------
    X : Texts or pandas.DataFrame
        The texts.
    codes : ndarray of int
        Positions in ``clf.classes_``.
    """
    table = Table.of(arguments.input, arguments.format)
    text = text_columns(clf, arguments.text)
    frame = hasattr(clf, "feature_names_in_")
    X, y = labelled(table, text, arguments, frame=frame)
    return X, codes_of(clf, y, f"column {arguments.label!r} of {table}")


def codes_of(clf: Any, labels: list[Any], whose: str) -> NDArray[np.intp]:
    """Turn classes, as text, into positions.

    Parameters
    ----------
    clf : LogprobClassifier
        Fitted.
    labels : list
        Classes.
    whose : str
        Where they are from.

    Returns
    -------
    codes : ndarray of int
        Positions in ``clf.classes_``.

    Raises
    ------
    ValueError
        If the classifier does not know one.
    """
    known = {str(label): code for code, label in enumerate(clf.classes_)}
    strange = sorted({str(label) for label in labels} - known.keys())
    if strange:
        raise ValueError(
            f"The classifier knows the classes {', '.join(map(repr, known))}, and "
            f"{whose} holds {', '.join(map(repr, strange[:5]))} too. Take these rows "
            "out, or fit with them."
        )
    return np.array([known[str(label)] for label in labels], dtype=np.intp)


def held_out_scores(
    P: Floats, codes: NDArray[np.intp], decided: NDArray[np.intp]
) -> dict[str, Score]:
    """Score probabilities and decisions, with bootstrap intervals.

    Parameters
    ----------
    P : ndarray of shape (n, n_classes)
        Probabilities.
    codes, decided : ndarray of int of shape (n,)
        True and predicted classes.

    Returns
    -------
    scores : dict of str to Score
        As in a `Report`; of rows that nothing was learnt from.
    """
    rng = np.random.default_rng(0)
    resamples = Resamples(len(codes), N_RESAMPLES, CONFIDENCE, rng)
    n_classes = P.shape[1]
    distance = ((P - np.eye(n_classes)[codes]) ** 2).sum(axis=1)
    with np.errstate(divide="ignore"):
        loss = -np.log(P[np.arange(len(P)), codes])
    statistics = {
        **{name: metric_of(name, codes, decided, n_classes) for name in METRICS},
        "log_loss": mean_of(loss),
        "brier_score": mean_of(distance / 2 if n_classes == 2 else distance),
        "roc_auc": area_under_curve(codes, P),
        "calibration_error": calibration_error(codes, P, N_BINS),
    }
    scores = {name: resamples.score(each) for name, each in statistics.items()}
    floor = calibration_noise_floor(P, N_BINS, debiased=True, random_state=0)
    return {**scores, "noise_floor": Score(floor)}


def _print(about: dict[str, Any], scores: dict[str, Score], confusion: Any) -> None:
    print(f"{about['rows']} rows, {len(about['classes'])} classes")
    if about["without_answer"]:
        print(f"{about['without_answer']} rows without an answer are left out")
    if about["seen_in_fit"]:
        print(f"fit has seen {about['seen_in_fit']} of these rows: the scores flatter")
    print(f"\n{'':<20}value   {CONFIDENCE:.0%} interval")
    for name, (value, low, high) in scores.items():
        interval = "" if np.isnan(low) else f"   [{low:.3f}, {high:.3f}]"
        print(f"{name:<18}{value:>7.3f}{interval}")
    names = about["classes"]
    width = max(map(len, names)) + 2
    cells = max(width, 8)
    print(f"\n{'true':<{width}}" + "".join(f"{name:>{cells}}" for name in names))
    for name, row in zip(names, confusion.tolist(), strict=True):
        print(f"{name:<{width}}" + "".join(f"{count:>{cells}}" for count in row))


def _without_nan(value: Any) -> Any:
    """Put None in the place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
