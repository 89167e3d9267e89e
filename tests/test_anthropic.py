"""The anthropic backend over real HTTP on loopback."""

from __future__ import annotations

import json
import logging
import math
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from anthropic_server import MessagesServer, constant, error, message
from llama_server import served
from servers import Http, send, send_text, the_answer
from sklearn.base import clone

from sklearn_logprob import (
    Answer,
    BackendError,
    LimitReachedError,
    LogprobError,
    LogprobsUnavailableError,
    MissingKeyError,
    OpenAIBackend,
    PromptTooLongError,
    RefusedError,
    Request,
    RowError,
    TokenUsage,
    UnreadableAnswerError,
    UnsupportedRequestError,
)
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends.anthropic import AnthropicBackend

KEY = "sk-ant-marker-0123456789"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)


def backend_for(server: MessagesServer, **params: Any) -> AnthropicBackend:
    params = {"max_retries": 0, "timeout": 10.0, **params}
    return AnthropicBackend(base_url=server.url, **params)


def ask(text: str = "Hello", **params: Any) -> Request:
    return Request((("user", text),), **{"top_logprobs": 0, "max_tokens": 8, **params})


def answer_one(*script: Callable[[Any], Http], **params: Any) -> Answer:
    """Ask once, the server replying with `script`."""
    with MessagesServer(script=script) as server:
        return the_answer(backend_for(server, **params).answer([ask()]))


# ------------------------------------------------------------------ what is sent


def test_the_request_is_exactly_this() -> None:
    """Path, headers and fields; system messages apart, and no temperature."""
    messages = (
        ("system", "Be brief."),
        ("user", "Fine: "),
        ("assistant", "yes "),
        ("system", "Be fair."),
        ("user", "Dull: "),
    )
    with MessagesServer() as server:
        request = Request(messages, max_tokens=8, top_logprobs=0, draw=3)  # type: ignore[arg-type]
        list(backend_for(server).answer([request]))
    [call] = server.calls
    assert call.path == "/v1/messages"
    assert call.headers["x-api-key"] == KEY
    assert call.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in call.headers
    assert call.body == {
        "model": "claude-haiku-4-5",
        "max_tokens": 8,
        "system": "Be brief.\n\nBe fair.",
        "messages": [
            {"role": "user", "content": "Fine: "},
            {"role": "assistant", "content": "yes "},
            {"role": "user", "content": "Dull: "},
        ],
        "thinking": {"type": "disabled"},
    }


def test_a_raw_prompt_becomes_one_user_message() -> None:
    """The endpoint has no raw prompts: the text is the user's, and no system is sent."""
    with MessagesServer() as server:
        request = Request((("prompt", "Is it?"),), top_logprobs=0)
        list(backend_for(server).answer([request]))
    assert server.calls[0].body["messages"] == [{"role": "user", "content": "Is it?"}]
    assert "system" not in server.calls[0].body


@pytest.mark.parametrize(
    ("model", "thinking", "sent", "max_tokens"),
    [
        ("claude-haiku-4-5", "auto", {"type": "disabled"}, 8),
        ("claude-sonnet-5-5", "auto", {"type": "disabled"}, 8),
        ("claude-opus-4-8", "auto", {"type": "disabled"}, 8),
        ("claude-fable-5-2", "auto", None, 108),
        ("claude-mythos-5-1", "auto", None, 108),
        ("claude-sonnet-5-5", None, None, 108),
        ("claude-sonnet-5-5", "adaptive", {"type": "adaptive"}, 108),
    ],
)
def test_thinking_is_switched_off_where_it_can_be(
    model: str, thinking: str | None, sent: Any, max_tokens: int
) -> None:
    """Auto goes by the model; where it thinks, it has room besides the answer's."""
    with MessagesServer() as server:
        params = {"model": model, "thinking": thinking, "thinking_tokens": 100}
        list(backend_for(server, **params).answer([ask()]))
    assert server.calls[0].body.get("thinking") == sent
    assert server.calls[0].body["max_tokens"] == max_tokens


