"""Prices, and limits on how fast, how much and for how many dollars is asked."""

from __future__ import annotations

import math
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from sklearn_logprob import LimitReachedError, Request, TokenUsage
from sklearn_logprob.backends._limits import Metered, _account, bound
from sklearn_logprob.backends._prices import PRICES, Price, list_price

counts = st.integers(0, 10**7)


class Shop(Metered, BaseEstimator):
    """Sells answers."""

    def __init__(
        self,
        model="some-model",
        *,
        url="https://shop.example/v1",
        api_key_env="SHOP_KEY",
        price=(1.0, 0.5, 2.0),
        requests_per_minute=None,
        tokens_per_minute=None,
        max_requests=None,
        max_cost=None,
    ):
        self.model = model
        self.url = url
        self.api_key_env = api_key_env
        self.price = price
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.max_requests = max_requests
        self.max_cost = max_cost

    def _url(self):
        return self.url


@pytest.fixture(autouse=True)
def _new_accounts():
    _account.cache_clear()


def ask(text="Why?", **params):
    return Request((("user", text),), **params)


# ------------------------------------------------------------------ prices


@given(counts, counts, counts)
def test_cached_tokens_cost_their_own_price(fresh, cached, generated):
    """A bill is linear in each kind of token, and cached ones are part of the prompt."""
    usage = TokenUsage(fresh + cached, generated, cached)
    bill = Price(1.0, 0.1, 5.0).of(usage)
    assert bill == pytest.approx((fresh + 0.1 * cached + 5 * generated) / 1e6)


def test_dated_versions_have_the_price_of_their_model():
    """The date of a snapshot does not hide it; another name is not guessed."""
    assert list_price("gpt-4.1-mini-2025-04-14") == PRICES["gpt-4.1-mini"]
    assert list_price("claude-haiku-4-5-20251001") == PRICES["claude-haiku-4-5"]
    assert list_price("gpt-4.1-mini-finetuned") is None


def test_cached_prompts_are_never_dearer():
    """Each row of the table is ordered as prices are."""
    for price in PRICES.values():
        assert 0 < price.cached < price.prompt <= price.generated * 1.01


def test_an_unknown_price_is_nan_and_this_machine_is_free():
    """No price is made up; a server of one's own costs nothing."""
    usage = TokenUsage(1_000_000)
    assert Shop().cost(usage) == 1.0
    assert math.isnan(Shop(price=None).cost(usage))
    assert Shop(price=None, url="http://localhost:8000/v1").cost(usage) == 0.0
    assert Shop("gpt-4.1-mini", price=None).cost(usage) == 0.4


# ------------------------------------------------------------------ what stops


@settings(max_examples=50)
@given(st.text(max_size=50), st.integers(1, 500))
def test_no_request_takes_more_than_its_bound(text, max_tokens):
    """A token is a byte at least."""
    most = bound(ask(text, max_tokens=max_tokens))
    assert most.prompt_tokens >= len(text.encode())
    assert most.completion_tokens == max_tokens


