"""The table of thresholds holds what scikit-learn computes one threshold at a time."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import (
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
)

from sklearn_logprob import threshold_curve
from sklearn_logprob._sweep import share_interval

METRICS = {"precision": precision_score, "recall": recall_score, "f1": f1_score}


@st.composite
def problems(draw):
    """Labels and scores with ties, in rows of two to four labels."""
    n, n_columns = draw(st.integers(1, 8)), draw(st.integers(2, 4))
    cells = st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.9, 1.0])),
        min_size=n * n_columns,
        max_size=n * n_columns,
    )
    table = np.array(draw(cells)).reshape(n, n_columns, 2)
    return table[..., 0].astype(int), table[..., 1]


@settings(max_examples=25)
@given(problems(), st.sampled_from(["micro", "samples"]), st.sampled_from([0.0, 1.0]))
def test_every_row_is_scikit_learns(problem, average, zero_division):
    """For several labels, at every distinct score, and above them all."""
    Y, S = problem
    curve = threshold_curve(Y, S, average=average, zero_division=zero_division)
    np.testing.assert_array_equal(curve.threshold, [*np.unique(S), np.inf])
    for _, row in curve.iterrows():
        predicted = (row.threshold <= S).astype(int)
        for name, metric in METRICS.items():
            expected = metric(Y, predicted, average=average, zero_division=zero_division)
            assert row[name] == pytest.approx(expected), name
        assert row.positive_rate == pytest.approx(predicted.mean())


@given(problems(), st.floats(0, 9), st.floats(0, 9))
def test_cost_is_the_mean_over_the_decisions(problem, cost_fp, cost_fn):
    """Counted decision by decision."""
    Y, S = problem
    curve = threshold_curve(Y, S, cost_fp=cost_fp, cost_fn=cost_fn)
    for threshold, cost in zip(curve.threshold, curve.cost, strict=True):
        predicted = threshold <= S
        costs = cost_fp * (predicted & (Y == 0)) + cost_fn * (~predicted & (Y == 1))
        assert cost == pytest.approx(costs.mean())


def test_one_label_is_scikit_learns_curve():
    """The same points as precision_recall_curve, and one more for nothing."""
    rng = np.random.default_rng(0)
    y, scores = rng.choice(["bad", "good"], 300), rng.integers(0, 40, 300) / 40
    curve = threshold_curve(y, scores, pos_label="bad")
    precision, recall, thresholds = precision_recall_curve(y, scores, pos_label="bad")
    np.testing.assert_allclose(curve.precision[:-1], precision[:-1])
    np.testing.assert_allclose(curve.recall, recall)
    np.testing.assert_array_equal(curve.threshold[:-1], thresholds)


@given(problems())
def test_the_unit_does_not_matter(problem):
    """Log scores, with log 0 among them, give the same decisions as probabilities."""
    Y, S = problem
    with np.errstate(divide="ignore"):
        logs = np.log(S)
    a, b = threshold_curve(Y, S), threshold_curve(Y, logs)
    np.testing.assert_array_equal(
        a.drop(columns="threshold"), b.drop(columns="threshold")
    )


def test_labels_and_a_column_for_each():
    """Labels with a column each are one decision a cell, as in an indicator matrix."""
    y, S = np.array(["b", "a", "c"]), np.eye(3)[[1, 0, 1]] + 0.1
    indicator = (y[:, None] == ["a", "b", "c"]).astype(int)
    assert threshold_curve(y, S).equals(threshold_curve(indicator, S))
    turned = threshold_curve(y, S[:, ::-1], labels=["c", "b", "a"])
    assert turned.equals(threshold_curve(y, S))


@pytest.mark.parametrize(
    "y, scores, params, message",
    [
        ([0, 1], [0.1, np.nan], {}, "NaN, first in row 1"),
        (["a", "b"], [0.1, 0.2], {}, r"pos_label="),
        ([0, 1], [[0.1], [0.2]], {}, "as many labels as columns"),
        (["a", "d"], [[0.1, 0.2]] * 2, {"labels": ["a", "b"]}, "labels=clf.classes_"),
        ([[0, 1]], [[0.1]], {}, r"\(1, 2\) and \(1, 1\)"),
        ([[0, 2]], [[0.1, 0.2]], {}, "0 and 1"),
        ([0, 1], [0.1, 0.2], {"average": "macro"}, "'micro' or 'samples'. Got 'macro'"),
        ([0, 1], [0.1], {}, "inconsistent numbers of samples"),
    ],
)
def test_what_does_not_fit_is_refused(y, scores, params, message):
    """With what would fit."""
    with pytest.raises(ValueError, match=message):
        threshold_curve(y, scores, **params)


def test_without_pandas(monkeypatch):
    """The error says how to get it."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        threshold_curve([0, 1], [0.1, 0.2])


@given(st.integers(1, 60), st.data())
def test_intervals_are_scipys(n, data):
    """Clopper and Pearson's, as scipy computes them."""
    hits = data.draw(st.integers(0, n))
    exact = binomtest(hits, n).proportion_ci(0.9, method="exact")
    assert share_interval(hits, n, 0.9) == pytest.approx((exact.low, exact.high))


def test_no_rows_tell_nothing():
    """Of no rows the share may be anything."""
    assert [float(end) for end in share_interval(0, 0)] == [0.0, 1.0]
