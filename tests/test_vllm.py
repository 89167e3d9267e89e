"""The vLLM backend: what is particular to vLLM's format, over HTTP on loopback."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fake_llama_server import BOS, PIECES, log_probs, split
from servers import refuse, send
from token_server import FakeVLLM, beginnings, log_probs_in_turn, piece

from sklearn_logprob import Answer, LogprobClassifier, Request
from sklearn_logprob._errors import (
    BackendError,
    LogprobsUnavailableError,
    UnsupportedRequestError,
)
from sklearn_logprob.backends.vllm import VLLMBackend

PROMPT = "Review: fine"
START = [BOS, *split(PROMPT)]
COMPLETION = {
    "model": "toy",
    "prompt": START,
    "max_tokens": 1,
    "temperature": 0,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
BY_NUMBER = {"return_tokens_as_token_ids": True}


def ask(server: FakeVLLM, request: Request, **params: Any) -> Answer:
    backend = VLLMBackend(base_url=f"{server.url}/v1", max_retries=0, **params)
    [(_, answer)] = backend.answer([request])
    assert isinstance(answer, Answer)
    return answer


def raw(*choices: str, **params: Any) -> Request:
    return Request((("prompt", PROMPT),), choices, **params)


def test_what_is_sent_for_a_raw_prompt() -> None:
    """Texts are split, the likeliest asked for as numbers, then those still missing."""
    sure = [-0.5 if p == b" yes" else -50.0 for p in PIECES]
    with FakeVLLM(likely=lambda tokens: sure) as server:
        ask(server, raw(" no", " yes", top_logprobs=1))
    assert server.asked("/tokenize") == [
        {"model": "toy", "prompt": PROMPT, "add_special_tokens": True},
        {"model": "toy", "prompt": ": fine", "add_special_tokens": False},
        {"model": "toy", "prompt": ": fine no", "add_special_tokens": False},
        {"model": "toy", "prompt": ": fine yes", "add_special_tokens": False},
    ]
    [no] = split(" no")
    assert server.asked("/v1/completions") == [
        COMPLETION | BY_NUMBER | {"logprobs": 1},
        COMPLETION | BY_NUMBER | {"logprobs": 1, "logprob_token_ids": [no]},
    ]


def test_what_is_sent_for_text_alone() -> None:
    """No log-probabilities; a draw has temperature 1 and its number as seed."""
    with FakeVLLM() as server:
        ask(server, raw(top_logprobs=0, max_tokens=5))
        ask(server, raw(top_logprobs=0, max_tokens=5, draw=7))
    likeliest, drawn = server.asked("/v1/completions")
    assert likeliest == COMPLETION | {"max_tokens": 5}
    assert drawn == COMPLETION | {"max_tokens": 5, "temperature": 1, "seed": 7}


def test_what_is_sent_for_a_chat() -> None:
    """The template opens an answer, or goes on with the one that was begun."""
    user, begun = ("user", "U"), ("assistant", "A:")
    with FakeVLLM() as server:
        ask(server, Request((user,)))
        ask(server, Request((user, begun)))
    written = {"role": "user", "content": "U"}
    told = {"model": "toy", "chat_template_kwargs": {"enable_thinking": False}}
    assert server.asked("/tokenize") == [
        {
            "messages": [written],
            "add_generation_prompt": True,
            "continue_final_message": False,
            **told,
        },
        {
            "messages": [written, {"role": "assistant", "content": "A:"}],
            "add_generation_prompt": False,
            "continue_final_message": True,
            **told,
        },
    ]


def test_few_requests_are_sent() -> None:
    """Likely one-token labels cost one; no beginning is asked for twice."""
    sure = [-0.8 if p in (b" yes", b" no") else -50.0 for p in PIECES]
    with FakeVLLM(likely=lambda tokens: sure) as server:
        ask(server, raw(" no", " yes", top_logprobs=2))
        assert len(server.asked("/v1/completions")) == 1
        ask(server, raw(" New City", " New York", " no", " yes", top_logprobs=2))
    prompts = [body["prompt"] for body in server.asked("/v1/completions")]
    assert prompts == [START, START, START, [*START, *split(" New")]]


def test_more_than_128_tokens_take_several_requests() -> None:
    """All of them exact, where the server takes 128 at a time."""
    choices = beginnings()
    with FakeVLLM() as server:
        answer = ask(server, raw(*choices, top_logprobs=1))
    sizes = [
        len(body["logprob_token_ids"])
        for body in server.asked("/v1/completions")
        if body["prompt"] == START and "logprob_token_ids" in body
    ]
    assert sizes[0] == 128 and sum(sizes) in (len(choices), len(choices) - 1)
    for choice, value in answer.choices:
        expected = log_probs_in_turn(START, split(choice))
        assert value == pytest.approx(expected, abs=1e-5)


def test_tokens_that_look_alike_are_told_apart() -> None:
    """Parts of characters share the text U+FFFD; none of them swallows another."""
    values = log_probs(tuple(START))
    parts = sorted((v for t, v in enumerate(values) if piece(t) == "�"), reverse=True)
    with FakeVLLM() as server:
        [position] = ask(server, raw()).positions
    found = [value for text, value in position.top if text == "�"]
    assert len(found) > 2
    assert found == pytest.approx(parts[: len(found)], abs=1e-5)


def test_the_text_of_a_token_is_asked_for_once() -> None:
    """Whatever the number of prompts that it is likely after."""
    with FakeVLLM(likely=lambda tokens: log_probs((BOS,))) as server:
        for text in ("one", "two", "three"):
            ask(server, Request((("prompt", text),), top_logprobs=5))
    looked_up = [body["tokens"] for body in server.asked("/detokenize")]
    single = [tokens for tokens in looked_up if len(tokens) == 1]
    assert len(single) == 5


def test_the_older_model_runner_hides_the_likeliest_tokens() -> None:
    """Beside requests by number it shows one token and a filler; scores stay exact."""
    with FakeVLLM(mixed=True) as server:
        answer = ask(server, raw(" no", " yes"))
    values = log_probs(tuple(START))
    [(text, value)] = answer.positions[0].top
    assert text == piece(values.index(max(values)))
    assert value == pytest.approx(max(values), abs=1e-5)
    for choice, found in answer.choices:
        expected = log_probs_in_turn(START, split(choice))
        assert found == pytest.approx(expected, abs=1e-5)


def test_an_old_server_is_told_from_a_new_one() -> None:
    """It ignores the numbers: the error names the version, and what works there."""
    with FakeVLLM(old=True) as server:
        with pytest.raises(
            LogprobsUnavailableError, match=r"0\.26 or later\. exact=False"
        ):
            ask(server, raw(" New York"))
        backend = VLLMBackend(base_url=server.url, exact=False, max_retries=0)
        clf = LogprobClassifier(backend, classes=["no", "yes"], calibrator=None).fit()
        assert clf.predict_proba(["x"]).sum() == pytest.approx(1.0)


def test_a_server_that_refuses_numbers_says_what_works_there() -> None:
    """Its own words, and the parameter that does without."""
    shown = {"tokens": ["token_id:5"], "token_logprobs": [-0.1], "top_logprobs": [None]}
    first = send({"choices": [{"text": "a", "logprobs": shown}]})
    said = "Requested logprob_token_ids of length 1, which is greater than max allowed: 0"
    with (
        FakeVLLM({"/v1/completions": [first, refuse(400, said)]}) as server,
        pytest.raises(UnsupportedRequestError, match=r"of length 1.*exact=False"),
    ):
        ask(server, raw(" yes"))


def test_too_many_alternatives_name_the_servers_flag() -> None:
    """The server's refusal is passed on, with both remedies."""
    with FakeVLLM() as server:
        both = r"max allowed: 20.*max_top_logprobs=.*--max-logprobs"
        with pytest.raises(UnsupportedRequestError, match=both):
            ask(server, raw(top_logprobs=30), max_top_logprobs=30)


