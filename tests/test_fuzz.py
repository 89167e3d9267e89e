"""What servers, models and users write is read or refused, and breaks nothing."""

from __future__ import annotations

import copy
import json
import math
from contextlib import suppress

import fuzz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_logprob import (
    FakeBackend,
    GeminiDecisionsBackend,
    LogprobClassifier,
    OpenAIDecisionsBackend,
    SystemOneBackend,
    Verbalizer,
)
from sklearn_logprob._answer_json import decode, encode
from sklearn_logprob._errors import LogprobError
from sklearn_logprob._types import Answer, Request, TokenLogprobs
from sklearn_logprob.backends import (
    _anthropic_batch,
    _anthropic_wire,
    _gemini_batch,
    _gemini_wire,
    _llama_wire,
    _ollama_wire,
    _openai_reading,
    _openai_wire,
    _sglang_wire,
    _vllm_wire,
)
from sklearn_logprob.backends._decisions import QUESTION, scores
from sklearn_logprob.backends._http import HttpError
from sklearn_logprob.backends._params import MALFORMED
from sklearn_logprob.backends._verbal import read_words

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([10**12, -1, 256, 1e308, -9999, 0]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1", "-inf", "nan", "\ud800", "a" * 2000]),
)
ANYTHING = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)

TOP = [{"token": "a", "logprob": -0.5, "bytes": [97]}, {"token": "b", "logprob": -1.0}]
OPENAI = {
    "choices": [
        {
            "message": {"content": "a"},
            "finish_reason": "length",
            "logprobs": {"content": [{**TOP[0], "top_logprobs": TOP}]},
        }
    ],
    "usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}},
    "system_fingerprint": "fp",
}
TOGETHER = copy.deepcopy(OPENAI)
TOGETHER["choices"][0]["logprobs"] = {
    "tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5}]
}  # fmt: skip
GEMINI = {
    "candidates": [
        {
            "content": {"parts": [{"text": "a"}]},
            "finishReason": "STOP",
            "logprobsResult": {
                "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
                "topCandidates": [
                    {"candidates": [{"token": "a", "logProbability": -0.5}]}
                ],
            },
        }
    ],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1},
    "modelVersion": "m",
}
OLLAMA = {
    "message": {"content": "a"},
    "done_reason": "stop",
    "logprobs": [{**TOP[0], "top_logprobs": TOP}],
    "prompt_eval_count": 3,
}
ANTHROPIC = {
    "content": [{"type": "text", "text": "a"}],
    "usage": {"input_tokens": 3, "output_tokens": 1},
    "stop_reason": "end_turn",
    "stop_details": {"category": "c", "explanation": "e"},
}
READERS = {
    "openai": (OPENAI, lambda said: _openai_wire.read_reply(json.dumps(said))),
    "together": (TOGETHER, lambda said: _openai_wire.read_reply(json.dumps(said))),
    "gemini": (GEMINI, _gemini_wire.read_reply),
    "ollama": (OLLAMA, _ollama_wire.read_reply),
    "anthropic": (ANTHROPIC, _anthropic_wire.read_reply),
}


def places(said, path=()):
    """Give the way to every value within a JSON value."""
    yield path
    if isinstance(said, dict | list):
        inner = said.items() if isinstance(said, dict) else enumerate(said)
        for key, value in inner:
            yield from places(value, (*path, key))


def with_odd(said, path, odd):
    """Put something else in one place."""
    if not path:
        return odd
    changed = copy.copy(said)
    changed[path[0]] = with_odd(changed[path[0]], path[1:], odd)
    return changed


