"""The ollama backend over real HTTP on loopback."""

from __future__ import annotations

import json
import math
import pickle
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import servers
from servers import ChatServer, Http, Top, distribution, send, send_text, the_answer
from sklearn.base import clone

from sklearn_logprob import FakeBackend, LogprobClassifier, ModelChangedWarning
from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    PromptTooLongError,
)
from sklearn_logprob._types import Answer, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends._ollama_wire import server_url
from sklearn_logprob.backends.ollama import OllamaBackend
from sklearn_logprob.collect import backend_key

OPTIONS = {
    "num_predict": 1,
    "temperature": 1,
    "seed": 0,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repeat_penalty": 1,
}
FIELDS = {
    "model": "test-model",
    "stream": False,
    "think": False,
    "truncate": False,
    "shift": False,
    "logprobs": True,
    "top_logprobs": 7,
    "options": OPTIONS,
}
CHAT = (("system", "Be brief."), ("user", "Is it?"), ("assistant", "Answer:"))


def completion(body: Any, positions: Sequence[Top], **changes: Any) -> dict[str, Any]:
    """Write a complete answer as Ollama does, the likeliest token being the chosen."""

    def entry(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    text = "".join(top[0][0] for top in positions)
    said = (
        {"response": text}
        if "prompt" in body
        else {"message": {"role": "assistant", "content": text}}
    )
    logprobs = [
        {
            **entry(*top[0]),
            "top_logprobs": [entry(*pair) for pair in top[: body.get("top_logprobs", 0)]],
        }
        for top in positions
    ]
    return {
        "model": body["model"],
        "created_at": "2026-11-22T05:00:00Z",
        **said,
        "done": True,
        "done_reason": "length",
        "logprobs": logprobs if body.get("logprobs") else None,
        "prompt_eval_count": 9,
        "eval_count": len(positions),
        **changes,
    }


def changed(**changes: Any) -> Callable[[Any], Http]:
    """Reply with a good answer but for these fields; None leaves a field out."""

    def reply(body: Any) -> Http:
        answer = completion(body, distribution("changed"), **changes)
        kept = {name: value for name, value in answer.items() if value is not None}
        return Http(json.dumps(kept).encode())

    return reply


def cut_off(body: Any) -> Http:
    answer = completion(body, distribution("cut off"))
    return Http(json.dumps(answer).encode(), cut=True)


def refuse(status: int, message: str = "no") -> Callable[[Any], Http]:
    return send_text(json.dumps({"error": message}), status=status, Retry_After="0")


class OllamaServer(ChatServer):
    """Serves Ollama's endpoints; `gets` holds the paths that were read."""

    def __init__(self, *args: Any, version: str = "0.40.2", **params: Any) -> None:
        super().__init__(*args, **params)
        self.version = version
        self.digests = {"test-model:latest": "d1", "other:7b": "d2"}
        self.gets: list[str] = []
        self._http.RequestHandlerClass = _Handler

    @property
    def url(self) -> str:
        return super().url.removesuffix("/v1")

    def _answer(self, body: Any) -> Http:
        text = body.get("prompt") or body["messages"][-1]["content"]
        n_positions = body["options"]["num_predict"]
        positions = self.answers(text)[:n_positions]
        return Http(json.dumps(completion(body, positions)).encode())

    def read(self, path: str) -> Any:
        self.gets.append(path)
        models = [{"name": n, "model": n, "digest": d} for n, d in self.digests.items()]
        found = {
            "/api/version": {"version": self.version},
            "/api/tags": {"models": models},
        }
        return found[path]


class _Handler(servers._Handler):
    def do_GET(self) -> None:  # noqa: N802 its name in http.server
        content = json.dumps(self.server.chat.read(self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OLLAMA_HOST", raising=False)


def backend_for(server: OllamaServer, **params: Any) -> OllamaBackend:
    params = {"model": "test-model", "max_retries": 0, "timeout": 10.0, **params}
    return OllamaBackend(host=server.url, **params)


def ask(text: str = "Hello", **params: Any) -> Request:
    return Request((("prompt", text),), **params)


def answer_one(
    script: Sequence[Callable[[Any], Http]], version: str = "0.40.2", **params: Any
) -> Answer:
    """Ask once, the server replying with `script`."""
    with OllamaServer(script=script, version=version) as server:
        return the_answer(backend_for(server, **params).answer([ask()]))


# ------------------------------------------------------------------ what is sent


def test_a_raw_prompt_is_sent_as_it_is() -> None:
    """No template, nothing cut, no filter, and exactly these fields."""
    text = "  <|user|> Is it?\n"
    with OllamaServer() as server:
        list(backend_for(server).answer([ask(text, top_logprobs=7)]))
    assert server.calls[0].path == "/api/generate"
    assert server.calls[0].body == {**FIELDS, "raw": True, "prompt": text}
    assert server.gets == ["/api/tags"]  # which build answers


def test_messages_are_sent_with_their_roles() -> None:
    """A trailing assistant message is sent as one, to be continued."""
    with OllamaServer() as server:
        list(backend_for(server).answer([Request(CHAT, top_logprobs=7)]))  # type: ignore[arg-type]
    messages = [{"role": role, "content": text} for role, text in CHAT]
    assert server.calls[0].path == "/api/chat"
    assert server.calls[0].body == {**FIELDS, "messages": messages}


def test_a_longer_answer_is_the_likeliest_one() -> None:
    """With several tokens to follow, sampling is off."""
    with OllamaServer(lambda text: distribution(text, 5)) as server:
        [(_, answer)] = backend_for(server).answer([ask(max_tokens=3)])
    options = {**OPTIONS, "num_predict": 3, "temperature": 0}
    assert server.calls[0].body["options"] == options
    assert len(answer.positions) == 3


def test_options_win_and_keep_alive_is_sent() -> None:
    """The user's options are merged into ours; without keep_alive none is sent."""
    params = {"options": {"num_ctx": 99, "seed": 3}, "keep_alive": "30m"}
    with OllamaServer() as server:
        list(backend_for(server, **params, max_top_logprobs=4).answer([ask()]))
    assert server.calls[0].body["options"] == {**OPTIONS, "num_ctx": 99, "seed": 3}
    assert server.calls[0].body["keep_alive"] == "30m"
    assert server.calls[0].body["top_logprobs"] == 4


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://localhost:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:80", "http://gpu-box:80"),
        (":8080", "http://localhost:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("[::]:9", "http://[::1]:9"),
        (" '127.0.0.1:1' ", "http://127.0.0.1:1"),
        ("http://gpu-box", "http://gpu-box"),
        ("https://example.com/ollama/", "https://example.com/ollama"),
    ],
)
def test_addresses_are_completed(
    host: str | None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Ollama's own clients, from the parameter and from OLLAMA_HOST."""
    assert server_url(host) == url
    monkeypatch.setenv("OLLAMA_HOST", host or "")
    assert server_url(None) == url


# ------------------------------------------------------------------ what is read


@pytest.mark.parametrize("messages", [(("prompt", "Hello"),), (("user", "Hello"),)])
def test_answers_hold_what_the_server_said(messages: Any) -> None:
    """Tokens, log-probabilities, their order and the usage arrive unchanged."""
    with OllamaServer() as server:
        [(index, answer)] = backend_for(server).answer([Request(messages)])
    [expected] = distribution("Hello")
    assert index == 0
    assert answer.positions == (TokenLogprobs(*expected[0], top=tuple(expected[:20])),)
    assert answer.choices == ()
    assert answer.usage == TokenUsage(9, 1)


def test_every_request_gets_its_own_answer() -> None:
    """Whatever the order of arrival, an index belongs to its request."""
    texts = [f"text {i}" for i in range(12)]
    with OllamaServer() as server:
        found = dict(backend_for(server).answer([ask(text) for text in texts]))
    assert sorted(found) == list(range(12))
    for index, text in enumerate(texts):
        assert found[index].positions[0].top == tuple(distribution(text)[0][:20])


def test_alternatives_below_the_top_are_left_out() -> None:
    """-9999, null, NaN and the lowest float mean "not shown", not a probability."""
    lowest = [-9999.0, None, math.nan, -3.4028235e38, -math.inf]
    top = [{"token": f"low{i}", "logprob": low} for i, low in enumerate(lowest)]
    top += [{"token": "b", "logprob": -2.0}, {"token": "a", "logprob": 1e-7}]
    entry = {"token": "b", "logprob": None, "top_logprobs": top}
    answer = answer_one([changed(logprobs=[entry])])
    assert answer.positions == (TokenLogprobs("b", -9999.0, (("a", 0.0), ("b", -2.0))),)


@pytest.mark.parametrize("max_tokens", [1, 3])
def test_a_token_without_text_is_asked_for_again(max_tokens: int) -> None:
    """An answer that ends at once shows nothing: the same place, with text drawn."""
    silent = changed(response="", logprobs=None, done_reason="stop")
    with OllamaServer(script=[silent]) as server:
        request = ask(max_tokens=max_tokens)
        [(_, answer)] = backend_for(server).answer([request])
    first, second = (call.body for call in server.calls)
    assert "format" not in first
    assert second["format"] == {"type": "string"}
    assert second["options"] == {**first["options"], "num_predict": 1}
    assert second["prompt"] == first["prompt"]
    assert answer.positions[0].top == tuple(distribution("Hello")[0][:20])
    assert len(answer.positions) == 1


# ------------------------------------------------------------------ many at a time


def test_requests_really_overlap_and_are_bounded() -> None:
    """Two are in the server together, never three."""
    meeting = threading.Barrier(2, timeout=10)
    with OllamaServer(meanwhile=meeting.wait) as server:
        assert len(list(backend_for(server).answer([ask(f"{i}") for i in range(6)]))) == 6
    assert server.most_at_once == 2


def test_answers_completed_before_a_failure_are_yielded() -> None:
    """Two arrive, the error follows, and the rest is never sent."""
    script = [changed(), changed(), refuse(400)]
    found = []
    with OllamaServer(script=script) as server:
        backend = backend_for(server, max_concurrency=1)
        answers = backend.answer([ask(f"{i}") for i in range(9)])
        with pytest.raises(BackendError, match="400"):
            found.extend(index for index, _ in answers)
    assert found == [0, 1]
    assert len(server.calls) == 3


# ------------------------------------------------------------------ what goes wrong

OVERFLOW = json.dumps(
    {
        "error": {
            "code": 400,
            "message": "request (2622 tokens) exceeds the available context size (512 "
            "tokens), try increasing it",
            "type": "exceed_context_size_error",
        }
    }
)
LONGER = "the prompt is longer than the context length currently available"
ZERO = {"token": "a", "logprob": 0.0, "top_logprobs": [{"token": "a", "logprob": 0.0}]}


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (refuse(401), HttpError, "HTTP 401"),
        (refuse(404, "model 'x' not found"), BackendError, "ollama pull test-model"),
        (refuse(429), HttpError, "max_concurrency="),
        (refuse(500), HttpError, "try again later"),
        (refuse(400, OVERFLOW), PromptTooLongError, "'num_ctx'"),
        (refuse(400, LONGER), PromptTooLongError, "request 0"),
        (
            refuse(400, "the input length exceeds the context length"),
            PromptTooLongError,
            "",
        ),
        (refuse(400, "top_logprobs must be"), LogprobsUnavailableError, "max_top_logpr"),
        (refuse(400, "invalid option"), HttpError, "invalid option"),
        (send_text("{oops"), BackendError, "did not answer in its format"),
        (send([]), BackendError, "did not answer in its format"),
        (send({"a": 1}), BackendError, "Ollama's format"),
        (changed(logprobs="abc"), BackendError, "Ollama's format"),
        (changed(logprobs=[{"token": "a", "logprob": "x"}]), BackendError, "format"),
        (cut_off, BackendError, "ollama serve"),
        (changed(logprobs=None), LogprobsUnavailableError, "gpt-oss"),
        (changed(logprobs=[]), LogprobsUnavailableError, "done_reason: length"),
        (
            changed(logprobs=[{**ZERO, "top_logprobs": None}]),
            LogprobsUnavailableError,
            "",
        ),
        (changed(logprobs=[ZERO]), LogprobsUnavailableError, "without log-prob"),
        (changed(thinking="Well,"), LogprobsUnavailableError, "think: false"),
    ],
)
def test_every_fault_is_named_with_its_fix(
    fault: Callable[[Any], Http], kind: type[LogprobError], says: str
) -> None:
    """Each fault of a server is one of our errors, and its message says what to do."""
    with pytest.raises(LogprobError) as caught:
        answer_one([fault])
    assert type(caught.value) is kind
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("version", "model", "says"),
    [
        ("0.12.10", "test-model", "update Ollama to 0.12.11"),
        ("0.9.0-rc1", "gpt-oss:120b-cloud", "update Ollama to 0.12.11"),
        ("0.12.11", "gpt-oss:120b-cloud", "cloud models do not return them"),
        ("0.40.2", "glm-4.6:cloud", "cloud models do not return them"),
        ("1.0", "test-model", "part of a character"),
    ],
)
def test_missing_logprobs_are_explained(version: str, model: str, says: str) -> None:
    """By the server's version, then by the model, then by the first token."""
    with pytest.raises(LogprobsUnavailableError, match=says):
        answer_one([changed(logprobs=None)], version=version, model=model)


