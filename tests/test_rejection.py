"""The reject option against exact binomials, closed-form risks and simulation."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom
from sklearn.base import clone

from sklearn_logprob.rejection import (
    ChowRule,
    NestedSets,
    RiskAtMost,
    fewest_rows,
    make_rejector,
)

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)
RUNS = 2000


def two_columns(p):
    return np.column_stack([1 - np.asarray(p), p])


def ranked(n, *wrong):
    """Decide n rows, the surest first; those at the ranks `wrong` (from 1) are wrong."""
    y = np.ones(n, dtype=int)
    y[np.array(wrong, dtype=int) - 1] = 0
    return two_columns(np.linspace(1, 0.6, n)), y


def fitted(P, y, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return RiskAtMost(*args, **kwargs).fit(P, y)


# Chow's rule


@few
@given(seeds, st.integers(2, 5), st.floats(0.01, 0.99))
def test_chow_costs_least_on_every_row(seed, K, cost):
    """Accepting costs the probability of an error, rejecting the cost: the smaller."""
    P = np.random.default_rng(seed).dirichlet(np.ones(K), 50)
    accepted = ChowRule(cost).fit().accept(P)
    paid = np.where(accepted, 1 - P.max(axis=1), cost)
    assert paid == pytest.approx(np.minimum(1 - P.max(axis=1), cost))


def test_chow_accepts_all_from_the_chance_level_on():
    """The surest of K classes is right with 1/K at least; certainty is always taken."""
    P = np.full((1, 4), 0.25)
    assert ChowRule(0.75).fit().accept(P).all()
    assert not ChowRule(0.74).fit().accept(P).any()
    assert ChowRule(0).fit().accept(np.eye(3)).all()


def test_confidence_is_that_of_the_class_decided():
    """Where a threshold overrules the argmax, its class's probability counts."""
    P = [[0.7, 0.3], [0.05, 0.95], [np.nan, np.nan]]
    rule = ChowRule(0.4).fit()
    assert rule.accept(P).tolist() == [True, True, False]
    assert rule.accept(P, [1, 1, 1]).tolist() == [False, True, False]


# the guarantee


def true_risk(threshold, error_rate):
    """Integrate the error rate over confidences, uniform from the threshold to 1."""
    return error_rate(np.linspace(threshold, 1, 101)).mean()


WORLDS = {
    "calibrated": lambda c: 1 - c,
    "overconfident": lambda c: 1.6 * (1 - c) + 0.02,
    "just too risky everywhere": lambda c: np.full_like(c, 0.1001),
    "with a cliff": lambda c: np.where(c > 0.8, 0.01, 0.5),
}


def simulate(world, n, choose):
    """Give the share of runs in which the chosen threshold has too high a risk."""
    rng, violations = np.random.default_rng(0), 0
    for _ in range(RUNS):
        c = rng.uniform(0.5, 1, n)
        wrong = rng.random(n) < WORLDS[world](c)
        threshold = max(choose(NestedSets.above_cuts(c, wrong)), 0.5)
        violations += threshold < 1 and true_risk(threshold, WORLDS[world]) > 0.1
    return violations / RUNS


def in_fixed_order(sets):
    """Choose as RiskAtMost does, without the words where nothing can be shown."""
    held = sets.certified(0.1, 0.05)
    return sets.cuts[held][-1] if held.any() else np.inf


def by_single_bounds(sets):
    """Forget that many thresholds were looked at: each has its own 95 % bound."""
    held = beta.ppf(0.95, sets.errors + 1, sets.sizes - sets.errors) <= 0.1
    return sets.cuts[held][-1] if held.any() else np.inf


@pytest.mark.parametrize("n", [60, 400])
@pytest.mark.parametrize("world", WORLDS)
def test_risk_is_kept_as_often_as_promised(world, n):
    """In 2,000 runs it is above 10 % in at most delta = 5 %, up to simulation error."""
    violated = simulate(world, n, in_fixed_order)
    assert violated <= binom.ppf(0.999, RUNS, 0.05) / RUNS


def test_single_bounds_would_break_the_promise():
    """The simulation tells: without the fixed order the risk is exceeded too often."""
    violated = simulate("just too risky everywhere", 400, by_single_bounds)
    assert violated > 0.1


