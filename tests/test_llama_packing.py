"""Rows side by side in one pass: each as if it had been asked alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_llama_cpp import answer, exact, raw

from sklearn_logprob import PromptTooLongError
from sklearn_logprob.backends._llama_plan import NOTHING
from sklearn_logprob.backends._llama_rows import _largest

__all__ = ["exact"]  # a fixture, which pytest finds by its name

pytestmark = pytest.mark.local
pytest.importorskip("llama_cpp")

MIXED = [
    *(f"Review: {'good ' * n}.\nSentiment:" for n in (0, 1, 40, 7, 90)),
    "Review: good good good",  # the beginning of others
    "Something else",
    *["Review: good .\nSentiment:"] * 2,
]
MIXED_LABELS = (" negative", " not at all positive", " not bad", " positive")


def together(backend, requests):
    """Choices' scores of requests that are asked at once: (n, K)."""
    found = dict(backend.answer(requests))
    assert sorted(found) == list(range(len(requests)))
    return np.array([[p for _, p in found[i].choices] for i in range(len(requests))])


@pytest.fixture(scope="module")
def alone(exact):
    """Scores of the mixed prompts, each asked with nothing in memory."""
    scores = []
    for text in MIXED:
        exact._engine()._before = NOTHING
        scores.append(together(exact, [raw(text, *MIXED_LABELS)])[0])
    return np.array(scores)


@pytest.mark.parametrize("seed", range(2))
def test_rows_side_by_side_score_as_alone(exact, alone, seed):
    """Long and short rows, equal ones and beginnings of others, in any order."""
    order = np.random.default_rng(seed).permutation(len(MIXED))
    scores = together(exact, [raw(MIXED[i], *MIXED_LABELS) for i in order])
    np.testing.assert_allclose(scores, alone[order], atol=1e-2)


def test_rows_ask_for_what_they_like(exact):
    """Other labels, more tokens or none, in one call: each as if it were alone."""
    text = "Review: great fun!\nSentiment:"
    requests = [
        raw(text, " positive", " negative"),
        raw(text, " quite positive", max_tokens=3, top_logprobs=5),
        raw(text, max_tokens=4, top_logprobs=0, draw=2),
        raw(text, max_tokens=2),
    ]
    found = dict(exact.answer(requests))
    for index, request in enumerate(requests):
        other = answer(request, exact)
        assert [c for c, _ in found[index].choices] == list(request.choices)
        for (_, p), (_, q) in zip(found[index].choices, other.choices, strict=True):
            assert p == pytest.approx(q, abs=1e-2)
        tokens = [position.token for position in found[index].positions]
        assert tokens == [position.token for position in other.positions]
        assert found[index].draws == other.draws


def test_generating_rows_share_a_pass(exact):
    """Nine answers of six tokens are as if each had been written alone."""
    requests = [raw(f"Count: {n},", max_tokens=6, top_logprobs=1) for n in range(9)]
    for index, found in exact.answer(requests):
        assert [p.token for p in found.positions] == [
            p.token for p in answer(requests[index], exact).positions
        ]


def test_a_prompt_as_long_as_the_context(exact):
    """It fits to the last token, alone, next to others, and after itself."""
    engine = exact._engine()
    longest = "word" + " word" * 509
    assert len(engine.vocab.tokenize(longest)) == 510
    requests = [raw(longest, " yes"), raw("A short one:", " yes"), raw(longest, " no")]
    assert exact.check(requests) == []
    scores = together(exact, requests)
    engine._before = NOTHING
    np.testing.assert_allclose(together(exact, requests[:1]), scores[:1], atol=1e-2)
    [failure] = exact.check([raw("word" + " word" * 510, " yes")])
    assert isinstance(failure, PromptTooLongError)


def test_an_end_in_between_leaves_nothing_behind(exact, alone):
    """A closed iterator and an interrupted pass do not change later scores."""
    requests = [raw(text, *MIXED_LABELS) for text in MIXED]
    answers = exact.answer(requests)
    next(answers)
    answers.close()
    engine = exact._engine()

    def interrupted(layout):
        yield from itertools.islice(evaluate(layout), 1)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        evaluate = engine.evaluate
        patch.setattr(engine, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            together(exact, requests)
    np.testing.assert_allclose(together(exact, requests), alone, atol=1e-2)


def test_labels_are_split_as_behind_the_whole_prompt(exact):
    """From the prompt's last tokens alone follows what the whole prompt gives."""
    engine = exact._engine()
    choices = (" yes", "yes", "s", "ing", " 12", "34", "\n", "…", "'t", ")", "ünlü")
    ends = ["Sentiment:", "12345", "don", "a ", "(", "end.\n\n", "日本", "x\t", "e", ""]
    for end in ends:
        text = f"Review: it was all fun.\n{end}"
        tokens = engine.vocab.tokenize(text)
        found = engine.vocab.labels(text, tokens, choices, chat=False).sequences
        for choice, sequence in zip(choices, found, strict=True):
            joint = engine.vocab.tokenize(text + choice)
            if list(joint[: len(tokens)]) == list(tokens):
                assert sequence == tuple(joint[len(tokens) :])
            else:
                assert sequence == tuple(engine.vocab.tokenize(choice))


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=400).map(np.float32),
    st.integers(0, 30),
)
def test_the_largest_values(values, n):
    """As sorting everything gives them, whatever is equal."""
    found = _largest(values, min(n, len(values)))
    assert len(set(found)) == len(found) == min(n, len(values))
    assert values[found].tolist() == sorted(values.tolist(), reverse=True)[: len(found)]
