"""The openai backend against a real llama.cpp server, in its own process."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_server import served
from sklearn.base import clone

from sklearn_logprob._types import Answer, Request
from sklearn_logprob.backends.openai import OpenAIBackend

pytestmark = pytest.mark.local

if importlib.util.find_spec("xllamacpp") is None:
    pytest.skip("xllamacpp is not installed", allow_module_level=True)

PROMPTS = [
    "Is the sky blue? Answer yes or no.",
    "Sentiment of 'what a lovely film', positive or negative?",
    "Sentiment of 'a dull, endless bore', positive or negative?",
    "Name the capital of France.",
    "What is 2 + 3?",
    "Is a whale a fish? One word.",
    "Continue: roses are red, violets are",
    "Topic of 'the striker scored twice': sports, politics or science?",
    "Is this spam? 'You have won a prize, click here'",
    "Übersetze 'dog' ins Deutsche.",
]


def smollm2(url: str) -> OpenAIBackend:
    return OpenAIBackend("smollm2", base_url=f"{url}/v1", max_concurrency=2)


def chat(text: str, **params: int) -> Request:
    return Request((("user", text),), **params)


@pytest.fixture(scope="session")
def backend(weights: Path) -> Iterator[OpenAIBackend]:
    with served(weights) as url:
        yield smollm2(url)


@pytest.fixture(scope="session")
def answers(backend: OpenAIBackend) -> list[Answer]:
    """Ask some, with twice the usual number of alternatives."""
    wide = clone(backend).set_params(max_top_logprobs=40)
    found = dict(wide.answer([chat(text, top_logprobs=40) for text in PROMPTS[:4]]))
    return [found[index] for index in sorted(found)]


def test_a_chat_message_gets_20_alternatives(backend: OpenAIBackend) -> None:
    """The first position has as many alternatives as asked for, most likely first."""
    [(index, answer)] = backend.answer([chat(PROMPTS[0])])
    [position] = answer.positions
    logprobs = [logprob for _, logprob in position.top]
    assert index == 0
    assert len(logprobs) == 20
    assert logprobs == sorted(logprobs, reverse=True)
    assert 0.3 < math.fsum(map(math.exp, logprobs)) <= 1.0


def test_the_server_has_no_limit_of_20(answers: list[Answer]) -> None:
    """llama-server returns as many alternatives as max_top_logprobs allows."""
    assert {len(answer.positions[0].top) for answer in answers} == {40}


def test_usage_is_counted(answers: list[Answer]) -> None:
    """Tokens read and generated are known, and the shared beginning was read once."""
    for answer in answers:
        assert answer.usage.completion_tokens == 1
        assert answer.usage.prompt_tokens > answer.usage.cached_tokens
    assert max(answer.usage.cached_tokens for answer in answers) > 0


def test_asking_again_gives_the_same(
    backend: OpenAIBackend, answers: list[Answer]
) -> None:
    """Sampling leaves no trace in log-probabilities; the engine's cache hardly any."""
    again = dict(backend.answer([chat(text) for text in PROMPTS[:4]]))
    for index, answer in again.items():
        first = dict(answers[index].positions[0].top)
        for token, logprob in answer.positions[0].top[:10]:
            assert logprob == pytest.approx(first[token], abs=2e-2)


def test_max_tokens_limits_the_answer(backend: OpenAIBackend) -> None:
    """The server understands the limit that is sent."""
    [(_, answer)] = backend.answer([chat("Count from one to ten.", max_tokens=3)])
    assert answer.usage.completion_tokens == 3
    assert len(answer.positions) == 3


def test_an_answer_prefix_is_continued(backend: OpenAIBackend) -> None:
    """After a prefix that all but gives the answer, the answer is all but certain."""
    request = Request(
        (
            ("user", "What is the capital of France?"),
            ("assistant", "The capital of France is the city of"),
        )
    )
    [(_, answer)] = backend.answer([request])
    token, logprob = answer.positions[0].top[0]
    assert token == " Paris"
    assert logprob > math.log(0.5)


def test_tokens_inside_a_character_are_survived(backend: OpenAIBackend) -> None:
    """Where half an emoji is likely, the server hides it, and yet all are answered."""
    request = Request((("user", "Say 😀😀"), ("assistant", "😀😀")))
    found = [next(backend.answer([request]))[1].positions[0].top for _ in range(4)]
    assert [len(top) for top in found] == [20] * 4
    likeliest = [top[0][1] for top in found]
    assert likeliest == pytest.approx([likeliest[0]] * 4, abs=2e-2)


@pytest.mark.slow
def test_the_embedded_model_agrees(exact_weights: Path) -> None:
    """Server and embedded engine give the same weights the same log-probabilities."""
    llama_cpp = pytest.importorskip("sklearn_logprob.backends.llama_cpp")
    requests = [chat(text, top_logprobs=200) for text in PROMPTS]
    embedded = llama_cpp.LlamaCppBackend(exact_weights, n_ctx=2048, n_threads=1)
    own = dict(embedded.answer(requests))
    with served(exact_weights) as url:
        theirs = dict(smollm2(url).answer(requests))
    for index, text in enumerate(PROMPTS):
        ours = dict(own[index].positions[0].top)
        top = theirs[index].positions[0].top
        shared = [(logprob, ours[token]) for token, logprob in top if token in ours]
        assert len(top) == 20
        assert len(shared) >= 15, text
        np.testing.assert_allclose(*np.transpose(shared), atol=1e-2, err_msg=text)
