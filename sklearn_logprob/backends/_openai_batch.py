"""OpenAI's batch endpoint: files of requests, jobs, files of answers; at half price."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final, TypeVar

import openai

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    RowError,
)
from sklearn_logprob._types import Answer, Outcome, Request, TokenUsage
from sklearn_logprob.backends._batch_jobs import Job, JobFolder
from sklearn_logprob.backends._loop import background_loop
from sklearn_logprob.backends._openai_client import Connection
from sklearn_logprob.backends._openai_errors import excerpt, explain
from sklearn_logprob.backends._openai_reading import answer_in_line
from sklearn_logprob.backends._overlap import Gate
from sklearn_logprob.backends._telling import tell

__all__ = ["BatchDesk", "check_mode"]

T = TypeVar("T")

MODES = ("live", "batch")
ENDPOINT: Final = "/v1/chat/completions"
METADATA = "sklearn_logprob"  # the name of our own among a job's metadata
ENDED = ("completed", "failed", "expired", "cancelled")

MOST_LINES = 50_000  # in a file
MOST_BYTES = 190_000_000
FILE_SECONDS = 600.0  # that sending a file may take

CLOCKS_DIFFER = 3600  # seconds, at most, ours and theirs

FIRST_WAIT = 1.0  # seconds between two looks at a job
LONGEST_WAIT = 60.0
GROWTH = 1.3


def check_mode(backend: Any) -> None:
    """Refuse parameters that a batch has no use for.

    Parameters
    ----------
    backend : OpenAIBackend
        With `mode`, `api_version` and limits.

    Raises
    ------
    ValueError
        If the mode is unknown, or another parameter does not go with it.

    Examples
    --------
    >>> from sklearn_logprob import OpenAIBackend
    >>> from sklearn_logprob.backends._openai_batch import check_mode
    >>> check_mode(OpenAIBackend(mode="batch"))  # nothing to say
    """
    name = type(backend).__name__
    if backend.mode not in MODES:
        raise ValueError(
            f"The 'mode' parameter of {name} must be 'live' or 'batch'. Got "
            f"{backend.mode!r} instead."
        )
    for limit in ("requests_per_minute", "tokens_per_minute", "api_version"):
        if backend.mode == "batch" and getattr(backend, limit) is not None:
            raise ValueError(
                f"The {limit!r} parameter of {name} must be None with mode='batch', "
                "whose pace and address are the provider's. Got "
                f"{getattr(backend, limit)!r} instead."
            )


class BatchDesk:
    """Sends requests in jobs, waits, and joins what came to what was asked.

    Parameters
    ----------
    backend : OpenAIBackend
        Who asks.
    asked : Connection
        Whom.
    body : callable
        From a request to the fields that are sent.
    gate : Gate
        Admits requests, and hears what they cost.

    Examples
    --------
    >>> from sklearn_logprob import OpenAIBackend
    >>> from sklearn_logprob.backends._openai_batch import BatchDesk
    >>> backend = OpenAIBackend(base_url="http://localhost:8000/v1")
    >>> list(BatchDesk(backend, backend._connection(), None, None).answer([]))
    []
    """

    def __init__(
        self,
        backend: Any,
        asked: Connection,
        body: Callable[[Request], dict[str, Any]],
        gate: Gate,
    ) -> None:
        self.backend = backend
        self.asked = asked
        self.body = body
        self.gate = gate
        self.folder = JobFolder([asked.url, asked.key])
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
        self._admitted: dict[str, Request] = {}  # not settled yet
        jobs = list(self._begun())
        taken = {name for job in jobs for name in job.ids}
        left = [name for name in self._asked if name not in taken]
        try:
            while (jobs or left) and self.failure is None:
                n_new, stop = self._admit(left)
                jobs += [self._submit(names) for names in self._files(left[:n_new])]
                left = left[n_new:]
                self.failure = None if jobs else stop
                yield from self._wait_for(jobs)
                jobs = []
        finally:
            for name in list(self._admitted):
                self._settle(name, None)
        if self.failure is not None:
            raise self.failure

    # ------------------------------------------------------------ sending

    def _name(self, request: Request) -> str:
        """Name a request by what is sent: the same in every process."""
        return sha256(json.dumps(self.body(request), sort_keys=True).encode()).hexdigest()

    def _line(self, name: str) -> str:
        body = self.body(self._requests[self._asked[name][0]])
        line = {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body}
        return json.dumps(line) + "\n"

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

    def _files(self, names: Sequence[str]) -> Iterator[list[str]]:
        """Divide requests among files of the size that is allowed."""
        part: list[str] = []
        n_bytes = 0
        for name in names:
            n_line = len(self._line(name))
            if part and (len(part) == MOST_LINES or n_bytes + n_line > MOST_BYTES):
                yield part
                part, n_bytes = [], 0
            part.append(name)
            n_bytes += n_line
        if part:
            yield part

    def _submit(self, names: list[str]) -> Job:
        client = self.asked.client
        content = "".join(map(self._line, names)).encode()
        sender = client.with_options(timeout=FILE_SECONDS)
        file = self._call(
            sender.files.create(file=("requests.jsonl", content), purpose="batch")
        )
        job = Job(names)
        self.folder.keep(job)  # before it begins: a kill in between leaves a trace
        begun = self._call(
            # not tried again by itself: that could begin two jobs
            client.with_options(max_retries=0).batches.create(
                input_file_id=file.id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={METADATA: job.token},
            )
        )
        job = replace(job, id=begun.id)
        self.folder.keep(job)
        return job

    def _begun(self) -> Iterator[Job]:
        """Give the jobs of earlier calls that answer some of the requests."""
        for job in self.folder:
            if self._asked.keys().isdisjoint(job.ids):
                continue
            found = self._call(self._look(job))
            if found is None:  # never begun, or forgotten by the provider
                self.folder.settle(job, set(job.ids))
            else:
                yield replace(job, id=found.id)

    async def _look(self, job: Job) -> Any:
        batches = self.asked.client.batches
        if job.id:
            try:
                return await batches.retrieve(job.id)
            except openai.NotFoundError:
                return None
        async for batch in batches.list(limit=100):
            if (batch.metadata or {}).get(METADATA) == job.token:
                return batch
            if batch.created_at < job.at - CLOCKS_DIFFER:  # the newest come first
                break
        return None

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return background_loop().submit(coroutine).result()
        except openai.OpenAIError as error:
            failure = explain(error, index=0, **self._who())
        raise failure  # not in the handler: the client's error holds the key

    def _who(self) -> dict[str, str]:
        return {
            "model": self.backend.model,
            "url": self.asked.url,
            "key": self.asked.key,
            "api_key_env": self.backend.api_key_env,
        }

    # ------------------------------------------------------------ hearing

    def _wait_for(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
        waiting, wait = list(jobs), FIRST_WAIT
        while waiting:
            for job in list(waiting):
                batch = self._call(self.asked.client.batches.retrieve(job.id))
                counts = batch.request_counts
                done = f", {counts.completed} of {counts.total}" if counts else ""
                tell(f"batch job {job.id}: {batch.status}{done}")
                if batch.status in ENDED:
                    waiting.remove(job)
                    yield from self._outcomes(job, batch)
            if waiting:
                time.sleep(wait)
                wait = min(wait * GROWTH, LONGEST_WAIT)

    def _outcomes(self, job: Job, batch: Any) -> Iterator[tuple[int, Outcome]]:
        """Yield what a job that has ended says, and then what it says nothing about."""
        told = [
            f"{e.code}: {e.message}" for e in (batch.errors and batch.errors.data) or ()
        ]
        why = f"the batch job {batch.id} is {batch.status} {'; '.join(told)}".rstrip()
        if batch.status == "failed":
            self._fail(
                BackendError(
                    f"{self.backend.model!r} at {self.asked.url}: "
                    f"{excerpt(why, self.asked.key)}. Nothing of it was paid for."
                )
            )
        kept = set()  # answers that nobody has asked for in this call
        for line in self._lines(batch):
            name = line.get("custom_id")
            if name in self._asked:
                yield from self._deliver(name, line)
            elif (line.get("response") or {}).get("status_code") == 200:
                kept.add(name)
        for name in job.ids:
            if name in self._asked and batch.status != "failed":
                yield from self._deliver(name, {"error": {"message": why}})
        self.folder.settle(job, set(job.ids) - kept)

    def _lines(self, batch: Any) -> Iterator[dict[str, Any]]:
        client = self.asked.client.with_options(timeout=FILE_SECONDS)
        for file in (batch.output_file_id, batch.error_file_id):
            if file:
                content = self._call(client.files.content(file)).content
                for text in content.splitlines():
                    line = None
                    with suppress(ValueError):  # cut off: it counts as not answered
                        line = json.loads(text)
                    if isinstance(line, dict):
                        yield line

    def _deliver(self, name: str, line: dict[str, Any]) -> Iterator[tuple[int, Outcome]]:
        for index in self._asked.pop(name):
            try:
                outcome: Outcome = answer_in_line(
                    line, self._requests[index], index, **self._who()
                )
            except RowError as error:
                outcome = error
            except LogprobError as error:
                self._fail(error)
                continue
            usage = outcome.usage if isinstance(outcome, Answer) else None
            self._settle(name, usage)
            yield index, outcome

    def _settle(self, name: str, usage: TokenUsage | None) -> None:
        request = self._admitted.pop(name, None)
        if request is not None:
            self.gate.settle(request, usage)

    def _fail(self, error: LogprobError) -> None:
        self.failure = self.failure or error