@st.composite
def spoiled(draw, said):
    """Give a reply in which up to three places hold something else."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(said))[1:]))
        said = with_odd(said, path, draw(ANYTHING))
    return said


def is_sound(reply):
    """Tell whether all that is read has the type that the rest relies on."""
    usage = vars_of(reply.usage)
    assert all(isinstance(count, int) for count in usage)
    assert isinstance(reply.text, str)
    assert all(isinstance(p, TokenLogprobs) for p in getattr(reply, "positions", ()))
    for position in getattr(reply, "positions", ()):
        for token, value in ((position.token, position.logprob), *position.top):
            assert isinstance(token, str)
            assert isinstance(value, float)
            assert value <= 0 and math.isfinite(value)
    reason = reply.stop_reason if hasattr(reply, "stop_reason") else reply.finish_reason
    assert reason is None or isinstance(reason, str)
    return True


def vars_of(usage):
    return usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens


@pytest.mark.parametrize("name", READERS)
def test_good_replies_are_read(name):
    """What the fuzzing below begins with is in the format."""
    said, read = READERS[name]
    assert is_sound(read(said))
    assert read(said).text == "a"


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@settings(max_examples=100)
@given(data=st.data())
def test_replies_are_read_or_refused(name, data):
    """None, or a reply whose parts are of their types: never an error of ours."""
    said, read = READERS[name]
    reply = read(data.draw(spoiled(said)))
    assert reply is None or is_sound(reply)


LLAMA_TOKENS = [{"id": 7, "token": "a", "bytes": [97], "logprob": -0.5}]
LLAMA = {
    "content": "a",
    "tokens_predicted": 1,
    "timings": {"cache_n": 1},
    "completion_probabilities": [{**LLAMA_TOKENS[0], "top_logprobs": LLAMA_TOKENS}],
}
LLAMA_MODEL = {
    "props": {
        "model_path": "m",
        "chat_template": "t",
        "default_generation_settings": {"n_ctx": 8},
    },
    "models": {"data": [{"meta": {"n_params": 1, "n_vocab": 2, "size": 3}}]},
}
VLLM = {
    "choices": [
        {
            "text": "a",
            "logprobs": {
                "tokens": ["token_id:7"],
                "token_logprobs": [-0.5],
                "top_logprobs": [{"token_id:7": -0.5, "token_id:8": -1.0}],
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}},
}
SGLANG = {
    "text": "a",
    "meta_info": {
        "prompt_tokens": 3,
        "output_token_logprobs": [[-0.5, 7, "a"]],
        "output_top_logprobs": [[[-0.5, 7, "a"], [-1.0, 8, "b"]]],
        "output_token_ids_logprobs": [[[-1.5, 9, None]]],
    },
}
MESSAGES = {
    "id": "msgbatch_1",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 2},
    "created_at": "2026-11-22T09:00:00.123456Z",
    "results_url": "http://u/v1/messages/batches/msgbatch_1/results",
}
OPERATION = {
    "name": "batches/1",
    "metadata": {
        "displayName": "token",
        "createTime": "2026-11-22T09:00:00.123456789Z",
        "state": "BATCH_STATE_SUCCEEDED",
        "batchStats": {"requestCount": "2", "pendingRequestCount": "0"},
    },
    "done": True,
    "error": {"code": 1, "message": "cancelled"},
    "response": {
        "inlinedResponses": {"inlinedResponses": [{"metadata": {"key": "n"}}]},
    },
}


def llama_values(said):
    """Give all log-probabilities that a reply of llama-server shows."""
    steps = [_llama_wire._next_tokens(said), *_llama_wire._written(said)[1]]
    return [value for step in steps for _, _, value in (*step.shown,)]


def vllm_values(said):
    *_, positions = _vllm_wire._written(said)
    return [value for _, values in positions for value in values.values()]


def sglang_values(said):
    *_, steps = _sglang_wire._written(said, 2)
    return [value for step in steps for value in step.log_probs.values()]


def are_log_probs(values):
    """Tell whether they are numbers that the rest can count with."""
    whole = int | float  # JSON's 0 is no float
    return all(isinstance(v, whole) and math.isfinite(v) and v <= 0 for v in values)


def is_look(look):
    """Tell whether all that is shown of a job is text."""
    texts = look.status, look.done, look.why, look.failed
    return all(isinstance(text, str) for text in texts)


def are_named(page):
    """Tell whether jobs on a page have names."""
    return all(isinstance(job[0], str) for job in page[0])


PARTS = {
    "llama-server": (LLAMA, llama_values, are_log_probs),
    "llama-server-model": (
        LLAMA_MODEL,
        _llama_wire._described,
        lambda model: isinstance(model.n_ctx, int),
    ),
    "vllm": (
        VLLM,
        vllm_values,
        lambda values: are_log_probs(map(_vllm_wire.log_prob, values)),
    ),
    "sglang": (SGLANG, sglang_values, are_log_probs),
    "anthropic-job": (MESSAGES, _anthropic_batch._shown, is_look),
    "anthropic-jobs": (
        {"data": [MESSAGES], "has_more": True},
        _anthropic_batch._listed,
        are_named,
    ),
    "google-job": (OPERATION, _gemini_batch._shown, is_look),
    "google-jobs": ({"operations": [OPERATION]}, _gemini_batch._listed, are_named),
}


@pytest.mark.parametrize("name", PARTS)
def test_good_parts_are_read(name):
    """What the fuzzing below begins with is in the format."""
    said, read, is_right = PARTS[name]
    assert read(said) and is_right(read(said))


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
@settings(max_examples=100)
@given(data=st.data())
def test_parts_are_read_or_refused(name, data):
    """By an error of those that become the backend's."""
    said, read, is_right = PARTS[name]
    try:
        found = read(data.draw(spoiled(said)))
    except MALFORMED:
        return
    assert is_right(found)


