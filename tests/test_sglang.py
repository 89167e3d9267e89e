"""The SGLang backend: what is particular to SGLang's format, over HTTP on loopback."""

from __future__ import annotations

from typing import Any

import pytest
from fake_llama_server import BOS, split
from servers import send
from token_server import FakeSGLang, beginnings, log_probs_in_turn

from sklearn_logprob import Answer, Request
from sklearn_logprob._errors import LogprobsUnavailableError, UnsupportedRequestError
from sklearn_logprob.backends.sglang import SGLangBackend

PROMPT = "Review: fine"
START = [BOS, *split(PROMPT)]
SAMPLING = {
    "max_new_tokens": 1,
    "temperature": 0,
    "top_p": 1,
    "top_k": -1,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
SHOWN = {"return_logprob": True, "logprob_start_len": -1, "return_text_in_logprobs": True}


def ask(server: FakeSGLang, request: Request, **params: Any) -> Answer:
    backend = SGLangBackend(base_url=server.url, max_retries=0, **params)
    [(_, answer)] = backend.answer([request])
    assert isinstance(answer, Answer)
    return answer


def raw(*choices: str, **params: Any) -> Request:
    return Request((("prompt", PROMPT),), choices, **params)


def test_what_is_sent_for_a_raw_prompt() -> None:
    """Labels are split in one request; likely tokens and theirs come in one answer."""
    with FakeSGLang() as server:
        ask(server, raw(" no", " yes", top_logprobs=5))
    texts = [": fine", ": fine no", ": fine yes"]
    assert server.asked("/v1/tokenize") == [
        {"prompt": [PROMPT], "add_special_tokens": True},
        {"prompt": texts, "add_special_tokens": False},
    ]
    assert server.asked("/v1/detokenize") == [
        {"tokens": START[-2:], "skip_special_tokens": False}
    ]
    wanted = sorted([*split(" no"), *split(" yes")])
    assert server.asked("/generate") == [
        {
            "input_ids": START,
            "sampling_params": SAMPLING,
            **SHOWN,
            "top_logprobs_num": 5,
            "token_ids_logprob": wanted,
        }
    ]


def test_what_is_sent_for_text_alone() -> None:
    """No log-probabilities; a draw has temperature 1 and its number as seed."""
    with FakeSGLang() as server:
        ask(server, raw(top_logprobs=0, max_tokens=5))
        ask(server, raw(top_logprobs=0, max_tokens=5, draw=7))
    likeliest, drawn = server.asked("/generate")
    longer = SAMPLING | {"max_new_tokens": 5}
    assert likeliest == {"input_ids": START, "sampling_params": longer}
    heated = longer | {"temperature": 1, "sampling_seed": 7}
    assert drawn == {"input_ids": START, "sampling_params": heated}


def test_what_is_sent_for_a_chat() -> None:
    """The template opens an answer, and a begun one is gone on with."""
    user, begun = ("user", "U"), ("assistant", "A:")
    with FakeSGLang() as server:
        ask(server, Request((user,)))
        ask(server, Request((user, begun)))
    written = {"role": "user", "content": "U"}
    told = {"chat_template_kwargs": {"enable_thinking": False}}
    assert server.asked("/v1/tokenize") == [
        {"messages": [written], "continue_final_message": False, **told},
        {
            "messages": [written, {"role": "assistant", "content": "A:"}],
            "continue_final_message": True,
            **told,
        },
    ]


def test_a_row_takes_one_request_and_one_for_each_longer_beginning() -> None:
    """However many labels begin so, and however unlikely they are."""
    with FakeSGLang() as server:
        answer = ask(server, raw(" New City", " New York", " no", " yes"))
    sent = server.asked("/generate")
    assert [body["input_ids"] for body in sent] == [START, [*START, *split(" New")]]
    assert sent[1]["token_ids_logprob"] == sorted([*split(" City"), *split(" York")])
    for choice, value in answer.choices:
        expected = log_probs_in_turn(START, split(choice))
        assert value == pytest.approx(expected, abs=1e-5)


def test_any_number_of_tokens_is_asked_for_at_once() -> None:
    """The server has no limit, so many first tokens take no second request."""
    choices = beginnings()
    with FakeSGLang() as server:
        ask(server, raw(*choices))
    [start] = [body for body in server.asked("/generate") if body["input_ids"] == START]
    assert len(start["token_ids_logprob"]) == len(choices) > 128


def test_an_adapter_is_asked_for_by_its_name() -> None:
    """LoRA adapters are chosen for each generation."""
    with FakeSGLang() as server:
        ask(server, raw(" yes"), model="tuned")
        ask(server, raw(" yes"))
    tuned, plain = server.asked("/generate")
    assert tuned["lora_path"] == "tuned"
    assert "lora_path" not in plain


def test_chats_need_a_newer_server_than_raw_prompts() -> None:
    """Which the error says, with the version."""
    with FakeSGLang(old=True) as server:
        assert ask(server, raw(" yes")).choices
        with pytest.raises(
            UnsupportedRequestError, match=r"before 0\.5\.12.*raw prompts"
        ):
            ask(server, Request((("user", "U"),)))


ONE = [[-0.1, 5, "a"]]


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"output_token_logprobs": [], "output_top_logprobs": []},
        {"output_token_logprobs": ONE, "output_top_logprobs": [None]},
        {"output_token_logprobs": ONE, "output_top_logprobs": [[[None, 5, "a"]]]},
    ],
)
def test_answers_without_log_probabilities_are_refused(meta: Any) -> None:
    """Better none than made-up ones."""
    reply = send({"text": "a", "meta_info": meta})
    with (
        FakeSGLang({"/generate": [reply]}) as server,
        pytest.raises(LogprobsUnavailableError, match="without log-probabilities"),
    ):
        ask(server, raw())


def test_a_server_that_ignores_the_numbers_gives_no_scores() -> None:
    """Better none than those of other tokens."""
    meta = {
        "output_token_logprobs": [[-0.1, 5, "a"]],
        "output_top_logprobs": [[[-0.1, 5, "a"]]],
    }
    reply = send({"text": "a", "meta_info": meta})
    says = r"token_ids_logprob.*exact=False"
    with (
        FakeSGLang({"/generate": [reply] * 2}) as server,
        pytest.raises(LogprobsUnavailableError, match=says),
    ):
        ask(server, raw(" yes"))


def test_a_position_without_entries_is_null() -> None:
    """SGLang writes null for an empty list of tokens; others are read all the same."""
    meta = {
        "output_token_logprobs": [[-0.1, 5, "a"], [-0.2, 6, "b"]],
        "output_top_logprobs": [[[-0.1, 5, "a"], [None, 7, "c"]], None],
    }
    reply = send({"text": "ab", "meta_info": meta})
    with FakeSGLang({"/generate": [reply]}) as server:
        first, second = ask(server, raw(max_tokens=2)).positions
    assert first.top == (("a", -0.1),)
    assert second.top == () and second.token == "b"


def test_the_identity_has_the_weights_path_and_version() -> None:
    """The name that a server gives its model is anybody's choice."""
    with FakeSGLang() as server:
        identity = SGLangBackend(base_url=server.url).answer_identity()
    assert identity["model_path"] == "/models/toy"
    assert identity["weight_version"] == "default"
