"""The decision backends over real HTTP on loopback, in three formats."""

from __future__ import annotations

import copy
import json
import logging
import math
import pickle
import re
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from decision_server import DecisionServer, decision, posterior
from pydantic import TypeAdapter
from servers import LIMITS, Http, refuse, send, send_text, the_answer
from sklearn.base import clone

from sklearn_logprob import LogprobClassifier, PromptTemplate
from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    MissingKeyError,
    PromptTooLongError,
    RefusedError,
    UnsupportedRequestError,
)
from sklearn_logprob._types import Answer, Request, TokenUsage
from sklearn_logprob.backends.gemini_decisions import GeminiDecisionsBackend
from sklearn_logprob.backends.openai_decisions import OpenAIDecisionsBackend
from sklearn_logprob.backends.systemone import SystemOneBackend
from sklearn_logprob.scoring import label_scores
from sklearn_logprob.verbalizers import Verbalizer

KEY = "sk-marker-0123456789"
KEY_ENV = "DECISIONS_TEST_KEY"
CLASSES = ("negative", "positive")
SPELLINGS = Verbalizer().spellings(CLASSES)
OPTIONS = tuple((name, "") for name in CLASSES)
FORMATS = [OpenAIDecisionsBackend, SystemOneBackend, GeminiDecisionsBackend]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> Any:
    """Give each format's backend in turn."""
    return request.param


def backend_for(form: Any, server: DecisionServer, **params: Any) -> Any:
    params = {"max_retries": 0, "timeout": 10.0, "api_key_env": KEY_ENV, **params}
    return form("test-model", base_url=server.url, **params)


def ask(text: str = "A fine film.", options: Any = OPTIONS) -> Request:
    return Request((("prompt", text),), options=options, top_logprobs=0)


def answer_one(
    form: Any, script: Sequence[Callable[[Any], Http]], **params: Any
) -> Answer:
    """Ask once, the server replying with `script`."""
    with DecisionServer(script=script) as server:
        return the_answer(backend_for(form, server, **params).answer([ask()]))


def failure_of(form: Any, script: Sequence[Callable[[Any], Http]], **params: Any) -> str:
    with pytest.raises(BackendError) as caught:
        answer_one(form, script, **params)
    return str(caught.value)


def changed(edit: Callable[[Any], Any]) -> Callable[[Any], Http]:
    """Reply with a decision whose probabilities are edited, as {option: probability}."""

    def reply(body: Any) -> Http:
        content = decision(body)
        if isinstance(content["answers"], list):
            [answer] = content["answers"]
            pairs = {p["value"]: p["probability"] for p in answer["probabilities"]}
            answer["probabilities"] = [
                {"value": value, "probability": p} for value, p in edit(pairs).items()
            ]
        else:
            [answer] = content["answers"].values()
            answer["probabilities"] = edit(answer["probabilities"])
        return Http(json.dumps(content).encode())

    return reply


def refusal(body: Any) -> Http:
    """Reply that this question is refused."""
    content = decision(body)
    if isinstance(content["answers"], list):
        content["answers"] = [{"type": "refusal", "name": None}]
    else:
        content["answers"] = {"label": {"type": "refusal"}}
    return Http(json.dumps(content).encode())


def cut_off(body: Any) -> Http:
    """Close the connection in the middle of the answer."""
    return Http(json.dumps(decision(body)).encode(), cut=True)


# ------------------------------------------------------------------ what is sent


def test_the_openai_body_is_exactly_this() -> None:
    """The documented fields, with one option a class, and nothing else."""
    with DecisionServer() as server:
        list(backend_for(OpenAIDecisionsBackend, server).answer([ask("Fine.")]))
    [call] = server.calls
    assert call.path == "/v1/decisions"
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.body == {
        "model": "test-model",
        "input": "Fine.",
        "questions": [
            {
                "type": "choice",
                "name": "label",
                "instructions": "Which label fits?",
                "choices": [{"value": "negative"}, {"value": "positive"}],
            }
        ],
    }


