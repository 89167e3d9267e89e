"""Answers to label log scores: what counts, what is ambiguous, what is only bounded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_logprob import Answer, TokenLogprobs
from sklearn_logprob.scoring import (
    choices_of,
    label_mass,
    label_scores,
    other_tokens,
    tokens_to_read,
)
from sklearn_logprob.verbalizers import Verbalizer


def position(probabilities, chosen=None):
    """One position from a mapping of token to probability, the first one chosen."""
    top = sorted(probabilities.items(), key=lambda item: -item[1])
    top = tuple((token, float(np.log(p))) for token, p in top)
    chosen = chosen if chosen is not None else top[0][0]
    return TokenLogprobs(chosen, dict(top).get(chosen, -9999.0), top)


def read(spellings, *positions):
    """Probabilities, lower and upper bounds of one answer."""
    found = label_scores([Answer(tuple(positions))], spellings)
    return np.exp(found.scores[0]), np.exp(found.lower[0]), np.exp(found.upper[0])


def test_spellings_are_summed():
    """Case and leading space are pooled: disjoint events that mean the same."""
    spellings = Verbalizer().spellings(["bad", "good"])
    shown = position({" good": 0.3, "good": 0.1, " Good": 0.2, " bad": 0.15, "x": 0.05})
    assert read(spellings, shown)[0] == pytest.approx([0.15, 0.6])


def test_quotes_and_markup_are_stripped():
    """A label in quotes or bold is the label."""
    shown = position({' "good': 0.3, "**bad": 0.2, "`good": 0.1})
    assert read([["bad"], ["good"]], shown)[0] == pytest.approx([0.2, 0.4])


def test_a_label_may_begin_with_decoration():
    """What a label itself begins with is not stripped: -1 is not 1."""
    shown = position({" -1": 0.3, " 1": 0.6})
    assert read([["-1"], ["1"]], shown)[0] == pytest.approx([0.3, 0.6])


def test_a_token_that_begins_one_label_counts_for_it():
    """'pos' can only become 'positive' here."""
    shown = position({" pos": 0.5, " negative": 0.4})
    assert read([["negative"], ["positive"]], shown)[0] == pytest.approx([0.4, 0.5])


def test_a_word_that_only_begins_like_a_label_does_not_count():
    """'goodness' is another word, 'good.' is the label."""
    shown = position({" goodness": 0.5, " good.": 0.2, " bad": 0.1})
    assert read([["bad"], ["good"]], shown)[0] == pytest.approx([0.1, 0.2])


def test_a_lone_letter_is_no_evidence():
    """' I' opens many sentences besides 'Insult': possible, but not credited."""
    spellings = Verbalizer().spellings(["insult", "praise"])
    point, lower, upper = read(spellings, position({" I": 0.7, " praise": 0.2}))
    assert lower[0] == 0 and upper[0] >= 0.7
    assert point[0] <= 0.1 + 1e-9


def test_a_newline_is_no_evidence():
    """It may stand before any label: possible, but credited to none."""
    shown = position({"\n": 0.5, " good": 0.3, " bad": 0.2})
    point, _, upper = read([["bad"], ["good"]], shown)
    assert point == pytest.approx([0.2, 0.3]) and upper == pytest.approx([0.7, 0.8])


def test_art_and_article_do_not_steal_followed():
    """Followed along the path: 'icle' makes it the article, anything else art."""
    first = position({"art": 0.8, "thing": 0.2})
    second = position({"icle": 0.6, "\n": 0.3, " deco": 0.1}, chosen="\n")
    point, lower, upper = read([["art"], ["article"]], first, second)
    assert point == pytest.approx([0.8 * 0.4, 0.8 * 0.6])
    np.testing.assert_allclose(lower, upper, atol=1e-6)


def test_art_and_article_are_ambiguous_where_the_path_stops():
    """Without a second position the mass is shared, and the bounds say so."""
    point, lower, upper = read(
        [["art"], ["article"]], position({"art": 0.8, "thing": 0.2})
    )
    assert point == pytest.approx([0.4, 0.4])
    assert lower == pytest.approx([0, 0]) and upper == pytest.approx([0.8, 0.8])


def test_a_label_with_more_words_is_not_also_the_shorter_one():
    """'New York' is said, not 'New' as well; 'New Jersey' stays 'New'."""
    first = position({" New": 0.5, "x": 0.5})
    second = position({" York": 0.4, " Jersey": 0.3, "!": 0.3})
    point, _, _ = read([["New"], ["New York"]], first, second)
    assert point == pytest.approx([0.3, 0.2])


def test_a_shared_first_token_is_followed():
    """'technical' is followed to the word that tells the labels apart."""
    spellings = [["technical issue"], ["technical question"], ["billing"]]
    first = position({"technical": 0.7, "billing": 0.3})
    second = position({" question": 0.9, " issue": 0.1})
    assert read(spellings, first, second)[0] == pytest.approx([0.07, 0.63, 0.3])


def test_a_path_that_went_elsewhere_leaves_the_prefix_ambiguous():
    """The answer said 'billing', so 'technical' stays undecided, not invented."""
    spellings = [["technical issue"], ["technical question"], ["billing"]]
    first = position({"billing": 0.6, "technical": 0.4})
    point, lower, upper = read(spellings, first, position({".": 1.0}))
    assert point == pytest.approx([0.2, 0.2, 0.6])
    assert lower[:2] == pytest.approx([0, 0]) and upper[:2] == pytest.approx([0.4, 0.4])


def test_a_leading_space_token_is_followed():
    """A lone space before the label settles nothing; the label comes after it."""
    first = position({" ": 1.0})
    second = position({"good": 0.75, "bad": 0.25})
    assert read([["bad"], ["good"]], first, second)[0] == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize(
    "sentinel", [-9999.0, -3.4028235e38, float("-inf"), float("nan")]
)
def test_sentinels_are_censored(sentinel):
    """A sentinel says 'below the returned alternatives', never a number."""
    shown = TokenLogprobs(" good", -0.5, ((" good", -0.5), (" bad", sentinel)))
    found = label_scores([Answer((shown,))], [["bad"], ["good"]])
    assert found.censored.tolist() == [[True, False]]
    assert -20 < found.scores[0, 0] < -0.5


def test_censored_score_is_at_most_the_last_shown_and_an_equal_share():
    """Two unseen labels: below the smallest shown, and half of what is left each."""
    shown = position({"x": 0.5, "y": 0.3})
    point, lower, upper = read([["bad"], ["good"]], shown)
    assert point == pytest.approx([0.1, 0.1])
    assert lower.tolist() == [0, 0] and upper == pytest.approx([0.2, 0.2])


def test_exact_choices_are_summed_over_spellings():
    """Exact scores need no bounds."""
    answer = Answer(
        choices=tuple(
            zip(
                choices_of([["bad"], ["good"]]),
                np.log([0.1, 0.2, 0.3, 0.4]).tolist(),
                strict=True,
            )
        )
    )
    found = label_scores([answer], [["bad"], ["good"]])
    np.testing.assert_allclose(np.exp(found.scores), [[0.4, 0.6]])
    np.testing.assert_array_equal(found.lower, found.upper)
    assert not found.censored.any()


words = st.sampled_from([" good", "good", " go", " bad", "bad", "b", " the", " I", "\n"])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(words, st.floats(0.01, 1.0), min_size=1), st.floats(0.2, 1.3))
def test_scores_sum_to_at_most_one_and_permute(weights, total):
    """Whatever is shown, even above one; and the order of labels changes nothing."""
    scale = total / sum(weights.values())
    answer = Answer((position({t: w * scale for t, w in weights.items()}),))
    spellings = Verbalizer().spellings(["bad", "good", "great"])
    found = label_scores([answer], spellings)
    assert label_mass(found.scores)[0] <= 1 + 1e-6
    assert (found.lower <= found.scores + 1e-9).all()
    assert (found.scores <= found.upper + 1e-9).all()
    turned = label_scores([answer], spellings[::-1])
    np.testing.assert_allclose(turned.scores[:, ::-1], found.scores)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_truth_lies_within_the_bounds_for_every_k(seed, k):
    """From full knowledge to one alternative, the truth never leaves its interval."""
    rng = np.random.default_rng(seed)
    tokens = [
        " good",
        "good",
        " Good",
        " bad",
        "Bad",
        " ugly",
        "x",
        "y",
        "z",
        "w",
        "v",
        "q",
    ]
    truth = dict(zip(tokens, rng.dirichlet(np.ones(len(tokens)) * 0.5), strict=True))
    spellings = Verbalizer().spellings(["bad", "good", "ugly"])
    expected = [
        truth[" bad"] + truth["Bad"],
        truth[" good"] + truth["good"] + truth[" Good"],
        truth[" ugly"],
    ]
    kept = dict(sorted(truth.items(), key=lambda item: -item[1])[:k])
    _, lower, upper = read(
        spellings, position({t: max(p, 1e-300) for t, p in kept.items()})
    )
    assert (lower <= np.add(expected, 1e-9)).all()
    assert (expected <= upper + 1e-9).all()
    if k == len(tokens):
        np.testing.assert_allclose(lower, upper, atol=1e-8)


def test_adding_a_spelling_never_lowers_a_score():
    """A second surface form can only add probability to its class."""
    shown = position({" good": 0.3, " fine": 0.2, " bad": 0.1})
    few = read([["bad"], ["good"]], shown)[0]
    more = read([["bad"], ["good", "fine"]], shown)[0]
    assert more[1] > few[1] and more[0] == few[0]


def test_other_tokens_are_means_over_all_answers():
    """What is no label is summed over surrounding space and averaged over texts."""
    answers = [
        Answer((position({" good": 0.5, " fine": 0.3, "fine": 0.1}),)),
        Answer((position({" good": 0.9, " meh": 0.1}),)),
    ]
    table = other_tokens(answers, [["bad"], ["good"]])
    assert table["token"].tolist() == ["fine", "meh"]
    assert table["mean_probability"] == pytest.approx([0.2, 0.05])
    assert len(other_tokens([], [["bad"], ["good"]])) == 0


def test_tokens_to_read():
    """One token where labels differ at once; more where they begin alike; else whole."""
    assert tokens_to_read([["negative"], ["neutral"], ["positive"]]) == 1
    assert tokens_to_read([["art"], ["article"]]) == 3
    assert tokens_to_read([["a long label"], ["b"]], whole=True) == 5


def test_choices_do_not_depend_on_the_order_of_classes():
    """Permuting the classes must not change the request, nor its cache key."""
    assert choices_of([["bad"], ["good"]]) == choices_of([["good"], ["bad"]])
