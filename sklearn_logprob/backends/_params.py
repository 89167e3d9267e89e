"""Parameters that the backends for servers have in common, checked in one place."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import ExposedKeyWarning
from sklearn_logprob._types import Request

__all__ = [
    "MALFORMED",
    "build_of",
    "check_common",
    "hide",
    "optional_text",
    "temperature_of",
]

MALFORMED = (
    ArithmeticError,  # 1e999 as a count
    AttributeError,
    LookupError,
    RecursionError,  # JSON that is nested too deep
    TypeError,
    ValueError,
)
"""What reading a reply raises that is not in its format."""

LEAST = {"max_concurrency": 1, "max_retries": 0, "max_top_logprobs": 0}
VARIABLES = ("api_key_env", "access_token_env")


def check_common(backend: BaseEstimator) -> None:
    """Check counts, the names of environment variables, and how a key would travel.

    Parameters
    ----------
    backend : Backend
        With any of these parameters.

    Raises
    ------
    ValueError
        If a count is too small, or what should name a variable cannot be a name.

    Warns
    -----
    ExposedKeyWarning
        If there is a key, and it would go to another machine without encryption.

    Examples
    --------
    >>> from sklearn_logprob import OpenAIBackend
    >>> from sklearn_logprob.backends._params import check_common
    >>> check_common(OpenAIBackend(max_concurrency=4))  # nothing to say
    """
    owner = type(backend).__name__
    for name, value in backend.get_params(deep=False).items():
        if name in VARIABLES and value is not None and not value.isidentifier():
            raise ValueError(  # without showing it: it may be the key itself
                f"The {name!r} parameter of {owner} must be the name of an environment "
                "variable, not a key."
            )
        if name in LEAST and (not isinstance(value, int) or value < LEAST[name]):
            raise ValueError(
                f"The {name!r} parameter of {owner} must be an integer of at least "
                f"{LEAST[name]}. Got {value!r} instead."
            )
    _check_transport(backend)


def _check_transport(backend: BaseEstimator) -> None:
    url = backend._url() if hasattr(backend, "_url") else getattr(backend, "base_url", "")
    parts = urlsplit(str(url))
    variables = (getattr(backend, name, None) for name in VARIABLES)
    keys = [name for name in variables if name and os.environ.get(name, "").strip()]
    if parts.scheme == "http" and keys and not _is_this_machine(parts.hostname or ""):
        warnings.warn(
            f"The key in {keys[0]!r} goes to {parts.hostname} over plain HTTP, where all "
            "machines on the way can read it, and the texts: use https://, a tunnel to "
            "localhost, or unset the variable.",
            ExposedKeyWarning,
            stacklevel=4,
        )


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return f".{host}".endswith(".localhost")


def build_of(model: str, answered: object) -> str:
    """Say what answered in the place of a model, where its server says so.

    Parameters
    ----------
    model : str
        Name that was asked for.
    answered : object
        Name that came back, such as the same with a date.

    Returns
    -------
    build : str
        "" where it is the same, or no name.

    Examples
    --------
    >>> from sklearn_logprob.backends._params import build_of
    >>> build_of("jev-latest", "jev-2"), build_of("jev-2", "jev-2"), build_of("m", None)
    ('jev-2', '', '')
    """
    return answered if isinstance(answered, str) and answered != model else ""


def hide(secret: str, text: str) -> str:
    """Take a key out of what is shown.

    Parameters
    ----------
    secret : str
        The key; may be empty.
    text : str
        What may hold it.

    Returns
    -------
    text : str
        With ``[key]`` in its place.

    Examples
    --------
    >>> from sklearn_logprob.backends._params import hide
    >>> hide("abc", "no such key: abc"), hide("", "no key")
    ('no such key: [key]', 'no key')
    """
    return text.replace(secret, "[key]") if secret else text


def optional_text(value: object) -> str | None:
    """Give what a server says as text, where it says anything.

    Parameters
    ----------
    value : object
        A value of its JSON.

    Returns
    -------
    text : str or None
        None for null.

    Examples
    --------
    >>> from sklearn_logprob.backends._params import optional_text
    >>> optional_text("length"), optional_text(None)
    ('length', None)
    """
    return None if value is None else str(value)


def temperature_of(request: Request) -> int:
    """Give the temperature to send with a request.

    Some engines divide log-probabilities by the temperature: 1 is right for all. A
    longer answer should be the likeliest, not a drawn one, unless a draw is what is
    asked for; and engines that divide do not when they are greedy.

    Parameters
    ----------
    request : Request
        What to ask.

    Returns
    -------
    temperature : int
        0 or 1.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._params import temperature_of
    >>> question = (("user", "Why?"),)
    >>> temperature_of(Request(question)), temperature_of(Request(question, max_tokens=9))
    (1, 0)
    """
    return 1 if request.draw or request.max_tokens == 1 else 0
