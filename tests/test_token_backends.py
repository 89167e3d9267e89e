"""What the backends for vLLM and SGLang do alike, each over its own format."""

from __future__ import annotations

import copy
import json
import logging
import math
import pickle
import socket
import traceback
from typing import Any, NamedTuple

import numpy as np
import pytest
from fake_llama_server import BOS, PIECES, log_probs, split
from servers import cut_off, refuse, send, send_text
from sklearn.base import clone
from token_server import FakeSGLang, FakeTokenServer, FakeVLLM, log_probs_in_turn, piece

from sklearn_logprob import Answer, LogprobClassifier, Request
from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    MissingKeyError,
    PromptTooLongError,
    UnsupportedRequestError,
)
from sklearn_logprob.backends._token_backend import TokenBackend
from sklearn_logprob.backends.sglang import SGLangBackend
from sklearn_logprob.backends.vllm import VLLMBackend

KEY = "key-marker-0123456789"
PROMPT = "Review: fine"
CHOICES = (
    " New",
    " New York",
    " New York City",
    " negative",
    " positive",
    "negative",
    "ü",
)
START = [BOS, *split(PROMPT)]


class Engine(NamedTuple):
    """An engine's backend, its imitation, and where it splits, writes and tells."""

    backend: type[TokenBackend]
    server: type[FakeTokenServer]
    split: str
    write: str
    tell: str


VLLM = Engine(VLLMBackend, FakeVLLM, "/tokenize", "/v1/completions", "/version")
SGLANG = Engine(SGLangBackend, FakeSGLang, "/v1/tokenize", "/generate", "/model_info")


