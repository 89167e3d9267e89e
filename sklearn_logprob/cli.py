"""The command line: ``sklearn-logprob demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sklearn_logprob import __version__
from sklearn_logprob._errors import LogprobError
from sklearn_logprob.demo import run_demo

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None reads those of the process.
    """
    arguments = _parser().parse_args(argv)
    try:
        run_demo(arguments.backend, Path(arguments.output))
    except (LogprobError, OSError, ImportError, ValueError) as error:
        sys.exit(f"sklearn-logprob: {error}")
    except KeyboardInterrupt:
        sys.exit("\nsklearn-logprob: interrupted; answers so far are in the cache.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sklearn-logprob",
        description="Language models as calibrated, tunable classifiers.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="classify movie reviews with the embedded model, and draw the results",
        description="Compares three prompt templates on 200 labelled movie reviews, "
        "calibrates and tunes the best, and reports on 300 others.",
    )
    demo.add_argument(
        "--backend",
        default="llama-cpp",
        help="who answers: llama-cpp (default), llama-cpp:PATH.gguf, openai:MODEL",
    )
    demo.add_argument(
        "--output",
        default="demo-output",
        help="folder for the pictures (default: %(default)s)",
    )
    return parser
