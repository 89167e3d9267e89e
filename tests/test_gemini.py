"""The gemini backend over real HTTP on loopback."""

from __future__ import annotations

import json
import logging
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from gemini_server import GeminiServer, entry, generated
from servers import (
    Http,
    Top,
    distribution,
    refuse,
    send,
    send_text,
    the_answer,
)
from sklearn.base import clone

from sklearn_logprob import FakeBackend, LogprobClassifier
from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    MissingKeyError,
    PromptTooLongError,
    RefusedError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends.gemini import GeminiBackend

KEY = "AIza-marker-0123456789"
TOKEN = "ya29.marker-0123456789"


def changed(**changes: Any) -> Callable[[Any], Http]:
    """Reply with a good candidate but for these fields; None leaves a field out."""
    return send(generated(distribution("changed"), **changes))


def logprobs(*steps: dict[str, Any], chosen: Any) -> Callable[[Any], Http]:
    """Reply with these candidates as they are."""
    top = [{"candidates": list(steps)}]
    result = {"topCandidates": top, "chosenCandidates": [chosen]}
    return changed(logprobsResult=result)


def cut_off(body: Any) -> Http:
    return Http(json.dumps(generated(distribution("cut"))).encode(), cut=True)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def backend_for(server: GeminiServer, **params: Any) -> GeminiBackend:
    params = {"max_retries": 0, "timeout": 10.0, **params}
    return GeminiBackend(base_url=server.url, **params)


def ask(text: str = "Hello", **params: Any) -> Request:
    return Request((("user", text),), **params)


def answer_one(script: Sequence[Callable[[Any], Http]], **params: Any) -> Answer:
    """Ask once, the server replying with `script`."""
    with GeminiServer(script=script) as server:
        return the_answer(backend_for(server, **params).answer([ask()]))


# ------------------------------------------------------------------ what is sent


def test_the_request_is_exactly_this() -> None:
    """Path, header and fields; the key is in a header and not in the address."""
    messages = (
        ("system", "Be brief."),
        ("user", "Fine: "),
        ("assistant", "yes"),
        ("user", "Dull: "),
    )
    with GeminiServer() as server:
        list(backend_for(server).answer([Request(messages, top_logprobs=7)]))  # type: ignore[arg-type]
    [call] = server.calls
    assert call.path == "/v1beta/models/gemini-2.5-flash-lite:generateContent"
    assert call.headers["x-goog-api-key"] == KEY
    assert "authorization" not in call.headers
    assert call.body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Fine: "}]},
            {"role": "model", "parts": [{"text": "yes"}]},
            {"role": "user", "parts": [{"text": "Dull: "}]},
        ],
        "generationConfig": {
            "responseLogprobs": True,
            "logprobs": 7,
            "maxOutputTokens": 1,
            "temperature": 1,
            "topP": 1,
            "thinkingConfig": {"thinkingBudget": 0},
        },
    }


def test_a_raw_prompt_becomes_one_user_turn() -> None:
    """The endpoint has no raw prompts: the text is the user's, and no system is sent."""
    with GeminiServer() as server:
        list(backend_for(server).answer([Request((("prompt", "Is it?"),))]))
    body = server.calls[0].body
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Is it?"}]}]
    assert "systemInstruction" not in body


def test_an_access_token_is_sent_in_place_of_the_key() -> None:
    """As Vertex AI wants it; the base_url is all that stands before the models."""
    with GeminiServer() as server:
        backend = backend_for(server, access_token_env="MY_TOKEN")
        vertex = f"{server.url}/projects/p/locations/l/publishers/google/"
        list(backend.set_params(base_url=vertex).answer([ask()]))
    [call] = server.calls
    where = "/v1beta/projects/p/locations/l/publishers/google/models/"
    assert call.path == f"{where}gemini-2.5-flash-lite:generateContent"
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert "x-goog-api-key" not in call.headers


