"""What a server's refusal means, and what mends it."""

from __future__ import annotations

import openai

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    PromptTooLongError,
)

__all__ = ["WHO_RETURNS_LOGPROBS", "excerpt", "explain"]

WHO_RETURNS_LOGPROBS = (
    "Log-probabilities come from OpenAI's gpt-4.1* and gpt-5.1 to 5.4 (with "
    "reasoning_effort='none'), and from vLLM, SGLang, llama-server and "
    "Ollama >= 0.12.11; not from Anthropic, Groq, the o-series or Gemini 3."
)

_ADVICE = {
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
    if isinstance(error, openai.APITimeoutError):
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
        return _explain_refusal(error, index, who, key, api_key_env)
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


def _explain_refusal(
    error: openai.APIStatusError, index: int, who: str, key: str, api_key_env: str
) -> LogprobError:
    status = error.status_code
    told = error.body.get("message") if isinstance(error.body, dict) else None
    said = excerpt(str(told or error.body or error.message), key)
    refusal = f"{who} refused (HTTP {status}): {said}"
    if not refusal.endswith("."):
        refusal += "."
    if _is_too_long(error, said):
        return PromptTooLongError(
            f"The prompt of {{row}} is too long. {refusal} Shorten the text, or use a "
            "model or server with a longer context.",
            index,
        )
    if status in (400, 403, 422) and "logprob" in said.lower():
        return LogprobsUnavailableError(
            f"{refusal} If it allows fewer alternatives, lower max_top_logprobs=. "
            f"{WHO_RETURNS_LOGPROBS}"
        )
    if error.code == "insufficient_quota":
        return BackendError(f"{refusal} Check the plan and billing of the account.")
    advice = _ADVICE.get(min(status, 500), "").format(env=api_key_env)
    return BackendError(f"{refusal} {advice}".strip())


def _is_too_long(error: openai.APIStatusError, said: str) -> bool:
    return (
        error.code == "context_length_exceeded"
        or error.type == "exceed_context_size_error"
        or (error.status_code == 400 and "maximum context length" in said)
    )
