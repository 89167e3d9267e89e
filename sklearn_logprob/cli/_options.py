"""Arguments that several commands have."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

__all__ = [
    "add_asking",
    "add_backend",
    "add_common",
    "add_labelled",
    "add_labels",
    "add_max_cost",
    "add_model",
    "add_texts",
    "count",
]


def count(text: str) -> int:
    """Read a number of rows.

    Parameters
    ----------
    text : str
        What the user wrote.

    Returns
    -------
    count : int
        1 or more.

    Raises
    ------
    ArgumentTypeError
        For anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"must be a number of 1 or more, and is {text!r}")
    return int(text)


def add_model(command: Any) -> None:
    """Add the saved classifier, and who answers in place of its own.

    Parameters
    ----------
    command : argparse.ArgumentParser
        What to add them to.
    """
    command.add_argument("model", help="what fit saved, such as model.json")
    command.add_argument(
        "--backend",
        help="the same model at another address (default: the one in the file, which "
        "names the server that the texts go to)",
    )


def add_labelled(command: Any) -> None:
    """Add a table of labelled rows.

    Parameters
    ----------
    command : argparse.ArgumentParser
        What to add them to.
    """
    command.add_argument("input", help="labelled rows; - reads a pipe")
    add_texts(command)
    add_labels(command)


def add_texts(command: Any, default: str = "as in fit") -> None:
    """Add the columns of texts.

    Parameters
    ----------
    command : argparse.ArgumentParser
        What to add them to.
    default : str, default="as in fit"
        What is said to hold otherwise.
    """
    command.add_argument(
        "--text",
        action="append",
        metavar="COLUMN",
        help="column with the texts; repeat it for a template with the names of several "
        f"columns (default: {default})",
    )


def add_labels(command: Any) -> None:
    """Add the column of classes.

    Parameters
    ----------
    command : argparse.ArgumentParser
        What to add them to.
    """
    command.add_argument(
        "--label",
        default="label",
        metavar="COLUMN",
        help="column with the classes (default: %(default)s)",
    )


def add_backend(command: Any) -> None:
    """Add who answers.

    Parameters
    ----------
    command : argparse.ArgumentParser
        What to add them to.
    """
    command.add_argument(
        "--backend",
        default="llama-cpp",
        help="who answers, such as openai:gpt-4.1-mini; sklearn-logprob backends lists "
        "them (default: %(default)s)",
    )


def add_asking(command: Any) -> None:
    """Add how it is asked.

    Parameters
    ----------
    command : argparse.ArgumentParser
        What to add them to.
    """
    command.add_argument(
        "--backend-option",
        action="append",
        metavar="NAME=VALUE",
        help="parameter of the backend, such as max_concurrency=32 or "
        "price=[0.4,0.1,1.6], US dollars a million tokens; repeat it",
    )
    add_max_cost(command)
    command.add_argument(
        "--on-error",
        choices=["raise", "nan"],
        default="raise",
        help="rows that are empty, refused or too long: stop, or leave them blank "
        "(default: %(default)s)",
    )


def add_max_cost(command: Any) -> None:
    """Add what may be spent.

    Parameters
    ----------
    command : argparse.ArgumentParser
        What to add them to.
    """
    command.add_argument(
        "--max-cost",
        type=float,
        metavar="DOLLARS",
        help="stop before more than this is spent",
    )


def add_common(command: Any) -> None:
    """Add what every command that reads a table has.

    Parameters
    ----------
    command : argparse.ArgumentParser
        What to add them to.
    """
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="print how many requests it takes and what they cost; send nothing",
    )
    command.add_argument("--limit", type=count, metavar="N", help="first N rows only")
    command.add_argument(
        "--format",
        choices=["csv", "tsv", "jsonl", "parquet"],
        help="of pipes and of files whose name does not tell (default: csv)",
    )
    command.add_argument(
        "--cache", metavar="FOLDER", help="where answers are kept (default: the user's)"
    )
    command.add_argument("--no-cache", action="store_true", help="keep no answers")
    command.add_argument(
        "--progress",
        choices=["auto", "always", "never"],
        default="auto",
        help="bar on stderr; auto: in a terminal, after two seconds",
    )
