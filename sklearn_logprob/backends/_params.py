"""Parameters that the backends for servers have in common, checked in one place."""

from __future__ import annotations

from sklearn.base import BaseEstimator

__all__ = ["check_common"]

LEAST = {"max_concurrency": 1, "max_retries": 0, "max_top_logprobs": 1}
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