def test_a_longer_answer_is_the_likeliest_one() -> None:
    """With several tokens to follow, sampling is off."""
    with GeminiServer(lambda text: distribution(text, 5)) as server:
        [(_, answer)] = backend_for(server).answer([ask(max_tokens=3)])
    config = server.calls[0].body["generationConfig"]
    assert (config["maxOutputTokens"], config["temperature"]) == (3, 0)
    assert len(answer.positions) == 3


@pytest.mark.parametrize(
    ("model", "budget", "sent"),
    [
        ("gemini-2.5-flash", "auto", {"thinkingBudget": 0}),
        ("gemini-2.5-flash-lite", "auto", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "auto", None),
        ("gemini-2.0-flash", "auto", None),
        ("gemini-2.5-flash", None, None),
        ("gemini-2.5-pro", 128, {"thinkingBudget": 128}),
    ],
)
def test_reasoning_is_switched_off_where_it_can_be(
    model: str, budget: int | str | None, sent: Any
) -> None:
    """Auto goes by the model, None sends nothing, a number is sent as it is."""
    with GeminiServer() as server:
        params = {"model": model, "thinking_budget": budget}
        list(backend_for(server, **params).answer([ask()]))
    assert server.calls[0].body["generationConfig"].get("thinkingConfig") == sent


def test_fewer_alternatives_are_asked_for_where_fewer_are_allowed() -> None:
    """max_top_logprobs caps what is asked for."""
    with GeminiServer() as server:
        [(_, answer)] = backend_for(server, max_top_logprobs=5).answer([ask()])
    assert server.calls[0].body["generationConfig"]["logprobs"] == 5
    assert len(answer.positions[0].top) == 5


# ------------------------------------------------------------------ what is read


def test_answers_hold_what_the_server_said() -> None:
    """Tokens, log-probabilities, their order and the usage arrive unchanged."""
    with GeminiServer() as server:
        [(index, answer)] = backend_for(server).answer([ask("Hello")])
    [expected] = distribution("Hello")
    assert index == 0
    assert answer.positions == (TokenLogprobs(*expected[0], top=tuple(expected[:20])),)
    assert answer.choices == ()
    assert answer.usage == TokenUsage(31, 1, 8)


def test_every_request_gets_its_own_answer() -> None:
    """Whatever the order of arrival, an index belongs to its request."""
    texts = [f"text {i}" for i in range(20)]
    with GeminiServer() as server:
        found = dict(backend_for(server).answer([ask(text) for text in texts]))
    assert sorted(found) == list(range(20))
    for index, text in enumerate(texts):
        assert found[index].positions[0].top == tuple(distribution(text)[0][:20])


def test_the_chosen_token_may_be_outside_the_alternatives() -> None:
    """It is kept as the chosen one, and the alternatives stay the likeliest."""
    steps = [entry("a", -0.2), entry("b", -2.0)]
    answer = answer_one([logprobs(*steps, chosen=entry("odd", -9.0))])
    assert answer.positions == (TokenLogprobs("odd", -9.0, (("a", -0.2), ("b", -2.0))),)


def test_alternatives_below_the_top_are_left_out() -> None:
    """Sentinels, also in the words of Google's JSON, mean "not shown"."""
    lowest = [-9999.0, None, "NaN", "-Infinity", -3.4028235e38]
    steps = [entry(f"low{i}", low) for i, low in enumerate(lowest)]  # type: ignore[arg-type]
    steps += [{"token": "none"}, entry("b", -2.0), entry("a", 1e-7)]
    answer = answer_one([logprobs(*steps, chosen={"token": "b"})])
    assert answer.positions == (TokenLogprobs("b", -9999.0, (("a", 0.0), ("b", -2.0))),)


# ------------------------------------------------------------------ many at a time


def test_requests_really_overlap_and_are_bounded() -> None:
    """Three are in the server together, never four."""
    meeting = threading.Barrier(3, timeout=10)
    with GeminiServer(meanwhile=meeting.wait) as server:
        backend = backend_for(server, max_concurrency=3)
        assert len(list(backend.answer([ask(f"{i}") for i in range(6)]))) == 6
    assert server.most_at_once == 3