def test_guarantee_leaves_most_of_the_possible_coverage():
    """With 2,000 rows more than two thirds of what the true risk would allow."""
    # calibrated: the risk above t is (1 - t) / 2, at most 0.1 from t = 0.8 on
    rng, coverage = np.random.default_rng(0), []
    for _ in range(100):
        c = rng.uniform(0.5, 1, 2000)
        y = (rng.random(2000) < c).astype(int)
        coverage.append(fitted(two_columns(c), y, 0.1).coverage_)
    assert 0.4 * 2 / 3 < np.mean(coverage) < 0.4


def one_after_the_other(sets, risk, delta):
    """Test one set at a time, as the fallback procedure is written down."""
    n_starts = max(1, int(np.log2(sets.n / 50)))
    starts = [sets.n / 2**j for j in range(n_starts, 0, -1)]
    held, level, smaller = [], 0, -np.inf
    for size, errors in zip(sets.sizes, sets.errors, strict=True):
        level += delta / n_starts * sum(smaller < start <= size for start in starts)
        smaller = size
        possible = size >= starts[0] and (1 - risk) ** size <= level
        few_errors = possible and binom.cdf(errors, size, risk) <= level
        held.append(few_errors)
        if possible and not few_errors:
            level = 0
    return held


@few
@given(seeds, st.integers(1, 700), st.floats(0.02, 0.5), st.booleans())
def test_sets_are_tested_one_after_the_other(seed, n, risk, ties):
    """The vectorised test equals a loop over the sets, which spends delta in all."""
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    score = np.round(score * 8) / 8 if ties else score
    wrong = rng.random(n) < risk * rng.uniform(0, 2) * (1 - score)
    sets = NestedSets.above_cuts(score, wrong)
    held = one_after_the_other(sets, risk, 0.1)
    np.testing.assert_array_equal(sets.certified(risk, 0.1), held)


@few
@given(seeds, st.integers(30, 1500), st.floats(0.02, 0.4), st.floats(1, 2), st.booleans())
def test_coverage_grows_with_the_risk_and_delta(seed, n, risk, factor, ties):
    """Who allows more errors, or more doubt, never gets fewer rows."""
    rng = np.random.default_rng(seed)
    c = rng.uniform(0.5, 1, n)
    c = np.round(c * 20) / 20 if ties else c
    y = (rng.random(n) < c ** rng.uniform(0.1, 1)).astype(int)
    P = two_columns(c)
    least = fitted(P, y, risk).coverage_
    assert fitted(P, y, risk * factor).coverage_ >= least
    assert fitted(P, y, risk, delta=0.05 * factor).coverage_ >= least


