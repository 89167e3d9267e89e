"""A real HTTP server on loopback that answers in OpenAI's chat format.

    with ChatServer(script=[refuse(500)]) as server:
        ...                      # the first request meets the fault, the others do not
    server.calls                 # what arrived: path, headers, body

A reply in the script is a function from the request's body to an `Http`.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, TypeAlias

from sklearn_logprob import Answer, RowError

__all__ = [
    "LIMITS",
    "Call",
    "ChatServer",
    "Http",
    "chat_completion",
    "cut_off",
    "distribution",
    "placeholders",
    "refuse",
    "send",
    "send_text",
    "the_answer",
    "without_logprobs",
]

# Constructor parameters that say how much may be asked, and change no answer.
LIMITS = {
    "max_cost",
    "max_requests",
    "price",
    "requests_per_minute",
    "tokens_per_minute",
}

Body: TypeAlias = dict[str, Any]
Top: TypeAlias = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Http:
    """What goes over the wire; with `cut`, only half of it."""

    content: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True)
class Call:
    """What came over the wire; the names of headers in lower case."""

    path: str
    headers: dict[str, str]
    body: Body


Reply: TypeAlias = Callable[[Body], Http]
Answers: TypeAlias = Callable[[str], Sequence[Top]]


def distribution(prompt: str, n_positions: int = 1) -> list[list[tuple[str, float]]]:
    """Draw the log-probabilities of 40 tokens, the same for the same prompt."""
    positions = []
    for position in range(n_positions):
        seed = hashlib.sha256(f"{position}:{prompt}".encode()).digest()
        scores = [random.Random(seed + bytes([k])).gauss(0, 3) for k in range(40)]
        total = math.log(math.fsum(map(math.exp, scores)))
        top = [(f" t{k}", score - total) for k, score in enumerate(scores)]
        positions.append(sorted(top, key=lambda pair: -pair[1]))
    return positions


def chat_completion(body: Body, positions: Sequence[Top]) -> Body:
    """Write a complete answer as OpenAI does, the likeliest token being the chosen."""

    def entry(token: str, logprob: float) -> Body:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    content = [
        {
            **entry(*top[0]),
            "top_logprobs": [entry(*pair) for pair in top[: body.get("top_logprobs", 0)]],
        }
        for top in positions
    ]
    text = "".join(top[0][0] for top in positions)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "length",
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": {"content": content, "refusal": None}
                if body.get("logprobs")
                else None,
            }
        ],
        "usage": {
            "prompt_tokens": len(json.dumps(body["messages"]).split()),
            "completion_tokens": len(positions),
            "total_tokens": len(json.dumps(body["messages"]).split()) + len(positions),
            "prompt_tokens_details": {"cached_tokens": 1},
        },
    }


def the_answer(outcomes: Iterable[tuple[int, Answer | RowError]]) -> Answer:
    """Give the answer to the only request, or raise what is wrong with it."""
    [(_, outcome)] = outcomes
    if isinstance(outcome, RowError):
        raise outcome
    return outcome


def send(content: Any, *, status: int = 200) -> Reply:
    """Reply with this JSON."""
    return send_text(json.dumps(content), status=status)


def send_text(text: str, *, status: int = 200, **headers: str) -> Reply:
    """Reply with this text, said to be JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda body: Http(text.encode(), status, named)


def refuse(status: int, message: str = "no", *, code: str = "", **headers: str) -> Reply:
    """Reply with an error in OpenAI's words; ``Retry_After="0.01"`` is a header."""
    error = {"message": message, "type": "error", "param": None, "code": code or None}
    return send_text(json.dumps({"error": error}), status=status, **headers)


def without_logprobs(body: Body) -> Http:
    """Reply as servers do that ignore ``logprobs``."""
    answer = chat_completion(body, [[("Yes", -0.1)]])
    answer["choices"][0]["logprobs"] = None
    return Http(json.dumps(answer).encode())


def placeholders(body: Body) -> Http:
    """Reply with 0 for the chosen token and -9999 for the others."""
    top = [("Yes", 0.0), ("No", -9999.0), ("Maybe", -9999.0)]
    return Http(json.dumps(chat_completion(body, [top])).encode())


def cut_off(body: Body) -> Http:
    """Close the connection in the middle of the answer."""
    answer = chat_completion(body, distribution("cut off"))
    return Http(json.dumps(answer).encode(), cut=True)


class ChatServer:
    """Serves ``POST /v1/chat/completions`` in threads, as a context manager.

    Parameters
    ----------
    answers : callable, default=distribution
        From the text of the last message to the alternatives at each position.
    script : sequence of replies, default=()
        The first requests get these.
    delay : float, default=0
        Seconds that an answer takes.
    meanwhile : callable, default=None
        Called while each request is being answered.
    max_top_logprobs : int, default=20
        More alternatives than this are refused.
    """

    def __init__(
        self,
        answers: Answers = distribution,
        *,
        script: Sequence[Reply] = (),
        delay: float = 0.0,
        meanwhile: Callable[[], object] | None = None,
        max_top_logprobs: int = 20,
    ) -> None:
        self.answers = answers
        self.script = list(script)
        self.delay = delay
        self.meanwhile = meanwhile
        self.max_top_logprobs = max_top_logprobs
        self.calls: list[Call] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._http = _Listener(("127.0.0.1", 0), _Handler)
        self._http.chat = self
        # polls often, as leaving the context waits for the next poll
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """What to give as ``base_url``."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def reply(self, call: Call) -> Http:
        """Record a request and answer it."""
        with self._lock:
            self.calls.append(call)
            scripted = self.script.pop(0) if self.script else None
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.delay)
            if self.meanwhile is not None:
                self.meanwhile()
            return (scripted or self._answer)(call.body)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, body: Body) -> Http:
        if body.get("top_logprobs", 0) > self.max_top_logprobs:
            most = f"top_logprobs must be at most {self.max_top_logprobs}"
            return refuse(400, most)(body)
        positions = self.answers(body["messages"][-1]["content"])
        return Http(json.dumps(chat_completion(body, positions)).encode())


class _Listener(ThreadingHTTPServer):
    request_queue_size = 64
    chat: ChatServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client may hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        http = self.server.chat.reply(Call(self.path, headers, body))
        self.send_response(http.status)
        for name, value in http.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(http.content)))
        self.end_headers()
        n_sent = len(http.content) // 2 if http.cut else len(http.content)
        self.wfile.write(http.content[:n_sent])

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""
