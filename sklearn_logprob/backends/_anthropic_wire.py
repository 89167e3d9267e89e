"""Anthropic's Messages format: what is sent, and how the answer is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    PromptTooLongError,
    RefusedError,
    UnreadableAnswerError,
)
from sklearn_logprob._types import Answer, Request, TokenUsage
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends._params import (
    MALFORMED,
    build_of,
    hide,
    optional_text,
)

__all__ = [
    "Reply",
    "answer_of",
    "ask_body",
    "continues",
    "explain",
    "read_reply",
    "thinks",
]

# Later models refuse a message of the assistant at the end.
_CONTINUE = re.compile(r"-4-5(?!\d)")

# These families cannot be told not to think.
_ALWAYS_THINK = re.compile(r"-(?:fable|mythos)-")

_TOO_LONG = re.compile(r"prompt is too long|exceeds? the (?:available )?context")


class Reply(NamedTuple):
    """One answer of the model, as read from JSON.

    Parameters
    ----------
    text : str
        What it says, without its thinking.
    stop_reason : str or None
        Why it stopped.
    thought : bool
        Whether it was thinking first.
    refusal : str
        Why it refuses, where it says so.
    usage : TokenUsage
        Tokens spent.

    Examples
    --------
    >>> from sklearn_logprob import TokenUsage
    >>> from sklearn_logprob.backends._anthropic_wire import Reply
    >>> Reply("Yes", "end_turn", False, "", TokenUsage(9, 1)).text
    'Yes'
    """

    text: str
    stop_reason: str | None
    thought: bool
    refusal: str
    usage: TokenUsage


def continues(model: str) -> bool:
    """Tell whether a model continues an answer that the request begins.

    Parameters
    ----------
    model : str
        Its name.

    Returns
    -------
    continues : bool
        True for Claude 4.5 only.

    Examples
    --------
    >>> from sklearn_logprob.backends._anthropic_wire import continues
    >>> continues("claude-haiku-4-5-20251001"), continues("claude-haiku-5-5")
    (True, False)
    """
    return bool(_CONTINUE.search(model))


def thinks(thinking: str | None, model: str) -> str | None:
    """Give the type of thinking to send.

    Parameters
    ----------
    thinking : str or None
        ``"auto"`` goes by the name of the model.
    model : str
        Its name.

    Returns
    -------
    thinking : str or None
        None sends nothing.

    Examples
    --------
    >>> from sklearn_logprob.backends._anthropic_wire import thinks
    >>> thinks("auto", "claude-sonnet-5"), thinks("auto", "claude-fable-5")
    ('disabled', None)
    """
    if thinking != "auto":
        return thinking
    return None if _ALWAYS_THINK.search(model) else "disabled"


def ask_body(
    request: Request, *, model: str, thinking: str | None, thinking_tokens: int
) -> dict[str, Any]:
    """Write a request as JSON fields.

    No temperature is sent: 1 is what the endpoint takes without, and Claude 4.7 and
    later refuse any.

    Parameters
    ----------
    request : Request
        What to ask.
    model : str
        Whom.
    thinking : str or None
        The type of thinking to send, if any.
    thinking_tokens : int
        What is added to the answer's tokens unless thinking is switched off.

    Returns
    -------
    body : dict
        To be sent.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._anthropic_wire import ask_body
    >>> request = Request((("system", "Be brief."), ("user", "Hi")), max_tokens=8)
    >>> body = ask_body(request, model="m", thinking=None, thinking_tokens=0)
    >>> body["system"], body["messages"]
    ('Be brief.', [{'role': 'user', 'content': 'Hi'}])
    """
    system = [content for role, content in request.messages if role == "system"]
    said = [
        {"role": "assistant" if role == "assistant" else "user", "content": content}
        for role, content in request.messages
        if role != "system"
    ]
    if said and said[-1]["role"] == "assistant":
        # the endpoint refuses an answer that begins with space at its end
        said[-1]["content"] = said[-1]["content"].rstrip()
    room = 0 if thinking == "disabled" else thinking_tokens
    return {
        "model": model,
        "max_tokens": request.max_tokens + room,
        **({"system": "\n\n".join(system)} if system else {}),
        "messages": said,
        **({} if thinking is None else {"thinking": {"type": thinking}}),
    }


def explain(error: HttpError, index: int, key_name: str) -> LogprobError:
    """Say what a refusal means and what mends it.

    Parameters
    ----------
    error : HttpError
        The refusal.
    index : int
        Which request it was.
    key_name : str
        The environment variable that holds the key.

    Returns
    -------
    error : LogprobError
        To be raised.

    Examples
    --------
    >>> from sklearn_logprob.backends._anthropic_wire import explain
    >>> from sklearn_logprob.backends._http import HttpError
    >>> explain(HttpError("No.", 403, "No."), 0, "MY_KEY")
    BackendError("No. It is in the environment variable 'MY_KEY'.")
    """
    said = error.said.lower()
    if error.status == 413 or (error.status == 400 and _TOO_LONG.search(said)):
        return PromptTooLongError(
            f"The prompt of {{row}} is too long. {error} Shorten the text.", index
        )
    if error.status in (401, 403):
        return BackendError(f"{error} It is in the environment variable {key_name!r}.")
    if error.status == 400 and "thinking" in said:
        return BackendError(
            f"{error} Set thinking= to what this model takes: None sends nothing."
        )
    if error.status == 404:
        return BackendError(
            f"{error} Models are retired within a year or two: name a current one."
        )
    return error


def read_reply(content: Mapping[str, Any]) -> Reply | None:
    """Read an answer.

    Parameters
    ----------
    content : mapping
        What the server sent.

    Returns
    -------
    reply : Reply or None
        None if it is not in Anthropic's format.

    Examples
    --------
    >>> from sklearn_logprob.backends._anthropic_wire import read_reply
    >>> blocks = [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Yes"}]
    >>> read_reply({"content": blocks, "usage": {}}).text
    'Yes'
    >>> read_reply({"choices": []}) is None
    True
    """
    try:
        blocks = [dict(block) for block in content["content"]]
        usage = content["usage"]
        fresh, written, cached = (
            int(usage.get(name) or 0)
            for name in (
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
            )
        )
        details = content.get("stop_details") or {}
        why = (details.get("category"), details.get("explanation"))
        return Reply(
            text="".join(b["text"] for b in blocks if b.get("type") == "text"),
            stop_reason=optional_text(content.get("stop_reason")),
            thought=any("thinking" in str(block.get("type")) for block in blocks),
            refusal=": ".join(text for text in why if text),
            usage=TokenUsage(
                prompt_tokens=fresh + written + cached,
                completion_tokens=int(usage.get("output_tokens") or 0),
                cached_tokens=cached,
            ),
        )
    except MALFORMED:
        return None


def answer_of(
    content: Mapping[str, Any], index: int, *, model: str, who: str, key: str
) -> Answer:
    """Make an answer of what the server sent.

    Parameters
    ----------
    content : mapping
        A message.
    index : int
        Which request it answers.
    model : str
        Whom it was asked of. Where another name comes back, that is the answer's build.
    who : str
        How messages call the model.
    key : str
        What no message may show.

    Returns
    -------
    answer : Answer
        With the text.

    Raises
    ------
    RowError
        There is no answer: refused, too long, or still thinking.
    BackendError
        It is not in Anthropic's format.

    Examples
    --------
    >>> from sklearn_logprob.backends._anthropic_wire import answer_of
    >>> content = {"content": [{"type": "text", "text": "Yes"}], "usage": {}}
    >>> answer_of(content, 0, model="m", who="m at u", key="").draws
    (('Yes', 1),)
    """
    reply = read_reply(content)
    if reply is None:
        raise BackendError(
            f"{who} did not answer in Anthropic's format: check base_url= (it usually "
            "does not end in /v1)."
        )
    if reply.stop_reason == "refusal":
        why = hide(key, reply.refusal)
        raise RefusedError(
            f"{who} refuses to answer {{row}}{': ' + why if why else ''}.", index
        )
    if reply.stop_reason == "model_context_window_exceeded":
        raise PromptTooLongError(
            f"The prompt of {{row}} leaves {who} no room for an answer. Shorten the "
            "text.",
            index,
        )
    if reply.thought and reply.stop_reason == "max_tokens" and not reply.text:
        raise UnreadableAnswerError(
            f"{who} was still thinking when the tokens for {{row}} ended. Raise "
            "thinking_tokens=, or set thinking='disabled' where the model allows it.",
            index,
        )
    build = build_of(model, content.get("model"))
    return Answer(usage=reply.usage, draws=((reply.text, 1),), build=build)
