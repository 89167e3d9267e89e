"""OpenAI's chat format: what is sent, and how the answer is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sklearn_logprob._types import Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._params import MALFORMED, optional_text, temperature_of

__all__ = [
    "WHOLE_CHARACTERS",
    "Reply",
    "chat_body",
    "is_openai",
    "read_reply",
    "resolve_effort",
]

BELOW_TOP = -9999.0  # what OpenAI says of a token outside the alternatives

# llama-server shows no log-probabilities of a token that ends inside a character (part
# of an emoji, say). Its values are those before sampling, so they do not change when
# this grammar makes it draw a whole character.
WHOLE_CHARACTERS = {"grammar": "root ::= [ -~]+"}

_OPENAI_HOSTS = (
    ".openai.com",
    ".openai.azure.com",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
)

# Models that reason count what they think. A limit that is as short as a label leaves
# no room for it, and OpenAI refuses limits below this one on some routes.
_LEAST_LIMIT = 16

_TAKES_TEMPERATURE = re.compile(r"(?:^|[/:])(?:chat)?gpt-[34]")

# They may be told not to reason. Names that always reason, or that are not offered
# log-probabilities at all, are left alone: the server's refusal says why.
_CAN_STOP_REASONING = re.compile(
    r"(?:^|[/:])gpt-(?:5\.[1-9]|[6-9])(?!\.1-sol|.*-(?:pro|codex|chat-latest|astra))"
)


def is_openai(url: str) -> bool:
    """Tell OpenAI's own endpoints, Azure's among them, from compatible servers.

    Parameters
    ----------
    url : str
        Where requests go.

    Returns
    -------
    is_openai : bool
        Whether OpenAI's models answer there.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_wire import is_openai
    >>> is_openai("https://eu.api.openai.com/v1"), is_openai("http://localhost:8000")
    (True, False)
    """
    return f".{urlsplit(url).hostname}".endswith(_OPENAI_HOSTS)


def resolve_effort(effort: str | None, model: str) -> str | None:
    """Give the ``reasoning_effort`` to send.

    Parameters
    ----------
    effort : str or None
        ``"auto"`` goes by the name of the model.
    model : str
        Its name.

    Returns
    -------
    effort : str or None
        None sends nothing.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_wire import resolve_effort
    >>> resolve_effort("auto", "gpt-5.5"), resolve_effort("auto", "gpt-4.1")
    ('none', None)
    """
    if effort != "auto":
        return effort
    return "none" if _CAN_STOP_REASONING.search(model) else None


def chat_body(
    request: Request, *, openai: bool, model: str, effort: str | None, top_logprobs: int
) -> dict[str, Any]:
    """Write a request as JSON fields.

    Parameters
    ----------
    request : Request
        What to ask.
    openai : bool
        Whether one of OpenAI's own endpoints is asked.
    model : str
        Whom.
    effort : str or None
        The ``reasoning_effort`` to send, if any.
    top_logprobs : int
        The most alternatives that the server returns.

    Returns
    -------
    body : dict
        To be sent.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._openai_wire import chat_body
    >>> request = Request((("prompt", "Hi"),))
    >>> who = dict(openai=False, model="m", effort=None, top_logprobs=5)
    >>> body = chat_body(request, **who)
    >>> body["messages"], body["top_logprobs"]
    ([{'role': 'user', 'content': 'Hi'}], 5)
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "user" if role == "prompt" else role, "content": content}
            for role, content in request.messages
        ],
    }
    if request.top_logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = min(request.top_logprobs, top_logprobs)
    # OpenAI's newer models refuse max_tokens. Elsewhere it is the name that all know:
    # Ollama ignores the newer one and writes on, Mistral refuses it.
    if not openai:
        body["max_tokens"] = request.max_tokens
    elif request.top_logprobs or request.max_tokens >= _LEAST_LIMIT:
        body["max_completion_tokens"] = request.max_tokens
    # Models that always reason take no temperature. They return no log-probabilities
    # either, so it matters for texts only, and 1 is the default of all.
    takes = not openai or effort == "none" or _TAKES_TEMPERATURE.search(model)
    if request.top_logprobs or (takes and not request.draw):
        body["temperature"] = temperature_of(request)
    if request.draw:
        body["seed"] = request.draw
    return body if effort is None else {**body, "reasoning_effort": effort}


