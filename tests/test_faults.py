"""Servers that fail: the error names the fix, and what was paid for is kept."""

from __future__ import annotations

import pytest
from servers import (
    ChatServer,
    cut_off,
    placeholders,
    refuse,
    send_text,
    without_logprobs,
)

from sklearn_logprob import (
    BackendError,
    LogprobClassifier,
    LogprobsUnavailableError,
    MissingKeyError,
    OpenAIBackend,
)

TEXTS = [f"review number {i}" for i in range(30)]
LABELS = ["bad", "good"] * 15

pytestmark = pytest.mark.filterwarnings("ignore::sklearn_logprob.LowLabelMassWarning")


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The servers here take any key."""
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")


def classifier(url, **params):
    """One request at a time, so that the order of faults is known."""
    params = {"max_retries": 0, "max_concurrency": 1, **params}
    return LogprobClassifier(OpenAIBackend("some-model", base_url=url, **params))


FAULTS = {
    "401": (refuse(401), BackendError, "OPENAI_API_KEY"),
    "404": (refuse(404), BackendError, "some-model"),
    "429": (refuse(429), BackendError, "max_concurrency"),
    "500": (refuse(500), BackendError, "500"),
    "malformed": (send_text("<html>oops</html>"), BackendError, "format"),
    "no logprobs": (without_logprobs, LogprobsUnavailableError, "vLLM"),
    "placeholders": (placeholders, LogprobsUnavailableError, "vLLM"),
    "half an answer": (cut_off, BackendError, "127.0.0.1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_middle_loses_nothing(name):
    """The error names the fix; the next fit asks only for what is missing."""
    fault, error, message = FAULTS[name]
    with ChatServer() as server:
        clf = classifier(server.url)
        clf.fit(TEXTS[:10], LABELS[:10])
        server.script = [None, None, fault]
        with pytest.raises(error, match=message):
            clf.fit(TEXTS, LABELS)
        server.script = []
        before = len(server.calls)
        clf.fit(TEXTS, LABELS)
        assert clf.usage_.cache_hits >= 12
        assert len(server.calls) - before == 30 - clf.usage_.cache_hits
        assert clf.predict(TEXTS).shape == (30,)


def test_a_fault_that_passes_is_retried():
    """429 with Retry-After and 500 are asked again by the client; nobody notices."""
    with ChatServer(script=[refuse(429, retry_after=0), refuse(500)]) as server:
        clf = classifier(server.url, max_retries=3).fit(TEXTS[:4], LABELS[:4])
        assert len(server.calls) == 6 and clf.usage_.requests == 4


def test_a_server_that_is_down():
    """The message names the address and asks the right question."""
    with ChatServer() as server:
        url = server.url
    with pytest.raises(BackendError, match=r"127\.0\.0\.1.*running"):
        classifier(url).fit(TEXTS, LABELS)


def test_a_missing_key(monkeypatch):
    """Before any call: which variable, and how to try without a key."""
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(MissingKeyError, match=r"OPENAI_API_KEY.*llama-cpp"):
        LogprobClassifier("openai:gpt-4.1-mini").fit(TEXTS, LABELS)
