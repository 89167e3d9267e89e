"""Answers that this process has read, so that a grid search reads the disk once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from random import Random
from threading import Lock

from sklearn_logprob._types import Answer

__all__ = ["MEMORY", "Memory"]

LIMIT = 512 * 2**20
"""Bytes of answers that a process remembers, over all folders: 100,000 answers with 200
tokens each, or 500,000 with 20."""

ENTRY = 700  # bytes of a key, its place, and the objects that an answer is made of


class Memory:
    """Answers by key, up to a number of bytes.

    When it is full, a random tenth goes. A grid search reads the same rows in turns, so
    that whichever was used longest ago is needed next: to throw that out, as caches do,
    would leave nothing in time.

    Parameters
    ----------
    limit : int, default=LIMIT
        Bytes, by an estimate.

    Attributes
    ----------
    size : int
        Bytes held.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob._memory import Memory
    >>> memory = Memory()
    >>> memory.keep("one state of a folder", [("key", Answer(), 20)])
    >>> memory.find("one state of a folder", ["key", "another"])[1] is None
    True
    >>> memory.find("another state", ["key"])
    [None]
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.size = 0
        self._kept: dict[str, tuple[Answer, object, int]] = {}
        self._lock = Lock()
        self._random = Random(0)  # its own: users seed the one that all share

    def find(self, state: object, keys: Sequence[str]) -> list[Answer | None]:
        """Look answers up.

        Parameters
        ----------
        state : object
            What the answers were read from. What was kept under another state of the
            folder is not found.
        keys : sequence of str
            What they were kept under.

        Returns
        -------
        answers : list of Answer or None
            One a key.
        """
        kept = map(self._kept.get, keys)
        return [found[0] if found and found[1] == state else None for found in kept]

    def keep(self, state: object, answers: Iterable[tuple[str, Answer, int]]) -> None:
        """Remember answers, in place of what was kept under the same keys.

        Parameters
        ----------
        state : object
            What they were read from.
        answers : iterable of (str, Answer, int)
            Keys, answers and the bytes of their content.
        """
        with self._lock:
            for key, answer, content in answers:
                self._forget(key)
                size = ENTRY + content
                self._kept[key] = answer, state, size
                self.size += size
                while self.size > self.limit:
                    some = 1 + len(self._kept) // 10
                    for other in self._random.sample(list(self._kept), some):
                        self._forget(other)

    def _forget(self, key: str) -> None:
        known = self._kept.pop(key, None)
        if known is not None:
            self.size -= known[2]


MEMORY = Memory()
"""The one of this process. A process that is forked begins with an empty one."""

if hasattr(os, "register_at_fork"):  # the lock may be held by a thread that is no more
    os.register_at_fork(after_in_child=MEMORY.clear)
