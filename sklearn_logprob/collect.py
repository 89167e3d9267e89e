"""Requests in, answers out: each distinct request is sent once, ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import fields
from hashlib import sha256
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter
from typing import Any, Literal

from sklearn_logprob._errors import BackendError, RowError
from sklearn_logprob._garbage import garbage_again
from sklearn_logprob._spreading import AnswerAll, answering, at_once, count_workers
from sklearn_logprob._types import Backend, Outcome, Request, TokenUsage, Usage
from sklearn_logprob.backends._telling import telling
from sklearn_logprob.cache import Cache

__all__ = ["backend_key", "collect", "request_key", "request_keys"]

FORMAT = 1
"""Enters every key: raise it when an old answer would be read wrongly."""

SHOW_AFTER = 2.0
"""Seconds of work after which ``verbose="auto"`` shows a progress bar."""

OTHERWISE = "With on_error='nan', rows that fail become NaN and the others go on."

_FIELDS = [(field.name, field.default) for field in fields(Request)]
_rest = attrgetter(*(name for name, _ in _FIELDS if name != "messages"))
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def collect(
    backend: Backend,
    requests: Sequence[Request],
    cache: Cache | None,
    *,
    usage: Usage,
    verbose: Literal["auto"] | int = "auto",
    on_error: Literal["raise", "nan"] = "raise",
    per_row: int = 1,
) -> list[Outcome]:
    """Answer requests from the cache, and the rest from the model.

    Equal requests are asked once. Every answer is stored the moment it arrives, so an
    error, an interrupt or a kill loses nothing that was paid for. Processes and threads
    that share the cache wait for each other instead of asking the same thing twice.
    Under ``joblib.parallel_config`` its workers ask, and this process stores.

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
    on_error : {"raise", "nan"}, default="raise"
        What to do about a request that fails for a reason of its own. "raise" ends the
        work, after the requests that were sent together with it; "nan" goes on, and
        gives the error in place of the answer.
    per_row : int, default=1
        How many of the requests, one after the other, belong to one row of X.

    Returns
    -------
    outcomes : list of Answer or RowError, length n
        One for each request, in their order.

    Raises
    ------
    BackendError
        If the model could not answer. What it did answer is stored.
    RowError
        With ``on_error="raise"``, the first failure of a request of its own, such as a
        prompt that is too long; names the row of X.

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
    names: Sequence[Hashable]
    names = requests if cache is None else request_keys(backend, requests)
    distinct = dict(zip(names, requests, strict=True))
    numbers = dict(zip(distinct, range(len(distinct)), strict=True))
    order = [numbers[name] for name in names]

    def row_of(number: int) -> int:
        return order.index(number, number) // per_row  # no earlier than so many others

    strict = on_error == "raise"
    work = _Work(backend, distinct, row_of, cache, usage, strict=strict)
    with nullcontext() if cache is None else closing(cache):
        outcomes = work.run(verbose)
    return [outcomes[number] for number in order]


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
    keys, shared = [], None
    for request in requests:
        rest = _rest(request)
        if rest != shared:  # rows of one classifier differ in their messages alone
            shared = rest
            before, after = _around_messages(request)
            begun = start.copy()
            begun.update(before.encode())
        digest = begun.copy()
        texts = [f"[{_quoted(role)},{_quoted(text)}]" for role, text in request.messages]
        digest.update(f"[{','.join(texts)}]{after}".encode())
        keys.append(digest.hexdigest())
    return keys


def _around_messages(request: Request) -> tuple[str, str]:
    """Give the canonical JSON of a request without its messages: before and after."""
    given = ((name, getattr(request, name), default) for name, default in _FIELDS)
    # without the defaults, so that a new field leaves the old keys as they are
    content = {name: value for name, value, default in given if value != default}
    text = _canonical({**content, "messages": None})
    before, after = text.split('"messages":null')
    return f',{before}"messages":', f"{after}]"


def _identity(backend: Backend) -> str:
    return _canonical([FORMAT, type(backend).__name__, dict(backend.answer_identity())])


