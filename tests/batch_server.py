"""Batch endpoints on loopback: jobs that take time, and OpenAI's, with files.

    with BatchServer() as server:
        server.fates.append(Fate("expired", n_answered=3))   # of the first job
        ...
        server.jobs, server.lines                             # what arrived

Every look at a job takes it one step along its way.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from servers import chat_completion, distribution

__all__ = ["BatchServer", "Fate", "JobServer", "fail_line"]

KEYS = ("Authorization", "x-api-key", "x-goog-api-key")


@dataclass
class Fate:
    """How a job ends.

    Parameters: its last status; how many of its lines are answered (None: all); what
    stands in place of the answer of a line, by the text of its last message; how many
    looks it takes; and the errors of the job itself.
    """

    status: str = "completed"
    n_answered: int | None = None
    instead: dict[str, Any] = field(default_factory=dict)
    looks: int = 3
    errors: list[dict[str, Any]] = field(default_factory=list)
    torn: bool = False  # the results have strange lines, and end within the last one
    cut: bool = False  # the connection breaks once the job has begun


def fail_line(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """Give what a line of the error file has in place of an answer."""
    error = {"message": message, "type": "invalid_request_error", "code": code}
    return {
        "response": {"status_code": status, "request_id": "r", "body": {"error": error}},
        "error": None,
    }


class JobServer:
    """Jobs of a provider: what its endpoints are is a subclass's."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.fates: list[Fate] = []
        self.held = threading.Event()  # set: jobs stay in progress
        self.lost: set[str] = set()  # jobs that are not found any more
        self.looks = 0
        self.keys: set[str] = set()
        self._of: dict[str, Fate] = {}
        self._ended: set[str] = set()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.desk = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def post(self, path: str, headers: Message, content: bytes) -> Any:
        """Give the JSON of an answer, or None if there is no such address."""
        raise NotImplementedError

    def get(self, path: str) -> Any:
        """Give the JSON or bytes that an address holds, or None."""
        raise NotImplementedError

    def _end(self, job: dict[str, Any], fate: Fate) -> None:
        raise NotImplementedError

    def _go_on(self, job: dict[str, Any], fate: Fate) -> None:
        """Show that a job is under way."""

    def begin(self, key: str, job: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.jobs[key] = job
            self._of[key] = self.fates.pop(0) if self.fates else Fate()
            if self._of[key].cut:
                raise ConnectionAbortedError
            return job

    def look(self, key: str) -> Any:
        if key not in self.jobs.keys() - self.lost:
            return None
        with self._lock:
            self.looks += 1
            job, fate = self.jobs[key], self._of[key]
            if key not in self._ended:
                fate.looks -= 1
                if fate.looks <= 0 and not self.held.is_set():
                    self._ended.add(key)
                    self._end(job, fate)
                else:
                    self._go_on(job, fate)
            return job


class BatchServer(JobServer):
    """Serves ``/v1/files`` and ``/v1/batches``; `chat` serves POSTs of chat, if given."""

    def __init__(self, chat: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.chat = chat

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def lines(self) -> list[list[dict[str, Any]]]:
        """What was asked, a list for each job."""
        files = [self.files[job["input_file_id"]] for job in self.jobs.values()]
        return [[json.loads(line) for line in file.splitlines()] for file in files]

    @property
    def texts(self) -> list[list[str]]:
        """The last message of every line, a list for each job."""
        return [[text_of(line) for line in lines] for lines in self.lines]

    def post(self, path: str, headers: Message, content: bytes) -> Any:
        if path == "/v1/files":
            kind = f"Content-Type: {headers['Content-Type']}\r\n\r\n"
            parts = message_from_bytes(kind.encode() + content).get_payload()
            named = {
                part.get_param("name", header="content-disposition"): part
                for part in parts
            }
            assert named["purpose"].get_payload() == "batch"
            return self.add_file(named["file"].get_payload(decode=True))
        if path == "/v1/batches":
            return self._begin(json.loads(content))
        if self.chat is not None:
            return json.loads(self.chat(json.loads(content)).content)
        return None

    def get(self, path: str) -> Any:
        _, _, kind, *rest = path.partition("?")[0].split("/")
        if kind == "batches" and not rest:
            jobs = list(self.jobs.values())[::-1]
            return {"object": "list", "data": jobs, "has_more": False}
        if kind == "batches":
            return self.look(rest[0])
        return self.files[rest[0]] if rest[1:] == ["content"] else None

    def add_file(self, content: bytes, name: str = "file") -> dict[str, Any]:
        key = f"{name}-{len(self.files)}"
        self.files[key] = content
        return {
            "id": key, "object": "file", "bytes": len(content), "created_at": 1,
            "filename": "requests.jsonl", "purpose": "batch", "status": "processed",
        }  # fmt: skip

    def _begin(self, body: dict[str, Any]) -> dict[str, Any]:
        key = f"batch_{len(self.jobs)}"
        n_lines = len(self.files[body["input_file_id"]].splitlines())
        job = {
            "id": key, "object": "batch", "status": "validating", "created_at": 4e9,
            "output_file_id": None, "error_file_id": None, "errors": None, **body,
            "request_counts": {"total": n_lines, "completed": 0, "failed": 0},
        }  # fmt: skip
        return self.begin(key, job)

    def _go_on(self, job: dict[str, Any], fate: Fate) -> None:
        under_way = self.held.is_set() or fate.looks > 1
        job["status"] = "in_progress" if under_way else "finalizing"

    def _end(self, job: dict[str, Any], fate: Fate) -> None:
        job["status"] = fate.status
        if fate.errors:
            job["errors"] = {"object": "list", "data": fate.errors}
        if fate.status == "failed":
            return
        good, bad = [], []
        lines = list(map(json.loads, self.files[job["input_file_id"]].splitlines()))
        for number, line in enumerate(lines):
            told = {"id": f"batch_req_{number}", "custom_id": line["custom_id"]}
            if fate.n_answered is not None and number >= fate.n_answered:
                if fate.status == "expired":  # a cancelled job is silent about the rest
                    error = {"code": "batch_expired", "message": "It took too long."}
                    bad.append({**told, "response": None, "error": error})
            elif text_of(line) in fate.instead:
                bad.append({**told, **fate.instead[text_of(line)]})
            else:
                positions = distribution(text_of(line))
                body = chat_completion(line["body"], positions)
                response = {"status_code": 200, "request_id": "r", "body": body}
                good.append({**told, "response": response, "error": None})
        job["request_counts"].update(completed=len(good), failed=len(bad))
        for name, found in (("output_file_id", good[::-1]), ("error_file_id", bad)):
            if found:
                content = "\n".join(map(json.dumps, found)).encode() + b"\n"
                if fate.torn:
                    content = b'[1]\n7\n\n{"custom_id": 3}\n' + content[:-50]
                job[name] = self.add_file(content, name)["id"]


def text_of(line: dict[str, Any]) -> str:
    return str(line["body"]["messages"][-1]["content"])


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._note_key()
        try:
            self._send(self.server.desk.post(self.path, self.headers, content))
        except ConnectionAbortedError:
            self.close_connection = True

    def _note_key(self) -> None:
        self.server.desk.keys |= {self.headers[name] for name in KEYS} - {None}

    def do_GET(self) -> None:
        self._note_key()
        self._send(self.server.desk.get(self.path))

    def _send(self, found: Any) -> None:
        told = {"error": {"message": f"no {self.path}"}} if found is None else found
        content = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""