def test_openais_own_types_accept_question_and_answer() -> None:
    """What is sent, and what the server here answers, are valid for the OpenAI SDK."""
    openai_types = pytest.importorskip("openai.types")
    if not hasattr(openai_types, "DecisionCreateParams"):
        pytest.skip("openai < 3.26 has no decisions")
    with DecisionServer() as server:
        list(backend_for(OpenAIDecisionsBackend, server).answer([ask("Fine.")]))
    [call] = server.calls
    validated = TypeAdapter(openai_types.DecisionCreateParams).validate_python(call.body)
    assert [list(q["choices"]) for q in validated["questions"]] == [
        [{"value": "negative"}, {"value": "positive"}]
    ]
    reply = openai_types.Decision.model_validate(decision(call.body))
    assert [p.value for p in reply.answers[0].probabilities] == list(CLASSES)


@pytest.mark.parametrize("path", ["/systemone", "/api/alpha/decisions"])
def test_the_system_one_body_is_exactly_this(path: str) -> None:
    """A state, a named question, and options without descriptions."""
    with DecisionServer() as server:
        list(backend_for(SystemOneBackend, server, path=path).answer([ask("Fine.")]))
    [call] = server.calls
    assert call.path == f"/v1{path}"
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.body == {
        "model": "test-model",
        "state": "Fine.",
        "questions": {
            "label": {
                "type": "choice",
                "instructions": "Which label fits?",
                "criteria": {"negative": None, "positive": None},
            }
        },
    }


def test_the_gemini_body_is_exactly_this() -> None:
    """An empty text where System One has null, and the key in Google's own header."""
    with DecisionServer() as server:
        list(backend_for(GeminiDecisionsBackend, server).answer([ask("Fine.")]))
    [call] = server.calls
    assert call.path == "/v1/decisions"
    assert call.headers["x-goog-api-key"] == KEY
    assert "authorization" not in call.headers
    assert call.body == {
        "model": "test-model",
        "input": "Fine.",
        "questions": {
            "label": {
                "type": "choice",
                "instructions": "Which label fits?",
                "criteria": {"negative": "", "positive": ""},
            }
        },
    }


def test_chat_messages_become_a_text_and_instructions(form: Any) -> None:
    """System messages stand before the question; several turns keep their roles."""
    messages = (
        ("system", "Be strict."),
        ("user", "Dull."),
        ("assistant", "negative"),
        ("user", "Fine."),
    )
    requests = [
        Request(messages[:1] + messages[-1:], options=OPTIONS),
        Request(messages, options=OPTIONS),
    ]
    with DecisionServer() as server:
        backend = backend_for(form, server, max_concurrency=1, instructions="Tone?")
        list(backend.answer(requests))
    bodies = [call.body for call in server.calls]
    for body in bodies:
        questions = body["questions"]
        [question] = questions if isinstance(questions, list) else questions.values()
        assert question["instructions"] == "Be strict.\n\nTone?"
    texts = [body.get("state", body.get("input")) for body in bodies]
    assert texts == ["Fine.", "user: Dull.\n\nassistant: negative\n\nuser: Fine."]


