"""Chains of thought: what stands after the last prefix, averaged in probability."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import ChatServer

from sklearn_logprob import (
    Answer,
    FailedRowsWarning,
    LogprobClassifier,
    OpenAIBackend,
    PromptTemplate,
    TokenLogprobs,
    UnreadableAnswerError,
)
from sklearn_logprob._chains import after_prefix, average
from sklearn_logprob.scoring import LabelScores, label_scores


def spoken(*tokens):
    return Answer(tuple(TokenLogprobs(t, -0.1, ((t, -0.1),)) for t in tokens))


# ------------------------------------------------------------------ where the label is


@pytest.mark.parametrize(
    ("tokens", "rest"),
    [
        (["Dull", ".", " Answer", ":", " bad"], [" bad"]),
        (["Answer: I", " think. ", "ANSWER", ":", " bad", "."], [" bad", "."]),
        (["So.\nAns", "wer", ": bad"], [" bad"]),
        (["Answer", ": ", "bad"], ["bad"]),
        (["Answer", ":\n", "\n", "bad"], ["\n", "bad"]),
    ],
)
def test_the_label_stands_after_the_last_prefix(tokens, rest):
    """Wherever the tokens end, and whatever the case of the prefix."""
    read = after_prefix(spoken(*tokens), "Answer:")
    assert [position.token for position in read.positions] == rest


@pytest.mark.parametrize(
    "tokens", [["No", " idea"], ["Answer", ":"], ["Answer:", " ", "\n"], []]
)
def test_without_a_label_there_is_no_answer(tokens):
    """The prefix is missing, or the text ends with it."""
    assert after_prefix(spoken(*tokens), "Answer:") is None


def test_alternatives_to_a_token_that_reaches_over_keep_their_part_only():
    """Of ": bad", ": good" and " is", the first two say what comes after the prefix."""
    top = ((": bad", -0.5), (": good", -1.5), (" is", -3.0))
    answer = Answer((TokenLogprobs("Answer", -0.1), TokenLogprobs(": bad", -0.5, top)))
    [position] = after_prefix(answer, "Answer:").positions
    assert position == TokenLogprobs(" bad", -0.5, ((" bad", -0.5), (" good", -1.5)))


def test_texts_are_cut_too():
    """Drawn answers of models without log-probabilities, each with its count."""
    answer = Answer(draws=(("So. Answer: bad", 2), ("No idea.", 1), ("ANSWER: good", 1)))
    assert after_prefix(answer, "Answer:").draws == ((" bad", 2), (" good", 1))


@given(st.text(alphabet="ab İß", max_size=12), st.text(alphabet="cd ", min_size=1))
def test_what_follows_is_found_whatever_comes_before(before, after):
    """Cutting gives back the text behind the prefix, token by token."""
    tokens = [*before, *"Answer:", *after]
    read = after_prefix(spoken(*tokens), "Answer:")
    found = "" if read is None else "".join(p.token for p in read.positions)
    assert found.strip() == after.strip()


# ------------------------------------------------------------------ averaging


@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=6, max_size=6)
)
def test_probabilities_are_averaged_not_votes(weights):
    """The mean of two chains lies between them, in each class."""
    P = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    S = np.log(P)
    mean = average(LabelScores(S, S, S, np.zeros(S.shape, bool)), 2)
    np.testing.assert_allclose(np.exp(mean.scores), P.reshape(3, 2, 3).mean(axis=1))


def test_chains_without_a_label_do_not_count():
    """The mean is over the others; a row with none is NaN."""
    S = np.log([[0.9, 0.1], [np.nan, np.nan], [np.nan, np.nan], [np.nan, np.nan]])
    mean = average(LabelScores(S, S, S, np.isnan(S)), 2)
    np.testing.assert_allclose(np.exp(mean.scores), [[0.9, 0.1], [np.nan, np.nan]])


# ------------------------------------------------------------------ the classifier

WORDS = {"yes": 0.8, "no": 0.2}


def reasoning(prompt):
    """Write two words and a conclusion; "mute" prompts get none."""
    tokens = ["Well", ",", " fine", "."]
    tokens += [] if "mute" in prompt else [" Answer", ":"]
    positions = [[(token, -0.1)] for token in tokens]
    if "mute" not in prompt:
        positions.append([(f" {w}", math.log(p)) for w, p in WORDS.items()])
    return positions


def template(**params):
    return PromptTemplate(
        [("user", "{text}? Think, then end with 'Answer: yes' or 'Answer: no'.")],
        answer_prefix="Answer:",
        max_tokens=40,
        **params,
    )


def classifier(server, **params):
    prompt = template(n_chains=params.pop("n_chains", 1))
    backend = OpenAIBackend("m", base_url=server.url)
    return LogprobClassifier(
        backend, prompt=prompt, classes=["no", "yes"], calibrator=None, **params
    ).fit()


def test_the_model_writes_first_and_the_label_is_read_after(cache_home):
    """What is asked has no prefix in it, and room to write; what is read is the end."""
    with ChatServer(reasoning) as server:
        clf = classifier(server)
        P = clf.predict_proba(["Is it"])
    [call] = server.calls
    assert call.body["max_tokens"] == 40
    assert call.body["temperature"] == 0
    assert [message["role"] for message in call.body["messages"]] == ["user"]
    np.testing.assert_allclose(P, [[0.2, 0.8]], atol=1e-6)


def test_chains_are_different_requests(cache_home):
    """Each is drawn, with a seed of its own, and asked once."""
    with ChatServer(reasoning) as server:
        clf = classifier(server, n_chains=3)
        assert len(clf.requests(["a", "b"])) == 6
        clf.predict_proba(["a", "b", "a"])
    assert clf.usage_.requests == len(server.calls) == 6
    assert {call.body["temperature"] for call in server.calls} == {1}
    assert sorted(call.body["seed"] for call in server.calls) == [1, 1, 2, 2, 3, 3]


def test_a_row_without_a_conclusion_fails_alone(cache_home):
    """The message says what to change; with on_error="nan" it is NaN."""
    with ChatServer(reasoning) as server:
        with pytest.raises(UnreadableAnswerError, match=r"row 1 of X.*max_tokens"):
            classifier(server, n_chains=2).predict(["a", "mute"])
        clf = classifier(server, n_chains=2, on_error="nan")
        with pytest.warns(FailedRowsWarning, match=r"1 of 2 rows of X .*: 1\."):
            P = clf.predict_proba(["a", "mute"])
    np.testing.assert_allclose(P, [[0.2, 0.8], [np.nan, np.nan]], atol=1e-6)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"max_tokens": 9}, "'max_tokens' .* answer_prefix"),
        ({"max_tokens": 0, "answer_prefix": "A:"}, "'max_tokens' .* Got 0"),
        ({"n_chains": 2}, "'n_chains' .* max_tokens"),
        ({"n_chains": 0, "max_tokens": 9, "answer_prefix": "A:"}, "'n_chains' .* Got 0"),
    ],
)
def test_chains_need_room_and_a_prefix(params, says):
    """Combinations that mean nothing are refused before any call."""
    clf = LogprobClassifier(prompt=PromptTemplate("{text}", **params), classes=["a", "b"])
    with pytest.raises(TypeError, match=says):
        clf.requests(["x"])


def test_reading_after_a_prefix_equals_reading_from_the_start():
    """The scores of " yes" and " no" do not depend on what was written before."""
    top = tuple((f" {w}", math.log(p)) for w, p in WORDS.items())
    label = TokenLogprobs(*top[0], top)
    chain = Answer((*spoken("So", ".", " Answer", ":").positions, label))
    spellings = [["no"], ["yes"]]
    read = label_scores([after_prefix(chain, "Answer:")], spellings)
    np.testing.assert_array_equal(
        read.scores, label_scores([Answer((label,))], spellings).scores
    )