@pytest.fixture(params=[VLLM, SGLANG], ids=["vllm", "sglang"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Each engine in turn."""
    monkeypatch.setenv("TOKEN_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found: Engine = request.param
    return found


def backend_for(engine: Engine, server: FakeTokenServer, **params: Any) -> TokenBackend:
    params = {"max_retries": 0, "timeout": 10.0, "base_url": server.url, **params}
    return engine.backend(**params)


def raw(text: str = PROMPT, *choices: str, **params: Any) -> Request:
    return Request((("prompt", text),), choices, **params)


def ask(
    engine: Engine, server: FakeTokenServer, request: Request, **params: Any
) -> Answer:
    [(_, answer)] = backend_for(engine, server, **params).answer([request])
    assert isinstance(answer, Answer)
    return answer


# ------------------------------------------------------------------ scores


def test_choices_have_the_probability_of_their_tokens(engine: Engine) -> None:
    """Exactly, alone, whether their tokens are among the likeliest or not."""
    for number in range(5):
        text = f"Review: {number}"
        with engine.server() as server:
            for choice in CHOICES:
                [(_, found)] = ask(engine, server, raw(text, choice)).choices
                expected = log_probs_in_turn([BOS, *split(text)], split(choice))
                assert found == pytest.approx(expected, abs=1e-5)


def test_a_choice_that_begins_another_does_not_contain_it(engine: Engine) -> None:
    """'New' is what does not go on to be 'New York', nor that to be the city."""
    with engine.server() as server:
        answer = ask(engine, server, raw(PROMPT, *CHOICES))
    found = {choice: math.exp(value) for choice, value in answer.choices}
    whole = {c: math.exp(log_probs_in_turn(START, split(c))) for c in CHOICES}
    new, york, city = CHOICES[:3]
    expected = {**whole, new: whole[new] - whole[york], york: whole[york] - whole[city]}
    assert found == pytest.approx(expected, rel=1e-4)
    assert list(found) == list(CHOICES)


def test_a_prompt_and_a_choice_that_merge_are_split_apart(engine: Engine) -> None:
    """Where ' p' + 'os' would be one token, the choice keeps tokens of its own."""
    with engine.server() as server:
        both = ask(engine, server, raw("Review: p", " yes", "os")).choices
    assert split("Review: pos") != [*split("Review: p"), *split("os")]
    for choice, found in both:
        expected = log_probs_in_turn([BOS, *split("Review: p")], split(choice))
        assert found == pytest.approx(expected, abs=1e-5)


def test_chats_are_scored_after_the_template(engine: Engine) -> None:
    """With the beginning of an answer or without it, thinking being off."""
    said = (("system", "S"), ("user", "U"))
    for begun in ((), (("assistant", "A:"),)):
        with engine.server() as server:
            answer = ask(engine, server, Request((*said, *begun), CHOICES[-3:]))
        text = "system=S<|end|>user=U<|end|>assistant=" + ("A:" if begun else "")
        tokens = [BOS, *split(text, control=True)]
        assert answer.usage.prompt_tokens == len(tokens)
        for choice, found in answer.choices:
            expected = log_probs_in_turn(tokens, split(choice))
            assert found == pytest.approx(expected, abs=1e-5)


def test_the_template_is_told_what_the_user_says(engine: Engine) -> None:
    """Thinking is off unless `chat_template_kwargs` says otherwise."""
    with engine.server() as server:
        ask(engine, server, Request((("user", "U"),)))
        ask(engine, server, Request((("user", "U"),)), chat_template_kwargs={})
    said = [
        b["chat_template_kwargs"] for b in server.asked(engine.split) if "messages" in b
    ]
    assert said == [{"enable_thinking": False}, {}]


def test_the_likeliest_tokens_are_returned(engine: Engine) -> None:
    """As many as asked for, up to the backend's own limit, the likeliest first."""
    values = log_probs(tuple(START))
    best = sorted(range(len(values)), key=lambda token: -values[token])
    with engine.server() as server:
        for params, n_top in (({}, 7), ({"max_top_logprobs": 3}, 3)):
            [position] = ask(engine, server, raw(top_logprobs=7), **params).positions
            assert [text for text, _ in position.top] == [piece(t) for t in best[:n_top]]
            shown = [value for _, value in position.top]
            assert shown == pytest.approx([values[t] for t in best[:n_top]], abs=1e-5)
            assert (position.token, position.logprob) == position.top[0]


def test_underflow_never_enters_the_alternatives(engine: Engine) -> None:
    """-9999 and null are no values; a label there is as unlikely as can be."""
    lowest = {b" yes": -9999.0, b" no": -math.inf, b" New": math.nan}

    def peaked(tokens: tuple[int, ...]) -> list[float]:
        return [lowest.get(p, -0.1 if p == b" fine" else -9.0) for p in PIECES]

    with engine.server(likely=peaked) as server:
        choices = (" New", " no", " yes")
        answer = ask(engine, server, raw(PROMPT, *choices, top_logprobs=20))
    assert {value for _, value in answer.positions[0].top} == {-0.1, -9.0}
    assert [value for _, value in answer.choices] == [-104.0] * 3


def test_a_longer_answer_follows_the_likeliest_token(engine: Engine) -> None:
    """Each position is that after the likeliest tokens before it."""
    with engine.server() as server:
        answer = ask(engine, server, raw(max_tokens=3, top_logprobs=2))
    tokens = list(START)
    for position in answer.positions:
        values = log_probs(tuple(tokens))
        assert position.logprob == pytest.approx(max(values), abs=1e-5)
        tokens.append(values.index(max(values)))
    assert answer.usage.completion_tokens == len(answer.positions) == 3


def test_without_alternatives_the_answer_is_text(engine: Engine) -> None:
    """Different draws differ, the same draw does not, and 0 is the likeliest."""
    tokens, text = list(START), b""
    for _ in range(4):
        values = log_probs(tuple(tokens))
        tokens.append(values.index(max(values)))
        text += PIECES[tokens[-1]]
    plain = {"max_tokens": 4, "top_logprobs": 0}
    with engine.server() as server:
        said = [ask(engine, server, raw(**plain, draw=n)).draws for n in (0, 1, 2, 1)]
        usage = ask(engine, server, raw(**plain)).usage
    assert said[0] == ((text.decode("utf-8", "replace"), 1),)
    assert said[1] == said[3]
    assert len(set(said)) == 3
    assert usage.completion_tokens == 4


def test_one_draw_has_its_own_token_and_the_likeliest_ones(engine: Engine) -> None:
    """A drawn token is what was said; the alternatives beside it are not drawn."""
    with engine.server() as server:
        likeliest = ask(engine, server, raw(top_logprobs=3)).positions[0].top
        drawn = [
            ask(engine, server, raw(top_logprobs=3, draw=n)).positions[0]
            for n in range(1, 9)
        ]
    assert all(position.top == likeliest for position in drawn)
    assert any(position.token != likeliest[0][0] for position in drawn)


def test_many_requests_at_a_time_get_their_own_answers(engine: Engine) -> None:
    """Threads mix up neither prompts nor choices."""
    texts = [f"Review: {number}" for number in range(9)]
    with engine.server() as server:
        backend = backend_for(engine, server, max_concurrency=5)
        found = dict(backend.answer([raw(text, " yes") for text in texts]))
    for index, text in enumerate(texts):
        [(_, value)] = found[index].choices  # type: ignore[union-attr]
        expected = log_probs_in_turn([BOS, *split(text)], split(" yes"))
        assert value == pytest.approx(expected, abs=1e-5)


def test_usage_is_counted(engine: Engine) -> None:
    """The prompt's tokens once, whatever the labels took, and what was kept of it."""
    with engine.server() as server:
        usage = ask(engine, server, raw(PROMPT, *CHOICES)).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (len(START), 1)
    assert usage.cached_tokens == len(START) - 1


def test_labels_are_split_once_for_prompts_that_end_alike(engine: Engine) -> None:
    """Not once for each row: then only the prompts are split."""
    requests = [raw(f"Review {number}: fine", " no", " yes") for number in range(6)]
    with engine.server() as server:
        backend = backend_for(engine, server, max_concurrency=1)
        list(backend.answer(requests[:1]))
        before = len(server.asked(engine.split))
        list(backend.answer(requests[1:]))
    assert len(server.asked(engine.split)) == before + 5


def test_exact_false_asks_for_no_choices(engine: Engine) -> None:
    """It reads the likeliest tokens, and says that it scores nothing."""
    with engine.server() as server:
        backend = backend_for(engine, server, exact=False)
        assert not backend.scores_choices
        clf = LogprobClassifier(backend, classes=[" no", " yes"], calibrator=None).fit()
        proba = clf.predict_proba(["x"])
    assert proba.sum() == pytest.approx(1.0)
    sent = server.asked(engine.write)
    assert len(sent) == 1
    assert not {"logprob_token_ids", "token_ids_logprob"} & set(sent[0])


def test_a_classifier_runs(engine: Engine) -> None:
    """From texts to probabilities, without a parameter that says how."""
    with engine.server() as server:
        clf = LogprobClassifier(
            backend_for(engine, server),
            prompt="Review: {text}\nSentiment:",
            classes=["negative", "positive"],
            calibrator=None,
        ).fit()
        proba = clf.predict_proba(["one", "two", "one"])
    assert np.all(np.isfinite(proba))
    assert proba[0] == pytest.approx(proba[2])
    assert clf.usage_.requests == 2


# ------------------------------------------------------------------ before any call


def test_a_prompt_longer_than_the_context_is_returned(engine: Engine) -> None:
    """For the row that it is, before anything is evaluated; the others are fine."""
    with engine.server(n_ctx=600) as server:
        backend = backend_for(engine, server)
        [failure] = backend.check([raw("short", " yes"), raw("word " * 200, " yes")])
    assert isinstance(failure, PromptTooLongError)
    assert failure.index == 1
    assert "The prompt of request 1 needs " in str(failure)
    assert server.asked(engine.write) == []


def test_a_prompt_that_fits_exactly_is_answered(engine: Engine) -> None:
    """The check and the server agree about the last token that fits."""
    needed = len(START) + len(split(" New York"))
    request = raw(PROMPT, " New York")
    with engine.server(n_ctx=needed) as server:
        assert backend_for(engine, server).check([request]) == []
        assert len(ask(engine, server, request).choices) == 1
    with engine.server(n_ctx=needed - 1) as server:
        [failure] = backend_for(engine, server).check([request])
    assert f"needs {needed} tokens" in str(failure)


def test_most_prompts_are_checked_without_counting(engine: Engine) -> None:
    """A text of few bytes has few tokens: no request for it."""
    with engine.server() as server:
        backend_for(engine, server).check([raw(f"{i}", " yes") for i in range(50)])
    assert [call.path for call in server.calls] == ["/v1/models", engine.tell]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"base_url": "127.0.0.1:8000"}, "'base_url' .* Got '127.0.0.1:8000' instead"),
        ({"base_url": "http://me:pass@host"}, "without user, password and query"),
        ({"base_url": "http://host?key=pass@"}, "without user, password and query"),
        ({"max_concurrency": 0}, "'max_concurrency' .* at least 1. Got 0 instead"),
        ({"max_retries": -1}, "'max_retries' .* at least 0. Got -1 instead"),
        ({"max_top_logprobs": 2.5}, "'max_top_logprobs' .* Got 2.5 instead"),
        ({"chat_template_kwargs": "no"}, "must be a dict or None. Got 'no' instead"),
        ({"api_key_env": "my-pass"}, "must be the name of an environment"),
    ],
)
def test_wrong_parameters_are_found_before_any_call(
    engine: Engine, params: dict[str, Any], says: str
) -> None:
    """The constructor takes anything; asking names the parameter, and no password."""
    with pytest.raises(ValueError, match=says) as caught:
        engine.backend(**params).check([raw()])
    assert "pass@" not in str(caught.value)
    assert "my-pass" not in str(caught.value)