def test_without_a_key_no_key_is_sent(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local server needs none."""
    monkeypatch.delenv(KEY_ENV)
    with DecisionServer() as server:
        list(backend_for(form, server).answer([ask()]))
    assert {"authorization", "x-goog-api-key"}.isdisjoint(server.calls[0].headers)


def test_many_are_asked_at_a_time_up_to_the_limit(form: Any) -> None:
    """Waiting overlaps; every answer is the one to its own text."""
    texts = [f"text {i}" for i in range(12)]
    with DecisionServer(delay=0.02) as server:
        backend = backend_for(form, server, max_concurrency=4)
        answers = dict(backend.answer([ask(text) for text in texts]))
    assert 1 < server.most_at_once <= 4
    read = label_scores([answers[i] for i in range(12)], SPELLINGS)
    expected = [posterior(text, CLASSES) for text in texts]
    np.testing.assert_allclose(np.exp(read.scores), expected, rtol=1e-9)


# ------------------------------------------------------------------ what is read


def test_class_scores_are_the_logarithms_of_the_probabilities(form: Any) -> None:
    """A class has the probability of its option; no tokens."""
    answer = answer_one(form, [])
    assert [choice for choice, _ in answer.choices] == list(CLASSES)
    read = label_scores([answer], SPELLINGS)
    expected = np.log([posterior("A fine film.", CLASSES)])
    for values in (read.scores, read.lower, read.upper):
        np.testing.assert_allclose(values, expected, rtol=1e-9)
    assert answer.positions == ()
    assert answer.usage.prompt_tokens == 61 and answer.usage.completion_tokens == 0
    cached = 0 if form is SystemOneBackend else 9
    assert answer.usage == TokenUsage(61, 0, cached)


def test_the_model_that_answered_is_the_build(form: Any) -> None:
    """Where it is another name than that which was asked for."""
    assert answer_one(form, []).build == ""

    def dated(body: Any) -> Http:
        content = {**decision(body), "model": "test-model-2026-11-01"}
        return Http(json.dumps(content).encode())

    assert answer_one(form, [dated]).build == "test-model-2026-11-01"


def test_a_probability_of_nothing_is_a_millionth(form: Any) -> None:
    """Servers round: 0 becomes 1e-6, and no score is infinite."""
    answer = answer_one(form, [changed(lambda p: {"negative": 0, "positive": 1})])
    read = label_scores([answer], SPELLINGS)
    np.testing.assert_allclose(np.exp(read.scores), [[1e-6, 1]], rtol=1e-5)


def test_rounded_probabilities_are_scaled(form: Any) -> None:
    """Two decimals need not sum to one: they are divided by what they sum to."""
    answer = answer_one(form, [changed(lambda p: {"negative": 0.33, "positive": 0.66})])
    read = label_scores([answer], SPELLINGS)
    np.testing.assert_allclose(np.exp(read.scores), [[1 / 3, 2 / 3]])


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda p: {"negative": 1.0}, "for the option 'positive', but None"),
        (lambda p: {**p, "positive": None}, "for the option 'positive', but None"),
        (lambda p: {**p, "positive": math.nan}, "for the option 'positive', but nan"),
        (lambda p: {**p, "negative": -0.1}, "for the option 'negative', but -0.1"),
        (lambda p: {**p, "negative": "high"}, "for the option 'negative', but 'high'"),
        (lambda p: {**p, "negative": 10**400}, f"but {10**39}."),  # not all of it
        (lambda p: dict.fromkeys(p, 0.9), "sum to 1.8, not 1"),
        (lambda p: dict.fromkeys(p, -math.inf), "for the option 'negative', but -inf"),
    ],
)
def test_bad_probabilities_are_named(form: Any, edit: Any, says: str) -> None:
    """What is missing or no probability is an error that names the option."""
    assert says in failure_of(form, [changed(edit)])


def test_a_refused_question_names_its_request(form: Any) -> None:
    """A model may decline one row: the message says which, and not what it says."""
    said = failure_of(form, [refusal])
    assert "decided nothing about request 0: the answer is a refusal" in said
    assert "A fine film" not in said


def test_a_blocked_input_names_the_reason() -> None:
    """Google's filters answer without answers."""
    blocked = send({"prompt_feedback": {"block_reason": "safety"}})
    assert "blocked (safety)" in failure_of(GeminiDecisionsBackend, [blocked])


def test_a_question_left_out_is_a_refusal() -> None:
    """Some System One servers leave out what they could not answer."""
    said = failure_of(SystemOneBackend, [send({"answers": {}, "usage": {}})])
    assert "it left the question out" in said


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"answers": "yes"},
        {"answers": {"label": {"type": "choice"}}},
        {"answers": [{"type": "choice", "probabilities": 1}]},
        {"choices": [{"message": {"content": "positive"}}]},
    ],
)
def test_another_format_is_named(form: Any, content: Any) -> None:
    """A reply that is no decision says which address to check, and shows its begin."""
    said = failure_of(form, [send(content)])
    assert f"did not answer in the format of {form.__name__}" in said
    assert "base_url=" in said
    assert said.endswith(json.dumps(content))


def test_one_format_is_not_taken_for_another() -> None:
    """Asked in the wrong format a server's list or mapping is not misread."""
    listed = decision({"model": "m", "input": "", "questions": [_listed()]})
    mapped = decision({"model": "m", "state": "", "questions": {"label": _mapped()}})
    assert "format of SystemOne" in failure_of(SystemOneBackend, [send(listed)])
    assert "format of OpenAI" in failure_of(OpenAIDecisionsBackend, [send(mapped)])


def _listed() -> Any:
    return {"name": "label", "choices": [{"value": c} for c in CLASSES]}


def _mapped() -> Any:
    return {"criteria": dict.fromkeys(CLASSES)}


