"""The arguments of every command. Nothing here takes time to import."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import Any

from sklearn_logprob.cli._options import (
    add_asking,
    add_backend,
    add_common,
    add_labelled,
    add_labels,
    add_max_cost,
    add_model,
    add_texts,
    count,
)

__all__ = ["make_parser"]

EPILOG = """\
exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong arguments,
130 interrupted. Tables are .csv, .tsv, .jsonl, .ndjson or .parquet; "-" is a pipe.
"""

COMMANDS = {
    "demo": "classify movie reviews with the embedded model, and draw the results",
    "fit": "learn from labelled rows, and save the classifier as JSON",
    "predict": "classify the rows of a table, of any size",
    "evaluate": "score a classifier on labelled rows",
    "thresholds": "precision, recall and cost at every threshold",
    "explore": "write the operating-point page, an HTML file",
    "stability": "ask in several wordings, and compare",
    "backends": "who can answer: what is installed and reachable",
    "cache": "where answers are kept: path, size, prune, clear",
}


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Returns
    -------
    parser : argparse.ArgumentParser
        Its result has the name of the command as ``command``.
    """
    parser = argparse.ArgumentParser(
        prog="sklearn-logprob",
        description="Language models as calibrated, tunable classifiers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("sklearn-logprob"))
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
        )
        ARGUMENTS[name](command)
    return parser


def _demo(command: Any) -> None:
    command.add_argument(
        "--backend",
        default="llama-cpp",
        help="who answers: llama-cpp (default), llama-cpp:PATH.gguf, openai:MODEL",
    )
    command.add_argument(
        "--output",
        default="demo-output",
        help="folder for the pictures (default: %(default)s)",
    )


def _fit(command: Any) -> None:
    command.add_argument(
        "input",
        nargs="?",
        help="labelled rows; none with --class: zero-shot, nothing is learnt",
    )
    command.add_argument(
        "--output", default="model.json", help="the classifier (default: %(default)s)"
    )
    add_texts(command, "text")
    add_labels(command)
    add_asking(command)
    command.add_argument(
        "--prompt",
        help="template such as 'Review: {text} Sentiment:', the name of a style such as "
        "question, or @FILE with a template (default: the style instruction)",
    )
    command.add_argument(
        "--word",
        action="append",
        metavar="CLASS=WORD",
        help="what the model calls a class, such as rotten=negative; repeat it",
    )
    command.add_argument(
        "--class",
        action="append",
        dest="classes",
        metavar="CLASS",
        help="one of all classes, if the rows lack some; repeat it",
    )
    command.add_argument(
        "--calibrator",
        default="auto",
        help="auto (default), temperature, sigmoid, vector, matrix, isotonic or none",
    )
    command.add_argument(
        "--readout",
        default="auto",
        help="what answers are read for: labels, tokens or auto (default: as far as "
        "tokens help)",
    )
    command.add_argument(
        "--threshold",
        help="a probability, a metric such as f1 or balanced_accuracy, 'precision>=0.9' "
        "or 'recall>=0.9'; chosen out of fold (default: the likeliest class)",
    )
    command.add_argument(
        "--confidence",
        type=float,
        help="how surely precision>= or recall>= holds for new rows, such as 0.95",
    )
    command.add_argument(
        "--pos-label", metavar="CLASS", help="the class that --threshold is about"
    )
    command.add_argument(
        "--seed", type=int, default=0, help="of the folds (default: %(default)s)"
    )
    add_backend(command)
    add_common(command)


def _predict(command: Any) -> None:
    add_model(command)
    command.add_argument("input", help="rows to classify; - reads a pipe")
    command.add_argument(
        "--output",
        default="-",
        help="where to write the rows, with the columns 'prediction' and "
        "'probability_CLASS' added (default: -, to standard output)",
    )
    add_texts(command)
    command.add_argument(
        "--threshold", type=float, help="decide by this probability instead (two classes)"
    )
    command.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        default=1000,
        help="rows that are in memory at the same time (default: %(default)s)",
    )
    add_asking(command)
    add_common(command)


def _evaluate(command: Any) -> None:
    add_model(command)
    add_labelled(command)
    command.add_argument("--json", action="store_true", help="print JSON")
    add_asking(command)
    add_common(command)


def _thresholds(command: Any) -> None:
    add_model(command)
    add_labelled(command)
    command.add_argument("--output", help="table for the whole curve")
    command.add_argument(
        "--pos-label",
        metavar="CLASS",
        help="the class that the threshold is about (default: the classifier's, of two)",
    )
    command.add_argument(
        "--precision", type=float, help="also show the best threshold with this precision"
    )
    command.add_argument(
        "--recall", type=float, help="also show the best threshold with this recall"
    )
    for side in ("fp", "fn"):
        what = {"fp": "positive", "fn": "negative"}[side]
        command.add_argument(
            f"--cost-{side}",
            type=float,
            default=1.0,
            help=f"cost of a false {what} (default: %(default)s)",
        )
    add_asking(command)
    add_common(command)


def _explore(command: Any) -> None:
    add_model(command)
    add_labelled(command)
    command.add_argument(
        "--output",
        default="operating_point.html",
        help="the page (default: %(default)s)",
    )
    command.add_argument(
        "--out-of-fold",
        action="store_true",
        help="for rows that fit has seen: calibrate anew, each row by others",
    )
    add_asking(command)
    add_common(command)


def _stability(command: Any) -> None:
    command.add_argument("input", help="labelled rows; - reads a pipe")
    command.add_argument("--output", help="table: a row for each text in each wording")
    add_texts(command, "text")
    add_labels(command)
    command.add_argument(
        "--backend",
        action="append",
        help="who is asked, as in fit; repeat it for several (default: llama-cpp)",
    )
    command.add_argument(
        "--style", action="append", help="a prompt by name; repeat it (default: all nine)"
    )
    command.add_argument(
        "--label-style",
        action="append",
        metavar="STYLE",
        help="lower, given or verbose; repeat it (default: all)",
    )
    command.add_argument(
        "--word",
        action="append",
        metavar="CLASS=WORD",
        help="what the model calls a class; repeat it",
    )
    command.add_argument(
        "--seed", type=int, default=0, help="of the folds (default: %(default)s)"
    )
    add_max_cost(command)
    add_common(command)


def _backends(command: Any) -> None:
    command.add_argument(
        "--probe", metavar="MODEL", help="ask this one a question, such as openai:gpt-5.1"
    )


def _cache(command: Any) -> None:
    command.add_argument(
        "action", choices=["path", "size", "prune", "clear"], help="what to do"
    )
    command.add_argument("--cache", metavar="FOLDER", help="which (default: the user's)")
    command.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="of prune: answers that came longer ago than this are thrown away",
    )
    command.add_argument(
        "--yes", action="store_true", help="of clear: throw all answers away"
    )


ARGUMENTS = {
    "demo": _demo,
    "fit": _fit,
    "predict": _predict,
    "evaluate": _evaluate,
    "thresholds": _thresholds,
    "explore": _explore,
    "stability": _stability,
    "backends": _backends,
    "cache": _cache,
}
