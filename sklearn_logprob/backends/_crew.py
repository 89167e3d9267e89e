"""Who asks: threads, or tasks on the event loop of the process."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias

from sklearn_logprob._errors import LimitReachedError, RowError
from sklearn_logprob._types import Answer, Request
from sklearn_logprob.backends._loop import background_loop

__all__ = ["Ask", "Crew", "Tasks", "Threads"]

Ask: TypeAlias = (
    Callable[[int, Request], Answer]
    | Callable[[int, Request], Coroutine[Any, Any, Answer]]
)


class Crew(ABC):
    """Asks what it is handed, and puts what came of it into a queue.

    After a failure that is not a row's own it begins nothing new, unless it is a limit:
    what it has been handed is within that.
    """

    def __init__(
        self, ask: Callable[[int, Request], Any], requests: Sequence[Request], limit: int
    ) -> None:
        self.ended: SimpleQueue[tuple[int, Answer | BaseException]] = SimpleQueue()
        self._ask = ask
        self._requests = requests
        self._limit = limit
        self._ready: deque[int] = deque()
        self._failed = False

    @abstractmethod
    def take(self, indices: Sequence[int]) -> None:
        """Ask these, as soon as there is a place for each."""

    def recall(self) -> list[int]:
        """Give back what has not been begun; it will not be."""
        left = []
        with suppress(IndexError):
            while True:
                left.append(self._ready.popleft())
        return left

    @abstractmethod
    def dismiss(self) -> None:
        """Begin nothing new."""

    def _next(self) -> int | None:
        try:
            return None if self._failed else self._ready.popleft()
        except IndexError:
            return None

    def _end(self, index: int, outcome: Answer | BaseException) -> None:
        if not isinstance(outcome, Answer | RowError | LimitReachedError):
            self._failed = True
        self.ended.put((index, outcome))


class Threads(Crew):
    """Asks in threads that no end of the process waits for: Ctrl-C ends at once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lock = threading.Lock()
        self._n_threads = 0

    def take(self, indices: Sequence[int]) -> None:
        with self._lock:
            self._ready.extend(indices)
            new = min(len(indices), self._limit - self._n_threads)
            self._n_threads += new
        for _ in range(new):
            threading.Thread(target=self._work, daemon=True).start()

    def dismiss(self) -> None:
        self._failed = True

    def _work(self) -> None:
        while True:
            with self._lock:
                index = self._next()
                if index is None:
                    self._n_threads -= 1
                    return
            try:
                self._end(index, self._ask(index, self._requests[index]))
            except BaseException as error:
                self._end(index, error)


class Tasks(Crew):
    """Asks on the event loop of the process."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, indices: Sequence[int]) -> None:
        self._ready.extend(indices)
        background_loop().call(self._begin)

    def dismiss(self) -> None:
        background_loop().call(self._cancel)

    def _begin(self) -> None:
        while len(self._tasks) < self._limit and (index := self._next()) is not None:
            task = asyncio.get_running_loop().create_task(self._work(index))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _cancel(self) -> None:
        self._failed = True
        for task in self._tasks:
            task.cancel()

    async def _work(self, first: int) -> None:
        index: int | None = first
        while index is not None:
            try:
                self._end(index, await self._ask(index, self._requests[index]))
            except BaseException as error:
                self._end(index, error)
            index = self._next()