def test_a_model_that_always_ends_at_once_is_asked_twice_only() -> None:
    """If the second attempt shows nothing either, the error says why."""
    silent = changed(response="", logprobs=None, done_reason="stop")
    with OllamaServer(script=[silent] * 3) as server:
        answers = backend_for(server).answer([ask()])
        with pytest.raises(LogprobsUnavailableError, match="the answer ends at once"):
            list(answers)
    assert len(server.calls) == 2


@pytest.mark.parametrize("fault", [refuse(429), refuse(500), refuse(503)])
def test_passing_faults_are_asked_again(fault: Callable[[Any], Http]) -> None:
    """A full queue or a server error passes unseen."""
    answer = answer_one([fault], max_retries=1)
    assert answer.positions[0].top == tuple(distribution("Hello")[0][:20])


def test_a_server_that_is_down_is_named() -> None:
    """Without a server the error names its address and the command that starts it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    backend = OllamaBackend(host=f"127.0.0.1:{port}", max_retries=0)
    with pytest.raises(BackendError, match=f":{port}.*ollama serve"):
        list(backend.answer([ask()]))
    with pytest.raises(BackendError, match=f":{port}.*ollama serve"):
        backend.answer_identity()


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"host": "ftp://host"}, "'host' parameter .* Got 'ftp://host' instead"),
        ({"host": "host:port"}, "Got 'host:port' instead"),
        ({"host": "http://me:pass@host"}, "an address with a user or password"),
        ({"max_concurrency": 0}, "'max_concurrency' .* at least 1. Got 0 instead"),
        ({"max_retries": -1}, "'max_retries' .* at least 0. Got -1 instead"),
        ({"max_top_logprobs": 2.5}, "'max_top_logprobs' .* Got 2.5 instead"),
    ],
)
def test_wrong_parameters_are_found_before_any_call(
    params: dict[str, Any], says: str
) -> None:
    """The constructor takes anything; asking names the parameter, and no password."""
    with pytest.raises(ValueError, match=says) as caught:
        OllamaBackend(**params).check([ask()])
    assert "pass@" not in str(caught.value)


# ------------------------------------------------------------------ an estimator


def test_the_identity_holds_the_digest_of_the_weights() -> None:
    """A model that was pulled again, or another one, is another identity."""
    with OllamaServer() as server:
        backend = backend_for(server)
        plain = backend.answer_identity()
        assert plain == {
            "model": "test-model:latest",
            "digest": "d1",
            "options": {},
            "max_top_logprobs": 20,
        }
        assert set(OllamaBackend.answer_params) < set(plain)
        assert json.loads(json.dumps(plain)) == plain
        same = clone(backend).set_params(
            model="Test-Model:latest", keep_alive=1, max_concurrency=1, timeout=9.0
        )
        assert same.answer_identity() == plain
        others = [{"model": "other:7b"}, {"options": {"a": 1}}, {"max_top_logprobs": 5}]
        for params in others:
            assert clone(backend).set_params(**params).answer_identity() != plain
        server.digests["test-model:latest"] = "d3"
        assert backend.answer_identity() == {**plain, "digest": "d3"}


def test_the_identity_is_that_of_the_same_weights_elsewhere() -> None:
    """The server's address does not matter where the digest is the same."""
    with OllamaServer() as one, OllamaServer() as other:
        assert one.url != other.url
        assert backend_key(backend_for(one)) == backend_key(backend_for(other))


