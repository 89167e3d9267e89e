"""What asking would take is told before anything is asked."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from servers import ChatServer

from sklearn_logprob import (
    DomainPrompt,
    DomainWords,
    FakeBackend,
    LogprobClassifier,
    OpenAIBackend,
    PromptTemplate,
)

CLASSES = ["negative", "positive"]


@pytest.fixture(autouse=True)
def _cache(cache_home):
    """Each test has a cache of its own."""


def test_distinct_requests_that_the_cache_lacks_are_counted():
    """Repeats and cached answers cost nothing; fitted or not, the count is the same."""
    clf = LogprobClassifier(FakeBackend(), classes=CLASSES)
    assert clf.requests(["a", "b", "a"]).n_sent == 2
    clf.fit(["a"])
    planned = clf.requests(["a", "b", "a"])
    assert (len(planned), planned.n_sent) == (3, 1)
    clf.predict(["b"])
    assert clf.requests(["a", "b"]).n_sent == 0
    assert clf.usage_.requests == 2


def test_nothing_is_sent():
    """Not even where the answer would be an error."""
    with ChatServer() as server:
        backend = OpenAIBackend("gpt-4.1-mini", base_url=server.url)
        planned = LogprobClassifier(backend, classes=CLASSES).requests(["a", "b"])
    assert server.calls == []
    assert planned.n_sent == 2
    assert planned.cost > 0


@pytest.mark.parametrize(
    ("content_free", "several", "n_asked"),
    [
        (("N/A", ""), False, 2),
        (DomainWords(3), False, 3),
        (DomainPrompt("About {labels}:"), False, 1),
        (("N/A", ""), True, 4),
    ],
)
def test_inputs_without_content_are_planned(content_free, several, n_asked):
    """Those that fit asks about, behind the rows, random words and all; later no more."""
    X = ["it was so fine a day", "that film is very dull", "we are not quite as fine",
         "rather dull people live here"]  # fmt: skip
    y: list[object] = [*CLASSES, *CLASSES]
    prompt: object = PromptTemplate("{text}:", n_shots=1)
    if several:
        prompt, y = "{text}, {label}?", [{label} for label in y]
    clf = LogprobClassifier(
        FakeBackend(), prompt=prompt, classes=CLASSES, content_free=content_free,
        random_state=np.random.RandomState(1),
    )  # fmt: skip
    planned = clf.requests(X, y)
    assert planned == clf.requests(X, y)  # planning draws nothing away
    clf.fit(X, y)
    assert clf.usage_.requests == planned.n_sent
    about_rows, besides = planned[:-n_asked], planned[-n_asked:]
    later = clf.requests(X)
    assert set(about_rows) <= set(later)
    assert set(besides) & set(later) == set()
    assert len(planned) == len(set(planned))


def test_one_class_asks_nothing():
    """Neither in fit nor after it, and so the plan."""
    clf = LogprobClassifier(FakeBackend(), classes=["all"], content_free=["N/A"])
    assert clf.requests(["a", "b"]) == []
    assert clf.fit(["a", "b"]).requests(["c"]) == []
    clf.predict(["c"])
    assert clf.usage_.requests == 0


def test_the_estimate_is_near_what_is_spent():
    """Tokens of English at four bytes each: a factor of two from words."""
    clf = LogprobClassifier(FakeBackend(), classes=CLASSES, cache=None)
    X = ["it was a fine day and we all went out to look at the sea again"] * 2
    planned = clf.requests([*X, "another day"])
    clf.fit([*X, "another day"])
    spent = clf.usage_
    assert planned.n_sent == spent.requests == 2
    assert 0.5 < planned.prompt_tokens / spent.prompt_tokens < 2
    assert planned.completion_tokens == spent.completion_tokens


def test_costs_are_those_of_the_price():
    """Tokens times price; nan where no price is known."""
    url = "https://api.example.com/v1"

    def plan(model, **params):
        backend = OpenAIBackend(model, base_url=url, **params)
        return LogprobClassifier(backend, classes=CLASSES).requests(["x" * 4000])

    planned = plan("mine", price=(2.0, 1.0, 10.0))
    expected = (2 * planned.prompt_tokens + 10 * planned.completion_tokens) / 1e6
    assert planned.cost == pytest.approx(expected)
    assert planned.prompt_tokens > 1000
    assert math.isnan(plan("mine").cost)
    assert "at an unknown price" in repr(plan("mine"))
    assert plan("gpt-4.1-mini").cost == pytest.approx(0.4e-6 * 1030, rel=0.05)


def test_the_list_shows_a_summary_and_holds_the_requests():
    """A table of requests would fill the screen; each is there all the same."""
    clf = LogprobClassifier(FakeBackend(), prompt="{title}", classes=CLASSES)
    planned = clf.requests(pd.DataFrame({"title": ["a", "b"]}))
    assert [request.messages for request in planned] == [
        (("prompt", "a"),),
        (("prompt", "b"),),
    ]
    assert repr(planned).startswith("<2 requests, 2 of them to be sent: about ")