def test_a_missing_key_names_the_variable(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key in the variable, no call."""
    monkeypatch.setenv("TOKEN_KEY", " ")
    with pytest.raises(MissingKeyError, match=r"'TOKEN_KEY' .*--api-key"):
        engine.backend(api_key_env="TOKEN_KEY").check([raw()])


def test_no_key_no_header(engine: Engine) -> None:
    """A server without a key is sent none; with one, it goes into the header."""
    with engine.server(key=KEY) as server:
        with pytest.raises(BackendError, match=r"--api-key.* api_key_env="):
            ask(engine, server, raw())
        ask(engine, server, raw(), api_key_env="TOKEN_KEY")
    headers = [call.headers.get("authorization") for call in server.calls]
    assert headers[0] is None
    assert set(headers[-3:]) == {f"Bearer {KEY}"}


def test_another_model_is_refused(engine: Engine) -> None:
    """With the names of those that the server has."""
    with engine.server() as server:
        backend = backend_for(engine, server, model="other")
        for use in (backend.answer_identity, lambda: backend.check([raw()])):
            with pytest.raises(BackendError, match=r"'other'\. It serves 'toy', 'tuned'"):
                use()


# ------------------------------------------------------------------ what goes wrong


FAULTS = [
    ("split", send_text("no", status=404), UnsupportedRequestError, "OpenAIBackend"),
    ("tell", send_text("no", status=404), UnsupportedRequestError, "or later"),
    ("write", send_text("no", status=405), UnsupportedRequestError, "OpenAIBackend"),
    ("write", refuse(401, "Unauthorized"), BackendError, "api_key_env="),
    ("write", refuse(429), BackendError, "Lower max_concurrency="),
    ("write", refuse(503, "Loading"), BackendError, "max_retries="),
    ("write", refuse(400, "bad field"), BackendError, "bad field"),
    ("write", cut_off, BackendError, "is the server running"),
    ("write", send_text("{oops"), BackendError, "its format"),
    ("write", send([]), BackendError, "its format"),
    ("write", send({}), BackendError, "format: it must be"),
    ("split", send({}), BackendError, "format: it must be"),
]


@pytest.mark.parametrize(("where", "fault", "kind", "says"), FAULTS)
def test_every_fault_is_named_with_its_fix(
    engine: Engine, where: str, fault: Any, kind: type[LogprobError], says: str
) -> None:
    """Each fault of a server is one of our errors, and its message says what to do."""
    with (
        engine.server({getattr(engine, where): [fault] * 3}) as server,
        pytest.raises(LogprobError, match=says) as caught,
    ):
        ask(engine, server, raw(PROMPT, " yes"))
    assert isinstance(caught.value, kind)


def test_a_prompt_that_the_server_finds_too_long_is_the_rows_own(engine: Engine) -> None:
    """Its error is an outcome with a place for the row; the others are answered."""
    texts = ["a", "a b c d e f g", "b"]
    with engine.server(n_ctx=5) as server:
        outcomes = dict(backend_for(engine, server).answer([raw(t) for t in texts]))
    assert [type(outcomes[i]) for i in range(3)] == [Answer, PromptTooLongError, Answer]
    failure = outcomes[1]
    assert isinstance(failure, PromptTooLongError)
    assert failure.index == 1
    assert "The prompt of {row} is too long." in failure.template


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 8 tokens. However, your prompt has 9.",
        "The decoder prompt (length 9) is longer than the maximum model length of 8.",
        "The input (9 tokens) is longer than the model's context length (8 tokens).",
        "Requested token count exceeds the model's maximum context length of 8 tokens.",
    ],
)
def test_all_their_words_for_too_long_are_known(engine: Engine, said: str) -> None:
    """Each engine has several, for prompts and for prompts with answers."""
    with engine.server({engine.write: [refuse(400, said)]}) as server:
        [(_, failure)] = backend_for(engine, server).answer([raw()])
    assert isinstance(failure, PromptTooLongError)
    assert said.rstrip(".") in str(failure)


def test_labels_are_scored_without_alternatives(engine: Engine) -> None:
    """``max_top_logprobs=0`` shows none of them, and takes no label's score away."""
    with engine.server() as server:
        answer = ask(engine, server, raw(PROMPT, " yes"), max_top_logprobs=0)
    expected = log_probs_in_turn(START, split(" yes"))
    assert answer.choices[0][1] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "fault", [refuse(503), refuse(429, Retry_After="0"), refuse(500), cut_off]
)
def test_passing_faults_are_asked_again(engine: Engine, fault: Any) -> None:
    """A busy server, a server's fault, a lost connection: unseen."""
    with engine.server({engine.write: [fault]}) as server:
        answer = ask(engine, server, raw(PROMPT, " yes"), max_retries=1)
    expected = log_probs_in_turn(START, split(" yes"))
    assert answer.choices[0][1] == pytest.approx(expected, abs=1e-5)


