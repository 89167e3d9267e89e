"""The openai backend over real HTTP on loopback."""

from __future__ import annotations

import copy
import json
import logging
import math
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from servers import (
    ChatServer,
    Http,
    chat_completion,
    cut_off,
    distribution,
    placeholders,
    refuse,
    send,
    send_text,
    without_logprobs,
)
from sklearn.base import clone

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    MissingKeyError,
    PromptTooLongError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._openai_wire import chat_body, resolve_effort
from sklearn_logprob.backends.openai import OpenAIBackend

KEY = "sk-marker-0123456789"
TOP = distribution("any")
DRAWN = {"token": "a", "logprob": -1, "top_logprobs": [{"token": "a", "logprob": -1}]}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def backend_for(server: ChatServer, **params: Any) -> OpenAIBackend:
    params = {"max_retries": 0, "timeout": 10.0, **params}
    return OpenAIBackend("test-model", base_url=server.url, **params)


def ask(text: str = "Hello", **params: Any) -> Request:
    return Request((("user", text),), **params)


def answer_one(script: Sequence[Callable[[Any], Http]], **params: Any) -> Answer:
    """Ask once, the server replying with `script`."""
    with ChatServer(script=script) as server:
        [(_, answer)] = backend_for(server, **params).answer([ask()])
    return answer


def failure_of(script: Sequence[Callable[[Any], Http]], **params: Any) -> LogprobError:
    with pytest.raises(LogprobError) as caught:
        answer_one(script, **params)
    return caught.value


# ------------------------------------------------------------------ what is sent


def test_the_request_body_is_exactly_this() -> None:
    """A compatible server gets the chat fields, and nothing that we do not know of."""
    request = Request((("system", "Be brief."), ("user", "Hi")), top_logprobs=7)
    with ChatServer() as server:
        list(backend_for(server).answer([request]))
    assert server.calls[0].path == "/v1/chat/completions"
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.calls[0].body == {
        "model": "test-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "logprobs": True,
        "top_logprobs": 7,
        "max_tokens": 1,
        "temperature": 1,
    }


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "https://me.openai.azure.com/openai/v1/"]
)
def test_openai_itself_gets_the_newer_name_of_the_limit(url: str) -> None:
    """OpenAI's newer models refuse max_tokens, which all other servers know."""
    body = chat_body(ask(), url=url, model="gpt-5.4", effort=None, top_logprobs=20)
    assert body["max_completion_tokens"] == 1
    assert "max_tokens" not in body


def test_a_raw_prompt_becomes_one_user_message() -> None:
    """A chat endpoint has no raw prompts: the text is the user's."""
    with ChatServer() as server:
        list(backend_for(server).answer([Request((("prompt", "Is it?"),))]))
    assert server.calls[0].body["messages"] == [{"role": "user", "content": "Is it?"}]


def test_a_longer_answer_is_the_likeliest_one() -> None:
    """With several tokens to follow, sampling is off."""
    with ChatServer(lambda text: distribution(text, 3)) as server:
        [(_, answer)] = backend_for(server).answer([ask(max_tokens=3)])
    assert server.calls[0].body["max_tokens"] == 3
    assert server.calls[0].body["temperature"] == 0
    assert len(answer.positions) == 3


def test_extra_body_is_merged_into_the_request() -> None:
    """Further fields are sent, and win over ours."""
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "temperature": 0.5}
    with ChatServer() as server:
        list(backend_for(server, extra_body=extra).answer([ask()]))
    body = server.calls[0].body
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["temperature"] == 0.5


def test_an_answer_prefix_is_passed_to_a_compatible_server() -> None:
    """Servers that continue a trailing assistant message get it."""
    messages = (("user", "Is it?"), ("assistant", "Answer:"))
    with ChatServer() as server:
        list(backend_for(server).answer([Request(messages)]))  # type: ignore[arg-type]
    assert server.calls[0].body["messages"][-1] == {
        "role": "assistant",
        "content": "Answer:",
    }


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gpt-4.1-mini", None),
        ("gpt-4o", None),
        ("o4-mini", None),
        ("gpt-5", None),
        ("gpt-5-mini", None),
        ("gpt-5-chat-latest", None),
        ("gpt-5.1", "none"),
        ("gpt-5.4-nano", "none"),
        ("gpt-5.5", "none"),
        ("gpt-5.5-pro", None),
        ("gpt-5.1-codex", None),
        ("gpt-5.6-luna", "none"),
        ("gpt-6-luna", "none"),
        ("gpt-6.1-terra", "none"),
        ("gpt-6-astra", None),
        ("gpt-6.1-sol", None),
        ("openai/gpt-5.4", "none"),
        ("ft:gpt-5.4-nano:me::1", "none"),
        ("gpt-oss-20b", None),
        ("Qwen/Qwen3-8B", None),
    ],
)
def test_reasoning_is_switched_off_where_it_can_be(model: str, sent: str | None) -> None:
    """Families that reason by default and allow "none" are told so, others are not."""
    assert resolve_effort("auto", model) == sent
    assert resolve_effort(None, model) is None
    assert resolve_effort("low", model) == "low"