def test_max_requests_holds_to_the_request_in_many_threads():
    """Clones and threads share one account."""
    admitted = []

    def hurry():
        gate = Shop(max_requests=100)._gate()
        for _ in range(30):
            try:
                gate.admit(ask())
            except LimitReachedError:
                return
            admitted.append(1)

    threads = [threading.Thread(target=hurry) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 100
    with pytest.raises(
        LimitReachedError, match=r"max_requests=100 .* raise max_requests"
    ):
        Shop(max_requests=100)._gate().admit(ask())
    Shop(max_requests=101)._gate().admit(ask())
    Shop("another", max_requests=100)._gate().admit(ask())


def test_max_cost_is_never_crossed_whatever_answers_cost():
    """What is under way counts with the most that it can cost."""
    gate = Shop(max_cost=0.01)._gate()
    request = ask("word " * 20)
    usage = TokenUsage(bound(request).prompt_tokens // 2, 1)
    worst = 0.0

    def send_and_get_every_other_answer():
        nonlocal worst
        for number in range(1000):
            gate.admit(request)
            worst += Shop().cost(bound(request))
            if number % 2:
                gate.settle(request, usage)
                worst += Shop().cost(usage) - Shop().cost(bound(request))

    with pytest.raises(LimitReachedError, match=r"max_cost=0\.01"):
        send_and_get_every_other_answer()
    assert 0.0095 < worst <= 0.01


def test_failures_are_not_charged():
    """What was reserved for a request that failed is given back."""
    gate = Shop(max_cost=0.01)._gate()
    for _ in range(1000):
        gate.admit(ask("word " * 20))
        gate.settle(ask("word " * 20), None)
    assert gate.account.cost == 0
    assert gate.account.reserved == pytest.approx(0, abs=1e-12)


def test_what_is_sent_again_counts_and_what_is_not_sent_does_not():
    """With requests and their pace; money was put aside for it already."""
    gate = Shop(max_requests=3, max_cost=0.01, requests_per_minute=600)._gate()
    assert gate.admit(ask()) == pytest.approx(0, abs=0.05)
    aside = gate.account.reserved
    assert gate.again(ask()) == pytest.approx(0.1, abs=0.05)
    assert gate.account.reserved == aside > 0
    gate.admit(ask())
    for send in (gate.again, gate.admit):
        with pytest.raises(LimitReachedError, match="max_requests=3 would be crossed"):
            send(ask())
    assert gate.account.reserved == pytest.approx(2 * aside)
    gate.withdraw(ask())
    assert gate.account.reserved == pytest.approx(aside)
    gate.admit(ask())


# ------------------------------------------------------------------ what waits


def test_requests_are_spaced():
    """600 a minute is one each tenth of a second, however many ask at once."""
    gates = [Shop(requests_per_minute=600)._gate() for _ in range(2)]
    waits = [gates[i % 2].admit(ask()) for i in range(20)]
    assert waits == pytest.approx([i * 0.1 for i in range(20)], abs=0.05)


@pytest.mark.parametrize("limit", ["requests_per_minute", "tokens_per_minute"])
def test_one_that_is_late_does_not_leave_together_with_the_next(limit):
    """Turns are given in advance; the distance is kept when they are taken."""
    request = ask("x" * 84)  # 101 tokens at most
    rate = {"requests_per_minute": 600, "tokens_per_minute": 600 * 101}[limit]
    gate, other = (Shop(**{limit: rate})._gate() for _ in range(2))
    turns = [gate.admit(request), other.admit(request)]
    assert turns == pytest.approx([0, 0.1], abs=0.05)
    time.sleep(0.15)
    assert gate.leave(request) == 0
    assert other.leave(request) == pytest.approx(0.1, abs=0.05)
    assert Shop()._gate().leave(request) == 0  # who has no limit does not wait


def test_what_an_answer_gives_back_lets_the_next_one_leave():
    """Also where it was admitted, and only waits to be sent."""
    request = ask("x" * 84)  # 101 tokens at most: a minute
    gate = Shop(tokens_per_minute=101)._gate()
    assert gate.leave(request) == 0
    assert gate.leave(request) > 50
    gate.settle(request, TokenUsage(1, 0))
    assert gate.leave(request) < 1


def test_what_leaves_keeps_its_distance_in_many_threads():
    """To the request: no two leave in one step, however late threads wake up."""
    gate, began = Shop(requests_per_minute=12_000)._gate(), time.monotonic()

    def hurry():
        for _ in range(10):
            while (wait := gate.leave(ask())) > 0:
                time.sleep(wait)

    threads = [threading.Thread(target=hurry) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gate.account.left.by_requests - began >= 80 * 0.005
    assert time.monotonic() - began >= 79 * 0.005


def test_tokens_are_spaced_by_what_answers_took():
    """The estimate is put right as soon as an answer says what it cost."""
    gate = Shop(tokens_per_minute=6000)._gate()
    request = ask("x" * 84)  # 100 tokens at most, and one generated
    assert gate.admit(request) == pytest.approx(0, abs=0.01)
    assert gate.admit(request) == pytest.approx(1.01, abs=0.05)
    for _ in range(2):
        gate.settle(request, TokenUsage(24, 1))
    assert gate.admit(request) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("left", "reset", "seconds"),
    [("0", "6m0s", 60), ("0", "250ms", 0.25), ("0", "1.5s", 1.5), ("3", "6m0s", 0),
     ("", "", 0), ("0", "soon", 0)],
)  # fmt: skip
def test_the_servers_own_limits_are_heeded(left, reset, seconds):
    """With nothing left, everything waits until the reset, a minute at most."""
    gate = Shop()._gate()
    gate.heed({"x-ratelimit-remaining-tokens": left, "x-ratelimit-reset-tokens": reset})
    began = time.monotonic()
    assert gate.admit(ask()) == pytest.approx(seconds, abs=0.1 + time.monotonic() - began)


@pytest.mark.parametrize(("later", "seconds"), [(20, 20), (-20, 0), (4000, 60)])
def test_anthropics_limits_are_heeded_too(later, seconds):
    """They name the moment at which the limit is renewed."""
    moment = datetime.now(timezone.utc) + timedelta(seconds=later)
    gate = Shop()._gate()
    gate.heed(
        {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
    assert gate.admit(ask()) == pytest.approx(seconds, abs=2)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"price": (1.0, 2.0)}, "'price' .* Got"),
        ({"price": (1.0, -2.0, 1.0)}, "'price' .* Got"),
        ({"max_cost": 0}, "'max_cost' .* Got 0"),
        ({"requests_per_minute": -1}, "'requests_per_minute' .* Got -1"),
        ({"max_cost": 1.0, "price": None}, "'max_cost' .* needs a price.*some-model"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(params, says):
    """Before anything is sent, with the parameter's name."""
    with pytest.raises(ValueError, match=says):
        Shop(**params)._check_limits()
