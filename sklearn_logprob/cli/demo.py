"""``sklearn-logprob demo``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from sklearn_logprob.demo import run_demo

__all__ = ["run"]


def run(arguments: Namespace) -> None:
    """Run the demo.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    run_demo(arguments.backend, Path(arguments.output))
