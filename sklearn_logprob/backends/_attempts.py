"""Requests pass their gate where they are sent, those too that a client sends again.

Clients try again by themselves, far below `overlap`, which hands requests out. So whoever
asks leaves a note for them, in the context of its thread or task: before anything is
sent, its gate is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Protocol

from sklearn_logprob._types import Answer, Request

if TYPE_CHECKING:
    from sklearn_logprob.backends._crew import Ask

__all__ = ["Exit", "counted", "seconds_to_wait"]


class Exit(Protocol):
    """The side of a gate that clients meet, in whatever thread sends.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._attempts import counted, seconds_to_wait
    >>> class Slowly:
    ...     def again(self, request):
    ...         return 0.5
    ...     def leave(self, request):
    ...         return 0.0
    >>> def ask(index, request):
    ...     return [seconds_to_wait() for _ in range(3)]  # the second attempt waits
    >>> counted(ask, Slowly())(0, Request((("user", "Why?"),)))
    [0.0, 0.5, 0.0]
    """

    def again(self, request: Request) -> float:
        """Give the seconds to wait before a client sends a request another time.

        Parameters
        ----------
        request : Request
            One that was admitted.

        Returns
        -------
        seconds : float
            0 or less: now.

        Raises
        ------
        LimitReachedError
            It is not sent. What was admitted before is, and then this is raised.
        """

    def leave(self, request: Request) -> float:
        """Give the seconds until a request may leave; a client asks until it may.

        Parameters
        ----------
        request : Request
            One whose time has come, as far as could be foreseen when it was counted.

        Returns
        -------
        seconds : float
            0 or less: now. It leaves, and others wait for a while.
        """


class _Attempts:
    """What is sent for one request. The first time it has been admitted already."""

    def __init__(self, gate: Exit, request: Request) -> None:
        self._gate = gate
        self._request = request
        self._admitted = True

    def next(self) -> float:
        if not self._admitted:
            wait = self._gate.again(self._request)
            self._admitted = True
            if wait > 0:
                return wait
        wait = self._gate.leave(self._request)
        if wait <= 0:
            self._admitted = False
        return wait


_under_way: ContextVar[_Attempts | None] = ContextVar("_under_way", default=None)


@contextmanager
def _note(gate: Exit, request: Request) -> Iterator[None]:
    before = _under_way.set(_Attempts(gate, request))
    try:
        yield
    finally:
        _under_way.reset(before)


def seconds_to_wait() -> float:
    """Ask whether what is about to be sent over HTTP may leave; again after each wait.

    Returns
    -------
    seconds : float
        How long to wait before asking again; 0 or less: it leaves, and has been counted.

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


def counted(ask: Ask, gate: Exit) -> Ask:
    """Make a function that asks leave a note for the client that it uses.

    Parameters
    ----------
    ask : callable
        Takes an index and its request; a function or a coroutine function.
    gate : Exit
        Says when an attempt may leave, and counts all but the first.

    Returns
    -------
    counted : callable
        Of the same kind.

    Examples
    --------
    >>> from sklearn_logprob import OpenAIBackend, Request
    >>> from sklearn_logprob.backends._attempts import counted, seconds_to_wait
    >>> gate = OpenAIBackend("m")._gate()
    >>> ask = counted(lambda index, request: seconds_to_wait(), gate)
    >>> ask(0, Request((("user", "Why?"),)))  # no limits: it leaves at once
    0.0
    """
    if iscoroutinefunction(ask):

        async def ask_on_loop(index: int, request: Request) -> Answer:
            with _note(gate, request):
                return await ask(index, request)  # type: ignore[no-any-return]

        return ask_on_loop

    def ask_in_thread(index: int, request: Request) -> Answer:
        with _note(gate, request):
            return ask(index, request)  # type: ignore[return-value]

    return ask_in_thread