# ------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("status", "said", "advice"),
    [
        (400, "too many choices", "2 to 255 options (208 at Fireworks, 26 on vLLM)"),
        (401, "bad key", f"environment variable '{KEY_ENV}'"),
        (403, "not yours", f"environment variable '{KEY_ENV}'"),
        (404, "no route", "Check model= and base_url="),
        (422, "unprocessable", "and this one has 2"),
        (500, "broken", "try again later"),
        (501, "This model is not a decision model", "gpt-6-luna at OpenAI"),
    ],
)
def test_refusals_say_what_mends_them(
    form: Any, status: int, said: str, advice: str
) -> None:
    """The server's own words, and what to do about them."""
    message = failure_of(form, [refuse(status, said)])
    assert f"(HTTP {status}): {said}." in message
    assert advice in message
    assert "'test-model' at http://127.0.0.1" in message


def test_a_prompt_that_is_too_long_names_the_row(form: Any) -> None:
    """It is told in terms of X."""
    script = [refuse(400, "This model's maximum context length is 9 tokens.")]
    with DecisionServer(script=script) as server:
        clf = classifier(form, server).fit()
        with pytest.raises(PromptTooLongError, match="row 0 of X is too long"):
            clf.predict(["long"])


@pytest.mark.parametrize(
    "fault",
    [refuse(429, "slow down", Retry_After="0"), refuse(500, "oops"), refuse(503, "busy")],
)
def test_passing_faults_are_asked_again(form: Any, fault: Any) -> None:
    """A rate limit and a server error recover by themselves."""
    with DecisionServer(script=[fault]) as server:
        [(_, answer)] = backend_for(form, server, max_retries=1).answer([ask()])
    assert len(server.calls) == 2
    assert len(answer.choices) == 2


@pytest.mark.parametrize("text", ["<html>", "[]", '{"answers": '])
def test_what_is_no_json_object_is_shown(form: Any, text: str) -> None:
    """Malformed JSON gives the beginning of what was said."""
    said = failure_of(form, [send_text(text)])
    assert said.endswith(f"it said: {text}")


def test_a_cut_connection_and_no_server_are_errors(form: Any) -> None:
    """Both ask whether the server is running."""
    assert "is the server running" in failure_of(form, [cut_off])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    backend = form(base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    with pytest.raises(BackendError, match=f":{port}.*is the server running"):
        list(backend.set_params(api_key_env=KEY_ENV).answer([ask()]))


def test_a_refusal_is_the_failure_of_its_row_only(form: Any) -> None:
    """Everything else is answered."""
    with DecisionServer(script=[refusal], delay=0.05) as server:
        outcomes = dict(backend_for(form, server, max_concurrency=3).answer([ask()] * 9))
    assert len(outcomes) == len(server.calls) == 9
    kinds = [type(outcome) for outcome in outcomes.values()]
    assert kinds.count(RefusedError) == 1 and kinds.count(Answer) == 8


# ------------------------------------------------------------------ before any call


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"base_url": "localhost:8000"}, "Got 'localhost:8000' instead"),
        ({"base_url": "http://me:pass@host/v1"}, "without user, password and query"),
        ({"base_url": "http://host/v1?key=pass@"}, "without user, password and query"),
        ({"api_key_env": "sk-pass@"}, "must be the name of an environment variable"),
        ({"instructions": " "}, "'instructions' .* text of a question. Got ' ' instead"),
        ({"max_concurrency": 0}, "'max_concurrency' .* at least 1. Got 0 instead"),
        ({"max_retries": -1}, "'max_retries' .* at least 0. Got -1 instead"),
    ],
)
def test_wrong_parameters_are_found_before_any_call(
    form: Any, params: dict[str, Any], says: str
) -> None:
    """The constructor takes anything; asking names the parameter, and no secret."""
    backend = form(**params)
    with pytest.raises(ValueError, match=says) as caught:
        backend.check([ask()])
    assert form.__name__ in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_a_path_begins_with_a_slash() -> None:
    """Or it would become part of the host's name."""
    with pytest.raises(ValueError, match=r"'path' .* Got 'decisions' instead"):
        SystemOneBackend(path="decisions", api_key_env=KEY_ENV).check([ask()])


