"""Beta and Venn-Abers calibration against their definitions and brute force."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit, logsumexp
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from sklearn_logprob import (
    BetaCalibration,
    FakeBackend,
    LogprobClassifier,
    SigmoidCalibration,
    VennAbersCalibration,
    make_calibrator,
)
from sklearn_logprob._curves import fit_curve, log_odds, log_rest

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10**6)


def simulate(seed, n=200, K=3):
    """Draw log scores and the codes that they tell of."""
    rng = np.random.default_rng(seed)
    y = rng.integers(K, size=n)
    S = rng.normal(scale=1.5, size=(n, K)) + np.linspace(0, 1, K)
    S[np.arange(n), y] += 1.5
    return log_softmax(S, axis=1), y


def two(p):
    """Give two classes' log scores."""
    return np.log(np.column_stack([1 - np.asarray(p), p]))


# --- Log-odds and curves --------------------------------------------------------------


@few
@given(seeds, st.integers(2, 6), st.floats(0.1, 300))
def test_log_odds_are_exact_where_probabilities_round(seed, K, scale):
    """They are s less the log-sum of the other classes, for probabilities near 1 too."""
    s = log_softmax(np.random.default_rng(seed).normal(scale=scale, size=(20, K)), axis=1)
    rest = [logsumexp(np.delete(s, k, axis=1), axis=1) for k in range(K)]
    np.testing.assert_allclose(log_rest(s), np.transpose(rest), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_odds(s), s - np.transpose(rest), rtol=1e-9)