ODDS = {"a": 0.25, "b": 0.75}
USAGE = {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 1}}
LISTED = [{"value": name, "probability": p} for name, p in ODDS.items()]
DECISIONS = {
    "openai": (
        OpenAIDecisionsBackend(),
        {"answers": [{"type": "choice", "probabilities": LISTED}], "usage": USAGE},
    ),
    **{
        name: (
            backend,
            {
                "answers": {QUESTION: {"type": "choice", "probabilities": ODDS}},
                "usage": USAGE,
            },
        )
        for name, backend in {
            "systemone": SystemOneBackend(),
            "gemini": GeminiDecisionsBackend(),
        }.items()
    },
}


def decide(backend, said):
    refusal, shown, _ = backend._read(said, "who", "key")
    return refusal or dict(scores(shown, ["a", "b"], "who"))


@pytest.mark.parametrize("name", DECISIONS)
def test_good_decisions_are_read(name):
    """What the fuzzing below begins with is in the format."""
    assert decide(*DECISIONS[name])["a"] == pytest.approx(math.log(0.25))


@pytest.mark.slow
@pytest.mark.parametrize("name", DECISIONS)
@settings(max_examples=100)
@given(data=st.data())
def test_decisions_are_read_or_refused(name, data):
    """Probabilities that sum to 1, a refusal, or the backend's error."""
    backend, said = DECISIONS[name]
    with suppress(LogprobError):
        found = decide(backend, data.draw(spoiled(said)))
        if not isinstance(found, str):
            total = math.fsum(map(math.exp, found.values()))
            assert total == pytest.approx(1)


FAILURES = {
    "anthropic": (
        {"result": {"error": {"error": {"type": "api_error", "message": "no"}}}},
        _anthropic_batch._error,
    ),
    "google": ({"error": {"code": 3, "message": "no"}}, _gemini_batch._error),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
@settings(max_examples=100)
@given(data=st.data())
def test_what_failed_in_a_batch_is_said_somehow(name, data):
    """Whatever stands in place of the error."""
    said, read = FAILURES[name]
    assert isinstance(read(data.draw(spoiled(said))), HttpError)


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 500])
@settings(max_examples=50)
@given(data=st.data())
def test_lines_of_results_are_answers_or_errors(status, data):
    """Of ours: none that Python raises where something is not what it should be."""
    error = {"message": "no", "code": "x"}
    body = OPENAI if status == 200 else {"error": error}
    said = {"custom_id": "1", "response": {"status_code": status, "body": body}}
    line = data.draw(spoiled({**said, "error": error}))
    assert len(_openai_reading.response_in_line(line)) == 2
    who = {"model": "m", "url": "u", "key": "k", "api_key_env": "K"}
    with suppress(LogprobError):
        request = Request((("user", "Hello"),))
        answer = _openai_reading.answer_in_line(line, request, 0, **who)
        assert isinstance(answer, Answer)


