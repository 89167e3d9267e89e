"""The verbalised backend: probabilities that a model puts into words."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from anthropic_server import MessagesServer, message
from hypothesis import given
from hypothesis import strategies as st
from servers import send, the_answer
from sklearn.base import clone

from sklearn_logprob import (
    Answer,
    FakeBackend,
    LogprobClassifier,
    RefusedError,
    Request,
    SystemOneBackend,
    TokenUsage,
    UnreadableAnswerError,
    UnsupportedRequestError,
    Verbalizer,
)
from sklearn_logprob.backends._verbal import INSTRUCTION, LEAST, read_words, tokens_needed
from sklearn_logprob.backends.anthropic import AnthropicBackend
from sklearn_logprob.backends.verbalised import VerbalisedBackend
from sklearn_logprob.collect import backend_key

OPTIONS = (("bad", ""), ("good", "at least three stars"))
HALVES = '{"bad": 0.5, "good": 0.5}'


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def ask(text: str = "Fine.", **params: Any) -> Request:
    asked = {"top_logprobs": 0, "options": OPTIONS, **params}
    return Request((("user", text),), **asked)


def backend_for(server: MessagesServer, **params: Any) -> VerbalisedBackend:
    inner = AnthropicBackend(base_url=server.url, max_retries=0, max_concurrency=1)
    return VerbalisedBackend(inner, **params)


def probabilities_in(*texts: str, **params: Any) -> dict[str, float]:
    """Ask once, the model writing these texts in turn."""
    with MessagesServer(script=[send(message(text)) for text in texts]) as server:
        backend = backend_for(server, n_elicitations=len(texts), **params)
        answer = the_answer(backend.answer([ask()]))
    assert len(server.calls) == len(texts)
    return {form: math.exp(value) for form, value in answer.choices}


# ------------------------------------------------------------------ what is asked


def test_the_question_is_exactly_this() -> None:
    """The instruction follows the prompt, with the labels and what they mean."""
    messages = (("system", "Be fair."), ("user", "Review: fine"))
    with MessagesServer(lambda text, times: HALVES) as server:
        request = Request(messages, top_logprobs=0, options=OPTIONS)  # type: ignore[arg-type]
        list(backend_for(server).answer([request]))
    [call] = server.calls
    assert call.body["system"] == "Be fair."
    assert call.body["messages"] == [
        {
            "role": "user",
            "content": "Review: fine\n\n"
            "Instead of choosing one label, give the probability of each of these "
            "labels:\n- bad\n- good: at least three stars\n\n"
            "Answer with one JSON object and nothing else. Its keys are the labels, as "
            "they are written above, and its values are numbers between 0 and 1 that "
            "sum to 1.",
        }
    ]
    assert call.body["max_tokens"] == tokens_needed(OPTIONS) > len(HALVES)


def test_a_raw_prompt_is_asked_in_words_too() -> None:
    """The instruction follows the text in one message; braces in it are no fields."""
    raw = Request((("prompt", "Review: {fine}"),), top_logprobs=0, options=OPTIONS)
    with MessagesServer(lambda text, times: HALVES) as server:
        backend = backend_for(server, instruction='As {"label": p}, of {labels}.')
        list(backend.answer([raw]))
    assert server.calls[0].body["messages"][0]["content"] == (
        'Review: {fine}\n\nAs {"label": p}, of - bad\n- good: at least three stars.'
    )


def test_one_elicitation_is_the_likeliest_answer_and_several_are_drawn() -> None:
    """Draws of different chains differ."""
    request = ask(draw=2)
    one = VerbalisedBackend(FakeBackend())
    assert one._written(ask(), 0).draw == 0
    three = VerbalisedBackend(FakeBackend(), n_elicitations=3)
    assert [three._written(ask(), n).draw for n in range(3)] == [1, 2, 3]
    assert [three._written(request, n).draw for n in range(3)] == [7, 8, 9]


# ------------------------------------------------------------------ what is read


@pytest.mark.parametrize(
    "text",
    [
        '{"bad": 0.2, "good": 0.8}',
        '```json\n{\n  "bad": 0.2,\n  "good": 0.8\n}\n```',
        'I think so: {"bad": 0.2, "good": 0.8}. {It} is {clear}.',
        '{"bad": "20%", "good": "80%"}',
        '{"bad": "20 %", "good": " 0.8 "}',
        '{"bad": 20, "good": 80}',
        '{"bad": "20", "good": "80"}',
        '{"bad": 2, "good": 8}',
        '{"Bad": 0.2, " GOOD ": 0.8}',
        '{"bad": 0.1, "good": 0.4}',
        '{"probabilities": {"bad": 0.2, "good": 0.8}}',
        '{"why": "praise", "good": 0.8, "bad": 0.2, "sure": true}',
        'First {"bad": 0.9, "good": 0.1}, but no: {"bad": 0.2, "good": 0.8}',
        '{"bad": 0.2, "good": 0.8} That is {"all": 1}',
    ],
)
def test_probabilities_are_found_in_what_the_model_writes(text: str) -> None:
    """JSON alone or among other text; shares, percent, of whatever sum, in any case."""
    assert probabilities_in(text) == pytest.approx({"bad": 0.2, "good": 0.8})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"good": 0.8}', LEAST / (LEAST + 0.8)),
        ('{"good": 1, "bad": 0}', LEAST),
        ('{"good": 100, "bad": 0}', LEAST),
        ('{"good": 1e9, "bad": 1}', LEAST),
        ('{"good": 0.8, "bad": NaN}', LEAST / (LEAST + 0.8)),
        ('{"good": 0.8, "bad": -0.2}', LEAST / (LEAST + 0.8)),
        ('{"good": 0.8, "bad": null}', LEAST / (LEAST + 0.8)),
        ('{"good": 0.8, "bad": "low"}', LEAST / (LEAST + 0.8)),
        ('{"good": Infinity, "bad": 0.3}', 0.3 / (LEAST + 0.3)),
        ('{"good": 0, "bad": 0}', 0.5),
    ],
)
def test_nothing_is_impossible(text: str, expected: float) -> None:
    """A label that is missing, unreadable or called impossible has the least share."""
    assert probabilities_in(text)["bad"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "good",
        "{}",
        '{"bad": 0.2, "good": 0.8',
        '["bad", 0.2]',
        '{"other": 1.0}',
        '{"good": true}',
        '{"good": {"p": 0.5}}',
        "{" * 2000,
        '{"a":' * 2000,
    ],
)
def test_an_unreadable_answer_is_the_rows_own_failure(text: str) -> None:
    """It names the row and what the model said instead; other rows are read."""
    script = [send(message(text)), send(message(HALVES))]
    with MessagesServer(script=script) as server:
        found = dict(backend_for(server).answer([ask("a"), ask("b")]))
    failure = found[0]
    assert isinstance(failure, UnreadableAnswerError)
    assert "row 7 of X" in str(failure.for_row(7))
    assert text.strip()[:50] in str(failure)
    assert isinstance(found[1], Answer)


def test_labels_that_differ_in_case_only_are_told_apart() -> None:
    """Exactly as written they are meant; otherwise nobody knows which."""
    forms = ["US", "us", "it"]
    [read] = read_words('{"US": 0.6, "us": 0.3, "IT": 0.1}', forms)
    assert read == pytest.approx([0.6, 0.3, 0.1])
    [read] = read_words('{"Us": 0.6, "it": 0.4}', forms)
    assert read == pytest.approx(np.array([LEAST, LEAST, 0.4]) / (0.4 + 2 * LEAST))


def test_numbers_that_are_none_do_not_count_in_the_sum() -> None:
    """A number below 0 is as good as missing."""
    [read] = read_words('{"a": 60, "b": 30, "c": -30}', ["a", "b", "c"])
    shares = np.array([2 / 3, 1 / 3, LEAST])
    assert read == pytest.approx(shares / shares.sum())


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.sampled_from([1, 100]),
    st.randoms(),
)
def test_what_is_said_is_what_is_read(said: list[float], scale: int, random: Any) -> None:
    """In any order of the labels: sums to one, keeps the order, within the clip."""
    total = sum(said)
    if total == 0:
        said = [1.0] * len(said)
        total = sum(said)
    shares = [share / total for share in said]
    forms = [f"label {k}" for k in range(len(said))]
    pairs = list(zip(forms, (share * scale for share in shares), strict=True))
    random.shuffle(pairs)
    [read] = read_words(json.dumps(dict(pairs)), forms)
    assert read.sum() == pytest.approx(1)
    assert (np.diff(read[np.argsort(shares, kind="stable")]) >= -1e-12).all()
    clipped = np.clip(shares, LEAST, 1 - LEAST)
    assert read == pytest.approx(clipped / clipped.sum(), rel=1e-6)


# ------------------------------------------------------------------ several elicitations


def test_probabilities_are_averaged_not_logarithms() -> None:
    """Each elicitation counts the same."""
    texts = ['{"bad": 0.9, "good": 0.1}', '{"bad": 0.5, "good": 0.5}', HALVES]
    assert probabilities_in(*texts)["good"] == pytest.approx(1.1 / 3)


def test_what_cannot_be_read_is_left_out_of_the_average() -> None:
    """As long as one of the elicitations can."""
    texts = ["Hard to say.", '{"bad": 0.9, "good": 0.1}']
    assert probabilities_in(*texts)["good"] == pytest.approx(0.1)


def test_usage_adds_up_and_choices_keep_the_order_of_the_options() -> None:
    """All tokens of all elicitations."""
    with MessagesServer(lambda text, times: HALVES) as server:
        answer = the_answer(backend_for(server, n_elicitations=3).answer([ask()]))
    assert answer.usage == TokenUsage(126, 6, 24)
    assert [form for form, _ in answer.choices] == ["bad", "good"]
    assert answer.positions == answer.draws == ()


def test_the_build_that_wrote_is_named() -> None:
    """As the server names it."""
    with MessagesServer(script=[send(message(HALVES))]) as server:
        answer = the_answer(backend_for(server).answer([ask()]))
    assert answer.build == "claude-haiku-4-5-20251001"


# ------------------------------------------------------------------ failures


def test_a_refusal_is_the_rows_own() -> None:
    """Of any of its elicitations."""
    refusal = send(message(None, stop_reason="refusal"))
    script = [send(message(HALVES)), refusal, *[send(message(HALVES))] * 2]
    with MessagesServer(script=script) as server:
        backend = backend_for(server, n_elicitations=2)
        found = dict(backend.answer([ask("a"), ask("b")]))
    assert isinstance(found[0], RefusedError) and found[0].index == 0
    assert isinstance(found[1], Answer)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (ask(options=()), "label_scoring= at 'auto'"),
        (
            Request((("user", "a"), ("assistant", "b")), top_logprobs=0, options=OPTIONS),
            "end of the user message",
        ),
    ],
)
def test_requests_that_do_not_fit_are_refused(request_: Request, says: str) -> None:
    """Before anything is asked, with the fix."""
    with pytest.raises(UnsupportedRequestError, match=says):
        VerbalisedBackend(FakeBackend()).check([request_])


def test_a_backend_that_decides_is_refused() -> None:
    """It gives probabilities itself."""
    with pytest.raises(UnsupportedRequestError, match="without VerbalisedBackend"):
        VerbalisedBackend(SystemOneBackend()).check([ask()])


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"n_elicitations": 0}, "'n_elicitations' .* at least 1. Got 0 instead"),
        ({"instruction": "Which?"}, "'instruction' .* Got 'Which\\?' instead"),
        ({"backend": "nobody:x"}, "'backend' .* Got 'nobody:x' instead"),
    ],
)
def test_wrong_parameters_are_found_before_any_call(
    params: dict[str, Any], says: str
) -> None:
    """The constructor takes anything; asking names the parameter."""
    backend = VerbalisedBackend(**{"backend": FakeBackend(), **params})
    with pytest.raises(ValueError, match=says):
        backend.answer([ask()])


# ------------------------------------------------------------------ an estimator


def test_the_identity_holds_what_changes_an_answer() -> None:
    """The inner backend's and its own parameters; copies are equal."""
    backend = VerbalisedBackend(AnthropicBackend(), n_elicitations=2)
    assert json.loads(json.dumps(backend.answer_identity())) == backend.answer_identity()
    for other in (
        clone(backend).set_params(backend__model="claude-sonnet-5"),
        clone(backend).set_params(n_elicitations=3),
        clone(backend).set_params(instruction=INSTRUCTION + " Think."),
        VerbalisedBackend(FakeBackend(), n_elicitations=2),
    ):
        assert backend_key(other) != backend_key(backend)
    for twin in (clone(backend), pickle.loads(pickle.dumps(backend))):
        assert backend_key(twin) == backend_key(backend)
    assert backend.requests_per_row == 2


def test_a_classifier_reads_and_calibrates_them() -> None:
    """From HTTP to calibrated probabilities; descriptions reach the model."""

    def says(text: str, times: int) -> str:
        p = 0.9 if "great" in text else 0.6  # never below one half: biased
        return json.dumps({"negative": round(1 - p, 2), "positive": p})

    texts = [f"{word} {i}" for i in range(8) for word in ("great", "dull")]
    y = ["positive", "negative"] * 8
    verbalizer = Verbalizer(descriptions={"negative": "one star"})
    with MessagesServer(says) as server:
        clf = LogprobClassifier(
            backend_for(server), prompt="{text}", verbalizer=verbalizer
        )
        plain = clone(clf).set_params(calibrator=None, classes=["negative", "positive"])
        uncalibrated = plain.fit().predict_proba(["great 0", "dull 0"])
        assert uncalibrated[:, 1] == pytest.approx([0.9, 0.6])
        assert clf.fit(texts, y).predict(["great 0", "dull 0"]).tolist() == y[:2]
        assert clf.label_mass_ == pytest.approx(1)
    assert (
        "- negative: one star\n- positive\n"
        in server.calls[0].body["messages"][0]["content"]
    )
    assert len(server.calls) == 16