def test_an_answer_is_continued_by_the_models_that_do() -> None:
    """Without the space at its end, which the endpoint refuses; others never get it."""
    begun = Request((("user", "Is it?"), ("assistant", "Answer: ")), top_logprobs=0)
    with MessagesServer() as server:
        the_answer(backend_for(server).answer([begun]))
        [call] = server.calls
        assert call.body["messages"][-1] == {"role": "assistant", "content": "Answer:"}
        for model in ("claude-haiku-5-5", "claude-opus-4-6", "claude-opus-4-50"):
            with pytest.raises(UnsupportedRequestError, match="end of the user message"):
                backend_for(server, model=model).answer([begun])
    assert len(server.calls) == 1


def test_extra_body_is_merged_into_the_request() -> None:
    """Further fields are sent, and win over ours."""
    extra = {"output_config": {"effort": "low"}, "max_tokens": 99}
    with MessagesServer() as server:
        list(backend_for(server, extra_body=extra).answer([ask()]))
    body = server.calls[0].body
    assert (body["output_config"], body["max_tokens"]) == ({"effort": "low"}, 99)


@pytest.mark.parametrize(
    "wants", [{"top_logprobs": 20}, {"choices": ("a",)}, {"options": (("a", ""),)}]
)
def test_log_probabilities_are_refused_before_any_call(wants: dict[str, Any]) -> None:
    """Claude has none, and the message names the two ways to go on."""
    with MessagesServer() as server:
        backend = backend_for(server, model="claude-x")
        with pytest.raises(LogprobsUnavailableError, match="no log-prob") as caught:
            backend.answer([ask(), ask(**wants)])
    assert "'sampling:anthropic:claude-x'" in str(caught.value)
    assert "'verbalised:anthropic:claude-x'" in str(caught.value)
    assert server.calls == []


# ------------------------------------------------------------------ what is read


def test_answers_hold_what_the_server_said() -> None:
    """The text as one draw, and all tokens that were read, cached or not."""
    with MessagesServer() as server:
        answer = the_answer(backend_for(server).answer([ask("Hello")]))
    assert answer == Answer(
        draws=((constant("Hello", 0), 1),), usage=TokenUsage(42, 2, 8)
    )


def test_a_name_with_a_date_is_the_build() -> None:
    """What answers behind an alias; a name that is repeated says nothing."""
    dated = "claude-haiku-4-5-20251001"
    assert answer_one(send(message("yes", model=dated))).build == dated
    assert answer_one(send(message("yes", model="claude-haiku-4-5"))).build == ""


def test_thinking_is_not_the_answer() -> None:
    """Only blocks of text are read, in their order."""
    blocks = [
        {"type": "thinking", "thinking": "negative?", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "of_tomorrow", "text": "negative!"},
        {"type": "text", "text": "pos"},
        {"type": "text", "text": "itive"},
    ]
    answer = answer_one(send(message(None, content=blocks)))
    assert answer.draws == (("positive", 1),)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"stop_reason": "max_tokens"}, "posi"),
        ({"stop_reason": "end_turn", "content": []}, ""),
        ({"stop_reason": "max_tokens", "content": []}, ""),
        (
            {
                "stop_reason": "max_tokens",
                "content": [{"type": "thinking"}, {"type": "text", "text": "p"}],
            },
            "p",
        ),
        ({"stop_reason": "stop_sequence"}, "posi"),
    ],
)
def test_a_cut_or_empty_answer_is_an_answer(changes: dict[str, Any], text: str) -> None:
    """What it says is for the reader to judge."""
    assert answer_one(send(message("posi", **changes))).draws == ((text, 1),)


def test_every_request_gets_its_own_answer() -> None:
    """Whatever the order of arrival, an index belongs to its request."""
    texts = [f"text {i}" for i in range(20)]
    with MessagesServer(lambda text, times: text.upper()) as server:
        found = dict(backend_for(server).answer([ask(text) for text in texts]))
    assert {i: answer.draws for i, answer in found.items()} == {  # type: ignore[union-attr]
        i: ((text.upper(), 1),) for i, text in enumerate(texts)
    }


# ------------------------------------------------------------------ many at a time


def test_requests_really_overlap_and_are_bounded() -> None:
    """Three are in the server together, never four."""
    meeting = threading.Barrier(3, timeout=10)
    with MessagesServer(meanwhile=meeting.wait) as server:
        backend = backend_for(server, max_concurrency=3)
        assert len(list(backend.answer([ask(f"{i}") for i in range(6)]))) == 6
    assert server.most_at_once == 3


