"""The command line: ``sklearn-logprob COMMAND``, a module a command."""

from __future__ import annotations

import os
import sqlite3
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from sklearn_logprob._errors import LogprobError
from sklearn_logprob.cli._parser import make_parser

__all__ = ["FAILED", "INTERRUPTED", "main"]

FAILED = 1
INTERRUPTED = 130  # 128 and the number of the signal, as shells count it

EXPECTED = (LogprobError, OSError, ImportError, ValueError, TypeError, sqlite3.Error)
"""What is the input's, the model's or the machine's doing: told in one line."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None reads those of the process.

    Raises
    ------
    SystemExit
        With 1 for a failure, 2 for arguments that are none, 130 after an interrupt.
    """
    arguments = make_parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other packages' are for programmers
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning
        try:
            command = import_module(f"{__name__}.{arguments.command}")
            command.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            # the reader of our output has left; Python would complain once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        except KeyboardInterrupt:
            _tell(
                "interrupted. Answers that had come are in the cache, so that the same "
                "command goes on from there."
            )
            sys.exit(INTERRUPTED)
        except EXPECTED as error:
            _tell(f"error: {_message(error)}")
            sys.exit(FAILED)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _show_warning(
    message: Any, category: type[Warning], *_: object, **__: object
) -> None:
    # packages add filters as they are imported, scikit-learn one that shows its own
    if issubclass(category, UserWarning):
        _tell(f"warning: {message}")


def _tell(text: str) -> None:
    print(f"sklearn-logprob: {' '.join(text.split())}", file=sys.stderr)