class _Work:
    """Distinct requests, by number, on their way to an outcome each."""

    def __init__(
        self,
        backend: Backend,
        requests: Mapping[Any, Request],
        row_of: Callable[[int], int],
        cache: Cache | None,
        usage: Usage,
        *,
        strict: bool,
    ) -> None:
        self.backend = backend
        self.keys = list(requests)  # in the cache, if there is one
        self.requests = list(requests.values())
        self.row_of = row_of
        self.cache = cache
        self.usage = usage
        self.strict = strict
        self.outcomes: list[Any] = [None] * len(requests)  # in the end an Outcome each

    def run(self, verbose: Literal["auto"] | int) -> list[Outcome]:
        """Look requests up, and send what is missing in chunks, each under a lock."""
        lock: Any = nullcontext()
        if self.cache is not None:
            lock = self.cache.lock(backend_key(self.backend))
        self._look_up(range(len(self.requests)))
        self._check(self._open(range(len(self.requests))))
        missing = self._open(range(len(self.requests)))
        if not missing:
            return self.outcomes
        n_workers = count_workers(self.backend)
        size = at_once(self.backend, n_workers) or len(missing)
        with (
            garbage_again(),
            _progress(len(missing), verbose) as bar,
            telling(bar.set_postfix_str),
            answering(self.backend, n_workers) as answer,
        ):
            for start in range(0, len(missing), size):
                chunk = missing[start : start + size]
                with lock:
                    # another process may have answered while this one waited
                    bar.update(self._look_up(chunk))
                    for _ in self._ask(answer, self._open(chunk)):
                        if self.usage.cost > 0:
                            bar.set_postfix_str(f"${self.usage.cost:.4f}", refresh=False)
                        bar.update()
                self._raise_failures(chunk)
        return self.outcomes

    def _open(self, numbers: Iterable[int]) -> list[int]:
        """Give those that have no outcome yet."""
        return [number for number in numbers if self.outcomes[number] is None]

    def _look_up(self, numbers: Sequence[int]) -> int:
        """Take the answers that the cache has, and count them."""
        if self.cache is None:
            return 0
        found = self.cache.get_many([self.keys[number] for number in numbers])
        for number, kept in zip(numbers, found, strict=True):
            self.outcomes[number] = kept
        hits = len(found) - found.count(None)
        self.usage.cache_hits += hits
        return hits

    def _check(self, numbers: Sequence[int]) -> None:
        """Let the backend see everything before the first call."""
        check = getattr(self.backend, "check", None)
        if check is None or not numbers:
            return
        with self._naming_rows(numbers):
            failures = check([self.requests[number] for number in numbers])
        for error in failures or ():
            number = numbers[error.index]
            self.outcomes[number] = error.for_row(self.row_of(number))
        self._raise_failures(numbers)

    def _ask(self, answer: AnswerAll, numbers: Sequence[int]) -> Iterator[None]:
        """Ask the model, and insist on an outcome for everything."""
        if not numbers:
            return
        waiting = set(range(len(numbers)))
        with self._naming_rows(numbers):
            requests = [self.requests[number] for number in numbers]
            for index, outcome in answer(requests):
                waiting.discard(index)
                self._keep(numbers[index], outcome)
                yield
        if waiting:
            raise BackendError(
                f"{type(self.backend).__name__} answered {len(numbers) - len(waiting)} "
                f"of {len(numbers)} requests and gave no error. Its method answer() "
                "must yield every index."
            )

    def _keep(self, number: int, outcome: Outcome) -> None:
        if isinstance(outcome, RowError):
            self.outcomes[number] = outcome.for_row(self.row_of(number))
            self.usage.add_sent(TokenUsage())
            return
        if self.cache is not None:
            self.cache.set(self.keys[number], outcome)
        self.outcomes[number] = outcome
        cost = getattr(self.backend, "cost", None)
        dollars = 0.0 if cost is None else cost(outcome.usage)
        drawn = sum(times for _, times in outcome.draws)
        calls = drawn or getattr(self.backend, "requests_per_row", 1)
        self.usage.add_sent(outcome.usage, dollars, calls)

    def _raise_failures(self, numbers: Iterable[int]) -> None:
        """Raise the first failure of a row, once all that was sent with it is kept."""
        if self.strict:
            for outcome in map(self.outcomes.__getitem__, numbers):
                if isinstance(outcome, RowError):
                    message = f"{outcome.template} {OTHERWISE}"
                    raise type(outcome)(message, outcome.index)

    @contextmanager
    def _naming_rows(self, numbers: Sequence[int]) -> Iterator[None]:
        """Tell the user of rows of X where a backend speaks of requests."""
        try:
            yield
        except RowError as error:
            raise error.for_row(self.row_of(numbers[error.index])) from None


def _progress(total: int, verbose: Literal["auto"] | int) -> Any:
    from tqdm import tqdm  # noqa: PLC0415 -- slow to import

    if verbose == "auto":  # tqdm's disable=None: only in a terminal
        return tqdm(total=total, unit="row", disable=None, delay=SHOW_AFTER)
    return tqdm(total=total, unit="row", disable=not verbose)
