"""Many requests at a time, for backends that wait on a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from sklearn_logprob._types import Answer, Request

__all__ = ["overlap"]


def overlap(
    ask: Callable[[int, Request], Answer], requests: Sequence[Request], limit: int
) -> Iterator[tuple[int, Answer]]:
    """Ask in threads, at most `limit` at a time, and yield answers as they arrive.

    After the first failure nothing new is sent. The answers still under way are paid
    for, so they are yielded before the failure is raised.

    Parameters
    ----------
    ask : callable
        Takes an index and its request, and returns the answer. Runs in a thread.
    requests : sequence of Request
        What to ask.
    limit : int
        The most requests at the same time.

    Yields
    ------
    index : int
        Position in `requests`.
    answer : Answer
        The answer to it.

    Examples
    --------
    >>> from sklearn_logprob import Answer, Request
    >>> from sklearn_logprob.backends._overlap import overlap
    >>> requests = [Request((("user", text),)) for text in "abc"]
    >>> answers = overlap(lambda index, request: Answer(), requests, limit=2)
    >>> sorted(index for index, answer in answers)
    [0, 1, 2]
    """
    waiting = iter(enumerate(requests))
    running: dict[Future[Answer], int] = {}
    failure: BaseException | None = None
    pool = ThreadPoolExecutor(limit)

    def send(count: int) -> None:
        for index, request in islice(waiting, count):
            running[pool.submit(ask, index, request)] = index

    try:
        send(limit)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index = running.pop(future)
                error = future.exception()
                failure = failure or error
                if failure is None:
                    send(1)  # before yielding: the pool works while the caller does
                if error is None:
                    yield index, future.result()
    finally:
        # Not waiting, so that closing the iterator or Ctrl-C returns at once.
        pool.shutdown(wait=False, cancel_futures=True)
    if failure is not None:
        raise failure