def test_classes_that_differ_in_case_are_two_options(form: Any) -> None:
    """Each class is an option of its own, whatever their spellings have in common."""
    with DecisionServer() as server:
        clf = LogprobClassifier(
            backend_for(form, server), prompt="{text}", classes=["US", "us"]
        ).fit()
        proba = clf.set_params(calibrator=None).fit().predict_proba(["text"])
    np.testing.assert_allclose(proba, [posterior("text", ["US", "us"])])


def test_one_option_is_no_decision(form: Any) -> None:
    """It is found before anything is paid for."""
    backend = form(base_url="http://127.0.0.1:9/v1", api_key_env=KEY_ENV)
    with pytest.raises(UnsupportedRequestError, match="at least 2 options"):
        backend.check([ask(options=OPTIONS[:1])])


def test_descriptions_are_sent_with_their_options(form: Any) -> None:
    """The verbalizer gives both; a class without one is sent as before."""
    verbalizer = Verbalizer(
        {0: "negative", 1: "positive"}, descriptions={1: "the reviewer liked it"}
    )
    with DecisionServer() as server:
        clf = LogprobClassifier(backend_for(form, server), verbalizer=verbalizer).fit()
        clf.predict(["text"])
    questions = server.calls[0].body["questions"]
    [question] = questions if isinstance(questions, list) else questions.values()
    liked = "the reviewer liked it"
    if form is OpenAIDecisionsBackend:
        described = [{"value": "negative"}, {"value": "positive", "description": liked}]
        assert question["choices"] == described
    else:
        nothing = None if form is SystemOneBackend else ""
        assert question["criteria"] == {"negative": nothing, "positive": liked}


def test_a_decision_is_about_whole_labels(form: Any) -> None:
    """First tokens cannot be asked for: the message names the parameter."""
    with DecisionServer() as server:
        clf = classifier(form, server, label_scoring="first_token").fit()
        with pytest.raises(UnsupportedRequestError, match="label_scoring="):
            clf.predict(["text"])
    assert server.calls == []


def test_an_answer_cannot_be_begun(form: Any) -> None:
    """A trailing assistant message is refused before any call, with the way out."""
    request = Request((("user", "?"), ("assistant", "It is")), options=OPTIONS)
    with pytest.raises(UnsupportedRequestError, match="end of the user message"):
        form(base_url="http://127.0.0.1:9/v1", api_key_env=KEY_ENV).answer([request])


