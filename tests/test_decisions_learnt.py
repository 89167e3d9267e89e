"""Costs, operating points, the reject option and sets, through the classifier."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import precision_score
from sklearn.model_selection import GridSearchCV

from sklearn_logprob import FakeBackend, LogprobClassifier
from sklearn_logprob.costs import LeastCost
from sklearn_logprob.operating_points import (
    OperatingPointError,
    PrecisionAtLeast,
    RecallAtLeast,
)
from sklearn_logprob.rejection import ChowRule, RiskAtMost
from sklearn_logprob.thresholds import BestMetric, FixedThreshold

WEIGHTS = {"great": 2.0, "dull": -2.0, "odd": 0.4, "long": -0.6, "slow": -1.1}
BACKEND = FakeBackend({w: {"good": x} for w, x in WEIGHTS.items()}, bias={"good": 2})


def reviews(n, seed=0):
    rng = np.random.default_rng(seed)
    words = rng.choice(list(WEIGHTS), (n, 3))
    weight = np.vectorize(WEIGHTS.get)(words).sum(axis=1)
    y = np.where(rng.random(n) < expit(weight), "good", "bad")
    return [" ".join(row) for row in words], y


def make(**params):
    return LogprobClassifier(
        BACKEND, prompt="{text}", cache=None, random_state=0, **params
    )


@pytest.mark.parametrize("pos_label", [None, "good", "bad"])
def test_costs_by_label_do_not_depend_on_pos_label(pos_label):
    """Array and mapping are about `classes_`, whichever class is the positive one."""
    X, y = reviews(200)
    for costs in ([[0, 1], [9, 0]], {("bad", "good"): 1, ("good", "bad"): 9}):
        clf = make(threshold=LeastCost(costs), pos_label=pos_label).fit(X, y)
        good = clf.predict_proba(X)[:, 1] > 0.1
        np.testing.assert_array_equal(clf.predict(X) == "good", good)
        assert clf.threshold_ == pytest.approx(0.9 if pos_label == "bad" else 0.1)


def test_costs_are_known_without_labels():
    """As they learn nothing, no y is needed."""
    X, _ = reviews(50)
    clf = make(threshold=LeastCost([[0, 1], [9, 0]]), classes=["bad", "good"]).fit(X)
    assert clf.threshold_ == 0.1


def test_costs_of_more_classes_decide():
    """Three classes in a row: the middle one is safe."""
    X, y = reviews(300)
    y = np.where(np.arange(300) % 3 == 0, "fair", y)
    C = np.array([[0, 1, 4], [1, 0, 1], [4, 1, 0]])
    clf = make(threshold=LeastCost(C)).fit(X, y)
    expected = clf.predict_proba(X) @ C
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[expected.argmin(axis=1)])
    assert clf.threshold_ is None
    with pytest.raises(ValueError, match="shape"):
        make(threshold=LeastCost(np.ones((2, 2)))).fit(X, y)


def test_operating_points_are_searched_like_any_parameter():
    """`threshold__p` reaches them; out of fold the precision is kept."""
    X, y = reviews(400)
    clf = make(threshold=PrecisionAtLeast(0.8), pos_label="good")
    grid = GridSearchCV(clf, {"threshold__p": [0.6, 0.8]}, cv=3).fit(X, y)
    assert grid.cv_results_["params"] == [{"threshold__p": 0.6}, {"threshold__p": 0.8}]
    fitted = clone(clf).fit(X, y)
    assert fitted.report_.scores["tuned"]["accuracy"].value > 0.6
    assert precision_score(y == "good", fitted.predict(X) == "good") >= 0.78
    with pytest.raises(OperatingPointError, match="at least 460 rows"):
        clone(clf).set_params(threshold=PrecisionAtLeast(0.995, confidence=0.9)).fit(X, y)
    with pytest.raises(ValueError, match="'p' parameter"):
        make(threshold=PrecisionAtLeast(2)).fit(X, y)


@pytest.mark.parametrize(
    ("selector", "changes"),
    [
        (BestMetric("f1"), {"metric": "balanced_accuracy"}),
        (BestMetric("f1"), {"method": "search"}),
        (FixedThreshold(0.3), {"value": 0.7}),
        (RecallAtLeast(0.95), {"r": 0.6}),
        (RecallAtLeast(0.6), {"confidence": 0.9}),
        (LeastCost([[0, 1], [1, 0]]), {"cost_matrix": [[0, 9], [1, 0]]}),
    ],
)
def test_every_parameter_of_a_selector_is_in_reach_of_a_grid(selector, changes):
    """What a grid sets through the classifier is what decides."""
    X, y = reviews(300)
    clf = make(threshold=selector, pos_label="good")
    grid = {f"threshold__{name}": [value] for name, value in changes.items()}
    found = GridSearchCV(clf, grid, cv=2).fit(X, y).best_estimator_
    alone = clone(clf).set_params(threshold=clone(selector).set_params(**changes))
    assert found.threshold_ == alone.fit(X, y).threshold_ != clf.fit(X, y).threshold_


def test_accept_keeps_the_risk():
    """Accepted predictions are right more often than the others, and often enough."""
    X, y = reviews(600)
    clf = make(reject=RiskAtMost(0.1)).fit(X, y)
    new, truth = reviews(2000, seed=1)
    accepted, right = clf.accept(new), clf.predict(new) == truth
    assert 0.2 < accepted.mean() < 0.9
    assert right[accepted].mean() > 0.9 > right[~accepted].mean()
    chow = make(reject=ChowRule(0.2)).fit(X, y)
    np.testing.assert_array_equal(
        chow.accept(new), chow.predict_proba(new).max(axis=1) >= 0.8
    )
    with pytest.raises(ValueError, match="reject="):
        make().fit(X, y).accept(new)


def test_reject_option_judges_the_decisions_in_use():
    """With a threshold the confidence is that of the class decided, not the highest."""
    X, y = reviews(200)
    clf = make(threshold=0.9, reject=ChowRule(0.3)).fit(X, y)
    P, codes = clf.predict_proba(X), np.searchsorted(clf.classes_, clf.predict(X))
    np.testing.assert_array_equal(clf.accept(X), P[np.arange(200), codes] >= 0.7)


def test_sets_cover_as_stated():
    """About 90 % of new rows have their class in the set; the columns are `classes_`."""
    X, y = reviews(400)
    clf = make().fit(X, y)
    new, truth = reviews(2000, seed=1)
    codes = np.searchsorted(clf.classes_, truth)
    sets = clf.predict_set(new, coverage=0.9)
    assert sets[np.arange(2000), codes].mean() == pytest.approx(0.9, abs=0.04)
    assert (clf.predict_set(new, coverage=0.5) <= sets).all()
    with pytest.raises(ValueError, match="needs labels"):
        make(classes=["bad", "good"]).fit(X).predict_set(X)
    with pytest.raises(ValueError, match="ChowRule"):
        make(classes=["bad", "good"], reject=RiskAtMost(0.1)).fit(X)


def test_single_class_is_accepted():
    """Nothing can be wrong, nor any other class in the set."""
    with pytest.warns(UserWarning, match="one class"):
        clf = make(reject=ChowRule(0.1)).fit(["great"] * 4, ["good"] * 4)
    assert clf.accept(["great", "dull"]).all()
