"""OpenAI's batch endpoint: files of requests, jobs, files of answers."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, TypeVar

import openai

from sklearn_logprob._types import Answer, Request
from sklearn_logprob.backends._batch_desk import BatchDesk, Body
from sklearn_logprob.backends._batch_jobs import Job
from sklearn_logprob.backends._batch_wire import SENDING, Look, Result, json_lines
from sklearn_logprob.backends._loop import background_loop
from sklearn_logprob.backends._openai_client import Connection
from sklearn_logprob.backends._openai_errors import explain
from sklearn_logprob.backends._openai_reading import answer_in_line, response_in_line
from sklearn_logprob.backends._overlap import Gate

__all__ = ["OpenAIBatches"]

T = TypeVar("T")

ENDPOINT: Final = "/v1/chat/completions"
METADATA = "sklearn_logprob"  # the name of our own among a job's metadata
ENDED = ("completed", "failed", "expired", "cancelled")

MOST_LINES = 50_000  # in a file
MOST_BYTES = 190_000_000

CLOCKS_DIFFER = 3600  # seconds, at most, ours and theirs


class OpenAIBatches(BatchDesk):
    """The jobs of an account at OpenAI, or at a service that speaks its format.

    Parameters
    ----------
    model : str
        Whom to ask.
    api_key_env : str
        The environment variable that holds the key.
    asked : Connection
        Where.
    body : callable
        From a request to the fields that are sent.
    gate : Gate
        Admits requests, and hears what they cost.

    Examples
    --------
    >>> from sklearn_logprob import OpenAIBackend
    >>> from sklearn_logprob.backends._openai_batch import OpenAIBatches
    >>> backend = OpenAIBackend(base_url="http://localhost:8000/v1")
    >>> asked = backend._connection()
    >>> list(OpenAIBatches("m", "KEY", asked, backend._body, None).answer([]))
    []
    """

    def __init__(
        self, model: str, api_key_env: str, asked: Connection, body: Body, gate: Gate
    ) -> None:
        super().__init__(
            body,
            gate,
            who=f"{model!r} at {asked.url}",
            url=asked.url,
            key=asked.key,
            most_requests=MOST_LINES,
            most_bytes=MOST_BYTES,
        )
        self.client = asked.client
        self.named = {
            "model": model,
            "url": asked.url,
            "key": asked.key,
            "api_key_env": api_key_env,
        }

    def _entry(self, name: str, request: Request) -> dict[str, Any]:
        body = self.body(request)
        return {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body}

    def _begin(self, entries: Sequence[dict[str, Any]], token: str) -> str:
        content = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
        sender = self.client.with_options(timeout=SENDING)
        file = self._call(
            sender.files.create(file=("requests.jsonl", content), purpose="batch")
        )
        begun = self._call(
            # not tried again by itself: that could begin two jobs
            self.client.with_options(max_retries=0).batches.create(
                input_file_id=file.id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={METADATA: token},
            )
        )
        return begun.id

    def _find(self, job: Job, taken: set[str]) -> str | None:
        return self._call(self._search(job))

    async def _search(self, job: Job) -> str | None:
        batches = self.client.batches
        if job.id:
            try:
                return (await batches.retrieve(job.id)).id
            except openai.NotFoundError:
                return None
        async for batch in batches.list(limit=100):
            if (batch.metadata or {}).get(METADATA) == job.token:
                return batch.id
            if batch.created_at < job.at - CLOCKS_DIFFER:  # the newest come first
                break
        return None

    def _look(self, name: str) -> Look:
        batch = self._call(self.client.batches.retrieve(name))
        counts = batch.request_counts
        errors = (batch.errors and batch.errors.data) or ()
        return Look(
            batch.status,
            batch.status in ENDED,
            done=f"{counts.completed} of {counts.total}" if counts else "",
            why="; ".join(f"{error.code}: {error.message}" for error in errors),
            failed="Nothing of it was paid for." if batch.status == "failed" else "",
            results=(batch.output_file_id, batch.error_file_id),
        )

    def _results(self, look: Look) -> Iterator[Result]:
        client = self.client.with_options(timeout=SENDING)
        for file in filter(None, look.results):
            for line in json_lines(self._call(client.files.content(file)).content):
                status, _ = response_in_line(line)
                yield Result(line.get("custom_id"), status == 200, line)

    def _read(self, line: dict[str, Any], request: Request, index: int) -> Answer:
        return answer_in_line(line, request, index, **self.named)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return background_loop().submit(coroutine).result()
        except openai.OpenAIError as error:
            failure = explain(error, index=0, **self.named)
        raise failure  # not in the handler: the client's error holds the key