def test_answers_completed_before_a_failure_are_yielded() -> None:
    """Two arrive, the error follows, and the rest is never sent."""
    found: list[int] = []
    script = [send(message("a")), send(message("b")), error(401)]
    with MessagesServer(script=script) as server:
        backend = backend_for(server, max_concurrency=1)
        answers = backend.answer([ask(f"{i}") for i in range(9)])
        with pytest.raises(BackendError, match="401"):
            found.extend(index for index, _ in answers)
    assert found == [0, 1]
    assert len(server.calls) == 3


# ------------------------------------------------------------------ what goes wrong

TOO_LONG = "prompt is too long: 208656 tokens > 200000 maximum"
REFUSAL = message(
    None,
    stop_reason="refusal",
    stop_details={"type": "refusal", "category": "bio", "explanation": "Not this."},
)
THOUGHT = message(
    None,
    stop_reason="max_tokens",
    content=[{"type": "thinking", "thinking": "", "signature": "s"}],
)


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (error(401, "invalid x-api-key"), BackendError, "'ANTHROPIC_API_KEY'"),
        (error(403), BackendError, "'ANTHROPIC_API_KEY'"),
        (error(404, "model: claude-x"), BackendError, "name a current one"),
        (error(429, "rate limit"), HttpError, "Lower max_concurrency="),
        (error(529, "Overloaded"), HttpError, "try again later"),
        (error(500), HttpError, "try again later"),
        (error(400, "credit balance is too low"), HttpError, "credit balance"),
        (error(400, "thinking.type: disabled"), BackendError, "Set thinking="),
        (error(400, TOO_LONG), PromptTooLongError, "request 0 .*Shorten"),
        (error(413, "request_too_large"), PromptTooLongError, "request 0 .*Shorten"),
        (
            send(message("", stop_reason="model_context_window_exceeded")),
            PromptTooLongError,
            "request 0 .*no room",
        ),
        (send(REFUSAL), RefusedError, "to answer request 0: bio: Not this."),
        (
            send(message(None, stop_reason="refusal")),
            RefusedError,
            "to answer request 0.$",
        ),
        (send(THOUGHT), UnreadableAnswerError, "request 0 .*thinking_tokens="),
        (send_text("<html>down</html>", status=502), HttpError, "down"),
        (send_text("{oops"), BackendError, "did not answer in its format"),
        (send([]), BackendError, "did not answer in its format"),
        (send({"choices": []}), BackendError, "Anthropic's format"),
        (send(message(None, content="?")), BackendError, "Anthropic's format"),
        (send(message("a", usage=[])), BackendError, "Anthropic's format"),
        (
            lambda body: Http(json.dumps(message("cut")).encode(), cut=True),
            BackendError,
            "is the server running",
        ),
    ],
)
def test_every_fault_is_named_with_its_fix(
    fault: Callable[[Any], Http], kind: type[LogprobError], says: str
) -> None:
    """Each fault of a server is one of our errors, and its message says what to do."""
    with pytest.raises(LogprobError, match=says) as caught:
        answer_one(fault)
    assert type(caught.value) is kind


def test_a_refusal_is_the_rows_own() -> None:
    """Of several requests one fails, by its index; the others are answered."""
    script = [send(message("a")), send(REFUSAL), error(400, TOO_LONG)]
    with MessagesServer(script=script) as server:
        backend = backend_for(server, max_concurrency=1)
        found = dict(backend.answer([ask(f"{i}") for i in range(4)]))
    kinds = [type(found[i]) for i in range(4)]
    assert kinds == [Answer, RefusedError, PromptTooLongError, Answer]
    for index in (1, 2):
        failure = found[index]
        assert isinstance(failure, RowError)
        assert failure.index == index
        assert "row 17 of X" in str(failure.for_row(17))


@pytest.mark.parametrize(
    "fault",
    [error(429, Retry_After="0"), error(529, Retry_After="0"), error(500)],
)
def test_passing_faults_are_asked_again(fault: Callable[[Any], Http]) -> None:
    """A rate limit, an overload or a server error passes unseen."""
    answer = answer_one(fault, max_retries=1)
    assert answer.draws == ((constant("Hello", 0), 1),)