def test_the_reasoning_effort_is_sent() -> None:
    """Auto goes by the model, None sends nothing, other text is sent as it is."""
    with ChatServer() as server:
        for effort in ("auto", None, "low"):
            backend = backend_for(server, reasoning_effort=effort)
            list(backend.set_params(model="gpt-5.5").answer([ask()]))
    efforts = [call.body.get("reasoning_effort", "nothing") for call in server.calls]
    assert efforts == ["none", "nothing", "low"]


def test_servers_with_a_lower_limit_are_asked_for_fewer_alternatives() -> None:
    """max_top_logprobs caps what is asked for; without it the refusal names it."""
    with ChatServer(max_top_logprobs=5) as server:
        [(_, answer)] = backend_for(server, max_top_logprobs=5).answer([ask()])
        assert len(answer.positions[0].top) == 5
        with pytest.raises(LogprobsUnavailableError, match="max_top_logprobs="):
            list(backend_for(server).answer([ask()]))


# ------------------------------------------------------------------ what is read


def test_answers_hold_what_the_server_said() -> None:
    """Tokens, log-probabilities, their order and the usage arrive unchanged."""
    with ChatServer() as server:
        [(index, answer)] = backend_for(server).answer([ask("Hello")])
    [expected] = distribution("Hello")
    assert index == 0
    assert answer.positions == (TokenLogprobs(*expected[0], top=tuple(expected[:20])),)
    assert answer.choices == ()
    assert answer.usage == TokenUsage(4, 1, 1)


def test_every_request_gets_its_own_answer() -> None:
    """Whatever the order of arrival, an index belongs to its request."""
    texts = [f"text {i}" for i in range(30)]
    with ChatServer() as server:
        found = dict(backend_for(server).answer([ask(text) for text in texts]))
    assert sorted(found) == list(range(30))
    for index, text in enumerate(texts):
        assert found[index].positions[0].top == tuple(distribution(text)[0][:20])


def _with_logprobs(*content: dict[str, Any]) -> Callable[[Any], Http]:
    """Reply with these positions as they are."""

    def reply(body: Any) -> Http:
        answer = chat_completion(body, [[("x", -0.1)]])
        answer["choices"][0]["logprobs"] = {"content": list(content)}
        return Http(json.dumps(answer).encode())

    return reply


def test_alternatives_below_the_top_are_left_out() -> None:
    """-9999, null, NaN and the lowest float mean "not shown", not a probability."""
    lowest = [-9999.0, None, math.nan, -3.4028235e38, -math.inf]
    top = [{"token": f"low{i}", "logprob": low} for i, low in enumerate(lowest)]
    top += [{"token": "b", "logprob": -2.0}, {"token": "a", "logprob": -0.2}]
    chosen = {"token": "forced", "logprob": None, "top_logprobs": top}
    answer = answer_one([_with_logprobs(chosen)])
    assert answer.positions == (
        TokenLogprobs("forced", -9999.0, (("a", -0.2), ("b", -2.0))),
    )


def test_rounding_above_zero_is_clipped() -> None:
    """A log-probability is never positive."""
    top = [{"token": "a", "logprob": 1e-7}, {"token": "b", "logprob": -20.0}]
    answer = answer_one([_with_logprobs({**top[0], "top_logprobs": top})])
    assert answer.positions[0].top == (("a", 0.0), ("b", -20.0))


def test_token_text_comes_from_its_bytes() -> None:
    """Bytes win where they are text; without them, or in part, the token counts."""
    top = [
        {"token": "caf\\xc3\\xa9", "bytes": list("café".encode()), "logprob": -1.0},
        {"token": "no bytes", "bytes": None, "logprob": -2.0},
        {"token": "part", "bytes": [240, 159], "logprob": -3.0},
        {"token": "<|end|>", "bytes": [], "logprob": -4.0},
        {"token": "", "bytes": [], "logprob": -5.0},
    ]
    answer = answer_one([_with_logprobs({**top[0], "top_logprobs": top})])
    texts = [token for token, _ in answer.positions[0].top]
    assert texts == ["café", "no bytes", "part", "<|end|>", ""]


