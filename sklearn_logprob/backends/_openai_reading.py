"""From what a server of OpenAI's format replied to an answer, or to what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sklearn_logprob._errors import (
    BackendError,
    LogprobsUnavailableError,
    RefusedError,
    RowError,
    UnreadableAnswerError,
)
from sklearn_logprob._types import Answer, Request
from sklearn_logprob.backends._openai_errors import (
    excerpt,
    explain_status,
    instead,
    refusal,
)
from sklearn_logprob.backends._openai_wire import Reply, read_reply

__all__ = ["answer_in_line", "answer_of", "refused", "response_in_line"]


def refused(reply: Reply, text: str) -> str | None:
    """Say why a reply is a refusal; None if it is none.

    Parameters
    ----------
    reply : Reply
        What `read_reply` found in the text.
    text : str
        The body.

    Returns
    -------
    why : str or None
        In the model's words, or ours.
    """
    if reply.finish_reason != "content_filter" and reply.text:
        return None
    return refusal(text)


def answer_of(
    reply: Reply, text: str, request: Request, index: int, *, model: str, url: str
) -> Answer:
    """Make an answer of a reply.

    Parameters
    ----------
    reply : Reply
        What `read_reply` found in the text.
    text : str
        The body.
    request : Request
        What was asked.
    index : int
        Which request it was.
    model, url : str
        Who replied, and where.

    Returns
    -------
    answer : Answer
        Log-probabilities, or a text where none were asked for.

    Raises
    ------
    RefusedError
        The model refused, or a filter did.
    UnreadableAnswerError
        There is no text where one was asked for.
    LogprobsUnavailableError
        There are no log-probabilities, or placeholders.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._openai_reading import answer_of
    >>> from sklearn_logprob.backends._openai_wire import read_reply
    >>> text = '{"choices": [{"message": {"content": "Hi"}}]}'
    >>> request = Request((("user", "Hello"),), top_logprobs=0)
    >>> answer_of(read_reply(text), text, request, 0, model="m", url="u").draws
    (('Hi', 1),)
    """
    who = f"{model!r} at {url}"
    why = refused(reply, text)
    if why:
        raise RefusedError(f"{who} refuses to answer {{row}}: {why}.", index)
    if not request.top_logprobs:
        if not reply.text:
            raise UnreadableAnswerError(
                f"{who} answered {{row}} with no text (finish_reason: "
                f"{reply.finish_reason}). A model that reasons first needs a higher "
                "limit, such as extra_body={'max_completion_tokens': 4000}.",
                index,
            )
        return Answer(usage=reply.usage, draws=((reply.text, 1),), build=reply.build)
    if not reply.positions or (request.top_logprobs > 1 and reply.placeholders):
        what = "only placeholders for" if reply.positions else "no"
        raise LogprobsUnavailableError(
            f"{who} answered with {what} log-probabilities "
            f"(finish_reason: {reply.finish_reason}). {instead(model)}"
        )
    return Answer(reply.positions, usage=reply.usage, build=reply.build)


def response_in_line(line: Mapping[str, Any]) -> tuple[int | None, dict[str, Any]]:
    """Find what a line in a batch's file of results says of its request.

    Parameters
    ----------
    line : mapping
        With ``response`` or ``error``.

    Returns
    -------
    status : int or None
        The HTTP status; None where there is none.
    body : dict
        Empty where there is none.

    Examples
    --------
    >>> from sklearn_logprob.backends._openai_reading import response_in_line
    >>> response_in_line({"custom_id": "1", "response": "lost"})
    (None, {})
    """
    response = line.get("response")
    if not isinstance(response, dict):
        return None, {}
    status, body = response.get("status_code"), response.get("body")
    return (
        status if isinstance(status, int) else None,
        body if isinstance(body, dict) else {},
    )


def answer_in_line(
    line: Mapping[str, Any],
    request: Request,
    index: int,
    *,
    model: str,
    url: str,
    key: str,
    api_key_env: str,
) -> Answer:
    """Make an answer of a line in a batch's file of results.

    Parameters
    ----------
    line : mapping
        With ``response`` or ``error``.
    request : Request
        What was asked.
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
    answer : Answer
        As `answer_of` makes it.

    Raises
    ------
    RowError
        The request was refused, failed or was left out.
    BackendError
        What is wrong with all of them.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._openai_reading import answer_in_line
    >>> body = {"choices": [{"message": {"content": "Hi"}}]}
    >>> line = {"custom_id": "1", "response": {"status_code": 200, "body": body}}
    >>> who = dict(model="m", url="u", key="k", api_key_env="K")
    >>> request = Request((("user", "Hello"),), top_logprobs=0)
    >>> answer_in_line(line, request, 0, **who).draws
    (('Hi', 1),)
    """
    status, body = response_in_line(line)
    if status == 200:
        text = json.dumps(body)
        reply = read_reply(text)
        if reply is None:
            raise BackendError(
                f"{url} did not answer in OpenAI's format. It said: {excerpt(text, key)}"
            )
        return answer_of(reply, text, request, index, model=model, url=url)
    error: Any = line.get("error") or body.get("error") or body
    if status is not None:
        explained = explain_status(
            status, error, index=index, model=model, url=url, key=key,
            api_key_env=api_key_env,
        )  # fmt: skip
        if isinstance(explained, RowError | LogprobsUnavailableError):
            raise explained
        error = {"message": str(explained)}
    told = error.get("message") if isinstance(error, dict) else None
    said = excerpt(str(told or error), key).rstrip(".")
    raise RowError(
        f"{{row}} was not answered: {said}. Make the same call again to ask for it.",
        index,
    )
