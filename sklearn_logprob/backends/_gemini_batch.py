"""Google's batches of the Gemini API: a list of requests, an operation to wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sklearn_logprob._types import Answer, Request
from sklearn_logprob.backends._batch_desk import BatchDesk, Body
from sklearn_logprob.backends._batch_jobs import Job
from sklearn_logprob.backends._batch_wire import SENDING, Look, Result, moment
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends._overlap import Gate
from sklearn_logprob.backends._params import MALFORMED
from sklearn_logprob.backends._service import Service

__all__ = ["GeminiBatches"]

Read: TypeAlias = Callable[[dict[str, Any], Request, int], Answer]

MOST_REQUESTS = 10_000  # all answers come in one JSON object
MOST_BYTES = 19_000_000  # 20 MB are allowed

CLOCKS_DIFFER = 3600  # seconds, at most, ours and theirs
PAGE = 10  # jobs: a page may hold all their answers

ENDED_BADLY = ("failed", "cancelled", "expired")
INVALID_ARGUMENT = 3  # as gRPC counts


class GeminiBatches(BatchDesk):
    """The jobs of an account at Google's Gemini API.

    Parameters
    ----------
    model : str
        Whom to ask.
    service : Service
        Where, and as whom.
    body : callable
        From a request to the fields that are sent.
    read : callable
        From a reply, its request and the index of that, to the answer.
    gate : Gate
        Admits requests, and hears what they cost.

    References
    ----------
    .. [1] Google, "Batch API", API reference, https://ai.google.dev/api/batch-api

    Examples
    --------
    >>> from sklearn_logprob import GeminiBackend
    >>> from sklearn_logprob.backends._gemini_batch import GeminiBatches
    >>> from sklearn_logprob.backends._service import Service
    >>> nobody = Service("http://u", "m", {}, "", 60, 5, lambda error, index: error)
    >>> list(GeminiBatches("m", nobody, None, None, None).answer([]))
    []
    """

    def __init__(
        self, model: str, service: Service, body: Body, read: Read, gate: Gate
    ) -> None:
        super().__init__(
            # the model is in the address otherwise, and has to be in a request's name
            lambda request: {"model": f"models/{model}", **body(request)},
            gate,
            who=service.who,
            url=service.url,
            key=service.key,
            most_requests=MOST_REQUESTS,
            most_bytes=MOST_BYTES,
        )
        self.path = f"/models/{model}:batchGenerateContent"
        self.service = service
        self.read = read

    def _entry(self, name: str, request: Request) -> dict[str, Any]:
        return {"request": self.body(request), "metadata": {"key": name}}

    def _begin(self, entries: Sequence[dict[str, Any]], token: str) -> str:
        given = {"requests": {"requests": entries}}
        batch = {"displayName": token, "inputConfig": given}
        # not tried again by itself: that could begin two jobs
        begun = self.service.call(
            self.path, {"batch": batch}, timeout=SENDING, max_retries=0
        )
        return self.service.parsed(lambda content: str(content["name"]), begun)

    def _find(self, job: Job, taken: set[str]) -> str | None:
        if job.id:
            return None if self.service.find(f"/{job.id}") is None else job.id
        newest_first = self.service.pages(f"/batches?pageSize={PAGE}", _listed)
        for name, token, began in newest_first:
            if token == job.token:
                return name
            if began < job.at - CLOCKS_DIFFER:
                break
        return None

    def _look(self, name: str) -> Look:
        operation = self.service.call(f"/{name}", timeout=SENDING)
        return self.service.parsed(_shown, operation)

    def _results(self, look: Look) -> Iterator[Result]:
        yield from look.results

    def _read(self, line: dict[str, Any], request: Request, index: int) -> Answer:
        if isinstance(line.get("response"), dict):
            return self.read(line["response"], request, index)
        raise self._failed(self.service.explain(_error(line), index), index)


def _listed(page: dict[str, Any]) -> tuple[list[tuple[str, str, float]], str | None]:
    batches = [
        (
            str(one["name"]),
            str(one["metadata"].get("displayName")),
            moment(one["metadata"]["createTime"]),
        )
        for one in page.get("operations") or ()
    ]
    token = page.get("nextPageToken")
    return batches, f"&pageToken={token}" if token else None


def _shown(operation: dict[str, Any]) -> Look:
    metadata = operation.get("metadata") or {}
    # BATCH_STATE_RUNNING here, JOB_STATE_RUNNING elsewhere
    status = str(metadata.get("state") or "").rpartition("STATE_")[2].lower()
    counts = metadata.get("batchStats") or {}
    total, left = (
        int(counts.get(name) or 0) for name in ("requestCount", "pendingRequestCount")
    )
    results = _inlined(operation.get("response")) or _inlined(metadata.get("output"))
    nothing = status == "failed" and not results
    return Look(
        status or "without a state",
        bool(operation.get("done") or results) or status in ENDED_BADLY,
        done=f"{total - left} of {total}" if total else "",
        why=str((operation.get("error") or {}).get("message") or ""),
        failed="Make the same call again to begin another one." if nothing else "",
        results=results,
    )


def _inlined(output: Mapping[str, Any] | None) -> list[Result]:
    found = (output or {}).get("inlinedResponses") or {}
    return [
        Result(_key(line), isinstance(line.get("response"), dict), line)
        for line in found.get("inlinedResponses") or ()
        if isinstance(line, dict)
    ]


def _key(line: dict[str, Any]) -> object:
    """Say whose line it is, never by its position: Google changes the order at times."""
    try:
        return line["metadata"]["key"]
    except MALFORMED:
        return None


def _error(line: dict[str, Any]) -> HttpError:
    try:
        error = line["error"]
        said = str(error["message"])
        status = 400 if error.get("code") == INVALID_ARGUMENT else 0
        return HttpError(f"its request failed: {said.rstrip('.')}.", status, said)
    except MALFORMED:
        return HttpError("its request failed")
