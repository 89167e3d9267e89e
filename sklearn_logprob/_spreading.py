"""Requests over the workers of joblib; the cache and the limits stay with the driver."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from sklearn_logprob._errors import RowError
from sklearn_logprob._types import Backend, Outcome, Request

__all__ = ["CHUNK", "AnswerAll", "answering", "at_once", "count_workers"]

AnswerAll: TypeAlias = Callable[[Sequence[Request]], Iterator[tuple[int, Outcome]]]

CHUNK = 256
"""Requests sent under one lock, between which another process may take its turn; more
where many are in flight, for at the end of a chunk places stand empty."""

ROUNDS = 8
"""Times that each of several workers is busy under one lock, for the same reason."""

TASK = 64
"""Requests in a task: few enough to lose little with a worker, enough to share work."""

TASKS_A_LIST = 2
"""Tasks for each worker that end together where they cannot be had one by one."""

LIMITS = ("max_cost", "max_requests", "requests_per_minute", "tokens_per_minute")
"""Parameters that one process counts for itself; several would each take all of it."""


def count_workers(backend: Backend) -> int:
    """Tell how many processes answer, by joblib's active configuration.

    Parameters
    ----------
    backend : Backend
        Who answers.

    Returns
    -------
    n_workers : int
        1: this process does, as without ``joblib.parallel_config``; inside a worker; with
        threads, which a backend has itself; with limits; and where all requests are to
        be handed over at once.

    Examples
    --------
    >>> from joblib import parallel_config
    >>> from sklearn_logprob import FakeBackend, OpenAIBackend
    >>> from sklearn_logprob._spreading import count_workers
    >>> with parallel_config("loky", n_jobs=3):
    ...     count_workers(FakeBackend()), count_workers(OpenAIBackend(max_cost=1.0))
    (3, 1)
    """
    active, n_jobs = get_active_backend()
    threads = getattr(active, "supports_sharedmem", False)
    if threads or active.nesting_level or _in_dask_worker():
        return 1
    # Parallel's default, which depends on the backend: all of a cluster, one here
    n_jobs = getattr(active, "default_n_jobs", 1) if n_jobs is None else n_jobs
    if n_jobs == 1 or getattr(backend, "all_at_once", False) or _limited(backend):
        return 1
    return int(effective_n_jobs(n_jobs))


def at_once(backend: Backend, n_workers: int) -> int | None:
    """Give how many requests are sent under one lock.

    Parameters
    ----------
    backend : Backend
        Who answers.
    n_workers : int
        In how many processes.

    Returns
    -------
    n : int or None
        None: all of them.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, OpenAIBackend
    >>> from sklearn_logprob._spreading import at_once
    >>> at_once(FakeBackend(), 1), at_once(OpenAIBackend(max_concurrency=32), 1)
    (256, 512)
    """
    if getattr(backend, "all_at_once", False):
        return None
    size = max(CHUNK, _busy(backend))
    return size if n_workers == 1 else size * n_workers * ROUNDS


@contextmanager
def answering(backend: Backend, n_workers: int) -> Iterator[AnswerAll]:
    """Give what answers requests as `Backend.answer` does: here, or in joblib's workers.

    Parameters
    ----------
    backend : Backend
        Who answers. It is pickled with every task; workers keep no more than what
        clones share, such as weights and connections.
    n_workers : int
        How many processes answer; 1 is this one.

    Yields
    ------
    answer : callable
        From requests to an iterator of positions and outcomes, from workers as their
        tasks end. It raises the first failure that is not a row's own, after what was
        under way; no task is begun after one.

    Examples
    --------
    >>> from joblib import parallel_config
    >>> from sklearn_logprob import FakeBackend, Request
    >>> from sklearn_logprob._spreading import answering
    >>> requests = [Request((("prompt", text),)) for text in "abc"]
    >>> with parallel_config("loky", n_jobs=2), answering(FakeBackend(), 2) as answer:
    ...     sorted(index for index, _ in answer(requests))
    [0, 1, 2]
    """
    if n_workers == 1:
        yield backend.answer
        return
    active, _ = get_active_backend()
    lazy = active.supports_return_generator  # Ray and Spark give whole lists
    how = "generator_unordered" if lazy else "list"
    with Parallel(batch_size=1, return_as=how) as parallel:  # one pool, one load
        at_a_time = sys.maxsize if lazy else TASKS_A_LIST * n_workers
        yield partial(_spread, backend, parallel, n_workers, at_a_time)


def _spread(
    backend: Backend,
    parallel: Any,
    n_workers: int,
    at_a_time: int,
    requests: Sequence[Request],
) -> Iterator[tuple[int, Outcome]]:
    size = min(max(TASK, _busy(backend)), -(-len(requests) // n_workers))
    starts = range(0, len(requests), size)
    failure: Exception | None = None

    def tasks(starts: Iterable[int]) -> Iterator[Any]:
        for start in starts:
            if failure is None:
                yield delayed(_work)(backend, requests[start : start + size], start)

    for first in range(0, len(starts), at_a_time):
        for start, outcomes, error in parallel(tasks(starts[first : first + at_a_time])):
            for index, outcome in outcomes:
                yield start + index, outcome
            failure = failure or error
        if failure is not None:
            raise failure


def _work(
    backend: Backend, requests: Sequence[Request], start: int
) -> tuple[int, list[tuple[int, Outcome]], Exception | None]:
    """Answer in a worker; a failure is returned beside what was paid for before it."""
    outcomes: list[tuple[int, Outcome]] = []
    try:
        outcomes.extend(backend.answer(requests))
    except RowError as error:
        return start, outcomes, type(error)(error.template, start + error.index)
    except Exception as error:
        return start, outcomes, error
    return start, outcomes, None


def _busy(backend: Any) -> int:
    """Give how many requests keep a backend busy, but for a short end."""
    return 16 * int(getattr(backend, "max_concurrency", 1))


def _limited(backend: Any) -> bool:
    """Whether this backend, or one inside it, keeps to limits."""
    params = backend.get_params().items()
    return any(v is not None and p.rpartition("__")[2] in LIMITS for p, v in params)


def _in_dask_worker() -> bool:
    """Whether a task of Dask calls, whose nested backend is the whole cluster again.

    There a task that holds the cache's lock would wait for tasks that find no thread,
    because other tasks wait for the lock.
    """
    distributed = sys.modules.get("distributed")
    try:
        return distributed is not None and bool(distributed.get_worker())
    except ValueError:
        return False
