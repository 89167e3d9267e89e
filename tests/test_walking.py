"""Many answers at once give what one at a time, token by token, does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_reading import SlowReader, slow_scores

from sklearn_logprob import Answer, TokenLogprobs
from sklearn_logprob._pairs import Pairs
from sklearn_logprob._reading import AnswerReader
from sklearn_logprob._walking import AT_ONCE
from sklearn_logprob.scoring import choices_of, label_scores
from sklearn_logprob.verbalizers import Verbalizer

SPELLINGS = [
    [["art"], ["article"], ["a"]],
    [["New"], ["New York", "NYC"], ["new jersey"]],
    [["technical issue"], ["technical question"], ["billing"]],
    [["-1"], ["1"], ['"1"']],
    Verbalizer().spellings(["bad", "good", "great", "so so"]),
]
PIECES = [
    "art", "icle", "a", " a", "New", " York", " Jersey", "N", "YC", "new", " jersey",
    "technical", " tech", "nical", " issue", " question", "bill", "ing", "-", "1", '"',
    "\n", "", " ", " **", "good", " Good", "g", "reat", " so", " bad", "!", "x", "é",
]  # fmt: skip

log_probs = st.one_of(
    st.floats(-12, 0.2),
    st.sampled_from([-9999.0, -3.4e38, -np.inf, np.nan, -0.0, -0.5]),
)
tops = st.lists(st.tuples(st.sampled_from(PIECES), log_probs), max_size=7).map(tuple)


@st.composite
def positions(draw):
    """Any tokens, the chosen one mostly among the alternatives."""
    several = []
    for top in draw(st.lists(tops, max_size=4)):
        among = [text for text, _ in top]
        token = draw(st.sampled_from([*among, *among, "x", "art"]))
        several.append(
            TokenLogprobs(token, -0.5, draw(st.sampled_from([top, Pairs.of(top)])))
        )
    return tuple(several)


@settings(max_examples=300, deadline=None)
@given(st.lists(positions(), min_size=1, max_size=6), st.sampled_from(SPELLINGS))
def test_alternatives_are_read_as_one_by_one(several, spellings):
    """Point and bounds of every row are those of the walk along a single answer."""
    found = label_scores([Answer(each) for each in several], spellings)
    expected = np.array([slow_scores(Answer(each), spellings) for each in several])
    for name, i in (("scores", 0), ("lower", 1), ("upper", 2)):
        np.testing.assert_allclose(
            np.exp(getattr(found, name)), expected[:, i], rtol=1e-9, atol=1e-12
        )


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from(SPELLINGS[:3]), st.integers(1, 5))
def test_choices_are_read_as_one_by_one(data, spellings, n):
    """In whatever order the choices come, and whichever of them do."""
    choices = st.lists(
        st.tuples(st.sampled_from(choices_of(spellings)), st.floats(-80, 0)), min_size=1
    )
    answers = [Answer(choices=tuple(data.draw(choices))) for _ in range(n)]
    found = label_scores(answers, spellings)
    expected = np.array([slow_scores(answer, spellings)[0] for answer in answers])
    np.testing.assert_allclose(np.exp(found.scores), expected, rtol=1e-12)
    np.testing.assert_array_equal(found.lower, found.upper)


@given(st.text(st.sampled_from('art icleNewYorkjsy"-1\n*x'), max_size=12))
def test_a_text_is_matched_as_against_every_form(text):
    """Looking at the forms with the same first letter finds what looking at all does."""
    for spellings in SPELLINGS:
        assert AnswerReader(spellings).match(text) == SlowReader(spellings).match(text)


@pytest.mark.parametrize("n", [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 5])
def test_a_row_does_not_depend_on_the_rows_beside_it(n):
    """Whatever else is read with it, and in whichever block: the same digits."""
    rng = np.random.default_rng(n)
    kinds = [
        Answer((TokenLogprobs("x", -1.0, ((" good", -0.7), (" b", -1.0), ("g", -3.0))),)),
        Answer(choices=((" bad", -0.3), (" good", -2.0), ("good", -4.0))),
        Answer(draws=(("good", 3), ("bad", 1))),
        Answer(),
    ]
    order = rng.integers(0, len(kinds), n)
    spellings = [["bad"], ["good"]]
    found = label_scores([kinds[i] for i in order], spellings)
    alone = [label_scores([kind], spellings) for kind in kinds]
    for name in ("scores", "lower", "upper", "censored"):
        each = np.concatenate([getattr(one, name) for one in alone])
        np.testing.assert_array_equal(getattr(found, name), each[order])


def test_no_answers():
    """Nothing in, nothing out, with a column for each label."""
    assert label_scores([], [["bad"], ["good"]]).scores.shape == (0, 2)
