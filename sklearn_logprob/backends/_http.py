"""JSON over HTTP, for servers that have a format of their own.

Connections, retries and waiting as ``Retry-After`` asks are urllib3's work, through
requests; here is what a failure means to the user.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as TimeoutError_
from urllib3.util import Retry

from sklearn_logprob._errors import BackendError

__all__ = ["HttpError", "call_json"]

PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)
ADVICE = {
    401: "Check the key.",
    403: "Check what the key is allowed to use.",
    404: "Check the model and the address.",
    429: "Lower max_concurrency= or raise max_retries=.",
    500: "The fault is the server's: try again later, or raise max_retries=.",
}


class HttpError(BackendError):
    """A server refused, with the status and what it said.

    Parameters
    ----------
    message : str
        For the user.
    status : int
        HTTP status.
    said : str
        Beginning of the server's own message, without the key.
    """

    def __init__(self, message: str, status: int = 0, said: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.said = said


def call_json(
    url: str,
    body: Mapping[str, Any] | None = None,
    *,
    who: str,
    headers: Mapping[str, str] | None = None,
    secret: str = "",
    timeout: float = 60.0,
    max_retries: int = 5,
) -> dict[str, Any]:
    """Send JSON and give the JSON object that comes back.

    Parameters
    ----------
    url : str
        Where to.
    body : mapping, default=None
        What to post; None gets.
    who : str
        How messages call the server, such as ``"Ollama at http://localhost:11434"``.
    headers : mapping, default=None
        Additional headers.
    secret : str, default=""
        What no message may show.
    timeout : float, default=60.0
        Seconds to wait for an answer.
    max_retries : int, default=5
        How often to ask again after a rate limit, a server's fault, or a connection that
        was lost before the answer began.

    Returns
    -------
    reply : dict
        The parsed object.

    Raises
    ------
    HttpError
        If the server refuses, with ``status`` and ``said``.
    BackendError
        If there is no server, or it does not speak JSON.
    """
    failure: BackendError
    try:
        reply = _session(max_retries, threading.get_ident()).request(
            "GET" if body is None else "POST",
            url,
            json=body,
            headers=dict(headers or {}),
            timeout=timeout,
            allow_redirects=False,  # they would take our headers, the key, elsewhere
            auth=_as_given,
        )
    except requests.RequestException as error:
        failure = _no_answer(error, who)
    else:
        return _read(reply, who, secret)
    # Not in the handler: the client's error holds the request, and with it the key.
    raise failure


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep the headers; without any `auth`, ~/.netrc would replace them."""
    return request


def _no_answer(error: requests.RequestException, who: str) -> BackendError:
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)  # of the last of several attempts
    slow = isinstance(reason, TimeoutError_) and not isinstance(
        reason, NewConnectionError
    )
    if isinstance(error, requests.Timeout) or slow:
        return BackendError(
            f"No answer in time from {who}: is the server running? If it is only slow, "
            "raise timeout= or lower max_concurrency=."
        )
    return BackendError(
        f"No connection to {who}: is the server running? Check its address and the "
        "network."
    )


def _read(reply: requests.Response, who: str, secret: str) -> dict[str, Any]:
    if reply.is_redirect:
        raise HttpError(
            f"{who} redirects to another address, which is not followed, for it would "
            f"get the key: give that address, {reply.headers['location']!r}, yourself.",
            reply.status_code,
        )
    try:
        content = reply.json()
    except ValueError:
        content = None
    if reply.ok and isinstance(content, dict):
        return content
    said = _message(content) or reply.text
    if secret:
        said = said.replace(secret, "[key]")
    said = said[:300]
    if reply.ok:
        raise BackendError(f"{who} did not answer in its format; it said: {said}")
    advice = ADVICE.get(min(reply.status_code, 500), "")
    message = f"{who} refused (HTTP {reply.status_code}): {said.rstrip('.')}. {advice}"
    raise HttpError(message.strip(), reply.status_code, said)


def _message(content: Any) -> str:
    """Find the text in ``{"error": "…"}`` and ``{"error": {"message": "…"}}``."""
    error = content.get("error") if isinstance(content, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else ""


@functools.lru_cache(maxsize=64)
def _session(max_retries: int, thread: int) -> requests.Session:
    """Keep one session a thread, for they are not made to be shared."""
    session = requests.Session()
    retry = Retry(
        total=max_retries,
        status_forcelist=PASSING,
        allowed_methods=None,  # asking a model changes nothing, so POST may be repeated
        backoff_factor=0.5,
        backoff_jitter=0.25,
        backoff_max=30,
        raise_on_status=False,
        respect_retry_after_header=True,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=64))
    return session
