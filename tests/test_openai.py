"""The openai backend over real HTTP on loopback."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
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
    RefusedError,
    UnreadableAnswerError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._loop import background_loop
from sklearn_logprob.backends._openai_wire import resolve_effort
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
    params = {"base_url": server.url, "max_retries": 0, "timeout": 10.0, **params}
    return OpenAIBackend("test-model", **params)


def ask(text: str = "Hello", **params: Any) -> Request:
    return Request((("user", text),), **params)


def answer_one(script: Sequence[Callable[[Any], Http]], **params: Any) -> Answer:
    """Ask once, the server replying with `script`."""
    with ChatServer(script=script) as server:
        [(_, answer)] = backend_for(server, **params).answer([ask()])
    return answer


def proven(server: ChatServer, **params: Any) -> OpenAIBackend:
    """Give a backend that has had an answer: until then it asks one at a time."""
    backend = backend_for(server, **params)
    list(backend.answer([ask("first")]))
    server.calls.clear()
    return backend


def outcome_of(script: Sequence[Callable[[Any], Http]], **params: Any) -> Any:
    """Give what becomes of one request: an answer, a yielded failure or a raised one."""
    try:
        return answer_one(script, **params)
    except LogprobError as error:
        return error


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
    body = OpenAIBackend("gpt-5.4", base_url=url)._body(ask())
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


def body_of(request: Request, model: str, **params: Any) -> dict[str, Any]:
    """What a server gets: a compatible one, or OpenAI's on Azure with `api_version`."""
    with ChatServer(script=[says("Yes")]) as server:
        backend = backend_for(server, max_top_logprobs=20, **params)
        list(backend.set_params(model=model).answer([request]))
        return dict(server.calls[0].body)


def says(text: str | None, finish_reason: str = "stop", **message: Any) -> Any:
    """Reply with a text and no log-probabilities."""

    def reply(body: Any) -> Http:
        answer = chat_completion({**body, "top_logprobs": 1}, [[("x", -0.1)]])
        answer["choices"][0].update(
            message={"role": "assistant", "content": text, "refusal": None, **message},
            finish_reason=finish_reason,
            logprobs=None,
        )
        return Http(json.dumps(answer).encode())

    return reply


DRAW = Request((("user", "Why?"),), max_tokens=9, top_logprobs=0, draw=3)
LIKELIEST = Request((("user", "Why?"),), max_tokens=50, top_logprobs=0)
AZURE = "2024-10-21"


def test_text_alone_is_asked_without_log_probabilities() -> None:
    """A draw has its number as seed and no temperature: 1 is what all take it to be."""
    body = body_of(DRAW, "qwen3")
    assert body == {
        "model": "qwen3",
        "messages": [{"role": "user", "content": "Why?"}],
        "max_tokens": 9,
        "seed": 3,
    }
    assert body_of(LIKELIEST, "qwen3")["temperature"] == 0
    drawn = Request((("user", "Why?"),), max_tokens=9, draw=3)
    with ChatServer() as server:
        list(backend_for(server).answer([drawn]))
    assert (server.calls[0].body["temperature"], server.calls[0].body["seed"]) == (1, 3)


@pytest.mark.parametrize(
    ("model", "temperature"),
    [("gpt-4.1-mini", 0), ("gpt-5.5", 0), ("o4-mini", None), ("gpt-5-mini", None)],
)
def test_models_that_reason_are_told_no_temperature(
    model: str, temperature: int | None
) -> None:
    """Those that always do refuse it; a short limit would leave no room to think."""
    body = body_of(LIKELIEST, model, api_version=AZURE)
    assert body.get("temperature") == temperature
    assert body["max_completion_tokens"] == 50
    assert "max_completion_tokens" not in body_of(DRAW, model, api_version=AZURE)
    limited = {"extra_body": {"max_completion_tokens": 7}, "api_version": AZURE}
    assert body_of(DRAW, model, **limited)["max_completion_tokens"] == 7


def test_azures_dated_route_is_the_sdks_own() -> None:
    """The deployment in the path, the version in the query, the key in api-key."""
    for path in ("", "/", "/openai", "/openai/v1", "/openai/v1/"):
        with ChatServer() as server:
            url = server.url.removesuffix("/v1") + path
            backend = backend_for(server, base_url=url, api_version=AZURE)
            [(_, answer)] = backend.answer([ask()])
        [call] = server.calls
        assert answer.positions
        assert call.path == (
            f"/openai/deployments/test-model/chat/completions?api-version={AZURE}"
        )
        assert call.headers["api-key"] == KEY
        assert "max_tokens" not in call.body


# ------------------------------------------------------------------ what is read