def test_a_server_that_is_down_is_named() -> None:
    """Without a server the error names its address and asks whether it runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    backend = AnthropicBackend(base_url=f"http://127.0.0.1:{port}", max_retries=0)
    with pytest.raises(BackendError, match=f"127.0.0.1:{port}: is the server running"):
        list(backend.answer([ask()]))


@pytest.mark.parametrize("key", [None, "", "  ", "sk-\nant", "schlüssel"])
def test_without_a_key_nothing_is_asked_of_anthropic(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the variable, and what needs no key; other servers need none."""
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    if key is not None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    with pytest.raises(MissingKeyError, match="'ANTHROPIC_API_KEY' holds no key"):
        AnthropicBackend().check([ask()])
    if not (key or "").strip():
        with MessagesServer() as server:
            list(backend_for(server).answer([ask()]))
        assert "x-api-key" not in server.calls[0].headers


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"base_url": "localhost:8000"}, "'base_url' .* Got 'localhost:8000' instead"),
        ({"base_url": "http://me:pass@host"}, "without user, password and query"),
        ({"base_url": "http://host/?key=pass@"}, "without user, password and query"),
        ({"thinking_tokens": -1}, "'thinking_tokens' .* at least 0. Got -1 instead"),
        ({"max_concurrency": 0}, "'max_concurrency' .* at least 1. Got 0 instead"),
        ({"max_cost": 0}, "'max_cost' .* above 0. Got 0 instead"),
        ({"max_retries": -1}, "'max_retries' .* at least 0. Got -1 instead"),
        ({"api_key_env": "sk-ant-pass@"}, "must be the name of an environment variable"),
    ],
)
def test_wrong_parameters_are_found_before_any_call(
    params: dict[str, Any], says: str
) -> None:
    """The constructor takes anything; asking names the parameter, and no password."""
    with pytest.raises(ValueError, match=says) as caught:
        AnthropicBackend(**params).check([ask()])
    assert "pass@" not in str(caught.value)


# ------------------------------------------------------------------ an estimator


def test_clones_and_pickles_are_equal() -> None:
    """Parameters survive cloning and pickling after use, and are all there is."""
    with MessagesServer() as server:
        backend = backend_for(server, thinking=None)
        list(backend.answer([ask()]))
    for twin in (clone(backend), pickle.loads(pickle.dumps(backend))):
        assert vars(twin) == vars(backend)
        assert twin.answer_identity() == backend.answer_identity()
    assert set(vars(backend)) == set(backend.get_params())


def test_the_identity_holds_what_changes_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each answer parameter and the environment's URL change it, the key does not."""
    plain = AnthropicBackend().answer_identity()
    changes = {
        "model": "claude-sonnet-5",
        "base_url": "http://localhost",
        "thinking": None,
        "thinking_tokens": 9,
        "extra_body": {"service_tier": "auto"},
    }
    assert set(changes) == set(AnthropicBackend.answer_params) == set(plain)
    for name, value in changes.items():
        identity = AnthropicBackend().set_params(**{name: value}).answer_identity()
        assert identity[name] != plain[name]
        assert json.loads(json.dumps(identity)) == identity
    assert AnthropicBackend(thinking="disabled").answer_identity() == plain
    assert AnthropicBackend(max_concurrency=1, timeout=1).answer_identity() == plain
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another")
    assert AnthropicBackend().answer_identity() == plain
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://gateway/")
    assert AnthropicBackend().answer_identity()["base_url"] == "http://gateway"


def test_costs_are_known_and_limited() -> None:
    """By the list price, or yours; what would cross a limit is not sent."""
    usage = TokenUsage(1_000_000, 0, 0)
    assert AnthropicBackend().cost(usage) > 0
    assert math.isnan(AnthropicBackend("claude-unheard-of").cost(usage))
    assert AnthropicBackend(price=(2.0, 0.2, 9.0)).cost(usage) == pytest.approx(2.0)
    with MessagesServer() as server:
        backend = backend_for(server, max_requests=2, max_concurrency=1)
        found = []
        with pytest.raises(LimitReachedError, match="max_requests=2"):
            found.extend(backend.answer([ask(f"{i}") for i in range(4)]))
    assert len(found) == len(server.calls) == 2


