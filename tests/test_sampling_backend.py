"""The sampling backend: many answers of another backend, counted."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anthropic_server import MessagesServer, error, message, saying
from llama_server import served
from servers import send
from sklearn.base import BaseEstimator, clone

from sklearn_logprob import (
    Answer,
    BackendError,
    FakeBackend,
    LlamaCppBackend,
    LogprobClassifier,
    MissingKeyError,
    OpenAIBackend,
    RefusedError,
    Request,
    RowError,
    SystemOneBackend,
    TokenUsage,
    UnsupportedRequestError,
)
from sklearn_logprob._builds import builds_of
from sklearn_logprob._draws import read_draws, standard_error
from sklearn_logprob._reading import AnswerReader
from sklearn_logprob._walking import read_choices
from sklearn_logprob.backends._repeated import ask_repeatedly
from sklearn_logprob.backends.anthropic import AnthropicBackend
from sklearn_logprob.backends.sampling import SamplingBackend, settled
from sklearn_logprob.collect import backend_key
from sklearn_logprob.scoring import choices_of

PAIR = [("negative", "Negative"), ("positive", "Positive")]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class ScriptedBackend(BaseEstimator):  # type: ignore[misc, unused-ignore]
    """Answers each text with its own list: texts, kinds of RowError, or what to raise."""

    answer_params = ("script",)
    scores_choices = False
    max_top_logprobs = 0
    asked: list[list[Request]]

    def __init__(self, script: dict[str, list[Any]] | None = None) -> None:
        self.script = script

    def answer_identity(self) -> dict[str, Any]:
        return {"script": sorted(self.script or {})}

    def check(self, requests: Sequence[Request]) -> list[RowError]:
        long = [i for i, r in enumerate(requests) if r.messages[-1][1] == "too long"]
        return [RefusedError("{row} is too long", i) for i in long]

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        self.__dict__.setdefault("asked", []).append(list(requests))
        for index, request in enumerate(requests):
            said = (self.script or {})[request.messages[-1][1]][request.draw - 1]
            if isinstance(said, Exception):
                raise said
            if isinstance(said, str):
                yield index, Answer(usage=TokenUsage(10, 2, 1), draws=((said, 1),))
            else:
                yield index, said("{row} is bad", index)


def ask(text: str = "Hello", **params: Any) -> Request:
    return Request((("user", text),), **{"top_logprobs": 0, "max_tokens": 8, **params})


def backend_for(server: MessagesServer, **params: Any) -> SamplingBackend:
    inner = AnthropicBackend(base_url=server.url, max_retries=0)
    return SamplingBackend(inner, **params)


def answers_to(backend: Any, *texts: str) -> list[Any]:
    found = dict(backend.answer([ask(text) for text in texts]))
    assert sorted(found) == list(range(len(texts)))
    return [found[i] for i in range(len(texts))]


# ------------------------------------------------------------------ what is asked


def test_every_draw_is_a_request_of_its_own() -> None:
    """Drawn, numbered from 1, without log-probabilities; nothing else is changed."""
    inner = ScriptedBackend({"Hello": ["a"] * 7})
    request = ask(choices=("a", "b"), top_logprobs=20)
    list(SamplingBackend(inner, n_samples=7, adaptive=False).answer([request]))
    [sent] = inner.asked
    assert sent == [ask(draw=draw) for draw in range(1, 8)]


def test_fewer_samples_than_a_round_are_one_round() -> None:
    """No more are drawn than were allowed."""
    inner = ScriptedBackend({"Hello": ["yes", "no", "yes"]})
    [answer] = answers_to(SamplingBackend(inner, n_samples=3), "Hello")
    assert answer.draws == (("yes", 2), ("no", 1))
    assert [len(batch) for batch in inner.asked] == [3]


def test_draws_of_different_chains_differ() -> None:
    """Chains of one request do not share a draw."""
    inner = ScriptedBackend({"Hello": ["a"] * 12})
    backend = SamplingBackend(inner, n_samples=4, adaptive=False)
    list(backend.answer([ask(draw=1), ask(draw=2)]))
    [sent] = inner.asked
    assert len({request.draw for request in sent}) == 8


def test_counts_and_usage_add_up() -> None:
    """All texts as they came, the most frequent first, and all tokens."""
    script = {"Hello": ["no", "yes", "Yes.", "yes", "no", "yes"]}
    backend = SamplingBackend(ScriptedBackend(script), n_samples=6, adaptive=False)
    [answer] = answers_to(backend, "Hello")
    assert answer == Answer(
        draws=(("yes", 3), ("no", 2), ("Yes.", 1)), usage=TokenUsage(60, 12, 6)
    )


def test_the_builds_of_all_draws_are_named() -> None:
    """Where a server changes its model between them both are there, each to be found."""
    models = [f"claude-haiku-4-5-2025100{day}" for day in (2, 1, 2)]
    script = [send(message("yes", model=model)) for model in models]
    with MessagesServer(script=script) as server:
        backend = backend_for(server, n_samples=3, adaptive=False)
        [answer] = answers_to(backend, "Hello")
    first, second = sorted(set(models))
    assert answer.build == f"{first}, {second}"
    assert builds_of([answer, Answer(build=first)]) == (first, second)


def test_rounds_go_on_for_those_that_are_not_settled() -> None:
    """A clear text is asked five times, an unclear one all twenty, in rounds of five."""
    script = {"clear": ["yes", "Yes", " yes.", "YES!", "yes"], "odd": ["yes", "no"] * 10}
    inner = ScriptedBackend(script)
    clear, odd = answers_to(SamplingBackend(inner), "clear", "odd")
    assert sum(times for _, times in clear.draws) == 5
    assert odd.draws == (("no", 10), ("yes", 10))
    assert (clear.usage, odd.usage) == (TokenUsage(50, 10, 5), TokenUsage(200, 40, 20))
    assert [len(batch) for batch in inner.asked] == [10, 5, 5, 5]
    numbers = [
        r.draw for batch in inner.asked for r in batch if r == ask("odd", draw=r.draw)
    ]
    assert sorted(numbers) == list(range(1, 21))


def test_each_answer_comes_as_soon_as_it_is_complete() -> None:
    """Not only at the end of its round, so that what was paid for is kept."""
    down = BackendError("down")
    script = {"0": ["yes"] * 5, "1": ["no"] * 5, "2": [*["yes"] * 4, down]}
    found = []
    with pytest.raises(BackendError, match="down"):
        found.extend(
            SamplingBackend(ScriptedBackend(script)).answer([ask(t) for t in script])
        )
    assert [index for index, _ in found] == [0, 1]


def test_answers_keep_the_order_of_their_requests() -> None:
    """Whatever the order in which the inner backend gives them."""

    class Backwards(ScriptedBackend):
        def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
            return reversed(list(super().answer(requests)))  # type: ignore[return-value]

    inner = Backwards({"a": list("abc"), "d": list("def")})
    asked = {i: [ask(text, draw=n) for n in (1, 2, 3)] for i, text in enumerate("ad")}
    found = dict(ask_repeatedly(inner, asked))
    texts = [[answer.draws[0][0] for answer in found[i]] for i in (0, 1)]  # type: ignore[union-attr]
    assert texts == [list("abc"), list("def")]


def test_the_inner_concurrency_is_used() -> None:
    """A round is one batch: its draws are under way together."""
    with MessagesServer(delay=0.05) as server:
        [answer] = answers_to(backend_for(server, n_samples=8, adaptive=False), "Hello")
    assert server.most_at_once == 8
    assert sum(times for _, times in answer.draws) == 8


# ------------------------------------------------------------------ when it is settled


@pytest.mark.parametrize(
    ("counts", "left", "expected"),
    [
        ([5], 15, True),
        ([4], 16, True),  # 31 to 1
        ([3], 17, False),
        ([4, 1], 15, False),
        ([8, 2], 10, True),
        ([7, 3], 10, False),
        ([10, 9], 1, False),
        ([11, 8], 1, True),  # it cannot be overtaken
        ([2, 2, 2, 2, 2], 10, False),
        ([6, 1, 1, 1, 1], 10, True),  # against the second likeliest only
        ([], 20, False),
    ],
)
def test_settled_is_the_posterior_that_the_leader_leads(
    counts: list[int], left: int, expected: bool
) -> None:
    """Above 0.95, by numerical integration of the posterior; or nothing can change."""
    assert settled(counts, left) is expected
    first, second = sorted([*counts, 0, 0])[:-3:-1]
    theta = (np.arange(20000) + 0.5) / 20000
    density = theta**first * (1 - theta) ** second
    leads = density[theta > 0.5].sum() / density.sum()
    assert expected is bool(leads > 0.95 or first > second + left)


def drawn(theta: float, rng: np.random.Generator, *, adaptive: bool) -> tuple[Any, int]:
    """Sample one text that says "positive" with probability theta."""
    says = ["positive" if u < theta else "negative" for u in rng.random(20)]
    backend = SamplingBackend(ScriptedBackend({"Hello": says}), adaptive=adaptive)
    [answer] = answers_to(backend, "Hello")
    point, _, _ = read_draws(AnswerReader(PAIR), answer.draws)
    return point, sum(times for _, times in answer.draws)


def test_stopping_early_does_not_make_it_grossly_sure_of_itself() -> None:
    """The leader looks larger than it is, for stopping is optional, but not by much."""
    rng = np.random.default_rng(0)
    truth = rng.random(1500)
    excess, spent, missed = {}, {}, {}
    for adaptive in (False, True):
        sampled = [drawn(theta, rng, adaptive=adaptive) for theta in truth]
        points = np.array([point for point, _ in sampled])
        leader = points.argmax(axis=1)
        of_leader = np.where(leader == 1, truth, 1 - truth)
        excess[adaptive] = (points.max(axis=1) - of_leader).mean()
        missed[adaptive] = (of_leader < 0.5).mean()
        spent[adaptive] = np.mean([n for _, n in sampled])
        assert np.mean(points[:, 1] - truth) == pytest.approx(0, abs=0.02)
    assert spent[False] == 20
    assert spent[True] < 14
    assert -0.01 < excess[False] < 0.03
    assert excess[False] < excess[True] < 0.06
    assert missed[True] < missed[False] + 0.03


# ------------------------------------------------------------------ failures


def test_a_row_fails_where_one_of_its_draws_does() -> None:
    """By its own index; the other rows are answered, and it is asked no more."""
    script = {"bad": ["a", RefusedError, RefusedError, "b", "a"], "good": ["a"] * 5}
    inner = ScriptedBackend(script)
    good, bad, again = answers_to(SamplingBackend(inner), "good", "bad", "good")
    assert good == again == Answer(draws=(("a", 5),), usage=TokenUsage(50, 10, 5))
    assert isinstance(bad, RefusedError)
    assert (bad.index, str(bad.for_row(7))) == (1, "row 7 of X is bad")
    assert len(inner.asked) == 1


def test_a_row_may_fail_in_a_later_round() -> None:
    """Then too it fails alone."""
    script = {"bad": [*"ababa", RefusedError, *"abab"], "odd": list("ab" * 10)}
    odd, bad = answers_to(SamplingBackend(ScriptedBackend(script)), "odd", "bad")
    assert isinstance(bad, RefusedError)
    assert sum(times for _, times in odd.draws) == 20


def test_the_inner_backend_checks_first() -> None:
    """What it finds wrong with all requests is raised, with single ones returned."""
    backend = SamplingBackend(ScriptedBackend({}))
    [failure] = backend.check([ask("fine"), ask("too long")])
    assert (type(failure), failure.index) == (RefusedError, 1)
    with pytest.raises(MissingKeyError, match="'NO_KEY'"):
        SamplingBackend(AnthropicBackend(api_key_env="NO_KEY")).check([ask()])


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"n_samples": 0}, "'n_samples' .* at least 1. Got 0 instead"),
        ({"n_samples": 2.5}, "'n_samples' .* Got 2.5 instead"),
        ({"min_samples": 0}, "'min_samples' .* at least 1. Got 0 instead"),
        ({"backend": "nobody:x"}, "'backend' .* Got 'nobody:x' instead"),
    ],
)
def test_wrong_parameters_are_found_before_any_call(
    params: dict[str, Any], says: str
) -> None:
    """The constructor takes anything; asking names the parameter."""
    backend = SamplingBackend(**{"backend": FakeBackend(), **params})
    with pytest.raises(ValueError, match=says):
        backend.answer([ask()])


def test_a_backend_without_text_is_refused() -> None:
    """One that decides, before anything is asked; any other, when it answers."""
    with pytest.raises(UnsupportedRequestError, match="without SamplingBackend"):
        SamplingBackend(SystemOneBackend()).check([ask()])

    class Mute(ScriptedBackend):
        def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
            yield 0, Answer()

    with pytest.raises(BackendError, match="Mute answers without any text"):
        list(SamplingBackend(Mute()).answer([ask()]))


# ------------------------------------------------------------------ an estimator


def test_parameters_of_the_inner_backend_can_be_reached() -> None:
    """As a grid search reaches them; the identity is the inner one's and its own."""
    backend = SamplingBackend(AnthropicBackend())
    backend.set_params(backend__model="claude-sonnet-5", n_samples=7)
    assert backend.get_params()["backend__model"] == "claude-sonnet-5"
    name, identity = backend.answer_identity()["backend"]
    assert (name, identity) == ("AnthropicBackend", backend.backend.answer_identity())
    assert json.loads(json.dumps(backend.answer_identity())) == backend.answer_identity()
    for other in (
        SamplingBackend(FakeBackend()),
        SamplingBackend(AnthropicBackend()),
        clone(backend).set_params(n_samples=8),
        clone(backend).set_params(min_samples=3),
        clone(backend).set_params(adaptive=False),
    ):
        assert backend_key(other) != backend_key(backend)
    for twin in (clone(backend), pickle.loads(pickle.dumps(backend))):
        assert backend_key(twin) == backend_key(backend)


