"""Limits of a paid service: how fast, how many requests, how many dollars.

They hold in this process for everything that is sent to one model of one server with
one key, whatever clones and threads send it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from math import nan
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from sklearn_logprob._errors import LimitReachedError
from sklearn_logprob._types import Request, TokenUsage
from sklearn_logprob.backends._prices import Price, list_price

__all__ = ["Heed", "Metered", "bound"]

Heed: TypeAlias = Callable[[Mapping[str, str]], object]
"""Hears the headers of an answer."""

FRAME = 16  # tokens that a chat format puts around a message, at most
LONGEST_HOLD = 60.0  # seconds; a longer limit is the server's to enforce
FREE_HOSTS = ("localhost", "127.0.0.1", "::1")

# What is left, and when it is renewed: OpenAI's names and Anthropic's.
HEADERS = [
    names
    for kind in ("requests", "tokens")
    for names in (
        (f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}"),
        (f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset"),
    )
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def bound(request: Request) -> TokenUsage:
    """Give the most tokens that a request can take.

    Parameters
    ----------
    request : Request
        What is to be sent.

    Returns
    -------
    usage : TokenUsage
        A token is a byte of text at least, so this is some four times too much for
        English prose; it is given back when the answer is there.

    Examples
    --------
    >>> from sklearn_logprob import Request
    >>> from sklearn_logprob.backends._limits import bound
    >>> bound(Request((("user", "Why?"),))).prompt_tokens
    20
    """
    texts = [content for _, content in request.messages]
    texts += [text for option in request.options for text in option]
    n_bytes = sum(FRAME + len(text.encode()) for text in texts)
    return TokenUsage(n_bytes, request.max_tokens)


@dataclass
class _Turn:
    """When the next request may go, by each limit, on the clock `time.monotonic`."""

    by_requests: float = 0.0
    by_tokens: float = 0.0


@dataclass
class _Account:
    """What was spent on one model of one server, and when the next request may go.

    Turns are given in advance, so that few requests wait where they are sent. But who has
    a turn may be late for it, and the next one on time: so each leaves at a distance from
    the one that did leave before it.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    n_sent: int = 0
    cost: float = 0.0
    reserved: float = 0.0  # for what is under way
    given: _Turn = field(default_factory=_Turn)
    left: _Turn = field(default_factory=_Turn)
    hold: float = 0.0


@cache
def _account(*whose: str) -> _Account:
    return _Account()


class Metered:
    """A backend that costs money: it knows prices and keeps to limits.

    Attributes
    ----------
    model : str
        Whose price counts.
    price : tuple of float or None
        US dollars for one million tokens: prompt, cached, generated. None: list price.
    requests_per_minute, tokens_per_minute : float or None
        How fast.
    max_requests : int or None
        How many requests, those that are tried again included.
    max_cost : float or None
        How many US dollars.
    mode : str
        "batch": list prices are halved.

    Examples
    --------
    >>> from sklearn_logprob import OpenAIBackend, TokenUsage
    >>> backend = OpenAIBackend("gpt-4.1-mini", max_cost=5.0)
    >>> backend.cost(TokenUsage(prompt_tokens=1000, completion_tokens=1))
    0.0004016
    """

    model: str
    api_key_env: Any
    price: Any
    requests_per_minute: float | None
    tokens_per_minute: float | None
    max_requests: int | None
    max_cost: float | None
    mode: str = "live"

    def cost(self, usage: TokenUsage) -> float:
        """Give what a usage costs.

        Parameters
        ----------
        usage : TokenUsage
            Tokens.

        Returns
        -------
        cost : float
            US dollars. nan where no price is known, unless the server is this machine.
        """
        price = self._price()
        if price is None:
            return 0.0 if urlsplit(self._url()).hostname in FREE_HOSTS else nan
        return price.of(usage)

    def _url(self) -> str:
        raise NotImplementedError

    def _price(self) -> Price | None:
        if self.price is not None:
            return Price(*self.price)
        price = list_price(self.model)
        if price is None or self.mode == "live":
            return price
        return Price(*(dollars / 2 for dollars in price))

    def _check_limits(self) -> None:
        """Refuse limits that could not be kept."""
        name = type(self).__name__
        given = self.price
        if given is not None and (len(given) != 3 or min(given) < 0):
            raise ValueError(
                f"The 'price' parameter of {name} must be US dollars for one million "
                f"tokens: (prompt, cached, generated). Got {given!r} instead."
            )
        for limit in ("requests_per_minute", "tokens_per_minute", "max_cost"):
            value = getattr(self, limit)
            if value is not None and not value > 0:
                raise ValueError(
                    f"The {limit!r} parameter of {name} must be None or a number above "
                    f"0. Got {value!r} instead."
                )
        if self.max_cost is not None and self._price() is None:
            raise ValueError(
                f"The 'max_cost' parameter of {name} needs a price, and none is known "
                f"for {self.model!r}: give price=(prompt, cached, generated), US dollars "
                "for one million tokens."
            )

    def _gate(self) -> _Gate:
        """Give what requests pass on their way; `overlap` asks it."""
        account = _account(self._url(), self.model, self.api_key_env or "")
        return _Gate(self, account, self._price())


