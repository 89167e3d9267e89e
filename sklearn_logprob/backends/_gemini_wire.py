"""Google's generateContent format: what is sent, and how the answer is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    PromptTooLongError,
)
from sklearn_logprob._types import Request, TokenUsage
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends._openai_wire import Reply, read_position
from sklearn_logprob.backends._params import MALFORMED, optional_text, temperature_of

__all__ = ["WHO_RETURNS_LOGPROBS", "ask_body", "explain", "read_reply"]

WHO_RETURNS_LOGPROBS = (
    "Of Google's models the Gemini 2.5 family has returned log-probabilities, on Vertex "
    "AI more reliably than on the Gemini API, and Google is retiring it model by model. "
    "Gemini 3 does not return them; Google's decisions endpoint gives probabilities of "
    "options instead: GeminiDecisionsBackend."
)


def ask_body(
    request: Request, *, top_logprobs: int, budget: int | str | None
) -> dict[str, Any]:
    """Write a request as JSON fields; a raw prompt is the user's.

    Parameters
    ----------
    request : Request
        What to ask.
    top_logprobs : int
        The most alternatives that the server returns.
    budget : int or None
        Tokens to reason with; None sends nothing.

    Returns
    -------
    body : dict
        To be sent.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._gemini_wire import ask_body
    >>> body = ask_body(Request((("prompt", "Hi"),)), top_logprobs=5, budget=0)
    >>> body["contents"], body["generationConfig"]["logprobs"]
    ([{'role': 'user', 'parts': [{'text': 'Hi'}]}], 5)
    """
    system = [{"text": text} for role, text in request.messages if role == "system"]
    thinking = {} if budget is None else {"thinkingBudget": budget}
    return {
        "contents": [
            {
                "role": "model" if role == "assistant" else "user",
                "parts": [{"text": text}],
            }
            for role, text in request.messages
            if role != "system"
        ],
        **({"systemInstruction": {"parts": system}} if system else {}),
        "generationConfig": {
            **(
                {"responseLogprobs": True, "logprobs": n_top}
                if (n_top := min(request.top_logprobs, top_logprobs))
                else {}
            ),
            "maxOutputTokens": request.max_tokens,
            "temperature": temperature_of(request),
            "topP": 1,
            **({"seed": request.draw} if request.draw else {}),
            **({"thinkingConfig": thinking} if thinking else {}),
        },
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
    >>> from sklearn_logprob.backends._gemini_wire import explain
    >>> from sklearn_logprob.backends._http import HttpError
    >>> explain(HttpError("No.", 403, "No."), 0, "MY_KEY")
    BackendError("No. It is in the environment variable 'MY_KEY'.")
    """
    said = error.said.lower()
    if "token count" in said and "exceed" in said:
        return PromptTooLongError(
            f"The prompt of {{row}} is too long. {error} Shorten the text.", index
        )
    if error.status == 400 and "logprob" in said:
        return LogprobsUnavailableError(
            f"{error} If it allows fewer alternatives, lower max_top_logprobs=. "
            f"{WHO_RETURNS_LOGPROBS}"
        )
    if error.status in (401, 403) or "api key" in said:
        return BackendError(f"{error} It is in the environment variable {key_name!r}.")
    if error.status == 404:
        return BackendError(f"{error} The model may be retired. {WHO_RETURNS_LOGPROBS}")
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
        None if it is not in Google's format. Without positions where there was no
        answer.

    Examples
    --------
    >>> from sklearn_logprob.backends._gemini_wire import read_reply
    >>> read_reply({"candidates": [{"finishReason": "SAFETY"}]}).finish_reason
    'SAFETY'
    >>> read_reply({"candidates": "?"}) is None
    True
    """
    try:
        candidate = (content.get("candidates") or [{}])[0]
        result = candidate.get("logprobsResult") or {}
        steps = zip(
            result.get("chosenCandidates") or (),
            result.get("topCandidates") or (),
            strict=True,
        )
        usage = content.get("usageMetadata") or {}
        parts = (candidate.get("content") or {}).get("parts") or ()
        return Reply(
            positions=tuple(
                read_position(
                    {
                        **_entry(chosen),
                        "top_logprobs": list(map(_entry, step.get("candidates") or ())),
                    }
                )
                for chosen, step in steps
            ),
            usage=TokenUsage(
                prompt_tokens=int(usage.get("promptTokenCount") or 0),
                completion_tokens=int(usage.get("candidatesTokenCount") or 0)
                + int(usage.get("thoughtsTokenCount") or 0),
                cached_tokens=int(usage.get("cachedContentTokenCount") or 0),
            ),
            text="".join(str(part.get("text") or "") for part in parts),
            finish_reason=optional_text(candidate.get("finishReason")),
            build=str(content.get("modelVersion") or ""),
        )
    except MALFORMED:
        return None


def _entry(candidate: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": candidate["token"], "logprob": candidate.get("logProbability")}