def test_parallel_lists_are_read_as_well() -> None:
    """Together answers chat requests in the older shape."""
    content = {
        "choices": [
            {
                "message": {"content": " a b"},
                "logprobs": {
                    "tokens": [" a", " b"],
                    "token_logprobs": [-0.1, -0.2],
                    "top_logprobs": [{" c": -3.0, " a": -0.1}, {" b": -0.2}],
                },
            }
        ]
    }
    answer = answer_one([send(content)])
    assert answer.positions == (
        TokenLogprobs(" a", -0.1, ((" a", -0.1), (" c", -3.0))),
        TokenLogprobs(" b", -0.2, ((" b", -0.2),)),
    )
    assert answer.usage == TokenUsage()


@pytest.mark.parametrize("shown", ["", "\ufffd"])
def test_a_token_hidden_by_llama_server_is_asked_for_again(shown: str) -> None:
    """Where part of a character was drawn, a whole one is: same log-probabilities."""

    def hidden(body: Any) -> Http:
        answer = chat_completion(body, [[(shown, -1.0)]])
        del answer["choices"][0]["logprobs"]
        return Http(json.dumps(answer).encode())

    with ChatServer(script=[hidden]) as server:
        [(_, answer)] = backend_for(server).answer([ask("Hello")])
    assert "grammar" not in server.calls[0].body
    assert server.calls[1].body["grammar"] == "root ::= [ -~]+"
    assert answer.positions[0].top == tuple(distribution("Hello")[0][:20])


# ------------------------------------------------------------------ many at a time


def fill(found: list[int], backend: OpenAIBackend, n: int) -> None:
    """Ask `n` questions, keeping the indices of the answers that arrive."""
    for index, _ in backend.answer([ask(f"{i}") for i in range(n)]):
        found.append(index)


def test_requests_really_overlap() -> None:
    """Three requests are in the server together: none is answered before all came."""
    meeting = threading.Barrier(3, timeout=10)
    with ChatServer(meanwhile=meeting.wait) as server:
        backend = backend_for(server, max_concurrency=3)
        assert len(list(backend.answer([ask(f"{i}") for i in range(6)]))) == 6


def test_concurrency_is_bounded() -> None:
    """Never more requests at once than allowed, and as many as allowed."""
    with ChatServer(delay=0.1) as server:
        backend = backend_for(server, max_concurrency=3)
        list(backend.answer([ask(f"{i}") for i in range(9)]))
    assert server.most_at_once == 3


def test_answers_completed_before_a_failure_are_yielded() -> None:
    """Six are paid for and arrive, the error follows, and the rest is never sent."""
    good = [lambda body: Http(json.dumps(chat_completion(body, TOP)).encode())] * 6
    with ChatServer(script=[*good, refuse(401)]) as server:
        backend = backend_for(server, max_concurrency=1)
        found: list[int] = []
        with pytest.raises(BackendError, match="401"):
            fill(found, backend, 20)
    assert found == [0, 1, 2, 3, 4, 5]
    assert len(server.calls) == 7


def test_answers_under_way_during_a_failure_are_yielded() -> None:
    """A failure of one request does not throw away those that overlap with it."""
    meeting = threading.Barrier(4, timeout=10)
    with ChatServer(script=[refuse(401)], meanwhile=meeting.wait) as server:
        found: list[int] = []
        with pytest.raises(BackendError, match="401"):
            fill(found, backend_for(server, max_concurrency=4), 4)
    assert len(found) == 3
    assert len(server.calls) == 4


