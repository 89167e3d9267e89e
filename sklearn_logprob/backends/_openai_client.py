"""Connections to OpenAI-shaped servers, kept for the whole process.

The SDK is asked asynchronously, through aiohttp where that is installed, and for the
bytes of an answer: to check a request and to build the SDK's model of an answer takes
as long as the rest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import openai

from sklearn_logprob._errors import LimitReachedError, MissingKeyError
from sklearn_logprob.backends._attempts import seconds_to_wait
from sklearn_logprob.backends._loop import BackgroundLoop, background_loop

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Connection", "Received", "connection", "read_key", "server_url"]

_log = logging.getLogger("sklearn_logprob")

NO_KEY = "no-key-needed"  # the client wants one, compatible servers often do not

# Waiting for a free connection counts as waiting for the server, so there is always one.
TOO_MANY = 429
SPENT = (b"insufficient_quota", b"billing_hard_limit_reached")
MOST_CONNECTIONS = 100_000
KEPT_SECONDS = 30.0  # that an idle connection is kept, for rows that come one by one


def server_url(base_url: str | None, *, owner: str) -> str:
    """Find out where requests go.

    Parameters
    ----------
    base_url : str or None
        What the user gave; None is the environment variable ``OPENAI_BASE_URL``, or
        OpenAI itself.
    owner : str
        The class that has the parameter, for the message.

    Returns
    -------
    url : str
        It has a scheme and a host.

    Raises
    ------
    ValueError
        If it has not, or holds a password.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_client import server_url
    >>> server_url("http://localhost:8000/v1", owner="OpenAIBackend")
    'http://localhost:8000/v1'
    """
    url = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    parts = urlsplit(url)
    web = parts.scheme in ("http", "https") and parts.hostname
    if not web or "@" in parts.netloc:
        got = "a URL with a user or password" if "@" in url else repr(url)
        raise ValueError(
            f"The 'base_url' parameter of {owner} must be an http(s) URL without user "
            f"and password. Got {got} instead. Keys belong into the environment "
            "variable that api_key_env= names."
        )
    return url


def read_key(api_key_env: str, url: str, *, required: bool) -> str:
    """Read the key from the environment.

    Parameters
    ----------
    api_key_env : str
        Name of the variable.
    url : str
        What the key is for, for the message.
    required : bool
        Whether there must be one.

    Returns
    -------
    key : str
        A placeholder where none is required and there is none.

    Raises
    ------
    MissingKeyError
        If one is required and missing, or cannot be a key.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_client import read_key
    >>> read_key("NO_SUCH_VARIABLE", "http://localhost", required=False)
    'no-key-needed'
    """
    key = os.environ.get(api_key_env, "").strip()
    if not key and not required:
        return NO_KEY
    if not (key and key.isascii() and key.isprintable()):
        raise MissingKeyError(
            f"The environment variable {api_key_env!r} holds no key for {url}. Set it, "
            "or name another one with api_key_env=. Without any key, use "
            "backend='llama-cpp' (a small embedded model) or backend='fake'."
        )
    return key


class Received(NamedTuple):
    """An answer as it came.

    Parameters
    ----------
    text : str
        Its body.
    headers : mapping of str to str
        Their names in any case.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_client import Received
    >>> Received("{}", {"x-request-id": "1"}).text
    '{}'
    """

    text: str
    headers: Mapping[str, str]


class Connection:
    """One server and one key, and what was found out about its models.

    Parameters
    ----------
    url, key : str
        Where to ask, and with which key.
    timeout : float
        Seconds to wait for an answer.
    max_retries : int
        How often to ask again.
    api_version : str or None
        Makes it a client for Azure's dated routes.

    Attributes
    ----------
    client : openai.AsyncOpenAI
        To be awaited on the background loop.
    proven : set of str
        Models that have returned log-probabilities.
    refused : dict of str to str
        Models that have returned none, and the message that says so.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_client import Connection
    >>> Connection("http://localhost/v1", "k", 60.0, 5, None).proven
    set()
    """

    def __init__(
        self,
        url: str,
        key: str,
        timeout: float,
        max_retries: int,
        api_version: str | None,
    ) -> None:
        self.url = url
        self.key = key
        self.proven: set[str] = set()
        self.refused: dict[str, str] = {}
        # made here, not on the loop: reading certificates would hold it up
        params: dict[str, Any] = {
            "api_key": key,
            "timeout": timeout,
            "max_retries": max_retries,
            "http_client": _http_client(background_loop()),
        }
        if api_version is None:
            self.client = openai.AsyncOpenAI(base_url=url, **params)
        else:
            self.client = openai.AsyncAzureOpenAI(
                azure_endpoint=re.sub(r"/(openai(/v1)?/?)?$", "", url),
                api_version=api_version,
                **params,
            )

    async def post(self, body: Mapping[str, Any]) -> Received:
        """Ask for one chat completion.

        Parameters
        ----------
        body : mapping
            The request, as JSON.

        Returns
        -------
        received : Received
            What the server sent.

        Raises
        ------
        openai.OpenAIError
            If it refused, or was not there.
        LimitReachedError
            If it may not be asked again.
        """
        _log.debug("to %s: %s", self.url, body)
        try:
            raw = await self.client.post(
                "/chat/completions", body=body, cast_to=openai.AsyncAPIResponse[str]
            )
        except _NoMore as stopped:
            failure = LimitReachedError(str(stopped))
        else:
            return self._received(raw)
        raise failure  # not in the handler: what went before it holds the key

    def _received(self, raw: Any) -> Received:
        text = raw.http_response.content.decode(errors="replace")  # JSON is UTF-8
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("from %s: %s", self.url, text.replace(self.key, "[key]"))
        return Received(text, raw.headers)


def connection(
    url: str, key: str, timeout: float, max_retries: int, api_version: str | None
) -> Connection:
    """Give the connection with these parameters, the same one each time.

    Parameters
    ----------
    url, key, timeout, max_retries, api_version
        As `Connection` has them.

    Returns
    -------
    connection : Connection
        Another one after a fork.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_client import connection
    >>> where = ("http://localhost/v1", "k", 60.0, 5, None)
    >>> connection(*where) is connection(*where)
    True
    """
    return _connection(os.getpid(), url, key, timeout, max_retries, api_version)


@lru_cache(maxsize=64)
def _connection(pid: int, *where: Any) -> Connection:
    return Connection(*where)


@cache
def _http_client(loop: BackgroundLoop) -> Any:
    """Make the client that all connections of a process share; it holds no key.

    It follows no redirect: that would take the key, and the data, elsewhere.
    """
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=MOST_CONNECTIONS,
        max_keepalive_connections=MOST_CONNECTIONS,
        keepalive_expiry=KEPT_SECONDS,
    )
    params: dict[str, Any] = {
        "limits": limits,
        "follow_redirects": False,
        "event_hooks": {"request": [_take_turn], "response": [_give_up_without_quota]},
    }
    try:
        client = openai.DefaultAioHttpClient(**params)
    except RuntimeError:  # aiohttp is not installed
        client = openai.DefaultAsyncHttpxClient(**params)
    loop.closers.append(client.aclose)
    return client


class _NoMore(BaseException):
    """No attempt is left. No Exception: the SDK takes those for lost connections."""


async def _take_turn(request: Any) -> None:
    """Wait until an attempt may leave; the SDK's own count like the first."""
    try:
        while (wait := seconds_to_wait()) > 0:
            await asyncio.sleep(wait)
    except LimitReachedError as error:
        raise _NoMore(str(error)) from None


async def _give_up_without_quota(response: Any) -> None:
    """Tell the SDK, in its own way, not to ask again where the money is spent.

    It takes every 429 for a limit that passes.
    """
    if response.status_code == TOO_MANY:
        said = await response.aread()
        if any(code in said for code in SPENT):
            response.headers["x-should-retry"] = "false"
