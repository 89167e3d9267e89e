"""Python's search for garbage, held off where many objects are made and none is any."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_garbage"]


@contextmanager
def no_garbage() -> Iterator[None]:
    """Hold the collector off.

    It runs whenever some share of new objects has been made, and looks at all of them:
    a third of the time of reading 100,000 known answers. For work on one object after
    the other that waits for nothing, such as a network.

    Examples
    --------
    >>> import gc
    >>> from sklearn_logprob._garbage import no_garbage
    >>> with no_garbage():
    ...     gc.isenabled()
    False
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