def test_a_name_stands_for_the_inner_backend() -> None:
    """It is stored as it is, and means the object that it names."""
    named = SamplingBackend("anthropic:claude-sonnet-5")
    assert named.backend == "anthropic:claude-sonnet-5"
    assert backend_key(named) == backend_key(
        SamplingBackend(AnthropicBackend("claude-sonnet-5"))
    )


def test_costs_can_be_told_before() -> None:
    """The most calls that a row takes, and the inner backend's price."""
    assert SamplingBackend(FakeBackend(), n_samples=7).requests_per_row == 7
    nested = SamplingBackend(SamplingBackend(FakeBackend(), n_samples=3), n_samples=7)
    assert nested.requests_per_row == 21
    usage = TokenUsage(1_000_000, 10)
    inner = AnthropicBackend(price=(2.0, 0.2, 9.0))
    assert SamplingBackend(inner).cost(usage) == inner.cost(usage) > 2
    assert SamplingBackend(FakeBackend()).cost(usage) == 0


# ------------------------------------------------------------------ the whole way


def test_a_classifier_finds_the_distribution() -> None:
    """From HTTP to probabilities, within four standard errors; asked once, ever."""
    truth = {"positive": 0.6, "Negative.": 0.3, "I can not tell.": 0.1}
    with MessagesServer(saying(truth)) as server:
        backend = backend_for(server, n_samples=200, adaptive=False)
        clf = LogprobClassifier(
            backend, prompt="{text}?", classes=["negative", "positive"], calibrator=None
        ).fit()
        proba = clf.predict_proba(["Well"])
        assert clf.predict_proba(["Well"]) == pytest.approx(proba)
    error_ = standard_error(2 / 3, 180)
    assert proba[0] == pytest.approx([1 / 3, 2 / 3], abs=4 * error_)
    assert len(server.calls) == 200
    assert clf.usage_.prompt_tokens == 200 * 42


