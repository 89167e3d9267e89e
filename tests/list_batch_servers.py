"""Anthropic's and Google's batch endpoints on loopback: lists of requests, no files.

As in `batch_server`, a job's `Fate` says how it ends, and every look takes it a step on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from email.message import Message
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anthropic_server import message
from batch_server import Fate, JobServer
from gemini_server import generated
from servers import distribution

__all__ = ["GeminiBatchServer", "MessageBatchServer"]


def now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


class ListServer(JobServer):
    """What both have in common: the requests are in the job."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, list[dict[str, Any]]] = {}  # by job

    @property
    def texts(self) -> list[list[str]]:
        """The last message of every request, a list for each job."""
        return [list(map(self.text_of, entries)) for entries in self.asked.values()]

    def text_of(self, entry: dict[str, Any]) -> str:
        raise NotImplementedError

    def told(self, key: str, fate: Fate) -> Iterator[tuple[dict[str, Any], int, Any]]:
        """Give requests in reverse, with their number and what is told instead."""
        for number, entry in reversed(list(enumerate(self.asked[key]))):
            left_out = fate.n_answered is not None and number >= fate.n_answered
            instead = fate.instead.get(self.text_of(entry))
            yield entry, number, fate.status if left_out else instead


class MessageBatchServer(ListServer):
    """Serves ``/v1/messages/batches``.

    `elsewhere` stands in place of the server's own address in that of the results.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere = ""
        self._results: dict[str, bytes] = {}

    def text_of(self, entry: dict[str, Any]) -> str:
        return str(entry["params"]["messages"][-1]["content"])

    def post(self, path: str, headers: Message, content: bytes) -> Any:
        if path != "/v1/messages/batches" or not headers["anthropic-version"]:
            return None
        entries = json.loads(content)["requests"]
        names = {entry["custom_id"] for entry in entries}
        assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in names)
        assert len(names) == len(entries)
        key = f"msgbatch_{len(self.asked)}"
        self.asked[key] = entries
        counts = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
        job = {
            "id": key, "type": "message_batch", "processing_status": "in_progress",
            "request_counts": {"processing": len(entries), **counts},
            "created_at": now(), "archived_at": None, "results_url": None,
        }  # fmt: skip
        return self.begin(key, job)

    def get(self, path: str) -> Any:
        parts = urlsplit(path)
        assert parts.path.startswith("/v1/messages/batches")
        _, key, *rest = [*parts.path.split("/")[3:], ""]
        if not key:  # one a page, so that there are several
            keys = [*self.jobs][::-1]
            after = parse_qs(parts.query).get("after_id")
            left = keys[keys.index(after[0]) + 1 :] if after else keys
            return {"data": [self.jobs[k] for k in left[:1]], "has_more": len(left) > 1}
        return self._results[key] if rest[0] else self.look(key)

    def _end(self, job: dict[str, Any], fate: Fate) -> None:
        lines = []
        for entry, number, instead in self.told(job["id"], fate):
            said = message(f"{self.text_of(entry)} {number}")
            result = {"type": "succeeded", "message": said}
            if instead is not None:
                result = {"type": instead} if isinstance(instead, str) else instead
            job["request_counts"]["processing"] -= 1
            kind = result["type"]
            job["request_counts"][kind] = job["request_counts"].get(kind, 0) + 1
            lines.append(json.dumps({"custom_id": entry["custom_id"], "result": result}))
        content = "\n".join(lines).encode()
        self._results[job["id"]] = content[:-50] if fate.torn else content
        job["processing_status"] = "ended"
        address = f"{self.elsewhere or self.origin}/v1/messages/batches/{job['id']}"
        job["results_url"] = f"{address}/results"


class GeminiBatchServer(ListServer):
    """Serves ``:batchGenerateContent`` and ``/v1beta/batches``.

    `nameless` leaves out what names the requests, as Google was seen to do; `states` is
    how the states of jobs begin, and `output` where their answers are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nameless = False
        self.states = "BATCH_STATE_"
        self.output = "response"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1beta"

    def text_of(self, entry: dict[str, Any]) -> str:
        return str(entry["request"]["contents"][-1]["parts"][0]["text"])

    def post(self, path: str, headers: Message, content: bytes) -> Any:
        asked = re.fullmatch(r"/v1beta/(models/.*):batchGenerateContent", path)
        if asked is None:
            return None
        batch = json.loads(content)["batch"]
        entries = batch["inputConfig"]["requests"]["requests"]
        assert {entry["request"]["model"] for entry in entries} == {asked[1]}
        key = f"batches/{len(self.asked)}"
        self.asked[key] = entries
        stats = {"requestCount": str(len(entries)), "pendingRequestCount": "0"}
        metadata = {
            "displayName": batch["displayName"], "createTime": now(), "model": asked[1],
            "state": f"{self.states}PENDING", "batchStats": stats,
        }  # fmt: skip
        return self.begin(key, {"name": key, "metadata": metadata})

    def get(self, path: str) -> Any:
        parts = urlsplit(path)
        if parts.path != "/v1beta/batches":
            return self.look(parts.path.removeprefix("/v1beta/"))
        keys = [*self.jobs][::-1]
        page = int(parse_qs(parts.query).get("pageToken", ["0"])[0])
        found = {"operations": [self.jobs[key] for key in keys[page : page + 1]]}
        more = {"nextPageToken": str(page + 1)} if page + 1 < len(keys) else {}
        return {**found, **more} if keys else {}

    def _go_on(self, job: dict[str, Any], fate: Fate) -> None:
        job["metadata"]["state"] = f"{self.states}RUNNING"

    def _end(self, job: dict[str, Any], fate: Fate) -> None:
        ended = {"completed": "succeeded"}.get(fate.status, fate.status)
        job["metadata"]["state"] = self.states + ended.upper()
        job["done"] = True
        if fate.errors:
            job["error"] = fate.errors[0]
        if fate.status == "failed":
            return
        lines = []
        for entry, _, instead in self.told(job["name"], fate):
            if isinstance(instead, str):  # such requests are left out
                continue
            config = entry["request"]["generationConfig"]
            said = generated(distribution(self.text_of(entry)), config.get("logprobs", 0))
            line = {"response": said} if instead is None else instead
            lines.append(
                line if self.nameless else {**line, "metadata": entry["metadata"]}
            )
        if fate.torn:
            lines[-1] = {**lines[-1], "metadata": "lost"}
            lines += [7, {"metadata": {"key": ["a"]}}]
        inlined = {"inlinedResponses": {"inlinedResponses": lines}}
        holder = job if self.output == "response" else job["metadata"]
        holder[self.output] = inlined