def test_a_curve_is_logistic_regression_of_the_smoothed_targets():
    """Two weighted copies of each row give scikit-learn the same problem."""
    s, y = simulate(0)
    X, is_class = np.column_stack([s[:, 0], log_rest(s)[:, 0]]), y == 0
    n, n_class = len(y), is_class.sum()
    target = np.where(is_class, (n_class + 1) / (n_class + 2), 1 / (n - n_class + 2))
    reference = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(
        np.vstack([X, X]),
        np.repeat([1, 0], n),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    weights, intercept = fit_curve(X, is_class)
    np.testing.assert_allclose(weights, reference.coef_[0], rtol=1e-3)
    assert intercept == pytest.approx(reference.intercept_[0], rel=1e-3)


# --- Beta -----------------------------------------------------------------------------


def penalty_free_loss(theta, s, target):
    a, b, c = theta
    z = a * s - b * np.log(-np.expm1(s)) + c
    return np.mean(np.logaddexp(0, z) - target * z)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("turned", [False, True])
def test_beta_is_the_constrained_optimum(seed, turned):
    """Another optimiser finds no lower loss with a and b at least 0."""
    s, y = simulate(seed)
    is_class = (y == 0) ^ turned  # turned, the free optimum has negative weights
    n, n_class = len(y), is_class.sum()
    target = np.where(is_class, (n_class + 1) / (n_class + 2), 1 / (n - n_class + 2))
    X = np.column_stack([s[:, 0], -log_rest(s)[:, 0]])
    (a, b), c = fit_curve(X, is_class, least=0.0)
    best = min(
        minimize(
            penalty_free_loss,
            start,
            (s[:, 0], target),
            method="SLSQP",
            bounds=[(0, None), (0, None), (None, None)],
            options={"maxiter": 500, "ftol": 1e-14},
        ).fun
        for start in ([1, 1, 0], [0, 0, 0])
    )
    assert min(a, b) >= 0
    assert penalty_free_loss((a, b, c), s[:, 0], target) <= best + 1e-9


def test_beta_recovers_a_planted_curve():
    """Labels drawn from a beta curve give its a, b and c back."""
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    truth = expit(0.5 * np.log(p) - 2 * np.log1p(-p) - 0.7)
    S = two(p)
    fitted = BetaCalibration().fit(S, (rng.random(len(p)) < truth).astype(int))
    found = fitted.a_[1], fitted.b_[1], fitted.c_[1]
    np.testing.assert_allclose(found, [0.5, 2, -0.7], atol=0.06)
    np.testing.assert_allclose(fitted.predict_proba(S)[:, 1], truth, atol=0.02)


@few
@given(seeds, st.booleans())
def test_beta_never_falls(seed, turned):
    """A higher probability stays at least as high, even where labels say otherwise."""
    s, y = simulate(seed, n=40, K=2)
    fitted = BetaCalibration().fit(s, 1 - y if turned else y)
    curve = fitted.predict_proba(two(np.linspace(0.001, 0.999, 200)))[:, 1]
    assert (np.diff(curve) >= -1e-12).all()


def test_beta_of_two_classes_is_one_curve():
    """Both curves mirror each other, so that no row sum is left to divide by."""
    s, y = simulate(3, K=2)
    fitted = BetaCalibration().fit(s, y)
    np.testing.assert_allclose(fitted.a_, fitted.b_[::-1], rtol=1e-4)
    np.testing.assert_allclose(fitted.c_[0], -fitted.c_[1], rtol=1e-4)


def test_beta_with_equal_weights_is_platt_scaling():
    """A logistic distortion is found by both, and they agree."""
    rng = np.random.default_rng(1)
    p = rng.random(50_000)
    y = (rng.random(len(p)) < expit(0.6 * logit(p) + 1)).astype(int)
    beta, platt = (
        cls().fit(two(p), y).predict_proba(two(p))
        for cls in (BetaCalibration, SigmoidCalibration)
    )
    np.testing.assert_allclose(beta, platt, atol=0.01)


# --- Venn-Abers -----------------------------------------------------------------------


def brute_force(z, is_class, new):
    """Fit isotonic regression with the new row added, once as each."""
    # by rank, for scikit-learn takes scores that differ by rounding only for one
    rank = np.unique(np.append(z, new), return_inverse=True)[1]
    return [
        IsotonicRegression().fit_transform(rank, np.append(is_class, label))[-1]
        for label in (0, 1)
    ]


@few
@given(seeds, st.integers(2, 4), st.integers(4, 30), st.booleans())
def test_venn_abers_intervals_equal_brute_force(seed, K, n, ties):
    """p0 and p1 are those of isotonic regression with the row added."""
    pytest.importorskip("venn_abers")
    s, y = simulate(seed, n, K)
    new, _ = simulate(seed + 1, 5, K)
    if ties:
        s, new = (log_softmax(np.round(each), axis=1) for each in (s, new))
    new = np.vstack([new, s[:2]])
    fitted = VennAbersCalibration().fit(s, y)
    intervals = fitted.predict_interval(new)
    z, z_new = log_odds(s), log_odds(new)
    expected = [[brute_force(z[:, k], y == k, row[k]) for k in range(K)] for row in z_new]
    np.testing.assert_allclose(intervals, expected, atol=1e-9)
    p0, p1 = np.moveaxis(intervals, -1, 0)
    P = p1 / (1 - p0 + p1)
    np.testing.assert_allclose(
        fitted.predict_proba(new), P / P.sum(axis=1, keepdims=True)
    )


@few
@given(seeds)
def test_venn_abers_is_monotone_with_ordered_ends(seed):
    """p0 <= p1, neither falls, and the probability lies between them."""
    pytest.importorskip("venn_abers")
    s, y = simulate(seed, n=60, K=2)
    grid = two(np.linspace(0.001, 0.999, 300))
    fitted = VennAbersCalibration().fit(s, y)
    p0, p1 = np.moveaxis(fitted.predict_interval(grid), -1, 0)
    p = fitted.predict_proba(grid)[:, 1]
    assert (p0 <= p1).all()
    assert (p0[:, 1] - 1e-12 <= p).all() and (p <= p1[:, 1] + 1e-12).all()
    for curve in (p0[:, 1], p1[:, 1], p):
        assert (np.diff(curve) >= -1e-12).all()


def test_venn_abers_intervals_narrow_with_labels():
    """Their width tells how few labels there are."""
    pytest.importorskip("venn_abers")
    grid = two(np.linspace(0.1, 0.9, 50))
    widths = [
        np.ptp(
            VennAbersCalibration().fit(*simulate(0, n, 2)).predict_interval(grid), axis=-1
        ).mean()
        for n in (50, 500, 5000)
    ]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_one_end_of_venn_abers_is_calibrated():
    """The end that the true label selects has its mean at the frequency of the label."""
    pytest.importorskip("venn_abers")
    right, claimed = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        p = rng.random(21)
        y = (rng.random(21) < p**3).astype(int)  # nowhere near calibrated
        fitted = VennAbersCalibration().fit(two(p[:20]), y[:20])
        claimed.append(fitted.predict_interval(two(p[20:]))[0, 1, y[20]])
        right.append(y[20])
    error = np.std(np.subtract(right, claimed)) / np.sqrt(len(right))
    assert abs(np.mean(right) - np.mean(claimed)) < 3 * error


def test_the_package_leaves_numpy_as_it_was():
    """It turns warnings about division off for everyone when it is imported."""
    pytest.importorskip("venn_abers")
    code = (
        "import numpy as np; before = np.geterr(); from sklearn_logprob import "
        "make_calibrator; make_calibrator('venn-abers').fit([[0, 1], [1, 0]], [0, 1]); "
        "import sys; assert 'venn_abers' in sys.modules; assert np.geterr() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_package_the_error_names_it(monkeypatch):
    """It comes before any model is asked."""
    monkeypatch.setitem(sys.modules, "venn_abers", None)
    clf = LogprobClassifier(FakeBackend(), calibrator="venn-abers", cache=None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-logprob\[venn-abers\]'"):
        clf.fit(["a", "b"] * 4, ["negative", "positive"] * 4)
    assert not hasattr(clf, "usage_")


@pytest.mark.parametrize("name", ["beta", "venn-abers"])
def test_both_serve_the_classifier(name):
    """By their short names, with thresholds on out-of-fold probabilities."""
    if name == "venn-abers":
        pytest.importorskip("venn_abers")
    assert type(make_calibrator(name)).__name__.lower().startswith(name[:4])
    backend = FakeBackend({"good": {"positive": 2.0}, "bad": {"positive": -2.0}})
    X = [f"{word} {mark}" for word in ("good", "bad") for mark in "abcdefghijkl"]
    y = ["positive"] * 12 + ["negative"] * 12
    clf = LogprobClassifier(backend, calibrator=name, threshold="f1", cache=None)
    assert clf.fit(X, y).score(X, y) == 1