def test_answers_completed_before_a_failure_are_yielded() -> None:
    """Two arrive, the error follows, and the rest is never sent."""
    found: list[int] = []
    with GeminiServer(script=[changed(), changed(), refuse(401)]) as server:
        backend = backend_for(server, max_concurrency=1)
        answers = backend.answer([ask(f"{i}") for i in range(9)])
        with pytest.raises(BackendError, match="401"):
            found.extend(index for index, _ in answers)
    assert found == [0, 1]
    assert len(server.calls) == 3


# ------------------------------------------------------------------ what goes wrong

TOO_LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed"
NOT_ENABLED = "Logprobs is not enabled for models/gemini-2.5-flash"
NOT_SUPPORTED = (
    "Unable to submit request because Logprobs is not supported for this model."
)
BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}}
THOUGHT = {**generated(distribution("")), "usageMetadata": {"thoughtsTokenCount": 1}}
THOUGHT["candidates"] = [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (refuse(400, "API key not valid."), BackendError, "'GEMINI_API_KEY'"),
        (refuse(401), BackendError, "'GEMINI_API_KEY'"),
        (refuse(403), BackendError, "'GEMINI_API_KEY'"),
        (refuse(404, "not found"), BackendError, "may be retired"),
        (refuse(429, "RESOURCE_EXHAUSTED"), HttpError, "Lower max_concurrency="),
        (refuse(503), HttpError, "try again later"),
        (refuse(400, "bad words"), HttpError, "bad words"),
        (refuse(400, TOO_LONG), PromptTooLongError, "request 0"),
        (refuse(400, NOT_ENABLED), LogprobsUnavailableError, "Vertex AI"),
        (refuse(400, NOT_SUPPORTED), LogprobsUnavailableError, "Gemini 3 does not"),
        (refuse(400, "logprobs: at most 5"), LogprobsUnavailableError, "max_top_logp"),
        (send_text("<html>down</html>", status=502), HttpError, "down"),
        (send_text("{oops"), BackendError, "did not answer in its format"),
        (send([]), BackendError, "did not answer in its format"),
        (send({"candidates": "?"}), BackendError, "Google's format"),
        (changed(logprobsResult="?"), BackendError, "Google's format"),
        (logprobs(entry("a", "x"), chosen=entry("a", 0)), BackendError, "format"),  # type: ignore[arg-type]
        (cut_off, BackendError, "is the server running"),
        (send(BLOCKED), RefusedError, "request 0: PROHIBITED_CONTENT"),
        (
            changed(logprobsResult=None, content=None, finishReason="SAFETY"),
            RefusedError,
            "request 0: SAFETY",
        ),
        (changed(logprobsResult=None), LogprobsUnavailableError, "MAX_TOKENS"),
        (send({}), LogprobsUnavailableError, "decisions"),
        (send(THOUGHT), LogprobsUnavailableError, "thinking_budget=0"),
        (logprobs(chosen=entry("a", -0.1)), LogprobsUnavailableError, "without"),
        (
            logprobs(entry("a", 0.0), chosen=entry("a", 0.0)),
            LogprobsUnavailableError,
            "without",
        ),
    ],
)
def test_every_fault_is_named_with_its_fix(
    fault: Callable[[Any], Http], kind: type[LogprobError], says: str
) -> None:
    """Each fault of a server is one of our errors, and its message says what to do."""
    with pytest.raises(LogprobError, match=says) as caught:
        answer_one([fault])
    assert type(caught.value) is kind


def test_a_blocked_request_fails_alone() -> None:
    """Of several requests, the one that has no answer; the others have theirs."""
    with GeminiServer(script=[changed(), changed(), send(BLOCKED)]) as server:
        backend = backend_for(server, max_concurrency=1)
        outcomes = dict(backend.answer([ask(f"{i}") for i in range(5)]))
    assert isinstance(outcomes.pop(2), RefusedError)
    assert sorted(outcomes) == [0, 1, 3, 4]
    assert all(isinstance(outcome, Answer) for outcome in outcomes.values())