def test_a_server_that_is_down_is_named(engine: Engine) -> None:
    """Without a server the error names its address, whatever is asked of the backend."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    backend = engine.backend(base_url=f"http://127.0.0.1:{port}", max_retries=0)
    for use in (backend.answer_identity, lambda: backend.check([raw()])):
        with pytest.raises(BackendError, match=f":{port}.*is the server running"):
            use()


def test_answers_before_a_failure_are_yielded(engine: Engine) -> None:
    """Two are there, the third fails, and nothing more is sent."""
    with engine.server() as server:
        backend = backend_for(engine, server, max_concurrency=1)
        answers = backend.answer([raw(f"{i}:", " yes") for i in range(9)])
        found = [next(answers)[0], next(answers)[0]]
        server.script[engine.write] = [refuse(400)] * 9
        with pytest.raises(BackendError, match="400"):
            # one by one: the third may have been on its way already
            found.extend(index for index, _ in answers)
    assert found == [0, 1, 2][: len(found)]


# ------------------------------------------------------------------ an estimator

ENGINES_WORD = ("version", "model_path", "weight_version")


def test_clones_and_pickles_are_equal(engine: Engine) -> None:
    """Parameters survive cloning and pickling after use, and are all there is."""
    with engine.server() as server:
        backend = backend_for(engine, server, api_key_env="TOKEN_KEY")
        list(backend.answer([raw()]))
        for twin in (clone(backend), pickle.loads(pickle.dumps(backend))):
            assert vars(twin) == vars(backend) == backend.get_params()
            assert twin.answer_identity() == backend.answer_identity()


def test_the_identity_is_the_servers_model(engine: Engine) -> None:
    """Another model at the same address changes it; how often one asks does not."""
    with engine.server() as server:
        plain = backend_for(engine, server)
        first = plain.answer_identity()
        assert json.loads(json.dumps(first)) == first
        assert first["base_url"] == server.url
        with_v1 = backend_for(engine, server, base_url=f"{server.url}/v1/")
        assert with_v1.answer_identity() == first
        assert plain.set_params(max_concurrency=3).answer_identity() == first
        assert len(server.asked("/v1/models")) == 1
        named = backend_for(engine, server, model="toy")
        assert named.answer_identity() == first
        tuned = backend_for(engine, server, model="tuned").answer_identity()
        assert tuned["root"] == "/lora/tuned"
        server.model = "other"
        anew = backend_for(engine, server, timeout=9.0)  # another client: it asks again
        assert anew.answer_identity()["model"] == "other"


def test_answers_say_what_is_served(engine: Engine) -> None:
    """The version or the weights, and where they come from: a name can be kept."""
    with engine.server() as server:
        backend = backend_for(engine, server)
        identity = backend.answer_identity()
        [(_, answer)] = backend.answer([raw(PROMPT, " yes")])
        told = [v for k, v in identity.items() if k in ENGINES_WORD and v]
        assert told
        assert answer.build.split() == ["toy", *map(str, told)]


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("tell", refuse(401, f"Unauthorized: {KEY}")),
        ("write", refuse(400, KEY)),
        ("write", send_text(KEY, status=500)),
        ("write", send_text(f"<html>{KEY}")),
        ("write", send({"choices": KEY, "meta_info": KEY})),
        ("split", send({"tokens": KEY})),
        ("write", cut_off),
    ],
)
def test_the_key_shows_nowhere(
    engine: Engine, where: str, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Even if the server repeats the key: no error, traceback, log, repr or pickle."""
    caplog.set_level(logging.DEBUG)
    with engine.server({getattr(engine, where): [fault] * 2}, key=KEY) as server:
        backend = backend_for(engine, server, api_key_env="TOKEN_KEY")
        with pytest.raises(LogprobError) as caught:
            list(backend.answer([raw(PROMPT, " yes")]))
        server.script.clear()
        places = {
            "message": str(caught.value) + repr(vars(caught.value)),
            "context": repr(caught.value.__context__),
            "traceback": "".join(traceback.format_exception(caught.value)),
            "log": caplog.text,
            "backend": repr(backend) + repr(vars(copy.deepcopy(backend))),
            "server": repr(backend._server()),
            "identity": json.dumps(backend.answer_identity()),
            "pickle": pickle.dumps(backend).decode("latin-1"),
            "body": repr([(call.path, call.body) for call in server.calls]),
        }
    assert [place for place, text in places.items() if KEY in text] == []
