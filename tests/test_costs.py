"""Decisions of least expected cost against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import confusion_matrix

from sklearn_logprob.costs import LeastCost, cost_array
from sklearn_logprob.thresholds import decide, make_selector, needs_labels

few = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)
positive = st.floats(0.01, 100)


def draw(seed, K, n=60):
    """Draw probabilities and costs, of any sign and with gains for mistakes."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(K), n), rng.normal(size=(K, K))


def expected(p, costs, decided):
    return sum(p[true] * costs[true][decided] for true in range(len(p)))


@few
@given(seeds, st.integers(2, 5))
def test_no_other_decision_costs_less(seed, K):
    """Row by row, the expected cost of the decision is the smallest of all."""
    P, C = draw(seed, K)
    for p, decided in zip(P, LeastCost(C).fit(P).decide(P), strict=True):
        costs = [expected(p, C, j) for j in range(K)]
        assert costs[decided] == pytest.approx(min(costs))


@few
@given(seeds, st.integers(2, 5))
def test_costs_of_each_row_are_followed(seed, K):
    """Each row is decided as with its own matrix; equal ones change nothing."""
    P, C = draw(seed, K)
    each = np.random.default_rng(seed).normal(size=(len(P), K, K))
    selector = LeastCost(C).fit(P)
    decided = selector.decide(P, costs=each)
    for i, code in enumerate(decided):
        assert LeastCost(each[i]).fit(P[[i]]).decide(P[[i]]) == code
    same = np.broadcast_to(C, each.shape)
    np.testing.assert_array_equal(selector.decide(P, costs=same), selector.decide(P))


@few
@given(seeds, st.integers(2, 6), positive)
def test_equal_costs_are_the_argmax(seed, K, cost):
    """Where every mistake costs the same, exactly the most probable class wins."""
    P = np.random.default_rng(seed).dirichlet(np.ones(K), 60)
    P[:20] = np.round(P[:20], 1)  # ties too: the first of equals
    C = cost * (1 - np.eye(K))
    np.testing.assert_array_equal(LeastCost(C).fit(P).decide(P), P.argmax(axis=1))


@few
@given(seeds, st.integers(2, 5))
def test_constant_of_a_true_class_changes_nothing(seed, K):
    """What is paid whatever is decided is no reason to decide."""
    P, C = draw(seed, K)
    shifted = C + np.random.default_rng(seed).integers(-5, 6, (K, 1))
    np.testing.assert_array_equal(
        LeastCost(shifted).fit(P).decide(P), LeastCost(C).fit(P).decide(P)
    )
    if K == 2:
        thresholds = [LeastCost(each).fit(P).threshold_ for each in (C, shifted)]
        assert thresholds[0] == pytest.approx(thresholds[1])


@few
@given(seeds, positive, positive)
def test_two_classes_are_cut_at_the_ratio_of_costs(seed, false_alarm, miss):
    """Column 1 from c_FP / (c_FP + c_FN) on."""
    P = np.random.default_rng(seed).dirichlet([1, 1], 200)
    selector = LeastCost([[0, false_alarm], [miss, 0]]).fit(P)
    cut = false_alarm / (false_alarm + miss)
    assert selector.threshold_ == pytest.approx(cut)
    np.testing.assert_array_equal(selector.decide(P), decide(P, cut))


@few
@given(seeds)
def test_threshold_of_two_classes_is_the_decision(seed):
    """Wherever there is one it decides as the costs do, right decisions' included."""
    P, C = draw(seed, 2)
    selector = LeastCost(C).fit(P)
    gained = np.array([C[0, 1] - C[0, 0], C[1, 0] - C[1, 1]])
    assert (selector.threshold_ is None) == (gained < 0).any()
    if selector.threshold_ is not None:
        np.testing.assert_array_equal(selector.decide(P), decide(P, selector.threshold_))


@few
@given(seeds, st.integers(3, 5))
def test_costs_of_true_classes_alone_are_divisors(seed, K):
    """Where only the true class matters, its cost weighs its probability."""
    P, _ = draw(seed, K)
    cost = np.random.default_rng(seed).uniform(0.1, 10, K)
    C = cost[:, None] * (1 - np.eye(K))
    np.testing.assert_array_equal(LeastCost(C).fit(P).decide(P), decide(P, 1 / cost))


