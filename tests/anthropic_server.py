"""A real HTTP server on loopback that answers in Anthropic's Messages format.

    with MessagesServer(lambda text, times: "positive") as server:
        ...                      # `times` counts how often the text was asked before
    server.calls                 # what arrived: path, headers, body

It refuses what Anthropic refuses: a request without a version, a temperature or a begun
answer where the model takes none.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from servers import Body, Call, ChatServer, Http, Reply, send_text

__all__ = ["MessagesServer", "Says", "constant", "error", "message", "saying"]

Says: TypeAlias = Callable[[str, int], str]


def constant(text: str, times: int) -> str:
    """Say "positive" or "negative", always the same of the same text."""
    return random.Random(text).choice(["positive", "negative"])


def saying(probabilities: Mapping[str, float]) -> Says:
    """Draw from a distribution: the same draws of the same text, in the same order."""

    def says(text: str, times: int) -> str:
        chance = random.Random(f"{times}:{text}")
        return chance.choices(list(probabilities), list(probabilities.values()))[0]

    return says


def message(text: str | None, **changes: Any) -> Body:
    """Write a complete answer; None leaves the text out, a change of None the field."""
    blocks = [] if text is None else [{"type": "text", "text": text, "citations": None}]
    content = {
        "id": "msg_01ABC",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": blocks,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": 30,
            "cache_creation_input_tokens": 4,
            "cache_read_input_tokens": 8,
            "output_tokens": 2,
            "service_tier": "standard",
        },
        **changes,
    }
    return {name: value for name, value in content.items() if value is not None}


def error(status: int, text: str = "no", *, kind: str = "", **headers: str) -> Reply:
    """Reply with an error in Anthropic's words; ``Retry_After="0"`` is a header."""
    content = {
        "type": "error",
        "error": {"type": kind or "api_error", "message": text},
        "request_id": "req_01ABC",
    }
    return send_text(json.dumps(content), status=status, **headers)


class MessagesServer(ChatServer):
    """Serves ``POST /v1/messages`` in threads, as a context manager.

    Parameters
    ----------
    says : callable, default=constant
        From the text of the last message, and how often it was asked before, to what is
        answered.
    **params : dict
        As for `ChatServer`.
    """

    def __init__(self, says: Says = constant, **params: Any) -> None:
        super().__init__(**params)
        self.says = says
        self._asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return super().url.removesuffix("/v1")

    def reply(self, call: Call) -> Http:
        """Refuse what is no request for a message, and answer the others."""
        if call.path != "/v1/messages" or "anthropic-version" not in call.headers:
            self.calls.append(call)
            return error(404, "not found", kind="not_found_error")(call.body)
        return super().reply(call)

    def _answer(self, body: Body) -> Http:
        last = body["messages"][-1]
        current = not re.search(r"-4-5(?!\d)", body["model"])
        for wrong, text in (
            (
                current and "temperature" in body,
                "`temperature` is deprecated for this model.",
            ),
            (
                current and last["role"] == "assistant",
                "This model does not support assistant message prefill. The conversation "
                "must end with a user message.",
            ),
            (
                last["role"] == "assistant" and last["content"].endswith(" "),
                "messages: final assistant content cannot end with trailing whitespace",
            ),
        ):
            if wrong:
                return error(400, text, kind="invalid_request_error")(body)
        with self._lock:
            times = self._asked[last["content"]]
            self._asked[last["content"]] += 1
        content = message(self.says(last["content"], times), model=body["model"])
        return Http(json.dumps(content).encode())
