"""Half-price jobs of any provider: requests in, waiting, answers out, nothing paid twice.

What a job is called, how one is begun and what its results look like is the provider's,
and one small class each: `_openai_batch`, `_anthropic_batch`, `_gemini_batch`.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any, TypeAlias

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    RowError,
)
from sklearn_logprob._types import Answer, Outcome, Request, TokenUsage
from sklearn_logprob.backends._batch_jobs import Job, JobFolder
from sklearn_logprob.backends._batch_wire import Look, Result
from sklearn_logprob.backends._overlap import Gate
from sklearn_logprob.backends._params import hide
from sklearn_logprob.backends._telling import tell

__all__ = ["BatchDesk", "Body"]

Body: TypeAlias = Callable[[Request], dict[str, Any]]
"""From a request to the fields that are sent."""

FIRST_WAIT = 1.0  # seconds between two looks at a job
LONGEST_WAIT = 60.0
GROWTH = 1.3


class BatchDesk(ABC):
    """Sends requests in jobs, waits, and joins what came to what was asked.

    Parameters
    ----------
    body : callable
        From a request to the fields that are sent.
    gate : Gate
        Admits requests, and hears what they cost.
    who : str
        How messages call the model.
    url, key : str
        Whose jobs they are. The key is in no message.
    most_requests, most_bytes : int
        What a job can hold.

    Examples
    --------
    >>> from sklearn_logprob.backends._batch_desk import BatchDesk
    >>> from sklearn_logprob.backends._openai_batch import OpenAIBatches
    >>> issubclass(OpenAIBatches, BatchDesk)
    True
    """

    def __init__(
        self,
        body: Body,
        gate: Gate,
        *,
        who: str,
        url: str,
        key: str,
        most_requests: int,
        most_bytes: int,
    ) -> None:
        self.body = body
        self.gate = gate
        self.who = who
        self.key = key
        self.most_requests = most_requests
        self.most_bytes = most_bytes
        self.folder = JobFolder([url, key])
        self.failure: LogprobError | None = None

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask in jobs, or wait for those that another process has begun.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Yields
        ------
        index : int
            Position in `requests`.
        outcome : Answer or RowError
            What became of it. What an expired or cancelled job did not answer fails as
            a row's own.

        Raises
        ------
        LogprobError
            A limit would be crossed, a job was refused, or what is wrong with all rows;
            after all that was sent has ended.
        """
        self._requests = requests
        self._asked: dict[str, list[int]] = {}  # without an outcome yet
        for index, request in enumerate(requests):
            self._asked.setdefault(self._name(request), []).append(index)
        self._admitted: dict[str, Request] = {}  # in no job yet
        self._sent: dict[str, Request] = {}  # not settled yet
        jobs = list(self._begun())
        taken = {name for job in jobs for name in job.ids}
        left = [name for name in self._asked if name not in taken]
        try:
            while (jobs or left) and self.failure is None:
                n_new, stop = self._admit(left)
                jobs += [self._submit(names) for names in self._divided(left[:n_new])]
                left = left[n_new:]
                self.failure = None if jobs else stop
                yield from self._wait_for(jobs)
                jobs = []
        finally:
            for request in self._admitted.values():
                self.gate.withdraw(request)
            for name in list(self._sent):
                self._settle(name, None)
        if self.failure is not None:
            raise self.failure

    # ------------------------------------------------------------ the provider's part

    @abstractmethod
    def _entry(self, name: str, request: Request) -> dict[str, Any]:
        """Write a request as a job holds it, under its name."""

    @abstractmethod
    def _begin(self, entries: Sequence[dict[str, Any]], token: str) -> str:
        """Begin a job, once, with our own name of it; give the provider's."""

    @abstractmethod
    def _find(self, job: Job, taken: set[str]) -> str | None:
        """Give the provider's name of a job; None if there is none.

        Where `job` has no name yet, it is none of those that are taken.
        """

    @abstractmethod
    def _look(self, name: str) -> Look:
        """Ask how far a job is."""

    @abstractmethod
    def _results(self, look: Look) -> Iterator[Result]:
        """Give what a job that has ended says, request by request."""

    @abstractmethod
    def _read(self, line: dict[str, Any], request: Request, index: int) -> Answer:
        """Make an answer of it, or raise what is wrong."""

    # ------------------------------------------------------------ sending

    def _name(self, request: Request) -> str:
        """Name a request by what is sent: the same in every process.

        Draws are told apart even where the provider takes no seed.
        """
        text = json.dumps(self.body(request), sort_keys=True)
        text += f" {request.draw}" if request.draw else ""
        return sha256(text.encode()).hexdigest()

    def _entry_of(self, name: str) -> dict[str, Any]:
        return self._entry(name, self._requests[self._asked[name][0]])

    def _admit(self, names: Sequence[str]) -> tuple[int, LogprobError | None]:
        """Count how many may be sent now; what has been answered gives room for more."""
        for n_admitted, name in enumerate(names):
            request = self._requests[self._asked[name][0]]
            try:
                self.gate.admit(request)
            except LogprobError as error:
                return n_admitted, error
            self._admitted[name] = request
        return len(names), None

    def _divided(self, names: Sequence[str]) -> Iterator[list[str]]:
        """Divide requests among jobs of the size that is allowed."""
        part: list[str] = []
        n_bytes = 0
        for name in names:
            n_new = len(json.dumps(self._entry_of(name))) + 1
            full = len(part) == self.most_requests or n_bytes + n_new > self.most_bytes
            if part and full:
                yield part
                part, n_bytes = [], 0
            part.append(name)
            n_bytes += n_new
        if part:
            yield part

    def _submit(self, names: list[str]) -> Job:
        job = Job(names)
        self.folder.keep(job)  # before it begins: a kill in between leaves a trace
        self._sent |= {name: self._admitted.pop(name) for name in names}
        begun = self._begin([self._entry_of(name) for name in names], job.token)
        job = replace(job, id=begun)
        self.folder.keep(job)
        return job

    def _begun(self) -> Iterator[Job]:
        """Give the jobs of earlier calls that answer some of the requests."""
        noted = list(self.folder)
        taken = {job.id for job in noted}
        for job in noted:
            if self._asked.keys().isdisjoint(job.ids):
                continue
            found = self._find(job, taken)
            if found is None:  # never begun, or forgotten by the provider
                self.folder.settle(job, set(job.ids))
                continue
            taken.add(found)
            if found != job.id:
                job = replace(job, id=found)  # noqa: PLW2901
                self.folder.keep(job)
            yield job

    # ------------------------------------------------------------ hearing

    def _wait_for(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
        waiting, wait = list(jobs), FIRST_WAIT
        while waiting:
            for job in list(waiting):
                look = self._look(job.id)
                done = f", {look.done}" if look.done else ""
                tell(f"batch job {job.id}: {look.status}{done}")
                if look.ended:
                    waiting.remove(job)
                    yield from self._outcomes(job, look)
            if waiting:
                time.sleep(wait)
                wait = min(wait * GROWTH, LONGEST_WAIT)

    def _outcomes(self, job: Job, look: Look) -> Iterator[tuple[int, Outcome]]:
        """Yield what a job that has ended says, and then what it says nothing about."""
        why = f"the batch job {job.id} is {look.status} {look.why}".rstrip()
        if look.failed:
            said = hide(self.key, why)[:300]
            self._fail(BackendError(f"{self.who}: {said}. {look.failed}"))
        kept = set()  # answers that nobody has asked for in this call
        n_nameless = 0
        for name, good, line in self._results(look):
            if not isinstance(name, str):
                n_nameless += good
            elif name in self._asked:
                yield from self._deliver(name, partial(self._answered, line))
            elif good:
                kept.add(name)
        if n_nameless:
            why += (
                f"; {n_nameless} answers do not say which request they belong to, so "
                "they cannot be used: if that goes on, use mode='live'"
            )
        for name in job.ids:
            if name in self._asked and not look.failed:
                yield from self._deliver(name, partial(self._unanswered, why))
        self.folder.settle(job, set(job.ids) - kept)

    def _deliver(
        self, name: str, outcome_of: Callable[[int], Outcome]
    ) -> Iterator[tuple[int, Outcome]]:
        for index in self._asked.pop(name):
            try:
                outcome = outcome_of(index)
            except RowError as error:
                outcome = error
            except LogprobError as error:
                self._fail(error)
                continue
            usage = outcome.usage if isinstance(outcome, Answer) else None
            self._settle(name, usage)
            yield index, outcome

    def _answered(self, line: dict[str, Any], index: int) -> Answer:
        return self._read(line, self._requests[index], index)

    def _unanswered(self, why: str, index: int) -> RowError:
        said = hide(self.key, why)[:300].rstrip(".")
        return RowError(
            f"{{row}} was not answered: {said}. Make the same call again to ask for it.",
            index,
        )

    def _failed(self, error: LogprobError, index: int) -> LogprobError:
        """Make what is wrong with one request its row's own failure."""
        if isinstance(error, RowError | LogprobsUnavailableError):
            return error
        return self._unanswered(str(error), index)

    def _settle(self, name: str, usage: TokenUsage | None) -> None:
        request = self._sent.pop(name, None)
        if request is not None:
            self.gate.settle(request, usage)

    def _fail(self, error: LogprobError) -> None:
        self.failure = self.failure or error