def test_decision_may_be_for_a_class_that_is_least_probable():
    """A class between two others is the safe one: no divisors can say so."""
    C = np.abs(np.subtract.outer(range(3), range(3))) ** 2
    P = [[0.48, 0.04, 0.48], [0.9, 0.05, 0.05]]
    selector = LeastCost(C).fit(P)
    assert selector.decide(P).tolist() == [1, 0]
    assert selector.threshold_ is None


def test_calibrated_probabilities_make_the_least_cost_in_fact():
    """On labels drawn from P it costs less than the argmax, and than other costs."""
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(3), 20_000)
    y = (rng.random((len(P), 1)) > P.cumsum(axis=1)).sum(axis=1)
    C = np.array([[0, 1, 4], [2, 0, 1], [9, 3, 0]])

    def paid(decided):
        return (confusion_matrix(y, decided) * C).sum() / len(y)

    found = paid(LeastCost(C).fit(P).decide(P))
    assert found < paid(P.argmax(axis=1)) - 0.2
    assert found < paid(LeastCost(C.T).fit(P).decide(P)) - 0.2
    assert found == pytest.approx((P @ C).min(axis=1).mean(), abs=0.03)


# by label


def test_mapping_names_true_and_decided():
    """The array has a row for each true class; right decisions cost 0 unless named."""
    costs = {("a", "b"): 1, ("b", "a"): 2, ("b", "b"): -3}
    assert cost_array(costs, ["a", "b"]).tolist() == [[0, 1], [2, -3]]
    assert cost_array(costs, ["b", "a"]).tolist() == [[-3, 2], [1, 0]]
    assert LeastCost({(0, 1): 1, (1, 0): 3}).fit(np.eye(2)).threshold_ == 0.25


@few
@given(seeds, st.permutations(range(3)))
def test_decisions_do_not_depend_on_the_order_of_columns(seed, order):
    """`for_classes` gives the costs for columns in any order, from either form."""
    P, C = draw(seed, 3)
    classes = np.array(["x", "y", "z"])
    named = {(s, t): C[i, j] for i, s in enumerate("xyz") for j, t in enumerate("xyz")}
    usual = classes[LeastCost(C).fit(P).decide(P)]
    for costs in (C, named):
        selector = LeastCost(costs).for_classes(["x", "y", "z"], order)
        decided = selector.fit(P[:, order]).decide(P[:, order])
        np.testing.assert_array_equal(classes[order][decided], usual)
    same = LeastCost(named).for_classes(["x", "y", "z"])
    np.testing.assert_array_equal(same.cost_matrix, C)


# as a selector, and what is refused


def test_costs_are_a_selector_without_labels():
    """A classifier clones it, and fits it on no rows and no labels."""
    selector = LeastCost([[0, 1], [4, 0]])
    made = make_selector(selector, 2)
    assert made is not selector and not needs_labels(made)
    assert made.fit(np.empty((0, 2)), None).threshold_ == 0.2
    assert clone(made).get_params() == selector.get_params()


@pytest.mark.parametrize(
    "costs",
    [
        [[0, 1], [1, 0]],
        np.zeros((3, 4)),
        [[0, 1, 2], [1, 0, np.nan], [1, 1, 0]],
        [[0, 1, 2], [1, 0, "dear"], [1, 1, 0]],
        [[0, 1], [1, 0, 2], [1]],
        5,
        None,
    ],
)
def test_costs_of_another_shape_are_refused(costs):
    """Three classes take nine finite numbers."""
    with pytest.raises(ValueError, match=r"cost_matrix .*shape \(3, 3\)"):
        LeastCost(costs).fit(np.eye(3))


def test_costs_of_rows_of_another_shape_are_refused():
    """Each row takes a matrix."""
    selector = LeastCost(np.ones((2, 2))).fit(np.eye(2))
    with pytest.raises(ValueError, match=r"costs .*shape \(2, 2, 2\)"):
        selector.decide(np.eye(2), costs=np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="finite"):
        selector.decide(np.eye(2), costs=np.full((2, 2, 2), np.inf))


@pytest.mark.parametrize(
    "costs, message",
    [
        ({("a", "b"): 1}, r"lacks \('b', 'a'\)"),
        ({("a", "b"): 1, ("b", "c"): 1}, r"Got \('b', 'c'\)"),
        ({"a": 1, "b": 2}, "Got 'a'"),
        ({("a", "b"): 1, ("b", "a"): np.inf}, "finite"),
    ],
)
def test_mapping_must_be_complete(costs, message):
    """A pair that is missing or unknown is named."""
    with pytest.raises(ValueError, match=message):
        cost_array(costs, ["a", "b"])
