"""Parameters that the backends for servers have in common, checked in one place."""

from __future__ import annotations

from sklearn.base import BaseEstimator

from sklearn_logprob._types import Request

__all__ = ["check_common", "temperature_of"]

LEAST = {"max_concurrency": 1, "max_retries": 0, "max_top_logprobs": 0}
VARIABLES = ("api_key_env", "access_token_env")


def check_common(backend: BaseEstimator) -> None:
    """Check the counts and the names of environment variables that a backend has.

    Parameters
    ----------
    backend : Backend
        With any of these parameters.

    Raises
    ------
    ValueError
        If a count is too small, or what should name a variable cannot be a name.

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