def test_text_is_the_answer_where_no_log_probabilities_are_wanted() -> None:
    """One draw, with its tokens counted."""
    with ChatServer(script=[says(" Yes.")]) as server:
        [(_, answer)] = backend_for(server).answer([DRAW])
    assert answer.draws == ((" Yes.", 1),)
    assert answer.positions == () and answer.usage.prompt_tokens > 0


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (says(None, "content_filter"), RefusedError, "content filter"),
        (says("Yes and", "content_filter"), RefusedError, "content filter"),
        (says(None, refusal="I will not."), RefusedError, "I will not"),
        (refuse(400, code="content_filter"), RefusedError, "HTTP 400"),
        (refuse(400, code="content_policy_violation"), RefusedError, "HTTP 400"),
        (refuse(400, code="invalid_prompt"), RefusedError, "HTTP 400"),
        (refuse(400, code="context_length_exceeded"), PromptTooLongError, "too long"),
    ],
)
@pytest.mark.parametrize("n_top", [0, 20])
def test_a_row_that_fails_alone_does_not_stop_the_others(
    fault: Callable[[Any], Http], kind: type[LogprobError], told: str, n_top: int
) -> None:
    """Its failure is yielded under its number, and names the row."""
    good = says("Yes") if n_top == 0 else None
    requests = [ask(f"{i}", top_logprobs=n_top) for i in range(5)]
    with ChatServer(script=[good, good, fault, good, good]) as server:  # type: ignore[list-item]
        found = dict(backend_for(server, max_concurrency=1).answer(requests))
    failed = found.pop(2)
    assert type(failed) is kind
    assert told in str(failed) and "request 2" in str(failed)
    assert "row 7 of X" in str(failed.for_row(7))
    assert sorted(found) == [0, 1, 3, 4]
    assert all(isinstance(outcome, Answer) for outcome in found.values())


def test_thoughts_that_use_up_the_limit_are_a_rows_own_failure() -> None:
    """A model that reasons may have none left to answer with: raise the limit."""
    with ChatServer(script=[says("", "length")]) as server:
        [(_, failed)] = backend_for(server).answer([DRAW])
    assert type(failed) is UnreadableAnswerError
    assert "max_completion_tokens" in str(failed)


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


@pytest.mark.parametrize("shown", ["", " ", "\ufffd", " \ufffd"])
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
    with ChatServer() as server:
        backend = proven(server, max_concurrency=3)
        server.meanwhile = threading.Barrier(3, timeout=10).wait
        assert len(list(backend.answer([ask(f"{i}") for i in range(6)]))) == 6


def test_concurrency_is_bounded() -> None:
    """Never more requests at once than allowed, and as many as allowed."""
    with ChatServer(delay=0.1) as server:
        backend = proven(server, max_concurrency=3)
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
    with ChatServer() as server:
        backend = proven(server, max_concurrency=4)
        server.meanwhile = threading.Barrier(4, timeout=10).wait
        server.script = [refuse(401)]
        found: list[int] = []
        with pytest.raises(BackendError, match="401"):
            fill(found, backend, 4)
    assert len(found) == 3
    assert len(server.calls) == 4


def test_closing_the_iterator_stops_asking() -> None:
    """Whoever stops reading stops paying, but for the requests under way."""
    with ChatServer() as server:
        backend = backend_for(server, max_concurrency=2)
        answers = backend.answer([ask(f"{i}") for i in range(100)])
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        time.sleep(0.1)
        assert len(server.calls) <= 5


# ------------------------------------------------------------ one probe for a model


@pytest.mark.parametrize("fault", [without_logprobs, refuse(404), refuse(401)])
def test_what_is_wrong_with_all_costs_one_request(fault: Callable[[Any], Http]) -> None:
    """The first request is alone until its model is known to answer."""
    with ChatServer(script=[fault] * 64) as server:
        with pytest.raises(BackendError):
            list(backend_for(server, max_concurrency=64).answer([ask()] * 64))
        assert len(server.calls) == 1


def test_a_model_of_openai_without_log_probabilities_is_remembered() -> None:
    """It is asked once; from then on the ways out are named before any call."""
    with ChatServer(script=[without_logprobs] * 3) as server:
        backend = backend_for(server, api_version=AZURE)
        for _ in range(2):
            with pytest.raises(LogprobsUnavailableError) as caught:
                list(clone(backend).answer([ask()]))
            for way in ("gpt-4.1", "openai-decisions:", "sampling:openai:test-model"):
                assert way in str(caught.value)
        assert len(server.calls) == 1
        with pytest.raises(LogprobsUnavailableError):
            list(clone(backend).set_params(model="another").answer([ask()]))
        assert len(server.calls) == 2
        server.script = [says("Yes")]
        [(_, answer)] = backend.answer([DRAW])
        assert answer.draws == (("Yes", 1),)


def test_a_server_of_your_own_is_asked_anew() -> None:
    """It may have been started again with another model or another setting."""
    with ChatServer(script=[without_logprobs]) as server:
        with pytest.raises(LogprobsUnavailableError):
            list(backend_for(server).answer([ask()]))
        assert len(list(backend_for(server).answer([ask()]))) == 1


def test_a_server_said_to_have_none_is_asked_for_text_only() -> None:
    """With max_top_logprobs=0, wanting log-probabilities fails before any call."""
    backend = OpenAIBackend("some", base_url="http://127.0.0.1:9/v1", max_top_logprobs=0)
    with pytest.raises(LogprobsUnavailableError, match="sampling:openai:some"):
        backend.answer([ask()])
    backend.check([DRAW])


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
    error = outcome_of([fault])
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