def test_refused_rows_are_left_open() -> None:
    """With on_error="nan", through HTTP: one row of three has no probabilities."""
    refusal = message(None, stop_reason="refusal")
    script = [send(message("positive"))] * 5 + [send(refusal)] * 5
    with MessagesServer(script=script) as server:
        inner = AnthropicBackend(base_url=server.url, max_retries=0, max_concurrency=1)
        clf = LogprobClassifier(
            SamplingBackend(inner),
            prompt="{text}?",
            classes=["negative", "positive"],
            calibrator=None,
            on_error="nan",
        ).fit()
        with pytest.warns(UserWarning, match="row 1"):
            proba = clf.predict_proba(["a", "b", "c"])
        server.script = [error(401)]
        with pytest.raises(BackendError, match="401"):
            clf.predict_proba(["d"])
    assert np.isnan(proba).any(axis=1).tolist() == [False, True, False]


def test_counts_of_a_known_model_are_its_probabilities() -> None:
    """A stand-in whose posterior is known in closed form, four labels, no HTTP."""
    labels = ("good", "bad", "odd", "new")
    fake = FakeBackend(bias={"good": 1.0, "bad": 0.5}, labels=labels, exact=False)
    request = Request((("prompt", "x"),), top_logprobs=0)
    [(_, answer)] = SamplingBackend(fake, n_samples=900, adaptive=False).answer([request])
    assert isinstance(answer, Answer)
    point, _, _ = read_draws(AnswerReader([(form,) for form in labels]), answer.draws)
    truth = 0.8 * np.exp(fake.log_posterior("x", labels))
    assert (np.abs(point - truth) < 4 * standard_error(truth, 900)).all()
    others = Counter(text for text, _ in answer.draws if text.strip() not in labels)
    assert 1 - point.sum() == pytest.approx(0.2, abs=4 * standard_error(0.2, 900))
    assert len(others) > 5


