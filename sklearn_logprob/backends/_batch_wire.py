"""What the batch endpoints of all providers are asked with, and what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, NamedTuple

__all__ = ["SENDING", "Look", "Result", "check_mode", "json_lines", "moment"]

MODES = ("live", "batch")

SENDING = 600.0  # seconds that sending requests or fetching results may take


def check_mode(backend: Any, *unused: str) -> None:
    """Refuse parameters that a batch has no use for.

    Parameters
    ----------
    backend : Backend
        With `mode` and limits.
    *unused : str
        Names of further parameters that must be None in a batch.

    Raises
    ------
    ValueError
        If the mode is unknown, or another parameter does not go with it.

    Examples
    --------
    >>> from sklearn_logprob import OpenAIBackend
    >>> from sklearn_logprob.backends._batch_wire import check_mode
    >>> check_mode(OpenAIBackend(mode="batch"))  # nothing to say
    """
    name = type(backend).__name__
    if backend.mode not in MODES:
        raise ValueError(
            f"The 'mode' parameter of {name} must be 'live' or 'batch'. Got "
            f"{backend.mode!r} instead."
        )
    for limit in ("requests_per_minute", "tokens_per_minute", *unused):
        if backend.mode == "batch" and getattr(backend, limit) is not None:
            raise ValueError(
                f"The {limit!r} parameter of {name} must be None with mode='batch', "
                "whose pace and address are the provider's. Got "
                f"{getattr(backend, limit)!r} instead."
            )


class Look(NamedTuple):
    """A job as its provider shows it.

    Parameters
    ----------
    status : str
        In the provider's word.
    ended : bool
        Whether nothing more will come.
    done : str, default=""
        How many of its requests are done, where that is told.
    why : str, default=""
        What the provider says about it.
    failed : str, default=""
        What follows for the user where it did nothing at all; else "".
    results : object, default=None
        What leads to its results.

    Examples
    --------
    >>> from sklearn_logprob.backends._batch_wire import Look
    >>> Look("in_progress", False, "3 of 6").ended
    False
    """

    status: str
    ended: bool
    done: str = ""
    why: str = ""
    failed: str = ""
    results: Any = None


class Result(NamedTuple):
    """What a job says about one request.

    Parameters
    ----------
    name : object
        Of the request; not a text where the provider lost it.
    good : bool
        Whether it is an answer, and no error.
    line : dict
        All of it.

    Examples
    --------
    >>> from sklearn_logprob.backends._batch_wire import Result
    >>> Result("abc", True, {"custom_id": "abc"}).good
    True
    """

    name: object
    good: bool
    line: dict[str, Any]


def json_lines(content: bytes) -> Iterator[dict[str, Any]]:
    r"""Read the JSON objects of a file of lines.

    Parameters
    ----------
    content : bytes
        The file.

    Yields
    ------
    line : dict
        Each object. What is none, or is cut off, is left out: it counts as not answered.

    Examples
    --------
    >>> from sklearn_logprob.backends._batch_wire import json_lines
    >>> list(json_lines(b'{"a": 1}\n7\n\n{"a": 2'))
    [{'a': 1}]
    """
    for text in content.splitlines():
        line = None
        with suppress(ValueError, RecursionError):
            line = json.loads(text)
        if isinstance(line, dict):
            yield line


def moment(text: str) -> float:
    """Read a time in UTC, such as 2026-11-22T09:00:00.123Z.

    Parameters
    ----------
    text : str
        As RFC 3339 writes it.

    Returns
    -------
    seconds : float
        Whole ones, since 1970.

    Examples
    --------
    >>> from sklearn_logprob.backends._batch_wire import moment
    >>> moment("1970-01-02T00:00:01.123456789Z")
    86401.0
    """
    read = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
    return read.replace(tzinfo=timezone.utc).timestamp()