def test_a_redirect_is_not_followed() -> None:
    """Another host would get the key; the message says what to give instead."""
    with ChatServer() as other:
        moved = send_text("", status=307, Location=f"{other.url}/chat/completions")
        error = failure_of([moved])
    assert "HTTP 307" in str(error) and "base_url=" in str(error)
    assert other.calls == []


def test_a_lost_connection_is_not_called_slow() -> None:
    """The transport over aiohttp reports it as a timeout."""

    def gone(body: Any) -> Http:
        raise ConnectionAbortedError

    assert "No connection" in str(failure_of([gone]))


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
        "api_version": "2024-10-21",
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
    assert KEY not in repr([vars(record) for record in caplog.records])
    for call in server.calls:
        holding = [name for name, value in call.headers.items() if KEY in value]
        assert holding == ["authorization"]


def test_bodies_are_logged_at_debug_only(caplog: pytest.LogCaptureFixture) -> None:
    """Question and answer, by the logger of the package, without the key."""
    repeats = says(f"The key is {KEY}.")
    for level in (logging.DEBUG, logging.INFO):
        caplog.clear()
        with caplog.at_level(level), ChatServer(script=[repeats]) as server:
            list(backend_for(server).answer([DRAW]))
        ours = [r.getMessage() for r in caplog.records if r.name == "sklearn_logprob"]
        assert KEY not in caplog.text
        if level == logging.INFO:
            assert ours == [] and "Why?" not in caplog.text
        else:
            assert len(ours) == 2 and "Why?" in ours[0] and "[key]" in ours[1]


def test_headers_are_heard_whatever_the_status() -> None:
    """Rate limits are told in them."""
    heard: list[str] = []

    def heed(headers: Mapping[str, str]) -> None:
        heard.append(headers["x-ratelimit-remaining-requests"])

    told = {"X_RateLimit_Remaining_Requests": "7"}
    good = json.dumps(
        chat_completion({"top_logprobs": 5, "model": "m", "messages": []}, TOP)
    )
    with ChatServer(script=[send_text(good, **told), refuse(429, **told)]) as server:
        backend = backend_for(server)
        asked = backend._connection()
        for _ in range(2):
            coroutine = backend._ask(asked, heed, 0, ask())
            background_loop().submit(coroutine).exception()
    assert heard == ["7", "7"]


# ------------------------------------------------------------------ the process

SCRIPT = """
import logging, os, sys, threading
from sklearn_logprob import OpenAIBackend, Request

logging.getLogger("asyncio").setLevel("ERROR")  # its warnings are of slow machines

def ask(n, **params):
    backend = OpenAIBackend("some", base_url=sys.argv[1], max_retries=0, **params)
    requests = [Request((("user", str(i)),)) for i in range(n)]
    return backend.answer(requests)
"""
ALL = "assert len(list(ask(5))) == 5 == len(list(ask(5, timeout=9)))\n"
HALF = "half = ask(50, max_concurrency=3); next(half)\n"
TWO = """
threads = [threading.Thread(target=lambda: list(ask(9))) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
FORK = """
child = os.fork()
assert len(list(ask(5))) == 5
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(ask(5))) == 5
"""
NO_AIOHTTP = "sys.modules['aiohttp'] = sys.modules['httpx_aiohttp'] = None\n"


@pytest.mark.parametrize(
    "script",
    [ALL + TWO, HALF, ALL + HALF + FORK, NO_AIOHTTP + ALL + HALF],
    ids=["read", "half read", "fork", "without aiohttp"],
)
def test_the_process_ends_without_a_word(script: str) -> None:
    """No warning, no traceback: connections are closed, not left to the collector."""
    if FORK in script and not hasattr(os, "fork"):
        pytest.skip("no fork")
    # forking a process with threads is what Python >= 3.12 warns of
    strict = ["-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    with ChatServer() as server:
        done = subprocess.run(
            [sys.executable, *strict, "-c", SCRIPT + script, server.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_connections_are_kept_between_calls() -> None:
    """Two calls, one connection; and clones share it."""
    with ChatServer() as server:
        accepted = []
        get_request = server._http.get_request
        server._http.get_request = lambda: accepted.append(1) or get_request()  # type: ignore[method-assign,func-returns-value]
        server._http.RequestHandlerClass.protocol_version = "HTTP/1.1"
        try:
            for _ in range(3):
                list(backend_for(server).answer([ask()]))
        finally:
            server._http.RequestHandlerClass.protocol_version = "HTTP/1.0"
    assert len(accepted) == 1


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_a_spent_quota_is_not_asked_again(code: str) -> None:
    """It does not pass like a rate limit: one request, and the error at once."""
    fault = refuse(429, "You exceeded your quota.", code=code)
    with ChatServer(script=[fault] * 3) as server:
        start = time.monotonic()
        with pytest.raises(BackendError, match=r"HTTP 429.*exceeded your quota"):
            list(backend_for(server, max_retries=5).answer([ask()]))
    assert len(server.calls) == 1
    assert time.monotonic() - start < 2