@pytest.mark.parametrize(
    "fault",
    [
        error(401, f"invalid x-api-key: {KEY}"),
        error(400, f"thinking is not for {KEY}"),
        error(429, KEY, Retry_After="0"),
        send_text(f"<html>{KEY}"),
        send_text(KEY, status=500, Retry_After="0"),
        send({"content": KEY}),
        send(
            message(None, stop_reason="refusal", stop_details={"explanation": KEY}),
        ),
        send(THOUGHT),
    ],
)
def test_the_key_shows_nowhere(
    fault: Callable[[Any], Http], caplog: pytest.LogCaptureFixture
) -> None:
    """Even if the server repeats the key: no error, traceback, log, repr or pickle."""
    caplog.set_level(logging.DEBUG)
    with MessagesServer(script=[fault] * 2) as server:
        backend = backend_for(server, max_retries=1)
        with pytest.raises(LogprobError) as caught:
            the_answer(backend.answer([ask()]))
    failure: BaseException = caught.value
    assert failure.__cause__ is None
    assert failure.__context__ is None
    places = {
        "message": str(failure) + repr(failure) + repr(vars(failure)),
        "traceback": "".join(traceback.format_exception(failure)),
        "log": caplog.text,
        "backend": repr(backend) + repr(vars(backend)),
        "identity": json.dumps(backend.answer_identity()),
        "pickle": pickle.dumps(backend).decode("latin-1"),
        "body": repr([(call.path, call.body) for call in server.calls]),
    }
    assert [place for place, text in places.items() if KEY in text] == []
    for call in server.calls:
        holding = [name for name, value in call.headers.items() if KEY in value]
        assert holding == ["x-api-key"]


# ------------------------------------------------------------------ the real format


def test_the_sdk_sends_and_reads_the_same() -> None:
    """Anthropic's own client sends our body, and its types fit the server's replies."""
    anthropic = pytest.importorskip("anthropic")
    messages = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Well,"))
    request = Request(messages, max_tokens=8, top_logprobs=0)  # type: ignore[arg-type]
    replies: list[Any] = [message("a"), REFUSAL, THOUGHT]
    with MessagesServer(script=[send(reply) for reply in replies * 2]) as server:
        list(backend_for(server, max_concurrency=1).answer([request] * 3))
        ours = server.calls[0]
        with anthropic.Anthropic(api_key=KEY, base_url=server.url) as client:
            told = [client.messages.create(**ours.body) for _ in replies]
            theirs = server.calls[-1]
            server.script = [error(529, "Overloaded", kind="overloaded_error")] * 3
            with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
                client.with_options(max_retries=0).messages.create(**ours.body)
    assert (theirs.path, theirs.body) == (ours.path, ours.body)
    assert [answer.to_dict(mode="json") for answer in told] == replies
    anthropic.types.ErrorResponse.model_validate(caught.value.body)


@pytest.mark.slow
@pytest.mark.local
def test_a_real_llama_cpp_server_speaks_the_format(weights: Path) -> None:
    """llama.cpp's own server answers our requests, and we read its answers and errors."""
    pytest.importorskip("xllamacpp")
    long = ask("word " * 9000)
    with served(weights) as url:
        backend = AnthropicBackend("any", base_url=url, extra_body={"temperature": 0})
        chat = OpenAIBackend("any", base_url=f"{url}/v1")
        found = dict(backend.answer([ask("Name a city."), long]))
        expected = the_answer(chat.answer([ask("Name a city.", top_logprobs=1)]))
    answer, failure = found[0], found[1]
    assert isinstance(answer, Answer)
    assert answer.draws == (("".join(at.token for at in expected.positions), 1),)
    assert answer.usage.prompt_tokens == expected.usage.prompt_tokens
    assert answer.usage.completion_tokens == 8
    assert isinstance(failure, PromptTooLongError)


def test_a_limit_that_the_server_tells_of_is_heeded() -> None:
    """With nothing left, the next request waits until the limit is renewed."""

    def last_one(body: Any) -> Http:
        renewed = datetime.now(timezone.utc) + timedelta(seconds=0.6)
        good = answer_of_the_server(body)
        told = {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": renewed.isoformat(),
        }
        return Http(good.content, good.status, told)

    with MessagesServer(script=[last_one]) as server:
        answer_of_the_server = server._answer
        backend = backend_for(server, max_concurrency=1)
        start = time.monotonic()
        outcomes = list(backend.answer([ask("One"), ask("Two")]))
    assert len(outcomes) == 2
    assert 0.4 < time.monotonic() - start < 5
