"""``sklearn-logprob fit``: learn from labelled rows, save as JSON."""

from __future__ import annotations

import re
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_logprob._private_files import check_folder
from sklearn_logprob.backends import make_backend
from sklearn_logprob.classifier import LogprobClassifier
from sklearn_logprob.cli._models import (
    cache_of,
    limit_cost,
    parse_options,
    parse_pairs,
    said_usage,
    set_options,
    show_plan,
    verbosity,
)
from sklearn_logprob.cli._rows import labelled
from sklearn_logprob.cli._tables import Table
from sklearn_logprob.operating_points import PrecisionAtLeast, RecallAtLeast

__all__ = ["run"]

FEW = 10  # rows that may well be of as many classes
TARGETS: dict[str, Any] = {"precision": PrecisionAtLeast, "recall": RecallAtLeast}


def run(arguments: Namespace) -> None:
    """Fit, report and save.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    check_folder(arguments.output)
    clf = _classifier(arguments)
    X, y = _rows(arguments)
    if arguments.dry_run:
        show_plan([clf.requests(X, y)], (y or []).__len__)
        return
    clf.fit(X, y)
    limit_cost(clf.backend_, None)  # it was one of this run
    _tell(clf, y)
    clf.to_json(arguments.output)  # with the report, which was computed to be shown
    print(f"{said_usage(clf.usage_)}\nwrote {arguments.output}")


def _classifier(arguments: Namespace) -> Any:
    backend = make_backend(arguments.backend)
    set_options(backend, parse_options(arguments.backend_option))
    limit_cost(backend, arguments.max_cost)
    prompt = arguments.prompt
    if prompt is not None and prompt.startswith("@"):
        # editors end a file with a line break, which is no part of the prompt
        prompt = Path(prompt[1:]).read_text(encoding="utf-8").removesuffix("\n")
    return LogprobClassifier(
        backend,
        prompt=prompt,
        verbalizer=parse_pairs(arguments.word, "--word") or None,
        classes=arguments.classes,
        calibrator=None if arguments.calibrator == "none" else arguments.calibrator,
        readout=arguments.readout,
        threshold=_threshold(arguments.threshold, arguments.confidence),
        pos_label=arguments.pos_label,
        on_error=arguments.on_error,
        cache=cache_of(arguments),
        verbose=verbosity(arguments),
        random_state=arguments.seed,
    )


def _threshold(text: str | None, confidence: float | None) -> Any:
    """Read a number, the name of a metric, or a target."""
    target = re.fullmatch(r"(precision|recall)\s*>=\s*([\d.]+)", text or "")
    if target:
        return TARGETS[target[1]](float(target[2]), confidence=confidence)
    if confidence is not None:
        raise ValueError(
            "--confidence goes with --threshold 'precision>=0.9' or 'recall>=0.9'. Got "
            f"{text!r}."
        )
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _rows(arguments: Namespace) -> tuple[Any, list[str] | None]:
    if arguments.input is None:
        if not arguments.classes:
            raise ValueError(
                "fit needs a table with labelled rows, or --class for a classifier "
                "that has learnt nothing."
            )
        return None, None
    table = Table.of(arguments.input, arguments.format)
    text = arguments.text or ["text"]
    X, y = labelled(table, text, arguments, frame=len(text) > 1)
    classes = sorted({*y, *(arguments.classes or ())})
    if len(classes) > FEW and len(classes) == len(y):
        raise ValueError(
            f"Column {arguments.label!r} of {table} has another class in every row. Say "
            "which column has the classes with --label."
        )
    if len(classes) == 1:
        raise ValueError(
            f"Column {arguments.label!r} of {table} holds the class {classes[0]!r} only: "
            "there is nothing to tell apart. Add rows of another class, or name all "
            "with --class."
        )
    return X, y


def _tell(clf: Any, y: list[str] | None) -> None:
    """Print what was learnt."""
    if y is None:
        print(f"nothing learnt; the classes are {', '.join(map(str, clf.classes_))}")
        return
    counts = Counter(y)
    shares = ", ".join(f"{counts[str(label)]} {label}" for label in clf.classes_)
    print(f"{len(y)} rows: {shares}")
    said = ", ".join(repr(token) for token in clf.other_tokens_["token"][:5].tolist())
    print(
        f"the labels hold {clf.label_mass_:.0%} of the model's probability (median)"
        + (f"; it would also say {said}" if said else "")
    )
    if clf.threshold_ is not None and clf.threshold is not None:
        positive = str(clf.classes_[clf._head.decisions.order[-1]])
        about = f" of {positive!r}" if len(clf.classes_) == 2 else "s"
        print(f"threshold{about}: {np.round(clf.threshold_, 3)}")
    try:
        print(f"\n{clf.report_}\n")
    except ValueError as error:  # too few rows to hold some out
        print(f"no report: {error}")
