"""Precision and recall that are kept: brute force, scikit-learn's curve, simulation."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom
from sklearn.base import clone
from sklearn.metrics import precision_recall_curve, precision_score, recall_score

from sklearn_logprob.operating_points import (
    OperatingPointError,
    PrecisionAtLeast,
    RecallAtLeast,
)
from sklearn_logprob.thresholds import decide, make_selector, needs_labels

few = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)
shares = st.integers(1, 20).map(lambda i: i / 20)
RUNS = 1000


def two_columns(p):
    return np.column_stack([1 - np.asarray(p), p])


def sample(seed, n, sixteenths=True):
    """Draw probabilities, often equal ones, and labels that hold a positive."""
    rng = np.random.default_rng(seed)
    p = rng.integers(0, 17, n) / 16 if sixteenths else rng.random(n)
    y = (rng.random(n) < p).astype(int)
    y[rng.integers(n)] = 1
    return two_columns(p), y


def points(P, y):
    """List (precision, recall) at every cut that predicts anything."""
    found = []
    for t in np.unique(P[:, 1]):
        predicted = P[:, 1] >= t
        found.append((y[predicted].mean(), y[predicted].sum() / y.sum()))
    return found


# the rows of fit


@few
@given(seeds, st.integers(1, 25), shares)
def test_precision_is_kept_at_the_highest_recall(seed, n, p):
    """No cut that keeps it finds more; where none does, the best one is named."""
    P, y = sample(seed, n)
    possible = [(recall, precision) for precision, recall in points(P, y)]
    kept = [point for point in possible if point[1] >= p]
    if not kept:
        best = max(precision for _, precision in possible)
        with pytest.raises(OperatingPointError, match=re.escape(f"best is {best:.3g}")):
            PrecisionAtLeast(p).fit(P, y)
        return
    selector = PrecisionAtLeast(p).fit(P, y)
    predicted = decide(P, selector.threshold_)
    assert (selector.recall_, selector.precision_) == max(kept)
    assert precision_score(y, predicted) == pytest.approx(selector.precision_)
    assert recall_score(y, predicted) == pytest.approx(selector.recall_)


@few
@given(seeds, st.integers(1, 25), shares)
def test_recall_is_kept_at_the_highest_precision(seed, n, r):
    """No cut that keeps it is more precise, and predicting all always keeps it."""
    P, y = sample(seed, n)
    selector = RecallAtLeast(r).fit(P, y)
    predicted = decide(P, selector.threshold_)
    assert (selector.precision_, selector.recall_) == max(
        (precision, recall) for precision, recall in points(P, y) if recall >= r
    )
    assert precision_score(y, predicted) == pytest.approx(selector.precision_)
    assert recall_score(y, predicted) == pytest.approx(selector.recall_)


def test_points_lie_on_the_curve_of_scikit_learn():
    """On 500 rows both find what a look at the precision-recall curve finds."""
    P, y = sample(1, 500, sixteenths=False)
    precision, recall, _ = (values[:-1] for values in precision_recall_curve(y, P[:, 1]))
    found = PrecisionAtLeast(0.8).fit(P, y)
    assert found.recall_ == pytest.approx(recall[precision >= 0.8].max())
    found = RecallAtLeast(0.8).fit(P, y)
    assert found.precision_ == pytest.approx(precision[recall >= 0.8].max())


def test_thresholds_lie_midway():
    """They are no data point, so that a rounding of new ones changes nothing."""
    P, y = two_columns([0.1, 0.4, 0.6, 0.9]), [0, 0, 1, 1]
    assert PrecisionAtLeast(1).fit(P, y).threshold_ == 0.5
    assert RecallAtLeast(1).fit(P, y).threshold_ == 0.5
    assert RecallAtLeast(0.5).fit(P, y).threshold_ == 0.5


# confidence


def run(selector, seed, n, slope, intercept):
    """Fit where column 1 has probability intercept + slope s; its true values."""
    rng = np.random.default_rng(seed)
    s = rng.random(n)
    y = (rng.random(n) < intercept + slope * s).astype(int)
    try:
        t = clone(selector).fit(two_columns(s), y).threshold_
    except OperatingPointError:
        return 1, 1
    hits = intercept * (1 - t) + slope * (1 - t**2) / 2
    return hits / (1 - t), hits / (intercept + slope / 2)


@pytest.mark.parametrize("slope, intercept", [(0.5, 0.5), (0, 0.7995), (0.1, 0.72)])
def test_precision_is_kept_with_the_stated_confidence(slope, intercept):
    """The true one is below 80 % in 10 % of 1,000 runs at most, up to their error."""
    selector = PrecisionAtLeast(0.8, confidence=0.9)
    missed = [run(selector, i, 150, slope, intercept)[0] < 0.8 for i in range(RUNS)]
    assert sum(missed) <= binom.ppf(0.999, RUNS, 0.1)


def test_recall_is_kept_with_the_stated_confidence():
    """The true one is below 80 % in 10 % of runs at most."""
    selector = RecallAtLeast(0.8, confidence=0.9)
    missed = [run(selector, i, 120, 0.9, 0.05)[1] < 0.8 for i in range(RUNS)]
    assert sum(missed) <= binom.ppf(0.999, RUNS, 0.1)


@pytest.mark.parametrize("selector", [PrecisionAtLeast(0.8), RecallAtLeast(0.8)])
def test_without_confidence_the_promise_is_often_broken(selector):
    """The simulation tells: what the rows of fit keep, new ones miss in 30 % or more."""
    at = isinstance(selector, RecallAtLeast)
    missed = [run(selector, i, 150, 0.5, 0.4)[at] < 0.8 for i in range(300)]
    assert sum(missed) > 90


@few
@given(seeds, st.integers(60, 400))
def test_confident_points_are_within_clopper_pearson(seed, n):
    """The lower bounds at the chosen threshold are what was asked for."""
    P, y = sample(seed, n, sixteenths=False)
    predicted = decide(P, RecallAtLeast(0.6, confidence=0.9).fit(P, y).threshold_)
    hits, positives = y[predicted == 1].sum(), y.sum()
    assert beta.ppf(0.1, hits, positives - hits + 1) >= 0.6 - 1e-9
    try:
        selector = PrecisionAtLeast(0.6, confidence=0.9).fit(P, y)
    except OperatingPointError:
        return
    predicted = decide(P, selector.threshold_)
    hits, size = y[predicted == 1].sum(), predicted.sum()
    assert beta.ppf(0.1, hits, size - hits + 1) >= 0.6 - 1e-9
    assert selector.recall_ <= PrecisionAtLeast(0.6).fit(P, y).recall_


def test_confident_recall_is_a_tolerance_limit():
    """As many positives may be missed as order statistics allow: P(Bin(n, 0.1) > k)."""
    most = max(k for k in range(100) if binom.sf(k, 100, 0.1) >= 0.95)
    positive = np.linspace(0.5, 1, 100)
    negative = positive[:20] + 0.001  # so that missing one more is more precise
    P, y = two_columns(np.r_[positive, negative]), np.repeat([1, 0], [100, 20])
    selector = RecallAtLeast(0.9, confidence=0.95).fit(P, y)
    assert selector.recall_ == pytest.approx(1 - most / 100)
    assert RecallAtLeast(0.9).fit(P, y).recall_ == pytest.approx(0.9)


# not reachable


@pytest.mark.parametrize("p, rows", [(0.9, 22), (0.95, 45)])
def test_precision_takes_rows(p, rows):
    """22 and 45 right ones show 90 and 95 % with 90 % confidence; one less does not."""
    P, y = two_columns(np.linspace(0.5, 1, rows)), np.ones(rows, dtype=int)
    selector = PrecisionAtLeast(p, confidence=0.9)
    assert selector.fit(P, y).recall_ == 1
    with pytest.raises(
        OperatingPointError, match=f"at least {rows} rows predicted"
    ) as error:
        selector.fit(P[1:], y[1:])
    bound = 0.1 ** (1 / (rows - 1))  # Clopper and Pearson's without an error
    assert f"lower bound of one threshold is {bound:.3g}" in str(error.value)
    assert f"on these {rows - 1} rows" in str(error.value)


def test_recall_takes_rows_of_column_one():
    """22 show 90 % with 90 % confidence where all are found; 21 do not."""
    p = np.r_[np.linspace(0.5, 1, 22), np.linspace(0, 0.4, 30)]
    selector, y = RecallAtLeast(0.9, confidence=0.9), (p >= 0.5).astype(int)
    assert selector.fit(two_columns(p), y).recall_ == 1
    with pytest.raises(
        OperatingPointError, match=r"at least 22 rows.*there are 21"
    ) as error:
        selector.fit(two_columns(p[1:]), y[1:])
    assert f"which show {0.1 ** (1 / 21):.3g} where all are found" in str(error.value)


@pytest.mark.parametrize("confidence", [None, 0.9])
@pytest.mark.parametrize("selector", [PrecisionAtLeast(0.5), RecallAtLeast(0.5)])
def test_nothing_is_reachable_without_positives(selector, confidence):
    """It is an error that says so, never a threshold that predicts nothing."""
    selector = clone(selector).set_params(confidence=confidence)
    P = two_columns(np.linspace(0, 1, 30))
    with pytest.raises(OperatingPointError, match="these 30"):
        selector.fit(P, np.zeros(30, dtype=int))
    assert not hasattr(selector, "threshold_")
    assert issubclass(OperatingPointError, ValueError)


def test_wrong_order_is_not_reachable():
    """No number of rows like these would do where positives score lowest."""
    P = two_columns(np.linspace(0, 1, 60))
    y = (P[:, 1] < 0.4).astype(int)
    with pytest.raises(OperatingPointError, match="no number seems to be enough"):
        PrecisionAtLeast(0.9, confidence=0.9).fit(P, y)


# parameters


@pytest.mark.parametrize("selector", [PrecisionAtLeast(0.8), RecallAtLeast(0.8)])
def test_points_are_selectors(selector):
    """A classifier takes them as they are: cloned, on labels, for two classes."""
    made = make_selector(selector, 2)
    assert made is not selector and made.get_params() == selector.get_params()
    assert needs_labels(made)
    with pytest.raises(ValueError, match="column 1 of two classes"):
        made.fit(np.full((4, 3), 1 / 3), [0, 1, 2, 0])


@pytest.mark.parametrize(
    "selector, name",
    [
        (PrecisionAtLeast(1.1), "p"),
        (PrecisionAtLeast("0.9"), "p"),
        (PrecisionAtLeast(1, confidence=0.9), "p"),
        (PrecisionAtLeast(0.9, confidence=1), "confidence"),
        (RecallAtLeast(-1), "r"),
        (RecallAtLeast(0.9, confidence=0), "confidence"),
    ],
)
def test_parameters_out_of_range_are_refused(selector, name):
    """The message names the parameter."""
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        selector.fit(two_columns([0.1, 0.9]), [0, 1])
