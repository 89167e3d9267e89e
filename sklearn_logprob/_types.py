"""The data that passes between the layers: what is asked, and what came back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sklearn_logprob._errors import RowError
from sklearn_logprob._pairs import Pair

__all__ = [
    "Answer",
    "Backend",
    "Request",
    "TokenLogprobs",
    "TokenUsage",
    "Usage",
]

Floats: TypeAlias = NDArray[np.float64]

Role: TypeAlias = Literal["system", "user", "assistant", "prompt"]
"""Who speaks. ``"prompt"`` is raw text for a completion model, alone in its request;
a trailing ``"assistant"`` message is the beginning of the answer."""

Message: TypeAlias = tuple[Role, str]


@dataclass(frozen=True, slots=True)
class Request:
    r"""One question to a model. With the backend's identity it *is* the cache key.

    Parameters
    ----------
    messages : tuple of (role, content)
        Chat messages, or one message with the role ``"prompt"``: raw text to continue.
    choices : tuple of str, default=()
        Surface forms whose exact probability is wanted, for backends that can score
        given text. Sorted, so that the order of the classes does not change the key.
    max_tokens : int, default=1
        How many tokens the model may generate.
    top_logprobs : int, default=20
        How many alternatives to return at each generated position. 0: none, only the
        text, as ``Answer.draws``.
    options : tuple of (str, str), default=()
        The labels as shown to a model that decides between them, each with its
        description (or ""), sorted. For backends with ``decides``.
    draw : int, default=0
        0 is the likeliest answer. Any other number is one answer drawn at temperature
        1, different numbers being different draws.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> Request((("prompt", "Review: fine\nSentiment:"),)).max_tokens
    1
    """

    messages: tuple[Message, ...]
    choices: tuple[str, ...] = ()
    max_tokens: int = 1
    top_logprobs: int = 20
    options: tuple[tuple[str, str], ...] = ()
    draw: int = 0

    def __hash__(self) -> int:
        # what differs from row to row; with hundreds of choices the rest takes longer
        return hash((self.messages, self.draw))


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """What the model said at one position of its answer.

    Parameters
    ----------
    token : str
        The token that was generated.
    logprob : float
        Its log-probability (natural log). Sentinels such as -9999.0 are kept as they
        came; scoring treats them as "below the returned alternatives".
    top : sequence of (str, float)
        The alternatives, most likely first: a tuple, or what is equal to one and takes
        less memory.

    Examples
    --------
    >>> from sklearn_logprob import TokenLogprobs
    >>> TokenLogprobs(" good", -0.1, ((" good", -0.1), (" bad", -2.4))).token
    ' good'
    """

    token: str
    logprob: float
    top: Sequence[Pair] = ()


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens that one answer cost.

    Parameters
    ----------
    prompt_tokens, completion_tokens : int
        Tokens read and generated.
    cached_tokens : int
        Prompt tokens that the engine had already evaluated (part of `prompt_tokens`).

    Examples
    --------
    >>> from sklearn_logprob import TokenUsage
    >>> TokenUsage(prompt_tokens=60, completion_tokens=1, cached_tokens=30)
    TokenUsage(prompt_tokens=60, completion_tokens=1, cached_tokens=30)
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend returns for one request.

    Parameters
    ----------
    positions : tuple of TokenLogprobs
        The generated positions, each with its alternatives.
    choices : sequence of (str, float)
        Exact log-probability (natural log) of each of the request's choices, where the
        backend can tell; else empty. The choices are disjoint events: where one choice
        is the beginning of another, it does not contain the other's probability. For a
        request with options, that of each option.
    usage : TokenUsage
        Tokens spent; none where the answer comes from a cache.
    draws : tuple of (str, int)
        Texts that were generated, and how often: one, once, unless a backend draws
        repeatedly.
    build : str
        What the server says of the model behind its name: OpenAI's system fingerprint,
        Google's version of the model, llama-server's build; several with commas between
        them, where several answers were made one. "" where it says nothing.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> dict(Answer(choices=((" bad", -2.4), (" good", -0.1))).choices)[" good"]
    -0.1
    """

    positions: tuple[TokenLogprobs, ...] = ()
    choices: Sequence[Pair] = ()
    usage: TokenUsage = TokenUsage()
    draws: tuple[tuple[str, int], ...] = ()
    build: str = ""


Outcome: TypeAlias = Answer | RowError
"""What becomes of a request: an answer, or a failure that is the request's own."""


@dataclass(slots=True)
class Usage:
    """What a classifier has spent: the running total behind ``usage_``.

    Parameters
    ----------
    requests : int
        Requests sent to the model.
    cache_hits : int
        Distinct requests that the cache answered.
    prompt_tokens, completion_tokens, cached_tokens : int
        Tokens of the requests that were sent; cached answers cost none.
    cost : float
        US dollars: 0 for a model in this process, nan where the price is not known.

    Examples
    --------
    >>> from sklearn_logprob import TokenUsage, Usage
    >>> usage = Usage()
    >>> usage.add_sent(TokenUsage(prompt_tokens=60, completion_tokens=1))
    >>> usage.requests, usage.prompt_tokens
    (1, 60)
    """

    requests: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float = 0.0

    def add_sent(self, spent: TokenUsage, cost: float = 0.0, calls: int = 1) -> None:
        """Count one answer.

        Parameters
        ----------
        spent : TokenUsage
            The tokens that it cost.
        cost : float, default=0.0
            US dollars.
        calls : int, default=1
            Requests that it took: several where answers are drawn.
        """
        self.requests += calls
        self.cost += cost
        self.prompt_tokens += spent.prompt_tokens
        self.completion_tokens += spent.completion_tokens
        self.cached_tokens += spent.cached_tokens


class Backend(Protocol):
    """Anything that turns requests into answers, as they arrive.

    Backends are also scikit-learn estimators (``BaseEstimator``), for ``get_params``,
    ``clone`` and nested parameters; constructors store and do nothing else.

    Attributes
    ----------
    answer_params : tuple of str
        Constructor parameters that change an answer: they enter the cache key.
    scores_choices : bool
        Whether it can score given text (``Answer.choices``).
    max_top_logprobs : int
        The most alternatives that it returns at a position; 0 if it cannot.
    decides : bool
        May be left out. Whether it is asked with options instead of choices.
    all_at_once : bool
        May be left out. Whether it gets all requests in one call of `answer`.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, Request
    >>> backend = FakeBackend()
    >>> request = Request((("prompt", "Say yes or no:"),), choices=(" no", " yes"))
    >>> [(index, len(answer.choices)) for index, answer in backend.answer([request])]
    [(0, 2)]
    """

    answer_params: ClassVar[tuple[str, ...]]

    @property
    def scores_choices(self) -> bool:
        """Whether it can score given text."""

    @property
    def max_top_logprobs(self) -> int:
        """The most alternatives that it returns at a position."""

    def answer_identity(self) -> Mapping[str, Any]:
        """Give what an answer depends on besides the request: JSON-able, no secrets."""

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Answer requests, yielding each with its index as soon as it is there.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Returns
        -------
        outcomes : iterator of (int, Answer or RowError)
            Each with its position in `requests`, in any order. A `RowError` is yielded,
            not raised, where one request fails for a reason of its own.
        """