@pytest.mark.parametrize(
    ("form", "url"),
    [
        (OpenAIDecisionsBackend, None),
        (OpenAIDecisionsBackend, "https://me.openai.azure.com/openai/v1/"),
        (SystemOneBackend, None),
        (SystemOneBackend, "https://openrouter.ai"),
        (GeminiDecisionsBackend, None),
    ],
)
def test_services_want_a_key(
    form: Any, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, no call: the message says which variable, and what needs none."""
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(MissingKeyError, match=KEY_ENV) as caught:
        form(base_url=url, api_key_env=KEY_ENV).check([ask()])
    for way in ("api_key_env=", "llama-cpp", "fake"):
        assert way in str(caught.value)


def test_nothing_to_ask_needs_nothing(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without requests no key is needed."""
    monkeypatch.delenv(KEY_ENV)
    assert list(form(api_key_env=KEY_ENV).answer([])) == []


# ------------------------------------------------------------------ an estimator


def test_clones_and_pickles_are_equal(form: Any) -> None:
    """Parameters survive cloning and pickling after use, and are all there is."""
    with DecisionServer() as server:
        backend = backend_for(form, server)
        list(backend.answer([ask()]))
    for twin in (clone(backend), pickle.loads(pickle.dumps(backend))):
        assert vars(twin) == vars(backend)
        assert twin.answer_identity() == backend.answer_identity()
    assert set(vars(backend)) == set(backend.get_params())


def test_the_identity_holds_what_changes_an_answer(
    form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer parameter changes it; the key and the manners of asking do not."""
    plain = form().answer_identity()
    changes = {"model": "m", "base_url": "http://h/v1", "instructions": "?", "path": "/x"}
    manners = {"api_key_env", "max_concurrency", "max_retries", "timeout"} | LIMITS
    assert set(plain) == set(form.answer_params) == set(form().get_params()) - manners
    for name in plain:
        identity = form(**{name: changes[name]}).answer_identity()
        assert {key for key in plain if identity[key] != plain[key]} == {name}
        assert json.loads(json.dumps(identity)) == identity
    monkeypatch.setenv(KEY_ENV, "another")
    same = form(api_key_env=KEY_ENV, max_concurrency=1, max_retries=0, timeout=1)
    assert same.answer_identity() == plain


@pytest.mark.parametrize(
    "fault",
    [
        refuse(401, f"Incorrect API key provided: {KEY}"),
        refuse(501, f"{KEY} is not a decision model"),
        refuse(429, KEY, Retry_After="0"),
        send_text(f"<html>{KEY}"),
        send({"answers": KEY}),
        cut_off,
        refusal,
    ],
)
def test_the_key_shows_nowhere(
    form: Any, fault: Callable[[Any], Http], caplog: pytest.LogCaptureFixture
) -> None:
    """Even if the server repeats the key: no error, traceback, log, repr or pickle."""
    caplog.set_level(logging.DEBUG)
    with DecisionServer(script=[fault] * 2) as server:
        backend = backend_for(form, server, max_retries=1)
        with pytest.raises(LogprobError) as caught:
            the_answer(backend.answer([ask()]))
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


# ------------------------------------------------------------------ the classifier


def leaning(text: str, options: list[str]) -> list[float]:
    """Lean to the option that the text's number says, too confidently."""
    [number] = re.findall(r"\d+", text)
    z = (int(number) - 6) * 0.9
    p = {"positive": 1 / (1 + math.exp(-z)), "negative": 1 / (1 + math.exp(z))}
    return [p[option] for option in options]


def classifier(form: Any, server: DecisionServer, **params: Any) -> LogprobClassifier:
    params = {"classes": list(CLASSES), "verbose": False, **params}
    return LogprobClassifier(backend_for(form, server), **params)


@pytest.mark.parametrize(
    "prompt",
    [None, "Value: {text}", PromptTemplate("Value: {text}", system="One of {labels}.")],
)
def test_the_classifier_learns_with_one_request_a_text(form: Any, prompt: Any) -> None:
    """Calibration and thresholds work, repeats and the second fit ask nothing."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 10, 120)
    y = np.where(numbers + rng.normal(0, 2, 120) > 4, "positive", "negative")
    X = [f"{n} points" for n in numbers]
    with DecisionServer(leaning) as server:
        clf = classifier(form, server, prompt=prompt, threshold="balanced_accuracy")
        clf.fit(X, y)
        assert len(server.calls) == clf.usage_.requests == len(set(X))
        P = clf.predict_proba(X)
        clone(clf).fit(X, y)
        assert clf.score(X, y) > 0.75
        assert len(server.calls) == len(set(X))
    raw = np.array([leaning(x, list(CLASSES)) for x in X])
    np.testing.assert_allclose(np.exp(clf.label_scores(X)), raw, rtol=1e-5)
    truth = np.arange(120), (y == "positive").astype(int)
    assert -np.log(P[truth]).mean() < -np.log(raw[truth]).mean()
    assert clf.label_mass_ == pytest.approx(1)
    assert clf.censored_share_ == 0
    assert len(clf.other_tokens_) == 0
    assert clf.usage_.prompt_tokens == 61 * len(set(X))


def test_of_several_words_a_class_shows_the_first(form: Any) -> None:
    """Others would compete with it, as options of their own."""
    forms = {"good": ["good", "Great Fun"], "bad": "bad", "so-so": "so-so"}
    with DecisionServer() as server:
        clf = LogprobClassifier(
            backend_for(form, server), prompt="{text}", verbalizer=forms, calibrator=None
        ).fit()
        proba = clf.predict_proba(["x"])
    np.testing.assert_allclose(proba, [posterior("x", ["bad", "good", "so-so"])])


def test_the_server_is_asked_at_most_for_255_options(form: Any) -> None:
    """One more is the server's to refuse, and its words are passed on with the limits."""
    names = [f"label {i}" for i in range(256)]
    with DecisionServer() as server:
        backend = backend_for(form, server)
        fits = ask(options=tuple((name, "") for name in names[:255]))
        [(_, answer)] = backend.answer([fits])
        assert math.fsum(math.exp(v) for _, v in answer.choices) == pytest.approx(1)
        more = ask(options=tuple((name, "") for name in names))
        with pytest.raises(BackendError, match=r"between 2 and 255.*this one has 256"):
            list(backend.answer([more]))
