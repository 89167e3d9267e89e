"""One event loop for the whole process, in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

__all__ = ["BackgroundLoop", "background_loop"]

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that the end of the process waits for connections to close."""


class BackgroundLoop:
    """An event loop in a daemon thread, which ends in order when the process ends.

    `background_loop` gives the one of this process: connections belong to a loop, so
    they last as long as it does, and work in a notebook, whose own loop is busy.

    Attributes
    ----------
    closers : list of callable
        Coroutine functions to be awaited at the end, such as ``session.close``.

    Examples
    --------
    >>> from sklearn_logprob.backends._loop import background_loop
    >>> async def double(x):
    ...     return 2 * x
    >>> background_loop().submit(double(3)).result()
    6
    """

    def __init__(self) -> None:
        self.closers: list[Callable[[], Awaitable[Any]]] = []
        self._pid = os.getpid()
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(started)),
            name="sklearn-logprob-loop",
            daemon=True,
        )
        self._thread.start()
        self._loop, self._ending = started.result()
        atexit.register(self._end)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine.

        Parameters
        ----------
        coroutine : coroutine
            What to run.

        Returns
        -------
        future : concurrent.futures.Future
            Its result; cancelling it cancels the coroutine.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on the loop, without waiting for it.

        Parameters
        ----------
        function : callable
            What to call; nothing is called once the process ends.
        """
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    async def _live(
        self, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
    ) -> None:
        ending = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), ending))
        await ending.wait()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for close in self.closers:
            await close()

    def _end(self) -> None:
        if os.getpid() == self._pid:  # a forked child has the object, not the thread
            self.call(self._ending.set)
            self._thread.join(PATIENCE)


def background_loop() -> BackgroundLoop:
    """Give the loop of this process, started when it is first needed.

    Returns
    -------
    loop : BackgroundLoop
        Another one after a fork.

    Examples
    --------
    >>> from sklearn_logprob.backends._loop import background_loop
    >>> background_loop() is background_loop()
    True
    """
    return _loop_of(os.getpid())


@cache
def _loop_of(pid: int) -> BackgroundLoop:
    return BackgroundLoop()
