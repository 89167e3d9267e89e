"""Requests that a client sends again count, as those that it sends first.

Clients try again by themselves, far below `overlap`, which hands requests out. So whoever
asks leaves a note for them, in the context of its thread or task: before anything is sent
a second time, its gate is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

from sklearn_logprob._types import Answer, Request

if TYPE_CHECKING:
    from sklearn_logprob.backends._crew import Ask

__all__ = ["counted", "seconds_to_wait"]


class _Attempts:
    """What is sent for one request. The first time it has been admitted already."""

    def __init__(self, again: Callable[[Request], float], request: Request) -> None:
        self._again = again
        self._request = request
        self._begun = False

    def next(self) -> float:
        if self._begun:
            return self._again(self._request)
        self._begun = True
        return 0.0


_under_way: ContextVar[_Attempts | None] = ContextVar("_under_way", default=None)


@contextmanager
def _note(again: Callable[[Request], float], request: Request) -> Iterator[None]:
    before = _under_way.set(_Attempts(again, request))
    try:
        yield
    finally:
        _under_way.reset(before)


def seconds_to_wait() -> float:
    """Count what is about to be sent over HTTP; clients call it each time.

    Returns
    -------
    seconds : float
        How long to wait before; 0 or less: not at all.

    Raises
    ------
    LimitReachedError
        If it may not be sent.

    Examples
    --------
    >>> from sklearn_logprob.backends._attempts import seconds_to_wait
    >>> seconds_to_wait()  # nobody counts here
    0.0
    """
    attempts = _under_way.get()
    return 0.0 if attempts is None else attempts.next()


def counted(ask: Ask, again: Callable[[Request], float]) -> Ask:
    """Make a function that asks leave a note for the client that it uses.

    Parameters
    ----------
    ask : callable
        Takes an index and its request; a function or a coroutine function.
    again : callable
        Takes a request that is to be sent again, and gives the seconds to wait before.

    Returns
    -------
    counted : callable
        Of the same kind.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._attempts import counted, seconds_to_wait
    >>> def ask(index, request):
    ...     return [seconds_to_wait() for _ in range(3)]
    >>> counted(ask, lambda request: 0.5)(0, Request((("user", "Why?"),)))
    [0.0, 0.5, 0.5]
    """
    if iscoroutinefunction(ask):

        async def ask_on_loop(index: int, request: Request) -> Answer:
            with _note(again, request):
                return await ask(index, request)  # type: ignore[no-any-return]

        return ask_on_loop

    def ask_in_thread(index: int, request: Request) -> Answer:
        with _note(again, request):
            return ask(index, request)  # type: ignore[return-value]

    return ask_in_thread
