"""From drawn texts to label probabilities with standard errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sklearn_logprob import Answer, TokenLogprobs
from sklearn_logprob._draws import (
    label_counts,
    read_draws,
    sampling_error,
    smoothed,
    standard_error,
)
from sklearn_logprob._reading import AnswerReader
from sklearn_logprob.scoring import label_mass, label_scores, other_tokens

SPELLINGS = [("bad", "Bad"), ("good", "Good"), ("so so",)]
WORDS = ("bad", " Good.", "**so so**", "hm", "", "It is bad", "good\nbecause")
SAID = (0, 1, 2, None, None, None, 1)  # what each of the words says

draws_of_words = st.lists(st.integers(0, 30), min_size=7, max_size=7).map(
    lambda counts: tuple((w, n) for w, n in zip(WORDS, counts, strict=True) if n)
)
draws = draws_of_words.filter(bool)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("good", 1),
        (" good", 1),
        ("Good!", 1),
        ('"bad"', 0),
        ("- bad, I think", 0),
        ("good\n\nThe text praises it.", 1),
        ("so so", 2),
        ("so", None),  # not the whole label
        ("goodness", None),
        ("GOOD", None),  # not among the spellings
        ("It is good", None),
        ("", None),
        ("\n", None),
    ],
)
def test_an_answer_counts_for_the_label_that_it_begins_with(
    text: str, said: int | None
) -> None:
    """Decoration aside; what says no label counts for none."""
    counts = label_counts(AnswerReader(SPELLINGS), [(text, 3)])
    assert counts.tolist() == [3.0 * (k == said) for k in range(3)]


@given(draws)
def test_counts_are_those_of_the_texts(drawn: tuple[tuple[str, int], ...]) -> None:
    """Texts that say the same label are added up."""
    said = dict(zip(WORDS, SAID, strict=True))
    expected = [sum(n for text, n in drawn if said[text] == k) for k in range(3)]
    assert label_counts(AnswerReader(SPELLINGS), drawn).tolist() == expected


@given(draws, st.permutations(range(3)))
def test_labels_may_stand_in_any_order(
    drawn: tuple[tuple[str, int], ...], order: list[int]
) -> None:
    """Permuting the classes permutes the columns, and so does nothing to the mass."""
    answer = Answer(draws=drawn)
    read = label_scores([answer], SPELLINGS)
    permuted = label_scores([answer], [SPELLINGS[k] for k in order])
    for name in ("scores", "lower", "upper", "censored"):
        assert np.array_equal(getattr(permuted, name), getattr(read, name)[:, order])


@given(draws)
def test_probabilities_are_ordered_and_sum_to_at_most_one(
    drawn: tuple[tuple[str, int], ...],
) -> None:
    """To one where all answers say a label; bounds hold the point; 0 is never reached."""
    read = label_scores([Answer(draws=drawn)], SPELLINGS)
    assert np.isfinite(read.scores).all()
    assert (read.lower <= read.scores).all() and (read.scores <= read.upper).all()
    assert (read.upper <= 0).all()
    [mass] = label_mass(read.scores)
    said = dict(zip(WORDS, SAID, strict=True))
    n_draws = sum(n for _, n in drawn)
    n_labels = sum(n for text, n in drawn if said[text] is not None)
    assert mass == pytest.approx((n_labels + 1) / (n_draws + 1))
    assert mass <= 1 + 1e-12


@given(draws)
def test_what_no_answer_says_is_censored(drawn: tuple[tuple[str, int], ...]) -> None:
    """It may have no probability at all; what was said once has some."""
    read = label_scores([Answer(draws=drawn)], SPELLINGS)
    counts = label_counts(AnswerReader(SPELLINGS), drawn)
    assert np.array_equal(read.censored[0], counts == 0)
    assert np.array_equal(np.isneginf(read.lower[0]), counts == 0)


@given(
    hnp.arrays(np.int64, 4, elements=st.integers(0, 50)),
    st.integers(0, 50),
    st.integers(0, 3),
)
def test_one_more_answer_for_a_label_raises_it_and_lowers_the_others(
    counts: np.ndarray, others: int, label: int
) -> None:
    """Evidence for a label is never evidence against it."""
    more = counts + (np.arange(4) == label)
    before = smoothed(counts, counts.sum() + others)
    after = smoothed(more, more.sum() + others)
    assert after[label] > before[label]
    assert (np.delete(after, label) < np.delete(before, label)).all()


@given(hnp.arrays(np.int64, 5, elements=st.integers(0, 200)), st.integers(0, 200))
def test_without_draws_labels_are_alike_and_with_many_they_are_the_shares(
    counts: np.ndarray, others: int
) -> None:
    """Smoothing moves a share by less than one answer in all."""
    assert smoothed(np.zeros(5), 0).tolist() == [0.2] * 5
    n_draws = counts.sum() + others
    if n_draws:
        shares = counts / n_draws
        assert np.abs(smoothed(counts, n_draws) - shares).max() <= 1 / (n_draws + 1)


def test_many_draws_find_the_truth() -> None:
    """The mean estimate over samples approaches the probability, and so do the bounds."""
    truth = np.array([0.15, 0.6, 0.25])
    counts = np.random.default_rng(0).multinomial(200_000, truth)
    texts = tuple(zip(("bad", "good", "so so"), counts.tolist(), strict=True))
    point, lower, upper = read_draws(AnswerReader(SPELLINGS), texts)
    assert point == pytest.approx(truth, abs=0.005)
    assert (upper - lower).max() < 0.005


def test_the_standard_error_is_how_far_estimates_scatter() -> None:
    """Against the scatter of the same experiment done many times."""
    rng = np.random.default_rng(0)
    for p, n in ((0.5, 25), (0.9, 36), (0.3, 100)):
        shares = rng.binomial(n, p, 20_000) / n
        assert standard_error(p, n) == pytest.approx(shares.std(), rel=0.03)
    assert standard_error([0.5, 0.9], 100) == pytest.approx([0.05, 0.03])
    assert math.isinf(standard_error(0.5, 0))


@settings(max_examples=50)
@given(st.floats(0.05, 0.95), st.integers(5, 60), st.integers(0, 2**32 - 1))
def test_bounds_hold_the_truth_about_as_often_as_a_standard_error_does(
    p: float, n: int, seed: int
) -> None:
    """Three standard errors nearly always do."""
    c = int(np.random.default_rng(seed).binomial(n, p))
    point = smoothed([c, n - c], n)
    assert abs(point[0] - p) < 4 * standard_error(point[0], n) + 2 / (n + 1)


def test_the_sampling_error_is_that_of_a_typical_text() -> None:
    """The median over drawn answers; other answers do not enter."""
    sure = Answer(draws=(("good", 20),))
    split = Answer(draws=(("good", 10), ("bad", 10)))
    token = Answer((TokenLogprobs("good", -0.1, (("good", -0.1),)),))
    pair = [("bad",), ("good",)]
    halves = standard_error(0.5, 20)
    assert sampling_error([split, sure, split, token], pair) == pytest.approx(halves)
    assert 0 < sampling_error([sure], pair) < halves
    mostly = Answer(draws=(("good", 14), ("bad", 1), ("hm", 5)))
    largest = smoothed([1, 14], 20).max()
    assert sampling_error([mostly], pair) == pytest.approx(standard_error(largest, 20))
    assert math.isnan(sampling_error([token], pair))


def test_exact_scores_and_tokens_come_before_texts() -> None:
    """Texts are counted only where nothing better is there."""
    position = TokenLogprobs("bad", -0.1, (("bad", -0.1),))
    texts = (("good", 9),)
    pair = [("bad",), ("good",)]
    choices = (("bad", math.log(0.7)), ("good", math.log(0.2)))
    by_choice = label_scores([Answer(choices=choices, draws=texts)], pair)
    assert np.exp(by_choice.scores) == pytest.approx(np.array([[0.7, 0.2]]))
    by_token = label_scores([Answer((position,), draws=texts)], pair)
    assert by_token.scores[0, 0] == pytest.approx(-0.1)


def test_other_texts_are_told() -> None:
    """What the model says in place of a label, with its share of the answers."""
    one = Answer(draws=(("It depends", 3), ("good", 1)))
    two = Answer(draws=(("good", 3), (" It depends", 1)))
    table = other_tokens([one, two], [("bad",), ("good",)])
    assert table.tolist() == [("It depends", 0.5)]