@pytest.mark.parametrize(
    "fault", [refuse(429, Retry_After="0"), refuse(500, Retry_After="0"), refuse(503)]
)
def test_passing_faults_are_asked_again(fault: Callable[[Any], Http]) -> None:
    """A rate limit or a server error passes unseen."""
    answer = answer_one([fault], max_retries=1)
    assert answer.positions[0].top == tuple(distribution("Hello")[0][:20])


def test_lasting_faults_are_not_asked_again() -> None:
    """A wrong key does not become right by asking again."""
    with GeminiServer(script=[refuse(401)] * 3) as server:
        answers = backend_for(server, max_retries=2).answer([ask()])
        with pytest.raises(BackendError):
            list(answers)
    assert len(server.calls) == 1


def test_a_server_that_is_down_is_named() -> None:
    """Without a server the error names its address and asks whether it runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    backend = GeminiBackend(base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    with pytest.raises(BackendError, match=f":{port}.*is the server running"):
        list(backend.answer([ask()]))


# ------------------------------------------------------------------ before any call


@pytest.mark.parametrize("key", ["", "  ", "AIza-ключ"])
@pytest.mark.parametrize("parameter", ["api_key_env", "access_token_env"])
def test_without_a_key_the_variable_and_the_keyless_ways_are_named(
    monkeypatch: pytest.MonkeyPatch, parameter: str, key: str
) -> None:
    """No key, no call: the message says which variable, and what needs none."""
    monkeypatch.setenv("MY_KEY", key)
    backend = GeminiBackend().set_params(**{parameter: "MY_KEY"})
    with pytest.raises(MissingKeyError, match="MY_KEY") as caught:
        backend.answer([ask()])
    for way in (f"{parameter}=", "llama-cpp", "fake"):
        assert way in str(caught.value)
    assert list(backend.answer([])) == []


def test_the_key_is_read_when_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was renewed counts; the line end of a file does not."""
    with GeminiServer() as server:
        backend = backend_for(server, access_token_env="MY_TOKEN")
        for token in ("first\n", "second"):
            monkeypatch.setenv("MY_TOKEN", token)
            list(backend.answer([ask()]))
    sent = [call.headers["authorization"] for call in server.calls]
    assert sent == ["Bearer first", "Bearer second"]


def test_the_beginning_of_an_answer_is_refused() -> None:
    """A trailing assistant message is refused before any call, with the way out."""
    request = Request((("user", "Is it?"), ("assistant", "Answer:")))
    with pytest.raises(UnsupportedRequestError, match="end of the user message"):
        GeminiBackend().answer([ask(), request])


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"base_url": "localhost:8000/v1"}, "Got 'localhost:8000/v1' instead"),
        ({"base_url": "http://me:pass@host/v1"}, "without user, password and key"),
        ({"base_url": "http://host/v1?key=pass@"}, "without user, password and key"),
        ({"model": "models/gemini"}, "'model' .* Got 'models/gemini' instead"),
        ({"thinking_budget": "low"}, "'thinking_budget' .* Got 'low' instead"),
        ({"max_concurrency": 0}, "'max_concurrency' .* at least 1. Got 0 instead"),
        ({"max_retries": -1}, "'max_retries' .* at least 0. Got -1 instead"),
        ({"max_top_logprobs": 2.5}, "'max_top_logprobs' .* Got 2.5 instead"),
        ({"api_key_env": "AIza-pass@"}, "must be the name of an environment variable"),
        ({"access_token_env": "ya.pass@"}, "must be the name of an environment variable"),
    ],
)
def test_wrong_parameters_are_found_before_any_call(
    params: dict[str, Any], says: str
) -> None:
    """The constructor takes anything; asking names the parameter, and no password."""
    with pytest.raises(ValueError, match=says) as caught:
        GeminiBackend(**params).check([ask()])
    assert "pass@" not in str(caught.value)


# ------------------------------------------------------------------ an estimator