def test_closing_the_iterator_stops_asking() -> None:
    """Whoever stops reading stops paying, but for the requests under way."""
    with ChatServer() as server:
        backend = backend_for(server, max_concurrency=2)
        answers = backend.answer([ask(f"{i}") for i in range(100)])
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        assert len(server.calls) <= 3


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (refuse(401), BackendError, "OPENAI_API_KEY"),
        (refuse(403), BackendError, "OPENAI_API_KEY"),
        (refuse(403, "not allowed to request logprobs"), LogprobsUnavailableError, "v"),
        (refuse(404, "no such model"), BackendError, "no such model. Check model="),
        (refuse(429), BackendError, "Lower max_concurrency="),
        (refuse(429, code="insufficient_quota"), BackendError, "billing"),
        (refuse(400, "bad words"), BackendError, "bad words"),
        (refuse(400, "'logprobs' is no"), LogprobsUnavailableError, "gpt-4.1"),
        (refuse(400, code="context_length_exceeded"), PromptTooLongError, "request 0"),
        (send({"detail": "extra field"}, status=422), BackendError, "extra field"),
        (send({"message": "gone"}, status=418), BackendError, "HTTP 418"),
        (refuse(503), BackendError, "try again later"),
        (send_text("<html>down</html>", status=502), BackendError, "down"),
        (cut_off, BackendError, "is the server running"),
        (send_text("{oops"), BackendError, "OpenAI's format"),
        (send_text("<html>"), BackendError, "base_url="),
        (send([]), BackendError, "OpenAI's format"),
        (send({"choices": []}), BackendError, "OpenAI's format"),
        (send({"error": {"message": "busy"}}), BackendError, "busy"),
        (_with_logprobs({"top_logprobs": []}), BackendError, "OpenAI's format"),
        (_with_logprobs({"token": "a", "logprob": "x"}), BackendError, "format"),
        (_with_logprobs(), LogprobsUnavailableError, "test-model"),
        (_with_logprobs({"token": "a", "logprob": 0.0}), LogprobsUnavailableError, "p"),
        (
            _with_logprobs(DRAWN, {"token": "b", "logprob": 0}),
            LogprobsUnavailableError,
            "p",
        ),
        (without_logprobs, LogprobsUnavailableError, "vLLM, SGLang, llama-server"),
        (placeholders, LogprobsUnavailableError, "only placeholders"),
    ],
)
def test_every_fault_is_named_with_its_fix(
    fault: Callable[[Any], Http], kind: type[LogprobError], says: str
) -> None:
    """Each fault of a server is one of our errors, and its message says what to do."""
    error = failure_of([fault])
    assert type(error) is kind
    assert says in str(error)


@pytest.mark.parametrize(
    "fault",
    [
        refuse(429, Retry_After="0.01"),
        refuse(429, Retry_After_Ms="10"),
        refuse(500, Retry_After="0.01"),
        refuse(503),
        cut_off,
    ],
)
def test_passing_faults_are_asked_again(fault: Callable[[Any], Http]) -> None:
    """A rate limit, a server error or a broken connection passes unseen."""
    answer = answer_one([fault], max_retries=1)
    assert answer.positions[0].top == tuple(distribution("Hello")[0][:20])


def test_lasting_faults_are_not_asked_again() -> None:
    """A wrong key does not become right by asking again."""
    with ChatServer(script=[refuse(401)] * 3) as server:
        with pytest.raises(BackendError):
            list(backend_for(server, max_retries=2).answer([ask()]))
        assert len(server.calls) == 1


def test_a_server_that_is_down_is_named() -> None:
    """Without a server the error names its address and asks whether it runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    backend = OpenAIBackend(base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    with pytest.raises(BackendError, match=f":{port}.*is the server running"):
        list(backend.answer([ask()]))


def test_a_slow_server_is_given_up() -> None:
    """After `timeout` seconds the error says how to wait longer."""
    with ChatServer(delay=0.5) as server, pytest.raises(BackendError, match="timeout="):
        list(backend_for(server, timeout=0.05).answer([ask()]))


# ------------------------------------------------------------------ before any call


@pytest.mark.parametrize("key", ["", "  ", "sk-ключ"])
def test_openai_without_a_key_names_the_variable_and_the_keyless_ways(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """No key, no call: the message says which variable, and what needs none."""
    monkeypatch.setenv("MY_KEY", key)
    backend = OpenAIBackend(api_key_env="MY_KEY")
    with pytest.raises(MissingKeyError, match="MY_KEY") as caught:
        backend.answer([ask()])
    for way in ("api_key_env=", "llama-cpp", "fake"):
        assert way in str(caught.value)
    azure = backend.set_params(base_url="https://me.openai.azure.com/openai/v1/")
    with pytest.raises(MissingKeyError):
        azure.check([ask()])


def test_a_compatible_server_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key a placeholder is sent, as the client wants to send something."""
    monkeypatch.delenv("OPENAI_API_KEY")
    with ChatServer() as server:
        assert len(list(backend_for(server).answer([ask()]))) == 1
    assert server.calls[0].headers["authorization"] == "Bearer no-key-needed"


