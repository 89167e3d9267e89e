"""Ollama's wire format: where it is, what is sent, and how the answer is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sklearn_logprob._types import Request, TokenUsage
from sklearn_logprob.backends._openai_wire import Reply, read_position
from sklearn_logprob.backends._params import MALFORMED, optional_text, temperature_of

__all__ = ["ask_body", "full_name", "read_reply", "reasoned", "server_url"]

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 where to listen, not ask


def server_url(host: str | None) -> str:
    """Complete the address as Ollama's own clients do.

    Parameters
    ----------
    host : str or None
        An address without scheme or port perhaps; None is ``OLLAMA_HOST`` or this
        machine.

    Returns
    -------
    url : str
        Without a slash at its end.

    Raises
    ------
    ValueError
        If it is none, or holds a password.

    Examples
    --------
    >>> from sklearn_logprob.backends._ollama_wire import server_url
    >>> server_url("gpu-box"), server_url("https://example.com/ollama/")
    ('http://gpu-box:11434', 'https://example.com/ollama')
    """
    given = (host or os.environ.get("OLLAMA_HOST", "")).strip(" \t\"'") or "localhost"
    has_scheme = "://" in given
    try:
        parts = urlsplit(given if has_scheme else f"http://{given}")
        port = parts.port
        good = parts.scheme in ("http", "https") and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good:
        got = "an address with a user or password" if "@" in given else repr(given)
        raise ValueError(
            "The 'host' parameter of OllamaBackend, or the environment variable "
            "OLLAMA_HOST, must be an address such as 'localhost:11434' or "
            f"'https://example.com'. Got {got} instead."
        )
    name = parts.hostname or "localhost"
    name = ANY_ADDRESS.get(name, name)
    name = f"[{name}]" if ":" in name else name
    port = 11434 if port is None and not has_scheme else port
    suffix = "" if port is None else f":{port}"
    return f"{parts.scheme}://{name}{suffix}{parts.path.rstrip('/')}"


def full_name(model: str) -> str:
    """Give the name under which a server lists a model.

    Parameters
    ----------
    model : str
        Its name, perhaps without a tag.

    Returns
    -------
    name : str
        In small letters: Ollama does not tell them from capitals.

    Examples
    --------
    >>> from sklearn_logprob.backends._ollama_wire import full_name
    >>> full_name("llama3.2"), full_name("Qwen3:4b")
    ('llama3.2:latest', 'qwen3:4b')
    """
    has_tag = ":" in model.rpartition("/")[2]
    return (model if has_tag else f"{model}:latest").casefold()


def reasoned(content: Mapping[str, Any]) -> bool:
    """Tell whether the model reasoned before it answered.

    Parameters
    ----------
    content : mapping
        The server's answer.

    Returns
    -------
    reasoned : bool
        Whether its first tokens are no answer.

    Examples
    --------
    >>> from sklearn_logprob.backends._ollama_wire import reasoned
    >>> reasoned({"response": "", "thinking": "Well"})
    True
    """
    return bool((content.get("message") or content).get("thinking"))


def read_reply(content: Mapping[str, Any]) -> Reply | None:
    """Read an answer.

    Parameters
    ----------
    content : mapping
        What the server sent.

    Returns
    -------
    reply : Reply or None
        None if it is not in Ollama's format.

    Examples
    --------
    >>> from sklearn_logprob.backends._ollama_wire import read_reply
    >>> read_reply({"response": "Yes", "done_reason": "length"}).finish_reason
    'length'
    >>> read_reply({}) is None
    True
    """
    try:
        chat = content.get("message")
        return Reply(
            positions=tuple(map(read_position, content.get("logprobs") or ())),
            usage=TokenUsage(
                prompt_tokens=int(content.get("prompt_eval_count") or 0),
                completion_tokens=int(content.get("eval_count") or 0),
            ),
            text=str(chat["content"] if chat else content["response"]),
            finish_reason=optional_text(content.get("done_reason")),
        )
    except MALFORMED:
        return None


def ask_body(
    request: Request,
    *,
    model: str,
    top_logprobs: int,
    options: Mapping[str, Any],
    keep_alive: str | int | None,
) -> tuple[str, dict[str, Any]]:
    """Write a request as JSON fields, and say where they go.

    Parameters
    ----------
    request : Request
        What to ask.
    model : str
        Whom.
    top_logprobs : int
        The most alternatives that the server returns.
    options : mapping
        Options of the model; they win over those that are sent anyway.
    keep_alive : str, int or None
        How long the model stays loaded; None sends nothing.

    Returns
    -------
    path : str
        ``"generate"`` for a raw prompt, ``"chat"`` for messages.
    body : dict
        To be sent.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._ollama_wire import ask_body
    >>> request = Request((("prompt", "Is it? "),))
    >>> whom = dict(model="m", top_logprobs=5, options={}, keep_alive=None)
    >>> path, body = ask_body(request, **whom)
    >>> path, body["raw"], body["prompt"], body["top_logprobs"]
    ('generate', True, 'Is it? ', 5)
    """
    body: dict[str, Any] = {
        "model": model,
        "stream": False,
        "think": False,
        "truncate": False,  # by default Ollama cuts long prompts without a word,
        "shift": False,  # at either of two places
        "options": {
            "num_predict": request.max_tokens,
            "temperature": temperature_of(request),
            "seed": request.draw,
            "top_p": 1,
            "top_k": 0,
            "min_p": 0,
            "repeat_penalty": 1,  # else labels that the prompt lists are avoided
            **options,
        },
    }
    if request.top_logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = min(request.top_logprobs, top_logprobs)
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    if request.messages[0][0] == "prompt":
        return "generate", {**body, "raw": True, "prompt": request.messages[0][1]}
    messages = [{"role": role, "content": text} for role, text in request.messages]
    return "chat", {**body, "messages": messages}