def test_a_model_that_is_not_there_is_named_before_any_call() -> None:
    """The name is looked up among those that the server has."""
    with OllamaServer() as server:
        backend = backend_for(server, model="mistral")
        with pytest.raises(BackendError, match="`ollama pull mistral`"):
            backend.answer_identity()
    assert server.calls == []


def test_clones_and_pickles_are_equal() -> None:
    """Parameters survive cloning and pickling after use, and are all there is."""
    with OllamaServer() as server:
        backend = backend_for(server, options={"seed": 1})
        list(backend.answer([ask()]))
        for twin in (clone(backend), pickle.loads(pickle.dumps(backend))):
            assert vars(twin) == vars(backend)
            assert twin.answer_identity() == backend.answer_identity()
    assert set(vars(backend)) == set(backend.get_params())


def test_a_classifier_reads_its_scores() -> None:
    """Through Ollama as through the same distribution without a server, from a cache."""
    fake = FakeBackend({"good": {"yes": 2.0}}, labels=("no", "yes"), exact=False)

    def answers(text: str) -> list[Top]:
        [(_, answer)] = fake.answer([ask(text)])
        return [answer.positions[0].top]

    texts = ["good", "bad", "good good"]
    params = {"prompt": "{text}?", "classes": ["no", "yes"], "calibrator": None}
    expected = LogprobClassifier(fake, **params).fit().predict_proba(texts)
    with OllamaServer(answers) as server:
        clf = LogprobClassifier(backend_for(server), **params).fit()
        assert clf.predict_proba(texts) == pytest.approx(expected)
        assert clf.predict_proba(texts) == pytest.approx(expected)
        assert len(server.calls) == 3
        server.digests["test-model:latest"] = "pulled again"
        clf.predict_proba(texts)
        assert len(server.calls) == 6


def test_a_model_that_was_pulled_again_is_said() -> None:
    """Its name is the same, and a classifier that learnt from the other one warns."""
    top = [("yes", -0.2), ("no", -1.8)]
    with OllamaServer(lambda text: [top]) as server:
        clf = LogprobClassifier(backend_for(server), prompt="{text}?", calibrator=None)
        clf.fit(["a", "b"], ["no", "yes"])
        assert clf.builds_ == ("d1",)
        clf.predict(["c"])
        server.digests["test-model:latest"] = "0123456789abcdef"
        with pytest.warns(ModelChangedWarning, match="0123456789ab answers.*of d1"):
            clf.predict(["c"])
