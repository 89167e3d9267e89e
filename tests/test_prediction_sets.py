"""Prediction sets: coverage by simulation, order statistics, and MAPIE's own."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.base import clone

from sklearn_logprob import FakeBackend, LogprobClassifier
from sklearn_logprob.prediction_sets import LeastAmbiguousSets

few = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def sample(rng, n, K=3, sharpen=1):
    """Draw probabilities, and labels from them before they are sharpened."""
    P = rng.dirichlet(np.ones(K), n)
    y = (rng.random((n, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(0, K - 1)
    P = P**sharpen
    return P / P.sum(axis=1, keepdims=True), y


@pytest.mark.parametrize("sharpen", [1, 4])
@pytest.mark.parametrize("n, coverage", [(19, 0.8), (60, 0.9)])
def test_coverage_is_as_stated(n, coverage, sharpen):
    """In [c, c + 1 / (n + 1)] on average, even where the probabilities are wrong."""
    rng, runs, hits = np.random.default_rng(0), 1500, []
    for _ in range(runs):
        P, y = sample(rng, n + 20, sharpen=sharpen)
        sets = LeastAmbiguousSets(coverage).fit(P[:n], y[:n]).predict_set(P[n:])
        hits.append(sets[np.arange(20), y[n:]].mean())
    error = 3.3 * np.std(hits) / runs**0.5
    assert coverage - error <= np.mean(hits) <= coverage + 1 / (n + 1) + error


@few
@given(seeds, st.integers(1, 60), st.integers(1, 99))
@example(0, 49, 14)  # 50 * 0.14 is more than 7 in floating point
def test_quantile_is_an_order_statistic(seed, n, percent):
    """The ceil((n + 1) c)-th smallest 1 - p, with c as the fraction that was meant."""
    P, y = sample(np.random.default_rng(seed), n)
    rank = ceil((n + 1) * Fraction(percent, 100))
    selector = LeastAmbiguousSets(percent / 100)
    if rank > n:
        with pytest.warns(UserWarning, match="at least"):
            assert selector.fit(P, y).predict_set(P).all()
        return
    score = sorted(1 - P[i, y[i]] for i in range(n))
    assert selector.fit(P, y).quantile_ == score[rank - 1]
    covered = selector.predict_set(P)[np.arange(n), y]
    assert covered.sum() >= rank


@few
@given(seeds, st.integers(20, 80), st.floats(0.1, 0.94), st.floats(0.1, 0.94))
def test_sets_are_nested_in_coverage(seed, n, a, b):
    """Who asks for more coverage loses no class."""
    P, y = sample(np.random.default_rng(seed), n)
    low, high = (LeastAmbiguousSets(c).fit(P, y).predict_set(P) for c in sorted((a, b)))
    assert np.all(low <= high)


@few
@given(seeds, st.floats(0.2, 0.95))
def test_sets_hold_the_most_probable_classes(seed, coverage):
    """No class is in a set without those that are more probable in that row."""
    P, y = sample(np.random.default_rng(seed), 60, K=4)
    sets = LeastAmbiguousSets(coverage).fit(P, y).predict_set(P)
    for p, held in zip(P, sets, strict=True):
        assert p[held].min(initial=1) >= p[~held].max(initial=0)


def test_sets_are_empty_only_where_no_class_is_probable_enough():
    """With 1 - quantile at most the largest probability there is a class."""
    P, y = sample(np.random.default_rng(0), 200)
    selector = LeastAmbiguousSets(0.3).fit(P, y)
    held = selector.predict_set(P).any(axis=1)
    np.testing.assert_array_equal(held, 1 - P.max(axis=1) <= selector.quantile_)
    assert 0 < held.mean() < 1


@pytest.mark.parametrize("coverage, rows", [(0.9, 9), (0.95, 19), (0.99, 99)])
def test_coverage_takes_rows(coverage, rows):
    """9, 19 and 99 rows for 90, 95 and 99 %; with one less every set holds all."""
    P, y = sample(np.random.default_rng(0), rows)
    selector = LeastAmbiguousSets(coverage).fit(P, y)
    assert selector.quantile_ == (1 - P[np.arange(rows), y]).max()
    with pytest.warns(UserWarning, match=f"takes at least {rows} labelled rows"):
        selector.fit(P[1:], y[1:])
    assert selector.predict_set(np.eye(3)).all()


def test_rows_without_an_answer_get_all_classes():
    """Nothing is known of them, so nothing is ruled out."""
    P, y = sample(np.random.default_rng(0), 30)
    sets = LeastAmbiguousSets(0.5).fit(P, y).predict_set([[np.nan] * 3, [1, 0, 0]])
    assert sets.tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize("coverage", [0, 1, 1.5, "0.9", None])
def test_coverage_out_of_range_is_refused(coverage):
    """All or nothing needs no labels."""
    with pytest.raises(ValueError, match="The 'coverage' parameter"):
        LeastAmbiguousSets(coverage).fit(np.eye(2), [0, 1])
    assert clone(LeastAmbiguousSets(0.8)).get_params() == {"coverage": 0.8}


# MAPIE

CLASSES = ["bad", "fair", "good"]
EVIDENCE = {
    "great": [-1, 0, 2],
    "fine": [-1, 1, 1],
    "odd": [0, 1, 0],
    "slow": [1, 0.5, -0.5],
    "dull": [2, 0, -1],
}


def reviews(n):
    """Draw texts of three words, and labels as their evidence has it."""
    rng = np.random.default_rng(5)
    words = rng.integers(0, len(EVIDENCE), (n, 3))
    P = softmax(np.array(list(EVIDENCE.values()))[words].sum(axis=1), axis=1)
    codes = (rng.random((n, 1)) > P.cumsum(axis=1)).sum(axis=1)
    texts = [" ".join(row) for row in np.array(list(EVIDENCE))[words]]
    return np.array(texts), np.array(CLASSES)[codes]


def test_mapie_takes_the_classifier_as_it_is():
    """Prefit, on texts: its LAC sets are ours; APS and cross-fitting run too."""
    mapie = pytest.importorskip("mapie.classification")
    X, y = reviews(400)
    evidence = {w: dict(zip(CLASSES, e, strict=True)) for w, e in EVIDENCE.items()}
    backend = FakeBackend(evidence, bias={"good": 2})
    clf = LogprobClassifier(backend, prompt="{text}\nIt was", cache=None)
    clf.fit(X[:100], y[:100])
    levels = [0.7, 0.9]
    theirs = mapie.SplitConformalClassifier(
        clf, confidence_level=levels, conformity_score="lac", prefit=True
    )
    labels, sets = theirs.conformalize(X[100:250], y[100:250]).predict_set(X[250:])
    np.testing.assert_array_equal(labels, clf.predict(X[250:]))
    codes = np.searchsorted(clf.classes_, y)
    P = clf.predict_proba(X)
    for level, found in zip(levels, np.moveaxis(sets, 2, 0), strict=True):
        ours = LeastAmbiguousSets(level).fit(P[100:250], codes[100:250])
        np.testing.assert_array_equal(ours.predict_set(P[250:]), found)
    adaptive = mapie.SplitConformalClassifier(
        clf, confidence_level=0.9, conformity_score="aps", prefit=True, random_state=0
    ).conformalize(X[100:250], y[100:250])
    covered = adaptive.predict_set(X[250:])[1][np.arange(150), codes[250:], 0]
    assert covered.mean() > 0.8
    # here MAPIE encodes y before the classifier sees it, so the classes are named
    crossed = mapie.CrossConformalClassifier(
        clone(clf).set_params(classes=CLASSES),
        confidence_level=0.9,
        conformity_score="lac",
        cv=3,
    ).fit_conformalize(X[:250], y[:250])
    covered = crossed.predict_set(X[250:])[1][np.arange(150), codes[250:], 0]
    assert covered.mean() > 0.8