class _Gate:
    """Lets a request pass when its account allows it."""

    def __init__(self, limits: Metered, account: _Account, price: Price | None) -> None:
        self.limits = limits
        self.account = account
        self.price = price

    def admit(self, request: Request) -> float:
        """Give the seconds to wait before sending a request, which then counts."""
        account, most = self.account, bound(request)
        cost = self._cost(most)
        with account.lock:
            spent = account.cost + account.reserved
            self._stop(self.limits.max_cost, spent + cost, "max_cost")
            wait = self._count(most)
            account.reserved += cost
            return wait

    def again(self, request: Request) -> float:
        """Give the seconds to wait before sending it once more, which counts as well."""
        with self.account.lock:
            return self._count(bound(request), " by trying again what had failed")

    def leave(self, request: Request) -> float:
        """Give the seconds until a request may leave; at 0 it does, and others wait."""
        account, now = self.account, time.monotonic()
        with account.lock:
            start = self._start(account.left, now)
            if start <= now:
                self._space(account.left, now, bound(request))
            return start - now

    def settle(self, request: Request, usage: TokenUsage | None) -> None:
        """Replace what was reserved for a request by what it took."""
        most, account = bound(request), self.account
        with account.lock:
            account.reserved -= self._cost(most)
            if usage is not None:
                account.cost += self._cost(usage)
                given_back = self._seconds(most) - self._seconds(usage)
                account.given.by_tokens -= given_back
                account.left.by_tokens -= given_back

    def withdraw(self, request: Request) -> None:
        """Take back that a request was counted: it was not sent after all."""
        with self.account.lock:
            self.account.n_sent -= 1
        self.settle(request, None)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Wait as long as a server says that nothing is left of its limits."""
        for left, reset in HEADERS:
            if headers.get(left, "").strip() == "0":
                seconds = min(_seconds_until(headers.get(reset, "")), LONGEST_HOLD)
                with self.account.lock:
                    until = time.monotonic() + seconds
                    self.account.hold = max(self.account.hold, until)

    def _count(self, most: TokenUsage, how: str = "") -> float:
        limits, account = self.limits, self.account
        self._stop(limits.max_requests, account.n_sent + 1, "max_requests", how)
        account.n_sent += 1
        now = time.monotonic()
        start = self._start(account.given, now)
        self._space(account.given, start, most)
        return start - now

    def _start(self, turn: _Turn, now: float) -> float:
        start = max(now, self.account.hold)
        if self.limits.requests_per_minute is not None:
            start = max(start, turn.by_requests)
        if self.limits.tokens_per_minute is not None:
            start = max(start, turn.by_tokens)
        return start

    def _space(self, turn: _Turn, start: float, most: TokenUsage) -> None:
        if self.limits.requests_per_minute is not None:
            turn.by_requests = start + 60 / self.limits.requests_per_minute
        if self.limits.tokens_per_minute is not None:
            turn.by_tokens = start + self._seconds(most)

    def _cost(self, usage: TokenUsage) -> float:
        return 0.0 if self.price is None else self.price.of(usage)

    def _seconds(self, usage: TokenUsage) -> float:
        rate = self.limits.tokens_per_minute
        n_tokens = usage.prompt_tokens + usage.completion_tokens
        return 0.0 if rate is None else 60 * n_tokens / rate

    def _stop(self, limit: float | None, value: float, name: str, how: str = "") -> None:
        if limit is not None and value > limit:
            account = self.account
            raise LimitReachedError(
                f"{name}={limit:g} would be crossed{how}: in this process "
                f"{account.n_sent} requests to {self.limits.model!r} were sent, for "
                f"about ${account.cost:.4f}. Answers that had come are in the cache; to "
                f"go on, raise {name}=."
            )


def _seconds_until(reset: str) -> float:
    """Read a duration such as 6m0s, or a time such as 2026-11-22T09:00:00Z."""
    try:
        moment = datetime.fromisoformat(reset.replace("Z", "+00:00"))
    except ValueError:
        parts = _DURATION.findall(reset)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
