"""Requests in, answers out: each distinct request is sent once, ever."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import fields
from hashlib import sha256
from typing import Any, Literal

from tqdm import tqdm

from sklearn_logprob._errors import BackendError, PromptTooLongError
from sklearn_logprob._types import Answer, Backend, Request, Usage
from sklearn_logprob.cache import Cache

__all__ = ["backend_key", "collect", "request_key", "request_keys"]

FORMAT = 1
"""Enters every key: raise it when an old answer would be read wrongly."""

CHUNK = 256
"""Requests sent under one lock, between which another process may take its turn."""

SHOW_AFTER = 2.0
"""Seconds of work after which ``verbose="auto"`` shows a progress bar."""

_REQUEST_FIELDS = [field.name for field in fields(Request)]
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def collect(
    backend: Backend,
    requests: Sequence[Request],
    cache: Cache | None,
    *,
    usage: Usage,
    verbose: Literal["auto"] | int = "auto",
) -> list[Answer]:
    """Answer requests from the cache, and the rest from the model.

    Equal requests are asked once. Every answer is stored the moment it arrives, so an
    error, an interrupt or a kill loses nothing that was paid for. Processes and threads
    that share the cache wait for each other instead of asking the same thing twice.

    Parameters
    ----------
    backend : Backend
        The model. Where it has a method ``check(requests)``, that sees everything to
        be sent before the first call.
    requests : sequence of Request, length n
        What to ask; the position of a request is the row of X that errors name.
    cache : Cache or None
        Where answers are kept; None asks everything anew.
    usage : Usage
        Counts what is spent, in place.
    verbose : "auto", bool or int, default="auto"
        Whether to show progress on stderr: "auto" shows it in a terminal when the work
        takes more than 2 seconds, a true value always, a false one never.

    Returns
    -------
    answers : list of Answer, length n
        One for each request, in their order.

    Raises
    ------
    BackendError
        If the model could not answer. What it did answer is stored.
    PromptTooLongError
        If a prompt does not fit into the model's context; names the row of X.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, Request, Usage
    >>> from sklearn_logprob.collect import collect
    >>> request = Request((("prompt", "Say yes or no:"),), choices=(" no", " yes"))
    >>> usage = Usage()
    >>> answers = collect(FakeBackend(), [request] * 3, None, usage=usage)
    >>> len(answers), usage.requests
    (3, 1)
    """
    rows: dict[Request, int] = {}  # each distinct request and its first row
    for row, request in enumerate(requests):
        rows.setdefault(request, row)
    with nullcontext() if cache is None else closing(cache):
        answers = _answer_distinct(backend, rows, cache, usage, verbose)
    return [answers[request] for request in requests]


def backend_key(backend: Backend) -> str:
    """Hash what all answers of a backend depend on.

    Parameters
    ----------
    backend : Backend
        The model.

    Returns
    -------
    key : str
        SHA-256 in hexadecimal.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend
    >>> from sklearn_logprob.collect import backend_key
    >>> backend_key(FakeBackend()) == backend_key(FakeBackend())
    True
    """
    return sha256(_identity(backend).encode()).hexdigest()


def request_key(backend: Backend, request: Request) -> str:
    """Hash what an answer depends on: the backend's identity and the request.

    Parameters
    ----------
    backend : Backend
        The model.
    request : Request
        The question.

    Returns
    -------
    key : str
        SHA-256 in hexadecimal; the prompt cannot be read from it.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, Request
    >>> from sklearn_logprob.collect import request_key
    >>> len(request_key(FakeBackend(), Request((("prompt", "Yes or no?"),))))
    64
    """
    return request_keys(backend, [request])[0]


def request_keys(backend: Backend, requests: Iterable[Request]) -> list[str]:
    """Hash many requests, with the backend's identity read once.

    Parameters
    ----------
    backend : Backend
        The model.
    requests : iterable of Request
        The questions.

    Returns
    -------
    keys : list of str
        What `request_key` gives for each.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, Request
    >>> from sklearn_logprob.collect import request_key, request_keys
    >>> request = Request((("prompt", "Yes or no?"),))
    >>> request_keys(FakeBackend(), [request]) == [request_key(FakeBackend(), request)]
    True
    """
    # the canonical JSON of [version, class, identity, request], its start hashed once
    start = sha256(_identity(backend)[:-1].encode())
    keys = []
    for request in requests:
        digest = start.copy()
        content = {name: getattr(request, name) for name in _REQUEST_FIELDS}
        digest.update(f",{_canonical(content)}]".encode())
        keys.append(digest.hexdigest())
    return keys


def _identity(backend: Backend) -> str:
    return _canonical([FORMAT, type(backend).__name__, dict(backend.answer_identity())])


def _answer_distinct(
    backend: Backend,
    rows: Mapping[Request, int],
    cache: Cache | None,
    usage: Usage,
    verbose: Literal["auto"] | int,
) -> dict[Request, Answer]:
    """Look every request up, and send what is missing in chunks, each under a lock."""
    keys: dict[Request, str] = {}
    lock: Any = nullcontext()
    if cache is not None:
        keys = dict(zip(rows, request_keys(backend, rows), strict=True))
        lock = cache.lock(backend_key(backend))

    answers = _look_up(cache, keys, rows)
    usage.cache_hits += len(answers)
    missing = [request for request in rows if request not in answers]
    if not missing:
        return answers

    check = getattr(backend, "check", None)
    if check is not None:
        with _naming_rows(missing, rows):
            check(missing)

    with _progress(len(missing), verbose) as bar:
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            with lock:
                # another process may have answered while this one waited
                found = _look_up(cache, keys, chunk)
                answers.update(found)
                usage.cache_hits += len(found)
                bar.update(len(found))
                to_send = [request for request in chunk if request not in found]
                for request, answer in _ask(backend, to_send, rows):
                    if cache is not None:
                        cache.set(keys[request], answer)
                    answers[request] = answer
                    usage.add_sent(answer.usage)
                    bar.update()
    return answers


def _look_up(
    cache: Cache | None, keys: Mapping[Request, str], requests: Iterable[Request]
) -> dict[Request, Answer]:
    """Give the answers that the cache has."""
    if cache is None:
        return {}
    found = ((request, cache.get(keys[request])) for request in requests)
    return {request: answer for request, answer in found if answer is not None}


def _ask(
    backend: Backend, requests: Sequence[Request], rows: Mapping[Request, int]
) -> Iterator[tuple[Request, Answer]]:
    """Ask the model, and insist on an answer to everything."""
    if not requests:
        return
    waiting = set(range(len(requests)))
    with _naming_rows(requests, rows):
        for index, answer in backend.answer(requests):
            waiting.discard(index)
            yield requests[index], answer
    if waiting:
        raise BackendError(
            f"{type(backend).__name__} answered {len(requests) - len(waiting)} of "
            f"{len(requests)} requests and gave no error. Its method answer() must "
            "yield every index."
        )


@contextmanager
def _naming_rows(
    requests: Sequence[Request], rows: Mapping[Request, int]
) -> Iterator[None]:
    """Tell the user of rows of X where a backend speaks of requests."""
    try:
        yield
    except PromptTooLongError as error:
        raise error.for_row(rows[requests[error.index]]) from None


def _progress(total: int, verbose: Literal["auto"] | int) -> Any:
    if verbose == "auto":  # tqdm's disable=None: only in a terminal
        return tqdm(total=total, unit="row", disable=None, delay=SHOW_AFTER)
    return tqdm(total=total, unit="row", disable=not verbose)
