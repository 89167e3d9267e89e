"""Measures of probabilities against their definitions, brute force and simulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, rel_entr, softmax

from sklearn_logprob._bins import Bins, squared_error
from sklearn_logprob.metrics import (
    calibration_noise_floor,
    debiased_calibration_error,
    expected_calibration_error,
    mutual_information,
    skill,
)

ERRORS = [expected_calibration_error, debiased_calibration_error]
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def draw(rng, P):
    """One label a row, with the probabilities of the row."""
    return (rng.random((len(P), 1)) > P.cumsum(axis=1)[:, :-1]).sum(axis=1)


def sample(seed, n=200, K=3):
    """Calibrated probabilities and labels."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(K), n)
    return P, draw(rng, P)


def bins_of(y, P, n_bins):
    """Probability and outcome in every bin of every class, by loops."""
    n = len(P)
    for k in range(P.shape[1]):
        order = sorted(range(n), key=lambda i: P[i, k])
        for b in range(n_bins):
            rows = [i for place, i in enumerate(order) if place * n_bins // n == b]
            yield P[rows, k], (y[rows] == k).astype(float)


@few
@given(seeds, st.integers(60, 150), st.integers(2, 4), st.integers(1, 12))
def test_expected_error_by_its_definition(seed, n, K, n_bins):
    """The mean over classes and bins of |mean probability - frequency|, by loops."""
    P, y = sample(seed, n, K)
    gaps = [len(p) * abs(p.mean() - o.mean()) for p, o in bins_of(y, P, n_bins)]
    assert expected_calibration_error(y, P, n_bins) == pytest.approx(sum(gaps) / n / K)


@few
@given(seeds, st.integers(60, 120), st.integers(2, 3), st.integers(1, 12))
def test_debiased_error_is_a_mean_over_pairs(seed, n, K, n_bins):
    """Squared, it is the mean product of two different rows' residuals in a bin."""
    P, y = sample(seed, n, K)
    P = softmax(2 * np.log(P), axis=1)  # over-confident
    total = 0.0
    for p, o in bins_of(y, P, n_bins):
        products = np.outer(p - o, p - o)
        total += products[~np.eye(len(p), dtype=bool)].sum() / (len(p) - 1)
    expected = np.sqrt(max(0, total / n / K))
    assert debiased_calibration_error(y, P, n_bins) == pytest.approx(expected, abs=1e-7)


@few
@given(seeds, st.integers(2, 6), st.integers(6, 30))
def test_debiased_error_is_kumars_where_bins_hold_one_probability(seed, levels, each):
    """Each bin's variance is then frequency * (1 - frequency) / (n - 1)."""
    rng = np.random.default_rng(seed)
    p = np.repeat(rng.permutation(np.linspace(0.1, 0.9, levels)), each)
    y = rng.integers(2, size=len(p))
    total = 0.0
    for level in np.unique(p):
        share = y[p == level].mean()
        total += ((level - share) ** 2 - share * (1 - share) / (each - 1)) / levels
    found = debiased_calibration_error(y, np.column_stack([1 - p, p]), levels)
    assert found == pytest.approx(np.sqrt(max(0, total)), abs=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_squared_error_is_unbiased(temperature):
    """Over samples it averages to the true one, which is 0 for a calibrated model."""
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.ones(3), 120)
    P = softmax(np.log(truth) / temperature, axis=1)
    bins = Bins(P, 10)
    found = []
    for _ in range(2000):
        found.append(squared_error(bins.counts, *bins.residuals(draw(rng, truth))))
    # Rows are fixed here and labels drawn: noise is E p(1-p), and the spread of the
    # residuals in a bin is part of what the pairs see.
    gap = P - truth
    pairs = 0.0
    for index, g in zip(bins.index.T, gap.T, strict=True):
        for b in np.unique(index):
            inside = g[index == b]
            pairs += (inside.sum() ** 2 - (inside**2).sum()) / (len(inside) - 1)
    expected = pairs / gap.size
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(expected, abs=4 * error)
    assert (expected > 1e-3) == (temperature != 1.0)
    plain = [expected_calibration_error(draw(rng, P), P, 10) for _ in range(20)]
    assert np.mean(plain) > 0.03  # the error that is not debiased is pure noise here


def test_preference_for_a_label_is_seen():
    """In top-label errors it cancels out for the most part; here it does not."""
    rng = np.random.default_rng(1)
    log_odds = 3 * rng.normal(size=4000)
    y = (rng.random(4000) < expit(log_odds)).astype(int)
    p = expit(log_odds + 1)
    P = np.column_stack([1 - p, p])
    right = (P.argmax(axis=1) == y).astype(int)
    top = np.column_stack([1 - P.max(axis=1), P.max(axis=1)])
    for error in ERRORS:
        assert error(y, P) > 2 * error(right, top)


@pytest.mark.parametrize("error", ERRORS)
@few
@given(seed=seeds, rounded=st.booleans())
def test_order_of_rows_and_names_of_classes_play_no_part(error, seed, rounded):
    """Nor among ties: rows of one probability share a bin."""
    P, y = sample(seed, 100, 3)
    if rounded:
        P = np.round(P * 4) + 0.1
        P = P / P.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(100), rng.permutation(3)
    expected = error(y, P)
    assert error(y[rows], P[rows]) == pytest.approx(expected, abs=1e-7)
    renamed = np.argsort(columns)[y]
    assert error(renamed, P[:, columns]) == pytest.approx(expected, abs=1e-7)
    names = np.array(["bad", "good", "so-so"])
    called = error(names[y], P[:, columns], labels=names[columns])
    assert called == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("error", ERRORS)
def test_sorted_labels_are_no_error_of_a_constant_model(error):
    """A model that always gives the class frequencies is calibrated."""
    y = np.repeat([0, 1], [30, 70])
    P = np.tile([0.3, 0.7], (100, 1))
    assert error(y, P) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("debiased", [False, True])
def test_calibrated_models_stay_under_the_floor(debiased):
    """95 % of them do, and half stay under the median."""
    rng = np.random.default_rng(2)
    P = rng.dirichlet([1, 2, 0.5], 150)
    error = debiased_calibration_error if debiased else expected_calibration_error
    shown = np.array([error(draw(rng, P), P) for _ in range(600)])
    for quantile, tolerance in [(0.95, 0.03), (0.5, 0.07)]:
        floor = calibration_noise_floor(P, debiased=debiased, quantile=quantile)
        assert (shown <= floor).mean() == pytest.approx(quantile, abs=tolerance)
    biased = softmax(np.log(P) + np.array([1.5, 0, 0]), axis=1)
    floor = calibration_noise_floor(biased, debiased=debiased)
    assert error(draw(rng, P), biased) > 2 * floor


def test_floor_is_repeatable_and_falls_with_the_root_of_n():
    """A seed gives the same floor; four times the rows half of it."""
    P = np.random.default_rng(3).dirichlet([1, 1], 500)
    floor = calibration_noise_floor(P)
    assert floor == calibration_noise_floor(P)
    assert floor != calibration_noise_floor(P, random_state=1)
    assert calibration_noise_floor(np.tile(P, (4, 1))) == pytest.approx(
        floor / 2, rel=0.1
    )


@few
@given(seeds, st.integers(1, 30), st.integers(1, 5), st.floats(0.01, 5))
def test_mutual_information_is_a_mean_divergence(seed, n, K, concentration):
    """It is the mean Kullback-Leibler divergence from the mean, in [0, ln K]."""
    P = np.random.default_rng(seed).dirichlet(np.full(K, concentration), n)
    found = mutual_information(P)
    expected = rel_entr(P, P.mean(axis=0)).sum(axis=1).mean()
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0 <= found <= np.log(K)
    assert mutual_information(np.tile(P[:1], (7, 1))) == pytest.approx(0, abs=1e-12)
    assert mutual_information(np.eye(K)) == pytest.approx(np.log(K))


def test_mutual_information_ranks_prompts():
    """Among models of the same texts, the ones that see more of the class have more."""
    rng = np.random.default_rng(4)
    y = rng.integers(3, size=500)
    found = []
    for signal in (0.0, 1.0, 2.0, 4.0):
        S = rng.normal(size=(500, 3)) * np.sqrt(signal)
        found.append(mutual_information(softmax(S + signal * np.eye(3)[y], axis=1)))
    assert (np.diff(found) > 0).all()


def test_skill_is_the_share_that_is_saved():
    """1 for a perfect model, 0 for the reference, negative for a worse one."""
    assert [skill(loss, 0.5) for loss in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.5, 0.0, -1.0]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("y", "P", "message"),
    [
        ([0, 1], [[-1.0, -2.0], [-2.0, -1.0]], "must hold probabilities"),
        ([0, 1], [[0.5, 0.4], [0.5, 0.5]], "must hold probabilities"),
        ([0, 1], [[np.nan, 1], [0.5, 0.5]], "NaN"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], r"codes from 0 to 1.*Got \[0, 2\]"),
        (["a", "b"], [[0.5, 0.5], [0.5, 0.5]], "labels=clf.classes_"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], "inconsistent numbers"),
    ],
)
def test_what_is_no_probability_or_label_is_refused(error, y, P, message):
    """With what to give instead."""
    with pytest.raises(ValueError, match=message):
        error(y, P)


def test_labels_must_name_every_column():
    """Two names for three columns are refused."""
    with pytest.raises(ValueError, match="one for each column"):
        expected_calibration_error([0, 1], np.full((2, 3), 1 / 3), labels=[0, 1])


@pytest.mark.parametrize("n", [1, 4, 9, 11])
@pytest.mark.parametrize("error", ERRORS)
def test_few_rows_are_no_fault(error, n):
    """Bins become fewer; a single row gives a number too."""
    P, y = sample(5, n)
    assert 0 <= error(y, P) <= 1
    assert 0 <= calibration_noise_floor(P, debiased=True) <= 1
