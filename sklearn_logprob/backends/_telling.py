"""What a backend is waiting for, told to whoever shows progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["tell", "telling"]

_log = logging.getLogger("sklearn_logprob")
_show: ContextVar[Callable[[str], Any] | None] = ContextVar("show", default=None)


def tell(text: str) -> None:
    """Say what is going on: beside the progress bar, and in the log at level INFO.

    Parameters
    ----------
    text : str
        A few words.

    Examples
    --------
    >>> from sklearn_logprob.backends._telling import tell, telling
    >>> with telling(print):
    ...     tell("2 of 3 jobs are done")
    2 of 3 jobs are done
    """
    _log.info(text)
    show = _show.get()
    if show is not None:
        show(text)


@contextmanager
def telling(show: Callable[[str], Any]) -> Iterator[None]:
    """Hear what backends tell in this block.

    Parameters
    ----------
    show : callable
        Called with each text.

    Examples
    --------
    >>> from sklearn_logprob.backends._telling import tell, telling
    >>> heard = []
    >>> with telling(heard.append):
    ...     tell("waiting")
    >>> heard
    ['waiting']
    """
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)