def test_clones_and_pickles_are_equal() -> None:
    """Parameters survive cloning and pickling after use, and are all there is."""
    with GeminiServer() as server:
        backend = backend_for(server, thinking_budget=0)
        list(backend.answer([ask()]))
    for twin in (clone(backend), pickle.loads(pickle.dumps(backend))):
        assert vars(twin) == vars(backend)
        assert twin.answer_identity() == backend.answer_identity()
    assert set(vars(backend)) == set(backend.get_params())


def test_the_identity_holds_what_changes_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each answer parameter changes it, resolved; the key does not."""
    plain = GeminiBackend().answer_identity()
    changes = {
        "model": "gemini-2.5-pro",
        "base_url": "http://localhost/v1",
        "thinking_budget": 128,
        "max_top_logprobs": 5,
    }
    assert set(changes) == set(GeminiBackend.answer_params) == set(plain)
    for name, value in changes.items():
        identity = GeminiBackend().set_params(**{name: value}).answer_identity()
        assert identity[name] != plain[name]
        assert json.loads(json.dumps(identity)) == identity
    assert GeminiBackend(thinking_budget=0).answer_identity() == plain
    assert GeminiBackend(max_concurrency=1, timeout=1).answer_identity() == plain
    monkeypatch.setenv("GEMINI_API_KEY", "another")
    assert GeminiBackend(access_token_env="MY_TOKEN").answer_identity() == plain


@pytest.mark.parametrize(("parameter", "secret"), [(None, KEY), ("MY_TOKEN", TOKEN)])
@pytest.mark.parametrize(
    "fault",
    [
        refuse(400, f"API key not valid: {KEY} {TOKEN}"),
        refuse(400, f"logprobs are not for {KEY} {TOKEN}"),
        refuse(429, KEY + TOKEN, Retry_After="0"),
        send_text(f"<html>{KEY} {TOKEN}"),
        send_text(KEY + TOKEN, status=500, Retry_After="0"),
        cut_off,
        changed(logprobsResult=None, finishReason="SAFETY"),
    ],
)
def test_the_key_shows_nowhere(
    fault: Callable[[Any], Http],
    parameter: str | None,
    secret: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Even if the server repeats the key: no error, traceback, log, repr or pickle."""
    caplog.set_level(logging.DEBUG)
    with GeminiServer(script=[fault] * 2) as server:
        backend = backend_for(server, max_retries=1, access_token_env=parameter)
        with pytest.raises(LogprobError) as caught:
            the_answer(backend.answer([ask()]))
    error: BaseException = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    places = {
        "message": str(error) + repr(error) + repr(vars(error)),
        "traceback": "".join(traceback.format_exception(error)),
        "log": caplog.text,
        "backend": repr(backend) + repr(vars(backend)),
        "identity": json.dumps(backend.answer_identity()),
        "pickle": pickle.dumps(backend).decode("latin-1"),
        "body": repr([(call.path, call.body) for call in server.calls]),
    }
    assert [place for place, text in places.items() if secret in text] == []
    for call in server.calls:
        holding = [name for name, value in call.headers.items() if secret in value]
        assert holding == ["authorization" if parameter else "x-goog-api-key"]


def test_a_classifier_reads_its_scores() -> None:
    """Through Google's format as through the same distribution without a server."""
    fake = FakeBackend({"good": {"yes": 2.0}}, labels=("no", "yes"), exact=False)

    def answers(text: str) -> list[Top]:
        [(_, answer)] = fake.answer([ask(text)])
        return [answer.positions[0].top]

    texts = ["good", "bad", "good good"]
    params = {"prompt": "{text}?", "classes": ["no", "yes"], "calibrator": None}
    expected = LogprobClassifier(fake, **params).fit().predict_proba(texts)
    with GeminiServer(answers) as server:
        clf = LogprobClassifier(backend_for(server), **params).fit()
        assert clf.predict_proba(texts) == pytest.approx(expected)
        assert clf.predict_proba(texts) == pytest.approx(expected)
    assert len(server.calls) == 3
    assert clf.usage_.cache_hits == 3