def test_logits_are_not_taken_for_log_probabilities() -> None:
    """Their exponentials add up to more than 1."""
    says = "without --logprobs-mode"
    with (
        FakeVLLM(logits=True) as server,
        pytest.raises(LogprobsUnavailableError, match=says),
    ):
        ask(server, raw())


NONE_AT_ALL = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
NO_VALUE = {"tokens": ["token_id:5"], "token_logprobs": [None], "top_logprobs": [None]}
AS_TEXT = {"tokens": ["a"], "token_logprobs": [-0.1], "top_logprobs": [{"a": -0.1}]}


@pytest.mark.parametrize(
    "shown", [None, NONE_AT_ALL, NO_VALUE, AS_TEXT, {"tokens": ["a"]}]
)
def test_answers_without_log_probabilities_are_refused(shown: Any) -> None:
    """Better none than made-up ones."""
    choice = {"text": "a", "logprobs": shown, "finish_reason": "length"}
    with (
        FakeVLLM({"/v1/completions": [send({"choices": [choice]})]}) as server,
        pytest.raises(BackendError, match=r"must be vLLM 0\.26 or later"),
    ):
        ask(server, raw())


def test_a_null_is_no_probability() -> None:
    """Should a proxy write one, it is neither 0 nor an error."""
    top = {"token_id:9": None, "token_id:5": -0.25}
    shown = {"tokens": ["token_id:5"], "token_logprobs": [-0.25], "top_logprobs": [top]}
    reply = send({"choices": [{"text": "a", "logprobs": shown}]})
    with FakeVLLM({"/v1/completions": [reply]}) as server:
        [position] = ask(server, raw()).positions
    assert position.top == ((piece(5), -0.25),)
    assert math.isclose(position.logprob, -0.25)


def test_an_adapter_is_asked_for_by_its_name() -> None:
    """LoRA adapters are models of their own to vLLM."""
    with FakeVLLM() as server:
        ask(server, raw(" yes"), model="tuned")
    bodies = [call.body for call in server.calls if call.body]
    assert {body["model"] for body in bodies} == {"tuned"}


def test_the_identity_has_the_servers_version() -> None:
    """Another version may compute otherwise."""
    with FakeVLLM() as server, FakeVLLM(old=True) as old:
        found = [VLLMBackend(base_url=s.url).answer_identity() for s in (server, old)]
    assert [identity["version"] for identity in found] == ["0.33.0", "0.25.0"]
