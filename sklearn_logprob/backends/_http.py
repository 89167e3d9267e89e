"""JSON over HTTP, for servers that have a format of their own.

Connections, retries and waiting as ``Retry-After`` asks are urllib3's work, through the
adapter of requests. Its sessions are left out: they are not made for threads to share,
and would follow redirects, keep cookies and read ~/.netrc. Here is what a failure means
to the user.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import default_headers, get_environ_proxies
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as TimeoutError_
from urllib3.util import Retry

from sklearn_logprob._errors import BackendError, LimitReachedError
from sklearn_logprob.backends._attempts import seconds_to_wait
from sklearn_logprob.backends._params import hide

__all__ = ["HttpError", "call_bytes", "call_json"]

_log = logging.getLogger("sklearn_logprob")

POOL_SIZE = 256  # connections kept for one server
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)
PROXY_VARIABLES = [
    variable
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for variable in (name, name.upper())
]
SPENT = ("insufficient_quota", "billing_hard_limit_reached")
JSON = {"Content-Type": "application/json"}
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
    heed: Callable[[Mapping[str, str]], object] | None = None,
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
    heed : callable, default=None
        Gets the headers of the answer, whatever its status: rate limits are there.

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
    reply = _exchange(
        url,
        body,
        who=who,
        headers=headers,
        secret=secret,
        timeout=timeout,
        max_retries=max_retries,
        heed=heed,
    )
    try:
        content = json.loads(reply.content)
    except (ValueError, RecursionError):
        content = None
    if reply.ok and not reply.is_redirect and isinstance(content, dict):
        return content
    raise _refusal(reply, content, who, secret)


def call_bytes(
    url: str,
    *,
    who: str,
    headers: Mapping[str, str] | None = None,
    secret: str = "",
    timeout: float = 60.0,
    max_retries: int = 5,
) -> bytes:
    """Get what is no JSON object: a file.

    Parameters
    ----------
    url : str
        Where it is.
    who : str
        How messages call the server.
    headers : mapping, default=None
        Additional headers.
    secret : str, default=""
        What no message may show.
    timeout : float, default=60.0
        Seconds to wait for it.
    max_retries : int, default=5
        As for `call_json`.

    Returns
    -------
    content : bytes
        All of it.

    Raises
    ------
    HttpError
        If the server refuses, with ``status`` and ``said``.
    BackendError
        If there is no server.
    """
    reply = _exchange(
        url,
        None,
        who=who,
        headers=headers,
        secret=secret,
        timeout=timeout,
        max_retries=max_retries,
    )
    if reply.ok and not reply.is_redirect:
        return reply.content
    raise _refusal(reply, None, who, secret)


def _exchange(
    url: str,
    body: Mapping[str, Any] | None,
    *,
    who: str,
    headers: Mapping[str, str] | None,
    secret: str,
    timeout: float,
    max_retries: int,
    heed: Callable[[Mapping[str, str]], object] | None = None,
) -> requests.Response:
    _log.debug("to %s: %s", url, body)
    failure: BackendError
    try:
        prepared = requests.Request(
            "GET" if body is None else "POST",
            url,
            data=None if body is None else json.dumps(body),
            headers={**default_headers(), **JSON, **(headers or {})},
        ).prepare()
        _take_turn()
        reply = _adapter(os.getpid(), max_retries).send(
            prepared,
            timeout=timeout,
            verify=_certificates(),
            proxies=_proxies(url),
        )
        _ = reply.content  # read here: the connection may break in the middle of it
    except _SpentError as error:
        said = hide(secret, str(error))[:300]
        failure = HttpError(
            f"{who} refused (HTTP 429): {said.rstrip('.')}. Check the plan and billing "
            "of the account.",
            429,
            said,
        )
    except LimitReachedError as error:
        failure = LimitReachedError(str(error))
    except requests.RequestException as error:
        failure = _no_answer(error, who)
    else:
        if heed is not None:
            heed(reply.headers)
        if _log.isEnabledFor(logging.DEBUG):
            said = hide(secret, reply.text)
            _log.debug("from %s: HTTP %d %s", url, reply.status_code, said)
        return reply
    # Not in the handler: the client's error holds the request, and with it the key.
    raise failure


def _proxies(url: str) -> Mapping[str, str]:
    parts = urlsplit(url)
    named = (os.environ.get(name) for name in PROXY_VARIABLES)
    return _proxies_for(f"{parts.scheme}://{parts.netloc}", *named)


@lru_cache(maxsize=64)
def _proxies_for(origin: str, *environment: str | None) -> Mapping[str, str]:
    """Keep what requests finds, as long as the environment is the same: it is slow."""
    return get_environ_proxies(origin)


def _certificates() -> str | bool:
    """Give the file of trusted authorities that the environment names, as curl does."""
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return named or True


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


def _refusal(
    reply: requests.Response, content: Any, who: str, secret: str
) -> BackendError:
    if reply.is_redirect:
        return HttpError(
            f"{who} redirects to another address, which is not followed, for it would "
            f"get the key: give that address, {reply.headers['location']!r}, yourself.",
            reply.status_code,
        )
    said = hide(secret, _message(content) or reply.text)[:300]
    if reply.ok:
        return BackendError(f"{who} did not answer in its format; it said: {said}")
    advice = ADVICE.get(min(reply.status_code, 500), "")
    message = f"{who} refused (HTTP {reply.status_code}): {said.rstrip('.')}. {advice}"
    return HttpError(message.strip(), reply.status_code, said)


def _message(content: Any) -> str:
    """Find the text in ``{"error": "…"}`` and ``{"error": {"message": "…"}}``."""
    error = content.get("error") if isinstance(content, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else ""


def _take_turn() -> None:
    """Wait until an attempt may leave."""
    while (wait := seconds_to_wait()) > 0:
        time.sleep(wait)


class _SpentError(Exception):
    """The account has no money left: that does not pass like a rate limit."""


class _PatientRetry(Retry):
    """Asks again after what passes, and not where a quota is spent."""

    def increment(  # type: ignore[override]
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        *further: Any,
        **named: Any,
    ) -> Retry:
        """Count an attempt; of the last one the body is left to be read by others."""
        if self.total and response is not None and response.status == 429:
            said = response.data.decode(errors="replace")
            if any(code in said for code in SPENT):
                with suppress(ValueError):
                    said = _message(json.loads(said)) or said
                raise _SpentError(said)
        return super().increment(method, url, response, *further, **named)

    def sleep(self, response: Any = None) -> None:
        """Wait before the next attempt, which counts."""
        super().sleep(response)
        _take_turn()


@lru_cache(maxsize=16)
def _adapter(pid: int, max_retries: int) -> HTTPAdapter:
    """Keep connections for all threads of a process; a fork must not share them."""
    retry = _PatientRetry(
        total=max_retries,
        status_forcelist=PASSING,
        allowed_methods=None,  # asking a model changes nothing, so POST may be repeated
        backoff_factor=0.5,
        backoff_jitter=0.25,
        backoff_max=30,
        raise_on_status=False,
        respect_retry_after_header=True,
    )
    return HTTPAdapter(max_retries=retry, pool_maxsize=POOL_SIZE)
