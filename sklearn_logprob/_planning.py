"""What asking would take: requests, and an estimate of their tokens and cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sklearn_logprob._types import Backend, Request, TokenUsage
from sklearn_logprob.cache import resolve_cache
from sklearn_logprob.collect import request_keys

__all__ = ["PlannedRequests", "plan"]

BYTES_A_TOKEN = 4  # of English prose; other languages take more tokens
FRAME = 4  # tokens that a chat format puts around a message


class PlannedRequests(list[Request]):
    """Requests that would be sent, with what they would take.

    Parameters
    ----------
    requests : iterable of Request
        One a row, or one for each chain of thought; then those of `content_free`.
    n_sent : int
        Calls of the model: distinct requests that the cache does not hold, times the
        answers that the backend draws for each.
    prompt_tokens, completion_tokens : int
        About how many tokens that takes, at four bytes a token.
    cost : float
        About how many US dollars; 0 for a model in this process, nan where the price
        is not known.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> clf = LogprobClassifier(FakeBackend(), classes=["bad", "good"], cache=None)
    >>> clf.requests(["fine", "dull", "fine"])
    <3 requests, 2 of them to be sent: about 38 prompt tokens, 2 generated, $0.00>
    """

    def __init__(
        self,
        requests: Iterable[Request] = (),
        n_sent: int = 0,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cost: float = 0.0,
    ) -> None:
        super().__init__(requests)
        self.n_sent = n_sent
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.cost = cost

    def __repr__(self) -> str:
        """Tell what the requests would take; the list itself would fill a screen."""
        price = "at an unknown price" if self.cost != self.cost else f"${self.cost:.2f}"
        return (
            f"<{len(self)} requests, {self.n_sent} of them to be sent: about "
            f"{self.prompt_tokens} prompt tokens, {self.completion_tokens} generated, "
            f"{price}>"
        )


def plan(backend: Backend, requests: Iterable[Request], cache: Any) -> PlannedRequests:
    """Estimate what requests would take, without sending any.

    Parameters
    ----------
    backend : Backend
        Who would be asked.
    requests : iterable of Request
        What would be asked.
    cache : "auto", path, Cache or None
        What is in it costs nothing.

    Returns
    -------
    planned : PlannedRequests
        The requests, with the estimate.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, Request
    >>> from sklearn_logprob._planning import plan
    >>> plan(FakeBackend(), [Request((("prompt", "Yes or no?"),))] * 2, None).n_sent
    1
    """
    requests = list(requests)
    distinct = list(dict.fromkeys(requests))
    kept = resolve_cache(cache)
    if kept is not None:
        keys = request_keys(backend, distinct)
        found = zip(distinct, kept.get_many(keys), strict=True)
        distinct = [request for request, answer in found if answer is None]
        kept.close()
    times = int(getattr(backend, "requests_per_row", 1))
    sent_for = getattr(backend, "sent_for", None)
    written = distinct if sent_for is None else [sent_for(each) for each in distinct]
    prompt = times * sum(map(prompt_tokens, written))
    completion = times * sum(request.max_tokens for request in written)
    price = getattr(backend, "cost", None)
    cost = 0.0 if price is None else price(TokenUsage(prompt, completion))
    return PlannedRequests(requests, times * len(distinct), prompt, completion, cost)


def prompt_tokens(request: Request) -> int:
    """Estimate the tokens of a prompt."""
    texts = [content for _, content in request.messages]
    return sum(FRAME + -(-len(text.encode()) // BYTES_A_TOKEN) for text in texts)