@given(st.text(alphabet='{}[]",:0123e-nulltrue \\u', max_size=60) | st.text())
def test_bodies_that_are_no_json(text):
    """Whatever the bytes are."""
    assert _openai_wire.read_reply(text) is None or text.strip()
    with suppress(ValueError):
        assert decode(text) is None


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"choices":' * 100_000, '{"a":' * 10**5]
)
def test_deep_nesting_is_refused(text):
    """A reply can be deeper than Python's stack."""
    assert _openai_wire.read_reply(text) is None
    assert decode(text) is None
    assert read_words(text, ["a", "b"]) == []


def test_a_count_of_bytes_takes_no_memory():
    """``"bytes": 10**12`` is no list; given to bytes() it would be a terabyte."""
    entry = {"token": "a", "logprob": -0.5, "bytes": 10**12}
    assert _openai_wire.read_position(entry).token == "a"


@pytest.mark.slow
@settings(max_examples=100)
@given(
    st.recursive(ODD, lambda x: st.dictionaries(st.sampled_from("ab"), x, max_size=3)),
    st.text(alphabet='{}"ab:1,% ', max_size=20),
)
def test_what_a_model_writes_is_read_or_not(said, around):
    """Probabilities that sum to 1, or none: from any JSON within any text."""
    for text in (json.dumps(said), around + json.dumps({"a": said}) + around, around):
        for read in read_words(text, ["a", "b"]):
            assert read.min() > 0 and read.sum() == pytest.approx(1)


@pytest.mark.slow
@settings(max_examples=100)
@given(data=st.data())
def test_stored_answers_are_read_or_missed(data):
    """Any change of what is stored gives an answer of the right types, or none."""
    top = (("a", -0.5), ("b", -1.0))
    answer = Answer((TokenLogprobs("a", -0.5, top),), top, draws=(("a", 1),), build="b")
    said = data.draw(spoiled(json.loads(encode(answer))))
    found = decode(json.dumps(said))
    if found is not None:
        pairs = [*found.choices, *((p.token, p.logprob) for p in found.positions)]
        assert all(isinstance(t, str) and isinstance(v, float) for t, v in pairs)
        assert isinstance(found.build, str)


names = st.text(max_size=6) | st.integers(-3, 3) | st.booleans()


@given(
    st.lists(names, min_size=1, max_size=5, unique_by=lambda name: (type(name), name)),
    st.dictionaries(names, st.text(max_size=6) | st.lists(st.text(max_size=6))),
    st.booleans(),
)
def test_labels_have_words_of_their_own_or_are_refused(classes, forms, pool):
    """Each class has a spelling, and none is that of two classes."""
    verbalizer = Verbalizer({**{c: str(c) for c in classes}, **forms}, pool_case=pool)
    with suppress(ValueError, TypeError):
        spellings = verbalizer.spellings(classes)
        assert len(spellings) == len(classes) and all(spellings)
        every = [text for texts in spellings for text in texts]
        assert len(set(every)) == len(every)


@settings(max_examples=25)
@given(st.lists(st.text(), min_size=1, max_size=4), st.text(max_size=20))
def test_any_text_can_be_classified(texts, template):
    """Probabilities for each row, or an error about the prompt or the texts."""
    clf = LogprobClassifier(
        FakeBackend(), prompt=template + "{text}", classes=["no", "yes"], cache=None
    )
    with suppress(ValueError):
        assert clf.fit().predict_proba(texts).shape == (len(texts), 2)


def test_everything_that_is_steered_by_coverage_is_there():
    """`fuzz.py` knows tests and formats by their names; bytes are arguments of each."""
    for target in fuzz.TARGETS:
        fuzz.find(target)(bytes(64))