@pytest.mark.slow
@pytest.mark.local
@pytest.mark.parametrize("form", ["anthropic", "openai"])
def test_a_real_model_is_sampled_as_its_exact_scores_say(
    exact_weights: Path, form: str
) -> None:
    """llama.cpp's server draws whole labels as often as the same weights score them."""
    pytest.importorskip("xllamacpp")
    labels = [("yes", "Yes"), ("no", "No")]
    asked = ask("Answer with one word, yes or no: is a tomato a fruit?", max_tokens=4)
    with served(exact_weights) as url:
        plain = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0}
        inner: Any = (
            AnthropicBackend("any", base_url=url, extra_body=plain, max_concurrency=1)
            if form == "anthropic"
            else OpenAIBackend(
                "any", base_url=f"{url}/v1", extra_body=plain, max_concurrency=1
            )
        )
        sampled = SamplingBackend(inner, n_samples=60, adaptive=False)
        [(_, answer)] = sampled.answer([asked])
    exact = LlamaCppBackend(exact_weights, n_ctx=512)
    scored = Request(asked.messages, choices=choices_of(labels))
    [(_, expected)] = exact.answer([scored])
    assert isinstance(answer, Answer) and isinstance(expected, Answer)
    reader = AnswerReader(labels)
    point, _, _ = read_draws(reader, answer.draws)
    truth = read_choices(reader, [expected])[0, 0]
    assert truth.sum() > 0.3, "the question is of no use to this test"
    assert (np.abs(point - truth) < 4 * standard_error(truth, 60) + 1 / 60).all()
    assert math.isclose(sum(times for _, times in answer.draws), 60)
