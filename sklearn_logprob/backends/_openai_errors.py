"""What a server's refusal means, and what mends it."""

from __future__ import annotations

import asyncio
import json

import openai

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    PromptTooLongError,
    RefusedError,
)

__all__ = [
    "WHO_RETURNS_LOGPROBS",
    "excerpt",
    "explain",
    "explain_status",
    "instead",
    "refusal",
]

WHO_RETURNS_LOGPROBS = (
    "Log-probabilities come from OpenAI's gpt-4.1* and gpt-5.1 to 5.4 (with "
    "reasoning_effort='none'), and from vLLM, SGLang, llama-server and "
    "Ollama >= 0.12.11; not from Anthropic, Groq, the o-series or Gemini 3."
)

REFUSES_ROW = ("content_filter", "content_policy_violation", "invalid_prompt")

_ADVICE = {
    300: "Redirects are not followed, for they would get the key: give base_url= the "
    "address itself.",
    401: "Check the key in the environment variable {env!r}.",
    403: "Check what the key in the environment variable {env!r} is allowed to use.",
    404: "Check model= and base_url= (which usually ends in /v1).",
    429: "Lower max_concurrency= or raise max_retries=.",
    500: "The fault is the server's: try again later, or raise max_retries=.",
}


def explain(
    error: openai.OpenAIError,
    *,
    index: int,
    model: str,
    url: str,
    key: str,
    api_key_env: str,
) -> LogprobError:
    """Say what an error of the client means and what mends it.

    Parameters
    ----------
    error : openai.OpenAIError
        What the client raised.
    index : int
        Which request it was.
    model, url : str
        Who was asked, and where.
    key : str
        The key, to be removed from what the server said.
    api_key_env : str
        The environment variable that holds the key.

    Returns
    -------
    error : LogprobError
        Ours, to be raised.

    Examples
    --------
    >>> import openai
    >>> from sklearn_logprob.backends._openai_errors import explain
    >>> error = openai.OpenAIError("?")
    >>> explain(error, index=0, model="m", url="u", key="k", api_key_env="K")
    BackendError("The client failed to ask 'm' at u: OpenAIError.")
    """
    who = f"{model!r} at {url}"
    if isinstance(error, openai.APITimeoutError) and _took_too_long(error):
        return BackendError(
            f"No answer in time from {who}: is the server running? If it is only slow, "
            "raise timeout= or lower max_concurrency=."
        )
    if isinstance(error, openai.APIConnectionError):
        return BackendError(
            f"No connection to {who}: is the server running? Check base_url= and the "
            "network."
        )
    if isinstance(error, openai.APIStatusError):
        return explain_status(
            error.status_code,
            error.body or error.message,
            index=index,
            model=model,
            url=url,
            key=key,
            api_key_env=api_key_env,
        )
    return BackendError(f"The client failed to ask {who}: {type(error).__name__}.")


def excerpt(text: str, key: str) -> str:
    """Give the beginning of what a server said, without the key.

    Parameters
    ----------
    text : str
        What it said.
    key : str
        What must not be shown.

    Returns
    -------
    excerpt : str
        At most 300 characters.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_errors import excerpt
    >>> excerpt("no such key: abc", "abc")
    'no such key: [key]'
    """
    return text.replace(key, "[key]")[:300]


def instead(model: str) -> str:
    """Say what to use in place of a model that returns no log-probabilities.

    Parameters
    ----------
    model : str
        Its name.

    Returns
    -------
    advice : str
        Another model, the decisions endpoint, or sampling.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_errors import instead
    >>> "backend='sampling:openai:o4-mini'" in instead("o4-mini")
    True
    """
    return (
        f"{WHO_RETURNS_LOGPROBS} Or use backend='openai-decisions:gpt-6-luna', which "
        f"returns class probabilities, or backend='sampling:openai:{model}', which "
        "counts answers."
    )


def refusal(text: str) -> str | None:
    """Find out whether an answer is a refusal.

    Parameters
    ----------
    text : str
        The body of the answer, in OpenAI's format.

    Returns
    -------
    why : str or None
        What the model said instead, or that a filter did it; None: it is none.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_errors import refusal
    >>> refusal('{"choices": [{"message": {"refusal": "No."}}]}')
    'No.'
    """
    choice = json.loads(text)["choices"][0]
    if choice.get("finish_reason") == "content_filter":
        return "a content filter cut the answer"
    return choice["message"].get("refusal") or None


def explain_status(
    status: int,
    body: object,
    *,
    index: int,
    model: str,
    url: str,
    key: str,
    api_key_env: str,
) -> LogprobError:
    """Say what a refusal means and what mends it.

    Parameters
    ----------
    status : int
        Of HTTP.
    body : dict or str
        What the server said: ``message``, ``code`` and ``type``, or any text.
    index : int
        Which request it was.
    model, url : str
        Who was asked, and where.
    key : str
        The key, to be removed from what the server said.
    api_key_env : str
        The environment variable that holds the key.

    Returns
    -------
    error : LogprobError
        Ours, to be raised.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_errors import explain_status
    >>> who = dict(index=0, model="m", url="u", key="k", api_key_env="K")
    >>> type(explain_status(400, {"code": "content_filter"}, **who)).__name__
    'RefusedError'
    """
    told = body if isinstance(body, dict) else {}
    code, kind = told.get("code"), told.get("type")
    said = excerpt(str(told.get("message") or body), key)
    refused = f"{model!r} at {url} refused (HTTP {status}): {said.rstrip('.')}."
    if code in REFUSES_ROW:
        return RefusedError(f"{{row}} cannot be answered: {refused}", index)
    if _is_too_long(status, code, kind, said):
        return PromptTooLongError(
            f"The prompt of {{row}} is too long. {refused} Shorten the text, or use a "
            "model or server with a longer context.",
            index,
        )
    if status in (400, 403, 422) and "logprob" in said.lower():
        return LogprobsUnavailableError(
            f"{refused} If it allows fewer alternatives, lower max_top_logprobs=. "
            f"{instead(model)}"
        )
    if code == "insufficient_quota":
        return BackendError(f"{refused} Check the plan and billing of the account.")
    family = status if status // 100 == 4 else status // 100 * 100
    advice = _ADVICE.get(family, "").format(env=api_key_env)
    return BackendError(f"{refused} {advice}".strip())


def _took_too_long(error: BaseException | None) -> bool:
    """Tell a slow server from a lost connection, which aiohttp's transport mixes up."""
    while error is not None:
        if isinstance(error, TimeoutError | asyncio.TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_too_long(status: int, code: object, kind: object, said: str) -> bool:
    return (
        code == "context_length_exceeded"
        or kind == "exceed_context_size_error"
        or (status == 400 and "maximum context length" in said)
    )
