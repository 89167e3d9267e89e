"""Anthropic's Message Batches: a list of requests, a job, lines of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from sklearn_logprob._types import Answer, Request
from sklearn_logprob.backends._batch_desk import BatchDesk, Body
from sklearn_logprob.backends._batch_jobs import Job
from sklearn_logprob.backends._batch_wire import (
    SENDING,
    Look,
    Result,
    json_lines,
    moment,
)
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends._overlap import Gate
from sklearn_logprob.backends._params import MALFORMED
from sklearn_logprob.backends._service import Service

__all__ = ["AnthropicBatches"]

Read: TypeAlias = Callable[[dict[str, Any], int], Answer]

PATH = "/v1/messages/batches"

MOST_REQUESTS = 100_000
MOST_BYTES = 240_000_000  # 256 MB are allowed

CLOCKS_DIFFER = 60.0  # seconds, at most, ours and theirs

STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
}


class AnthropicBatches(BatchDesk):
    """The jobs of an account at Anthropic.

    Parameters
    ----------
    service : Service
        Where, and as whom.
    body : callable
        From a request to the fields that are sent.
    read : callable
        From a message, and the index of its request, to the answer.
    gate : Gate
        Admits requests, and hears what they cost.

    References
    ----------
    .. [1] Anthropic, "Message Batches", API reference,
       https://docs.anthropic.com/en/api/creating-message-batches

    Examples
    --------
    >>> from sklearn_logprob import AnthropicBackend
    >>> from sklearn_logprob.backends._anthropic_batch import AnthropicBatches
    >>> backend = AnthropicBackend(base_url="http://localhost:8080")
    >>> list(AnthropicBatches(backend._service(), None, None, None).answer([]))
    []
    """

    def __init__(self, service: Service, body: Body, read: Read, gate: Gate) -> None:
        super().__init__(
            body,
            gate,
            who=service.who,
            url=service.url,
            key=service.key,
            most_requests=MOST_REQUESTS,
            most_bytes=MOST_BYTES,
        )
        self.service = service
        self.read = read

    def _entry(self, name: str, request: Request) -> dict[str, Any]:
        return {"custom_id": name, "params": self.body(request)}

    def _begin(self, entries: Sequence[dict[str, Any]], token: str) -> str:
        # not tried again by itself: that could begin two jobs
        sent = {"requests": entries}
        begun = self.service.call(PATH, sent, timeout=SENDING, max_retries=0)
        return self.service.parsed(lambda content: str(content["id"]), begun)

    def _find(self, job: Job, taken: set[str]) -> str | None:
        """Find a job by its name, or else by its size and its beginning.

        The format keeps no name of ours. So a job whose name never came is the first
        one with as many requests that began after we wrote it down and that no note
        names. Its results have names, so that a wrong one gives no wrong answers.
        """
        if job.id:
            batch = self.service.find(f"{PATH}/{job.id}")
            return None if batch is None or batch.get("archived_at") else job.id
        found = None
        newest_first = self.service.pages(f"{PATH}?limit=100", _listed)
        for name, began, n_requests in newest_first:
            if began < job.at - CLOCKS_DIFFER:
                break
            if n_requests == len(job.ids) and name not in taken:
                found = name
        return found

    def _look(self, name: str) -> Look:
        shown = self.service.parsed(_shown, self.service.call(f"{PATH}/{name}"))
        return shown._replace(results=name)

    def _results(self, look: Look) -> Iterator[Result]:
        # from where the job is: the address in results_url may be another server's,
        # which would get the key, and behind a gateway it is
        file = self.service.fetch(f"{PATH}/{look.results}/results", SENDING)
        for line in json_lines(file):
            yield Result(line.get("custom_id"), _kind(line) == "succeeded", line)

    def _read(self, line: dict[str, Any], request: Request, index: int) -> Answer:
        kind = _kind(line)
        if kind == "succeeded":
            return self.read(line["result"].get("message") or {}, index)
        if kind != "errored":
            raise self._unanswered(f"its request is {kind}", index)
        raise self._failed(self.service.explain(_error(line), index), index)


def _listed(page: dict[str, Any]) -> tuple[list[tuple[str, float, int]], str | None]:
    batches = [
        (str(b["id"]), moment(b["created_at"]), sum(b["request_counts"].values()))
        for b in page["data"]
    ]
    more = page.get("has_more") and batches
    return batches, f"&after_id={batches[-1][0]}" if more else None


def _shown(batch: dict[str, Any]) -> Look:
    status, counts = str(batch["processing_status"]), batch["request_counts"]
    total = sum(counts.values())
    return Look(
        status,
        status == "ended",
        done=f"{total - counts['processing']} of {total}",
    )


def _kind(line: dict[str, Any]) -> str:
    """Say what became of a request."""
    try:
        return str(line["result"]["type"])
    except MALFORMED:
        return "without a result"


def _error(line: dict[str, Any]) -> HttpError:
    try:
        error = line["result"]["error"]
        error = error.get("error", error)  # it stands in an envelope
        said = str(error["message"])
        status = STATUS.get(error["type"], 0)
        return HttpError(f"its request failed: {said.rstrip('.')}.", status, said)
    except MALFORMED:
        return HttpError("its request failed")