class Reply(NamedTuple):
    """One answer of a server, as read from JSON.

    Parameters
    ----------
    positions : tuple of TokenLogprobs
        Empty where the server returned no log-probabilities.
    usage : TokenUsage
        Tokens spent.
    text : str
        The answer's text.
    finish_reason : str or None
        Why the server stopped.
    build : str, default=""
        What it says of the model behind the name.

    Examples
    --------
    >>> from sklearn_logprob import TokenLogprobs, TokenUsage
    >>> from sklearn_logprob.backends._openai_wire import Reply
    >>> position = TokenLogprobs("Hi", 0.0, (("Hi", 0.0),))
    >>> Reply((position,), TokenUsage(), "Hi", "length").placeholders
    True
    """

    positions: tuple[TokenLogprobs, ...]
    usage: TokenUsage
    text: str
    finish_reason: str | None
    build: str = ""

    @property
    def placeholders(self) -> bool:
        """Whether the values stand for nothing: 0 and -9999 only, or 0 and no others.

        DeepSeek V3.2 has sent the first; llama-server sends the second for tokens that
        a draft model proposed.
        """
        shown = {p.logprob for p in self.positions}
        shown.update(value for p in self.positions for _, value in p.top)
        drafted = any(p.logprob == 0.0 and not p.top for p in self.positions)
        return shown <= {0.0, BELOW_TOP} or drafted

    def withholds_token(self, request: Request) -> bool:
        """Tell a server that hides one token from one that has no log-probabilities.

        Parameters
        ----------
        request : Request
            What was asked.

        Returns
        -------
        withholds : bool
            Whether a token was generated and nothing of it is shown.
        """
        role, content = request.messages[-1]
        begun = content if role == "assistant" else ""
        new = self.text.removeprefix(begun)
        # a part of a character is shown as U+FFFD, or not at all; a space may precede it
        nothing_new = new.endswith("\ufffd") or not new.strip()
        return not self.positions and self.finish_reason == "length" and nothing_new


def read_reply(text: str) -> Reply | None:
    """Read the body of an answer.

    Parameters
    ----------
    text : str
        What the server sent.

    Returns
    -------
    reply : Reply or None
        None if the text is not in OpenAI's format.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_wire import read_reply
    >>> read_reply('{"choices": [{"message": {"content": "Hi"}}]}').text
    'Hi'
    >>> read_reply("<html>") is None
    True
    """
    try:
        body = json.loads(text)
        choice = body["choices"][0]
        usage = body.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        return Reply(
            positions=tuple(map(read_position, _entries(choice.get("logprobs") or {}))),
            usage=TokenUsage(
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                completion_tokens=int(usage.get("completion_tokens") or 0),
                cached_tokens=int(details.get("cached_tokens") or 0),
            ),
            text=str(choice["message"].get("content") or ""),
            finish_reason=optional_text(choice.get("finish_reason")),
            build=str(body.get("system_fingerprint") or ""),
        )
    except MALFORMED:
        return None


def _entries(logprobs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give a mapping for each position, also from the parallel lists of Together."""
    if "tokens" not in logprobs:
        yield from logprobs.get("content") or ()
        return
    tops = logprobs.get("top_logprobs") or ()
    columns = (
        logprobs["tokens"],
        logprobs["token_logprobs"],
        [tops] if isinstance(tops, dict) else tops,
    )
    for token, logprob, top in zip_longest(*columns):
        pairs = [{"token": t, "logprob": v} for t, v in (top or {}).items()]
        yield {"token": token, "logprob": logprob, "top_logprobs": pairs}


def read_position(entry: Mapping[str, Any]) -> TokenLogprobs:
    pairs = [(_text(e), _logprob(e)) for e in entry.get("top_logprobs") or ()]
    shown = [pair for pair in pairs if pair[1] != BELOW_TOP]
    shown.sort(key=lambda pair: -pair[1])
    return TokenLogprobs(_text(entry), _logprob(entry), tuple(shown))


def _text(entry: Mapping[str, Any]) -> str:
    given = entry.get("bytes")
    try:
        text = bytes(given).decode() if isinstance(given, list) else ""
        return text or str(entry["token"])
    except ValueError:  # a part of a character
        return str(entry["token"])


def _logprob(entry: Mapping[str, Any]) -> float:
    """Clip rounding above 0; null, NaN and the engines' lowest numbers are one."""
    value = entry.get("logprob")
    value = math.nan if value is None else float(value)
    return min(value, 0.0) if value > -9998.0 else BELOW_TOP