def test_the_key_is_read_when_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key set, or changed, after construction counts; the line end of a file not."""
    with ChatServer() as server:
        backend = backend_for(server)
        for key in ("first\n", "second"):
            monkeypatch.setenv("OPENAI_API_KEY", key)
            list(backend.answer([ask()]))
    sent = [call.headers["authorization"] for call in server.calls]
    assert sent == ["Bearer first", "Bearer second"]


def test_openai_itself_does_not_continue_an_answer() -> None:
    """A trailing assistant message is refused before any call, with the way out."""
    request = Request((("user", "Is it?"), ("assistant", "Answer:")))
    with pytest.raises(UnsupportedRequestError, match="end of the user message"):
        OpenAIBackend().answer([ask(), request])


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"base_url": "localhost:8000/v1"}, "Got 'localhost:8000/v1' instead"),
        ({"base_url": "http://me:pass@host/v1"}, "without user and password"),
        ({"base_url": "me:pass@host/v1"}, "without user and password"),
        ({"max_concurrency": 0}, "'max_concurrency' .* at least 1. Got 0 instead"),
        ({"max_retries": -1}, "'max_retries' .* at least 0. Got -1 instead"),
        ({"max_top_logprobs": 2.5}, "'max_top_logprobs' .* Got 2.5 instead"),
        ({"api_key_env": "sk-pass"}, "must be the name of an environment variable"),
    ],
)
def test_wrong_parameters_are_found_before_any_call(
    params: dict[str, Any], says: str
) -> None:
    """The constructor takes anything; asking names the parameter, and no password."""
    backend = OpenAIBackend(**params)
    with pytest.raises(ValueError, match=says) as caught:
        backend.check([ask()])
    assert "pass@" not in str(caught.value)
    assert "sk-pass" not in str(caught.value)


def test_nothing_to_ask_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without requests no key is needed."""
    monkeypatch.delenv("OPENAI_API_KEY")
    assert list(OpenAIBackend().answer([])) == []


# ------------------------------------------------------------------ an estimator


def test_clones_and_pickles_are_equal() -> None:
    """Parameters survive cloning and pickling after use, and are all there is."""
    with ChatServer() as server:
        backend = backend_for(server, extra_body={"seed": 1})
        list(backend.answer([ask()]))
    for twin in (clone(backend), pickle.loads(pickle.dumps(backend))):
        assert twin.get_params() == backend.get_params()
        assert vars(twin) == vars(backend)
        assert twin.answer_identity() == backend.answer_identity()
    assert set(vars(backend)) == set(backend.get_params())


def test_the_identity_holds_what_changes_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each answer parameter and the environment's URL change it, the key does not."""
    plain = OpenAIBackend().answer_identity()
    changes = {
        "model": "gpt-5.5",
        "base_url": "http://localhost/v1",
        "reasoning_effort": "low",
        "max_top_logprobs": 5,
        "extra_body": {"seed": 1},
    }
    assert set(changes) == set(OpenAIBackend.answer_params) == set(plain)
    for name, value in changes.items():
        identity = OpenAIBackend(**{name: value}).answer_identity()  # type: ignore[arg-type]
        assert identity[name] != plain[name]
        assert json.loads(json.dumps(identity)) == identity
    assert OpenAIBackend(max_concurrency=1, timeout=1).answer_identity() == plain
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    assert OpenAIBackend().answer_identity() == plain
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway/v1")
    assert OpenAIBackend().answer_identity()["base_url"] == "http://gateway/v1"


@pytest.mark.parametrize(
    "fault",
    [
        refuse(401, f"Incorrect API key provided: {KEY}"),
        refuse(400, f"logprobs are not for {KEY}"),
        refuse(429, KEY, Retry_After="0.01"),
        send_text(f"<html>{KEY}"),
        send_text(KEY, status=500),
        cut_off,
        without_logprobs,
    ],
)
def test_the_key_shows_nowhere(
    fault: Callable[[Any], Http], caplog: pytest.LogCaptureFixture
) -> None:
    """Even if the server repeats the key: no error, traceback, log, repr or pickle."""
    caplog.set_level(logging.DEBUG)
    with ChatServer(script=[fault] * 2) as server:
        backend = backend_for(server, max_retries=1)
        with pytest.raises(LogprobError) as caught:
            list(backend.answer([ask()]))
    error: BaseException = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    places = {
        "message": str(error) + repr(error) + repr(vars(error)),
        "traceback": "".join(traceback.format_exception(error)),
        "log": caplog.text,
        "backend": repr(backend) + repr(vars(copy.deepcopy(backend))),
        "identity": json.dumps(backend.answer_identity()),
        "pickle": pickle.dumps(backend).decode("latin-1"),
        "body": repr([(call.path, call.body) for call in server.calls]),
    }
    assert [place for place, text in places.items() if KEY in text] == []
    for call in server.calls:
        holding = [name for name, value in call.headers.items() if KEY in value]
        assert holding == ["authorization"]