@few
@given(seeds, st.integers(60, 600))
def test_accepted_rows_are_within_the_exact_bound(seed, n):
    """Their Clopper-Pearson bound is at most the risk; the mask is what was counted."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet([0.2, 0.2, 0.2], n)
    y = (rng.random((n, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    rejector = fitted(P, y, 0.2)
    accepted = rejector.accept(P)
    assert accepted.mean() == rejector.coverage_
    if accepted.any():
        errors = (P.argmax(axis=1) != y)[accepted].sum()
        assert rejector.risk_ == errors / accepted.sum()
        assert beta.ppf(0.95, errors + 1, accepted.sum() - errors) <= 0.2 + 1e-9


# what n rows can show


@pytest.mark.parametrize(
    ("risk", "rows"), [(0.1, 29), (0.05, 59), (0.02, 149), (0.01, 299)]
)
def test_fewest_rows_without_an_error(risk, rows):
    """29, 59, 149 and 299 of them show 10, 5, 2 and 1 %; one less shows nothing."""
    assert fewest_rows(risk, 0.05) == rows
    assert RiskAtMost(risk).fit(*ranked(rows)).coverage_ == 1
    with pytest.warns(UserWarning, match=f"at least {rows} accepted rows without"):
        rejector = RiskAtMost(risk).fit(*ranked(rows - 1))
    assert rejector.confidence_ == np.inf and rejector.coverage_ == 0
    assert np.isnan(rejector.risk_)
    assert not rejector.accept(np.eye(2)).any()


def test_one_error_takes_93_rows():
    """P(Bin(93, 0.05) <= 1) is below 5 %, and with 92 rows it is not."""
    assert RiskAtMost(0.05).fit(*ranked(93, 93)).coverage_ == 1
    assert RiskAtMost(0.05).fit(*ranked(92, 92)).coverage_ == pytest.approx(91 / 92)


def test_error_among_the_surest_rows_is_not_the_end():
    """The sequence starts anew where the number of rows has doubled."""
    assert RiskAtMost(0.05).fit(*ranked(1000, 2, 3)).coverage_ == 1


def test_failure_uses_up_its_part_of_delta():
    """After it the sequence goes on with what the starts from there on bring."""
    # 1000 rows have four starts, at 62.5, 125, 250 and 500, with 1.25 % each; two errors
    # among the first three rows end what began at the first two
    P, y = ranked(1000, 2, 3)
    for errors in range(2, 9):
        y[200 - errors : 200] = 0
        wrong = errors + 2
        sets = NestedSets.above_cuts(P[:, 1], y == 0)
        held = sets.certified(0.05, 0.05)
        assert not held[:249].any()
        assert held[249] == (binom.cdf(wrong, 250, 0.05) <= 0.0125)
        y[200 - errors : 200] = 1


def test_message_says_how_many_rows_like_these_it_takes():
    """So many do: the same rows, repeated, are accepted in part."""
    P, y = ranked(50, 25)
    with pytest.warns(UserWarning, match="rows like these, about 200 in all"):
        RiskAtMost(0.1, delta=0.05).fit(P, y)
    more = RiskAtMost(0.1).fit(np.repeat(P, 4, axis=0), np.repeat(y, 4))
    assert more.coverage_ > 0.9
    with pytest.warns(UserWarning, match="no number seems to be enough"):
        RiskAtMost(0.1).fit(P, 1 - y)


def test_equal_confidences_are_accepted_together():
    """A cut lies between two distinct confidences, midway; zero is one of them."""
    sets = NestedSets.above_cuts(
        np.array([0.5, 0.9, 0.5, 0.0, 0.9]), np.array([1, 0, 0, 1, 0], dtype=bool)
    )
    assert sets.sizes.tolist() == [2, 4, 5]
    assert sets.errors.tolist() == [0, 1, 2]
    assert sets.cuts.tolist() == [0.7, 0.25, 0]
    low, high = 0.5, np.nextafter(0.5, 1)
    sets = NestedSets.above_cuts(np.array([low, high]), np.zeros(2, dtype=bool))
    assert low < sets.cuts[0] <= high


@few
@given(seeds, st.integers(1, 40))
def test_sets_are_what_their_cuts_accept(seed, n):
    """Sizes and errors are those of "score at least cut", from few rows to all."""
    rng = np.random.default_rng(seed)
    score, wrong = rng.integers(0, 9, n) / 8, rng.random(n) < 0.5
    sets = NestedSets.above_cuts(score, wrong)
    assert sets.sizes[-1] == n and all(a < b for a, b in pairwise(sets.sizes))
    for size, errors, cut in zip(sets.sizes, sets.errors, sets.cuts, strict=True):
        assert (score >= cut).sum() == size
        assert wrong[score >= cut].sum() == errors


# decisions by a threshold, parameters


def test_risk_is_that_of_the_decisions_in_use():
    """Decisions by a threshold are judged by their own class's probability."""
    P, y = ranked(200)
    decided = np.zeros(200, dtype=int)
    rejector = RiskAtMost(0.05).fit(P, 1 - y, decided)
    assert rejector.coverage_ == 1
    assert rejector.confidence_ <= P[:, 0].min()
    assert rejector.accept(P, decided).all()


@pytest.mark.parametrize("rejector", [ChowRule(0.2), RiskAtMost(0.1, delta=0.2)])
def test_rejectors_are_cloned_before_use(rejector):
    """The user's object stays unfitted, and its parameters can be searched."""
    made = make_rejector(rejector)
    assert made is not rejector and made.get_params() == rejector.get_params()
    made.fit(*ranked(100))
    assert not hasattr(rejector, "confidence_")
    assert not hasattr(clone(made), "confidence_")
    assert make_rejector(None) is None


@pytest.mark.parametrize(
    "rejector, name",
    [
        (ChowRule(-0.1), "cost"),
        (ChowRule(1.5), "cost"),
        (ChowRule("0.1"), "cost"),
        (RiskAtMost(0), "risk"),
        (RiskAtMost(True), "risk"),
        (RiskAtMost(0.1, delta=1), "delta"),
        (RiskAtMost(0.1, delta=[0.1]), "delta"),
    ],
)
def test_parameters_out_of_range_are_refused(rejector, name):
    """Before any model is asked, and in fit."""
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        make_rejector(rejector)
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        rejector.fit(*ranked(10))


@pytest.mark.parametrize("reject", [0.1, "chow", ChowRule, object()])
def test_what_is_no_rejector_is_refused(reject):
    """A number could be a cost or a risk; the message shows how to say which."""
    with pytest.raises(ValueError, match="'reject' parameter"):
        make_rejector(reject)
