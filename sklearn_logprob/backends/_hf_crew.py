"""Passes of a model in several threads.

Most of a small model's operations are too short to be shared out among cores: a core that
has a pass of its own does more in the same time, and its numbers stay in its own cache.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import torch

__all__ = ["Crew", "threads_on"]

MOST_THREADS = 8  # more would wait for Python's lock between the operations


def threads_on(device: str) -> int:
    """Count the threads that many passes have."""
    return min(torch.get_num_threads(), MOST_THREADS) if device == "cpu" else 1


class Crew:
    """Threads that share what cores PyTorch has been given.

    Parameters
    ----------
    device : str
        Where the model is. A GPU has one thread: its memory is for one pass.
    n_passes : int
        About how many passes there will be. A single one has all cores.

    Attributes
    ----------
    most : int
        How many passes may be under way or waiting.
    """

    def __init__(self, device: str, n_passes: int) -> None:
        n_cores = torch.get_num_threads()
        n_threads = min(threads_on(device), n_passes)
        self.most = n_threads + 1 if n_threads > 1 else 1
        ready = threading.Barrier(n_threads + 1)

        def have_cores() -> None:
            torch.get_num_threads()  # asked later it would take what others have set
            torch.set_num_threads(max(1, n_cores // n_threads))
            ready.wait()

        self._pool = ThreadPoolExecutor(n_threads, initializer=have_cores)
        self.submit = self._pool.submit
        try:
            for _ in range(n_threads):
                self.submit(int)  # each begins a thread
            ready.wait()
        except BaseException:
            ready.abort()  # or they would wait, and the process for them
            raise
        finally:
            # What a thread sets is what threads that others start later begin with.
            torch.set_num_threads(n_cores)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
