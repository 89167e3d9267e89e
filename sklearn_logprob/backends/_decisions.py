"""Decision endpoints: servers that give a probability for each of a question's options.

Their formats differ (one file each). What they share stands here: which options are asked
and about what text, how probabilities become scores, and what a refusal means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn_logprob._errors import BackendError, PromptTooLongError
from sklearn_logprob._types import Message
from sklearn_logprob.backends._http import HttpError

__all__ = ["QUESTION", "explain", "refusal_in", "scores", "wording"]

QUESTION = "label"  # the name of the one question that is asked
HUGE = 1e9  # JSON's whole numbers have no end
SMALLEST = 1e-6  # the probability of an option that a server rounds to 0
ROUNDING = 0.005  # of each probability: OpenRouter gives two decimals

_LIMITS = (
    "A decision takes 2 to 255 options (208 at Fireworks, 26 on vLLM), and this one has "
    "{n_options}; not every model decides."
)
_KEY = "Check the key in the environment variable {env!r}, and what it may use."
_ADVICE = {
    400: _LIMITS,
    401: _KEY,
    403: _KEY,
    404: "Check model= and base_url=: not every server has decisions.",
    422: _LIMITS,
    501: "Models that decide: gpt-6-luna at OpenAI, gemini-decision-1 at Google, Jev at "
    "TypeSafe and OpenRouter; in llama.cpp and Ollama only models trained for it. vLLM "
    "and SGLang decide with ordinary chat models.",
}


def wording(messages: Sequence[Message], instructions: str) -> tuple[str, str]:
    r"""Divide a prompt into the text to decide about and the question's instructions.

    Parameters
    ----------
    messages : sequence of (role, content)
        The messages of a request.
    instructions : str
        The question.

    Returns
    -------
    text : str
        The raw prompt or the only message as it is; several as "role: content".
    instructions : str
        System messages, then the question.

    Examples
    --------
    >>> from sklearn_logprob.backends._decisions import wording
    >>> wording([("system", "Be strict."), ("user", "Fine.")], "Which label?")
    ('Fine.', 'Be strict.\n\nWhich label?')
    """
    system = [content for role, content in messages if role == "system"]
    turns = [(role, content) for role, content in messages if role != "system"]
    several = len(turns) > 1
    lines = [f"{role}: {content}" if several else content for role, content in turns]
    return "\n\n".join(lines), "\n\n".join([*system, instructions])


def scores(
    probabilities: Mapping[Any, Any], options: Sequence[str], who: str
) -> tuple[tuple[str, float], ...]:
    """Turn the probabilities of options into log-probabilities.

    Parameters
    ----------
    probabilities : mapping of option to float
        What the server gave.
    options : sequence of str
        What it was asked about.
    who : str
        How messages call the server.

    Returns
    -------
    scores : tuple of (option, float)
        Natural log, in the order of the options; the probabilities sum to one.

    Raises
    ------
    BackendError
        If an option has no probability, or they do not sum to about one.

    Examples
    --------
    >>> from sklearn_logprob.backends._decisions import scores
    >>> scores({"no": 0.0, "yes": 1.0}, ["no", "yes"], who="The server")[0]
    ('no', -13.815511557963774)
    """
    given = []
    for name in options:
        p = probabilities.get(name)
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < HUGE:
            raise BackendError(
                f"{who} gave no probability for the option {name!r}, but {p!r:.40}."
            )
        given.append(max(float(p), SMALLEST))
    total = math.fsum(given)
    if abs(total - 1) > ROUNDING * (len(given) + 2):
        raise BackendError(
            f"{who} gave probabilities that sum to {total:.3g}, not 1: it answers "
            "another question than the one that was asked."
        )
    return tuple((o, math.log(p / total)) for o, p in zip(options, given, strict=True))


def refusal_in(content: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Say why there is no decision.

    Parameters
    ----------
    content : mapping
        The server's reply.
    answer : mapping
        What it holds about the question; empty if nothing.

    Returns
    -------
    why : str
        Empty where there is a decision.

    Examples
    --------
    >>> from sklearn_logprob.backends._decisions import refusal_in
    >>> refusal_in({}, {"type": "refusal"}), refusal_in({}, {"type": "choice"})
    ('the answer is a refusal', '')
    """
    blocked = (content.get("prompt_feedback") or {}).get("block_reason")
    if blocked:
        return f"the input was blocked ({blocked})"
    if not answer and "answers" in content:
        return "it left the question out"
    kind = answer["type"]
    return "" if kind == "choice" else f"the answer is a {kind}"


def explain(
    error: HttpError, *, who: str, index: int, n_options: int, api_key_env: str
) -> BackendError | PromptTooLongError:
    """Say what mends a refusal.

    Parameters
    ----------
    error : HttpError
        The refusal.
    who : str
        How messages call the server.
    index : int
        Which request it was.
    n_options : int
        How many options it had.
    api_key_env : str
        The environment variable that holds the key.

    Returns
    -------
    error : LogprobError
        To be raised.

    Examples
    --------
    >>> from sklearn_logprob.backends._decisions import explain
    >>> from sklearn_logprob.backends._http import HttpError
    >>> asked = dict(who="m at u", index=0, n_options=2, api_key_env="KEY")
    >>> print(str(explain(HttpError("?", 404, "no route"), **asked))[:49])
    m at u refused (HTTP 404): no route. Check model=
    """
    refused = f"{who} refused (HTTP {error.status}): {error.said.rstrip('.')}."
    if error.status in (400, 413, 422) and "context length" in error.said:
        return PromptTooLongError(
            f"The prompt of {{row}} is too long. {refused} Shorten the text, or use a "
            "model with a longer context.",
            index,
        )
    if error.status not in _ADVICE:
        return error
    advice = _ADVICE[error.status].format(env=api_key_env, n_options=n_options)
    return BackendError(f"{refused} {advice}")
