"""Many requests at a time, for backends that wait on a network."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from inspect import iscoroutinefunction
from queue import Empty
from typing import Protocol

from sklearn_logprob._errors import LimitReachedError, LogprobError, RowError
from sklearn_logprob._types import Answer, Outcome, Request, TokenUsage
from sklearn_logprob.backends._attempts import Exit, counted
from sklearn_logprob.backends._crew import Ask, Crew, Tasks, Threads

__all__ = ["Gate", "overlap"]


class Gate(Exit, Protocol):
    """What keeps requests within limits. Called in the thread that iterates.

    But for what an `Exit` is asked, where the request is sent.

    Examples
    --------
    >>> from sklearn_logprob.backends._overlap import overlap
    >>> from sklearn_logprob import Answer, Request
    >>> class Slowly:
    ...     def admit(self, request):
    ...         return 0.01
    ...     def again(self, request):
    ...         return 1.0
    ...     def leave(self, request):
    ...         return 0.0
    ...     def settle(self, request, usage):
    ...         print(usage.prompt_tokens)
    ...     def withdraw(self, request):
    ...         print("not sent")
    >>> request = Request((("user", "Why?"),))
    >>> _ = list(overlap(lambda i, r: Answer(), [request], limit=1, gate=Slowly()))
    0
    """

    def admit(self, request: Request) -> float:
        """Give the seconds to wait before sending a request; asked once for each.

        Parameters
        ----------
        request : Request
            What is to be sent.

        Returns
        -------
        seconds : float
            0 or less: now.

        Raises
        ------
        LogprobError
            Nothing more is sent, and this is raised in the end.
        """

    def settle(self, request: Request, usage: TokenUsage | None) -> None:
        """Hear that an admitted request has ended.

        Parameters
        ----------
        request : Request
            Which one; each is heard of once, here or by `withdraw`.
        usage : TokenUsage or None
            What it cost. None: it failed, or was given up.
        """

    def withdraw(self, request: Request) -> None:
        """Hear that an admitted request was not sent after all.

        Parameters
        ----------
        request : Request
            Which one.
        """


def overlap(
    ask: Ask,
    requests: Sequence[Request],
    limit: int,
    *,
    gate: Gate | None = None,
    first_alone: bool = False,
) -> Generator[tuple[int, Outcome], None, None]:
    """Ask at most `limit` requests at a time, and yield outcomes as they arrive.

    A `RowError` is the outcome of its request. After any other failure nothing new is
    sent; the answers still under way are paid for, so they are yielded before the
    failure is raised. Where a limit is reached, what was admitted is within it, and sent.

    Parameters
    ----------
    ask : callable
        Takes an index and its request, and returns the answer. A function runs in a
        thread, a coroutine function on the event loop of the process.
    requests : sequence of Request
        What to ask.
    limit : int
        The most requests at the same time.
    gate : Gate, default=None
        Says when a request may be sent, and hears what it cost.
    first_alone : bool, default=False
        Whether to send one request at a time until the first is answered: what is
        wrong with all of them then costs one, not `limit`.

    Yields
    ------
    index : int
        Position in `requests`.
    outcome : Answer or RowError
        What became of it.

    Raises
    ------
    LogprobError
        The first failure that is not a row's own.

    Examples
    --------
    >>> from sklearn_logprob import Answer, Request
    >>> from sklearn_logprob.backends._overlap import overlap
    >>> requests = [Request((("user", text),)) for text in "abc"]
    >>> answers = overlap(lambda index, request: Answer(), requests, limit=2)
    >>> sorted(index for index, answer in answers)
    [0, 1, 2]
    """
    if gate is not None:
        ask = counted(ask, gate)
    crew = (Tasks if iscoroutinefunction(ask) else Threads)(ask, requests, limit)
    flight = _Flight(crew, requests, limit, gate, first_alone)
    try:
        flight.send()
        while flight.busy:
            outcome = flight.next_outcome()
            flight.send()  # before yielding: others work while the caller does
            if outcome is not None:
                yield outcome
    finally:
        flight.stop()
    if flight.failure is not None:
        raise flight.failure


class _Flight:
    """The caller's side: what has been handed to the crew, and what is still to come.

    A few more requests than may be under way are handed over, so that a place that
    becomes free is taken at once, without a turn of the caller's thread.
    """

    def __init__(
        self,
        crew: Crew,
        requests: Sequence[Request],
        limit: int,
        gate: Gate | None,
        first_alone: bool,
    ) -> None:
        self.failure: BaseException | None = None
        self._crew = crew
        self._requests = requests
        self._most = limit + limit // 4
        self._room = 1 if first_alone else self._most
        self._batch = max(1, limit // 8)
        self._gate = gate
        self._left = iter(range(len(requests)))
        self._admitted: tuple[int, float] | None = None  # and when it may be sent
        self._sent: set[int] = set()

    @property
    def busy(self) -> bool:
        """Whether anything is under way or will be."""
        return bool(self._sent) or self._admitted is not None

    @property
    def _has_room(self) -> bool:
        return not self._sent or len(self._sent) + self._batch <= self._room

    def send(self) -> None:
        """Hand over what the gate admits by now, once there is room for a batch."""
        if not self._has_room:
            return
        batch = []
        while len(self._sent) < self._room:
            self._admitted = self._admitted or self._admit_next()
            if self._admitted is None or self._seconds_to_wait() > 0:
                break
            batch.append(self._admitted[0])
            self._sent.add(self._admitted[0])
            self._admitted = None
        if batch:
            self._crew.take(batch)

    def next_outcome(self) -> tuple[int, Outcome] | None:
        """Wait for a request to end, or until the next one may be sent: None."""
        may_send = self._admitted is not None and self._has_room
        try:
            index, outcome = self._crew.ended.get(
                timeout=self._seconds_to_wait() if may_send else None
            )
        except Empty:
            return None
        self._forget(index, outcome.usage if isinstance(outcome, Answer) else None)
        if isinstance(outcome, Answer):
            self._room = self._most
        elif not isinstance(outcome, RowError):
            self.failure = self.failure or outcome
            if not isinstance(outcome, LimitReachedError):
                self._recall()
            return None
        return index, outcome

    def stop(self) -> None:
        """Leave what is under way, without waiting: Ctrl-C should return at once."""
        self._crew.dismiss()
        self._recall()
        for index in list(self._sent):
            self._forget(index, None)

    def _admit_next(self) -> tuple[int, float] | None:
        index = None if self.failure else next(self._left, None)
        if index is None or self._gate is None:
            return None if index is None else (index, 0.0)
        try:
            wait = self._gate.admit(self._requests[index])
        except LogprobError as error:
            self.failure = error
            return None
        return index, time.monotonic() + wait

    def _seconds_to_wait(self) -> float:
        due = 0.0 if self._admitted is None else self._admitted[1]
        return max(0.0, due - time.monotonic())

    def _recall(self) -> None:
        """Withdraw what has not been begun."""
        left = self._crew.recall()
        if self._admitted is not None:
            left.append(self._admitted[0])
            self._admitted = None
        self._sent.difference_update(left)
        if self._gate is not None:
            for index in left:
                self._gate.withdraw(self._requests[index])

    def _forget(self, index: int, usage: TokenUsage | None) -> None:
        self._sent.discard(index)
        if self._gate is not None:
            self._gate.settle(self._requests[index], usage)
