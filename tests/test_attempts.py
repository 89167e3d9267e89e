"""What clients send again counts: limits hold for all that reaches a server."""

from __future__ import annotations

import random
import threading
import time
import traceback
from contextlib import suppress

import pytest
from anthropic_server import MessagesServer, constant
from anthropic_server import error as in_error
from servers import ChatServer, cut_off, refuse

from sklearn_logprob import (
    AnthropicBackend,
    BackendError,
    LimitReachedError,
    OpenAIBackend,
    Request,
)
from sklearn_logprob.backends._limits import _account

KEY = "sk-attempts-0815"
KINDS = {
    "openai": (ChatServer, OpenAIBackend, refuse, "0.01"),
    "anthropic": (
        lambda: MessagesServer(constant),
        AnthropicBackend,
        in_error,
        "0",
    ),
}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    _account.cache_clear()


@pytest.fixture(params=KINDS)
def kind(request):
    """OpenAI's SDK on the event loop, and urllib3 in threads."""
    return KINDS[request.param]


def asking(kind, server, **params):
    """Ask a number of questions; give the answers, and the error that ended it."""
    _, backend, _, _ = kind
    url = server.url if backend is OpenAIBackend else server.url.removesuffix("/v1")
    given = {"base_url": url, "max_concurrency": 8, "max_retries": 4, **params}

    def ask(n):
        requests = [Request((("user", f"{i}?"),), top_logprobs=0) for i in range(n)]
        answers = []
        try:
            answers.extend(backend("m", **given).answer(requests))
        except BackendError as error:
            return answers, error
        return answers, None

    return ask


def faulty(kind, share, n=1000):
    """Write the script of a server that fails at random, also without a word."""
    _, backend, fault, patience = kind
    rng = random.Random(0)
    kinds = [fault(429, Retry_After=patience), fault(500, Retry_After=patience)]
    script = [rng.choice(kinds) if rng.random() < share else None for _ in range(n)]
    if backend is OpenAIBackend:
        script[20] = cut_off
    return script


@pytest.mark.parametrize("limit", [1, 9, 83])
def test_all_that_arrives_counts_to_the_request(kind, limit):
    """Threads, requests in flight, errors and lost answers: as many as allowed come."""
    with kind[0]() as server:
        server.script = faulty(kind, 0.3)
        ask, ended = asking(kind, server, max_requests=limit), []
        threads = [
            threading.Thread(target=lambda: ended.append(ask(60))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.calls) == limit
    assert all(isinstance(error, LimitReachedError) for _, error in ended)
    n_failed = sum(fault is not None for fault in faulty(kind, 0.3)[:limit])
    assert sum(len(answers) for answers, _ in ended) == limit - n_failed


def test_an_error_says_that_it_was_the_second_attempt(kind):
    """And how much was sent; the failure before it, which holds the key, is not there."""
    with kind[0]() as server:
        server.script = [kind[2](500, Retry_After=kind[3])] * 9
        answers, error = asking(kind, server, max_requests=2)(1)
        assert (len(server.calls), answers) == (2, [])
    assert isinstance(error, LimitReachedError)
    assert "max_requests=2 would be crossed by trying again what had failed" in str(error)
    assert "2 requests to 'm' were sent" in str(error)
    assert error.__context__ is None
    assert KEY not in "".join(traceback.format_exception(error))


def test_answers_under_way_are_kept(kind):
    """What was admitted before the limit was reached is sent and answered."""
    with kind[0]() as server:
        server.script = [None, kind[2](429, Retry_After=kind[3])] + [None] * 20
        server.delay = 0.05
        answers, error = asking(kind, server, max_requests=7)(30)
        assert len(server.calls) == 7
    assert len(answers) == 6
    assert isinstance(error, LimitReachedError)


def test_what_was_not_sent_does_not_count(kind):
    """After a failure of another kind the rest of the budget is there."""
    with kind[0]() as server:
        server.script = [None, kind[2](404)]
        server.delay = 0.05
        _, error = asking(kind, server, max_requests=20, max_concurrency=4)(30)
        assert not isinstance(error, LimitReachedError)
        with suppress(BackendError):
            asking(kind, server, max_requests=20)(30)
        assert len(server.calls) == 20


def test_the_pace_holds_for_what_is_tried_again(kind):
    """Ten a second are ten, whatever becomes of them."""
    arrived = []
    with kind[0]() as server:
        server.meanwhile = lambda: arrived.append(time.monotonic())
        server.script = [kind[2](500, Retry_After=kind[3]), None] * 3
        answers, error = asking(kind, server, requests_per_minute=600)(5)
        assert error is None
    assert len(answers) == 5
    assert len(arrived) == 8
    assert arrived[-1] - arrived[0] > 0.6  # seven steps of 0.1
