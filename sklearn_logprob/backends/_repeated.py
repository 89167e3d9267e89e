"""Several requests in place of one, for backends that ask another backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import BackendError, RowError, UnsupportedRequestError
from sklearn_logprob._types import Answer, Backend, Outcome, Request, TokenUsage
from sklearn_logprob.backends import make_backend

__all__ = ["RepeatedBackend", "ask_repeatedly", "build", "total"]


class RepeatedBackend(ABC, BaseEstimator):
    """A backend that makes probabilities of several texts of another one.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.
    scores_choices : bool
        False: it cannot score given text.
    max_top_logprobs : int
        0: it shows no tokens.

    Examples
    --------
    >>> from sklearn_logprob.backends._repeated import RepeatedBackend
    >>> from sklearn_logprob.backends.sampling import SamplingBackend
    >>> issubclass(SamplingBackend, RepeatedBackend)
    True
    """

    answer_params: ClassVar[tuple[str, ...]]
    scores_choices: bool = False
    max_top_logprobs: int = 0

    backend: Any

    @property
    def requests_per_row(self) -> int:
        """The most calls of the model that a request takes."""
        return self._times() * int(getattr(self._inner(), "requests_per_row", 1))

    @property
    def all_at_once(self) -> bool:
        """Whether `answer` should get all requests in one call."""
        return bool(getattr(self._inner(), "all_at_once", False))

    def sent_for(self, request: Request) -> Request:
        """Give what is sent to the model for a request.

        Parameters
        ----------
        request : Request
            What is asked here.

        Returns
        -------
        request : Request
            The first of its calls, for an estimate of the tokens that each takes.
        """
        return self._written(request, 0)

    def cost(self, usage: TokenUsage) -> float:
        """Give what tokens cost at the inner backend.

        Parameters
        ----------
        usage : TokenUsage
            Tokens spent.

        Returns
        -------
        cost : float
            US dollars: 0 for a model in this process, nan where the price is not known.
        """
        price = getattr(self._inner(), "cost", None)
        return 0.0 if price is None else float(price(usage))

    def answer_identity(self) -> dict[str, Any]:
        """Give what an answer depends on besides the request.

        Returns
        -------
        identity : dict
            The inner backend's class and identity, and the other parameters.
        """
        inner = self._inner()
        given = {name: getattr(self, name) for name in self.answer_params}
        who = [type(inner).__name__, dict(inner.answer_identity())]
        return {**given, "backend": who}

    def check(self, requests: Sequence[Request]) -> list[RowError]:
        """Find what is wrong without asking the model.

        Parameters
        ----------
        requests : sequence of Request
            What is going to be asked.

        Returns
        -------
        failures : list of RowError
            What the inner backend finds wrong with single requests.

        Raises
        ------
        ValueError
            A parameter has a wrong value.
        UnsupportedRequestError
            The inner backend writes no text, or the request does not fit.
        BackendError
            What the inner backend finds wrong with all of them.
        """
        self._check(requests)
        inner = self._inner()
        if getattr(inner, "decides", False):
            raise UnsupportedRequestError(
                f"{type(inner).__name__} gives probabilities itself and writes no text: "
                f"use it without {type(self).__name__}."
            )
        check = getattr(inner, "check", None)
        asked = [self._written(request, 0) for request in requests]
        return list(check(asked) or ()) if check is not None else []

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask, each request several times.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Returns
        -------
        outcomes : iterator of (int, Answer or RowError)
            Each with its position in `requests`, as soon as its last text is there. It
            is an error where one of its texts is.

        Raises
        ------
        BackendError
            The inner backend's first failure that is not a row's own.
        """
        self.check(requests)
        return self._answers(requests)

    @abstractmethod
    def _times(self) -> int:
        """Give the most texts that a request takes."""

    @abstractmethod
    def _check(self, requests: Sequence[Request]) -> None:
        """Check the own parameters, and whether the requests fit."""

    @abstractmethod
    def _written(self, request: Request, number: int) -> Request:
        """Write one of the requests that stand for a request."""

    @abstractmethod
    def _answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask, and make answers of the texts."""

    def _inner(self) -> Backend:
        return make_backend(self.backend)

    def _check_count(self, name: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f"The {name!r} parameter of {type(self).__name__} must be an integer of "
                f"at least 1. Got {value!r} instead."
            )


def ask_repeatedly(
    backend: Backend, requests: Mapping[int, Sequence[Request]]
) -> Iterator[tuple[int, list[Answer] | RowError]]:
    """Ask all at once, and yield what belongs together as soon as it is complete.

    Parameters
    ----------
    backend : Backend
        Who answers.
    requests : mapping of int to sequence of Request
        What to ask in place of each request.

    Yields
    ------
    index : int
        A key of `requests`.
    answers : list of Answer, or RowError
        In the order of the requests. The first failure, if one of them fails.

    Raises
    ------
    BackendError
        If an answer has no text.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, Request
    >>> from sklearn_logprob.backends._repeated import ask_repeatedly
    >>> request = Request((("prompt", "Yes or no?"),), top_logprobs=0)
    >>> [(i, len(a)) for i, a in ask_repeatedly(FakeBackend(), {7: [request] * 3})]
    [(7, 3)]
    """
    # what belongs together is asked together, so that little is lost if asking fails
    sent = [(i, n) for i, many in requests.items() for n in range(len(many))]
    found: dict[int, dict[int, Answer]] = {i: {} for i in requests}
    for position, outcome in backend.answer([requests[i][n] for i, n in sent]):
        index, number = sent[position]
        if index not in found:  # another of its requests has failed
            continue
        if isinstance(outcome, RowError):
            del found[index]
            yield index, type(outcome)(outcome.template, index)
            continue
        if not outcome.draws:
            raise BackendError(
                f"{type(backend).__name__} answers without any text, so it can be "
                "neither sampled nor asked for probabilities in words."
            )
        found[index][number] = outcome
        if len(found[index]) == len(requests[index]):
            yield index, [answer for _, answer in sorted(found.pop(index).items())]


def total(answers: Sequence[Answer]) -> TokenUsage:
    """Add up what answers took.

    Parameters
    ----------
    answers : sequence of Answer
        Of several requests.

    Returns
    -------
    usage : TokenUsage
        Their sum.

    Examples
    --------
    >>> from sklearn_logprob import Answer, TokenUsage
    >>> from sklearn_logprob.backends._repeated import total
    >>> total([Answer(usage=TokenUsage(60, 1)), Answer(usage=TokenUsage(60, 2))])
    TokenUsage(prompt_tokens=120, completion_tokens=3, cached_tokens=0)
    """
    return TokenUsage(
        prompt_tokens=sum(answer.usage.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.usage.completion_tokens for answer in answers),
        cached_tokens=sum(answer.usage.cached_tokens for answer in answers),
    )


def build(answers: Sequence[Answer]) -> str:
    """Name the builds of a model that gave answers.

    Parameters
    ----------
    answers : sequence of Answer
        Of several requests.

    Returns
    -------
    build : str
        As a rule one; several with commas between them; "" if no answer says.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob.backends._repeated import build
    >>> build([Answer(build="b2"), Answer(build="b1"), Answer(), Answer(build="b2")])
    'b1, b2'
    """
    return ", ".join(sorted({answer.build for answer in answers} - {""}))
