"""Class frequencies: matching and adaptation against Bayes' rule and optimisers."""

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_softmax, softmax
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss

from sklearn_logprob._adapted import AdaptedCalibration, adapt
from sklearn_logprob.calibration import (
    AffineCalibration,
    BatchCalibration,
    calibrated_proba,
)
from sklearn_logprob.priors import change_prior, em_prior, match_prior

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def some(seed, n=60, K=3, spread=2.0):
    """Log scores with a preference, and a class prior."""
    rng = np.random.default_rng(seed)
    S = rng.normal(scale=spread, size=(n, K)) + rng.normal(scale=3, size=K)
    prior = 0.98 * rng.dirichlet(np.ones(K)) + 0.02 / K
    return S - rng.exponential(size=(n, 1)), prior


def gaussian_classes(rng, n, prior, means=(-1.0, 0.0, 1.5)):
    """Draw classes and one feature; give labels and the likelihoods."""
    y = rng.choice(len(means), size=n, p=prior)
    x = rng.normal(np.take(means, y))
    return y, norm.pdf(x[:, None], loc=means)


def bayes(likelihood, prior):
    joint = likelihood * prior
    return joint / joint.sum(axis=1, keepdims=True)


# --- Matching -------------------------------------------------------------------------


@few
@given(seeds, st.integers(1, 80), st.integers(1, 6), st.floats(0.01, 40))
def test_mean_probability_is_the_prior(seed, n, K, spread):
    """To 1e-6, whatever the scores and their preferences; the shift sums to 0."""
    S, prior = some(seed, n, K, spread)
    b = match_prior(S, prior)
    np.testing.assert_allclose(softmax(S + b, axis=1).mean(axis=0), prior, atol=1e-6)
    assert b.sum() == pytest.approx(0, abs=1e-6)


@few
@given(seeds, st.integers(2, 4))
def test_matching_undoes_any_preference(seed, K):
    """A constant per class or row cancels, and what matches already is not moved."""
    S, prior = some(seed, 80, K)
    rng = np.random.default_rng(seed)
    preference = rng.normal(scale=3, size=K)
    P = softmax(S + match_prior(S, prior), axis=1)
    moved = S + preference + rng.normal(size=(80, 1))
    Q = softmax(moved + match_prior(moved, prior), axis=1)
    np.testing.assert_allclose(P, Q, atol=1e-4)
    np.testing.assert_allclose(match_prior(np.log(P), P.mean(axis=0)), 0, atol=1e-4)


@few
@given(seeds)
def test_two_classes_are_one_equation(seed):
    """The shift of the log-odds is the root of mean(expit(z + shift)) = prior."""
    S, prior = some(seed, 50, 2)
    z = S[:, 1] - S[:, 0]
    root = brentq(lambda t: expit(z + t).mean() - prior[1], -100, 100)
    assert np.diff(match_prior(S, prior))[0] == pytest.approx(root, abs=1e-3)


def test_known_frequencies_do_better_than_equal_ones():
    """On unbalanced classes, matching to the truth beats batch calibration."""
    rng = np.random.default_rng(0)
    prior = np.array([0.75, 0.15, 0.1])
    y, likelihood = gaussian_classes(rng, 3000, prior)
    S = np.log(bayes(likelihood, prior)) + np.array([-2.0, 1.0, 0.0])
    matched = softmax(S + match_prior(S, prior), axis=1)
    batch = BatchCalibration().fit(S).predict_proba(S)
    assert log_loss(y, matched) < log_loss(y, batch) - 0.1
    assert accuracy_score(y, matched.argmax(axis=1)) > accuracy_score(
        y, batch.argmax(axis=1)
    )
    np.testing.assert_allclose(matched, bayes(likelihood, prior), atol=0.05)


def test_matching_says_where_it_fails():
    """Scores beyond floating point cannot be shifted to a frequency between steps."""
    S = 1e30 * np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    with pytest.warns(ConvergenceWarning, match="differ from class_prior by up to"):
        match_prior(S, [0.5, 0.5])


# --- Adaptation -----------------------------------------------------------------------


def test_changed_prior_is_bayes_rule():
    """Posteriors under the old prior become those under the new one, exactly."""
    rng = np.random.default_rng(1)
    old, new = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    _, likelihood = gaussian_classes(rng, 50, old)
    P = bayes(likelihood, old)
    np.testing.assert_allclose(change_prior(P, old, new), bayes(likelihood, new))
    np.testing.assert_allclose(change_prior(P, old, old), P)
    there = change_prior(P, old, [0.1, 0.1, 0.8])
    np.testing.assert_allclose(
        change_prior(there, [0.1, 0.1, 0.8], new), bayes(likelihood, new)
    )


@few
@given(seeds, st.integers(2, 4))
def test_em_never_loses_likelihood(seed, K):
    """With each step the texts become more likely under the frequencies."""
    S, old = some(seed, 40, K)
    P = softmax(S, axis=1)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for steps in range(1, 12):
            prior, _ = em_prior(P, old, max_iter=steps)
            found.append(np.log(P @ (prior / old)).mean())
    assert (np.diff(found) > -1e-12).all()


@few
@given(seeds, st.integers(2, 4))
def test_em_finds_the_most_likely_frequencies(seed, K):
    """A general optimiser finds no better ones."""
    S, old = some(seed, 40, K, spread=1.5)
    P = softmax(S, axis=1)
    prior, adapted = em_prior(P, old)

    def loss(theta):
        return -np.log(P @ (softmax(theta) / old)).mean()

    best = minimize(loss, np.zeros(K), method="BFGS", options={"gtol": 1e-9})
    assert -np.log(P @ (prior / old)).mean() <= best.fun + 1e-6
    np.testing.assert_allclose(adapted.mean(axis=0), prior, atol=1e-7)
    np.testing.assert_allclose(adapted, change_prior(P, old, prior), atol=1e-12)


@few
@given(seeds, st.integers(2, 5))
def test_unchanged_frequencies_are_a_fixed_point(seed, K):
    """Where the mean probability is the training prior, nothing is adapted."""
    P = softmax(some(seed, 50, K)[0], axis=1)
    prior, adapted = em_prior(P, P.mean(axis=0))
    np.testing.assert_allclose(prior, P.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(adapted, P, atol=1e-12)


def test_em_recovers_a_label_shift():
    """From calibrated probabilities alone, and log loss falls close to the truth's."""
    rng = np.random.default_rng(2)
    old, new = np.array([0.4, 0.3, 0.3]), np.array([0.1, 0.2, 0.7])
    y, likelihood = gaussian_classes(rng, 20_000, new, means=(-2.0, 0.0, 2.0))
    P = bayes(likelihood, old)
    prior, adapted = em_prior(P, old)
    np.testing.assert_allclose(prior, new, atol=0.02)
    truth = log_loss(y, bayes(likelihood, new))
    assert log_loss(y, adapted) < truth + 1e-3 < log_loss(y, P) - 0.05


def test_em_says_where_it_stops_early():
    """Too few steps are a warning."""
    P = softmax(some(3)[0], axis=1)
    with pytest.warns(ConvergenceWarning, match="After 2 steps"):
        em_prior(P, [0.2, 0.3, 0.5], max_iter=2)


# --- In a calibrator's place ----------------------------------------------------------


def test_adapted_calibrator_takes_the_place_of_the_first():
    """Its probabilities are the changed ones, NaN rows and pickles included."""
    rng = np.random.default_rng(4)
    y = rng.integers(3, size=90)
    S = log_softmax(rng.normal(size=(90, 3)) + 2 * np.eye(3)[y], axis=1)
    fitted = AffineCalibration().fit(S, y)
    old, new = fitted.predict_proba(S).mean(axis=0), np.array([0.7, 0.2, 0.1])
    adapted = AdaptedCalibration(AffineCalibration(), old, new).fit(S, y)
    expected = change_prior(fitted.predict_proba(S), old, new)
    np.testing.assert_allclose(adapted.predict_proba(S), expected)
    np.testing.assert_array_equal(adapted.predict(S), expected.argmax(axis=1))
    S[5] = np.nan
    P = calibrated_proba(pickle.loads(pickle.dumps(adapted)), S)
    assert np.isnan(P[5]).all()
    np.testing.assert_allclose(np.delete(P, 5, 0), np.delete(expected, 5, 0))
    assert clone(adapted).get_params()["class_prior"] == pytest.approx(new)


@pytest.mark.parametrize(
    "prior", [[0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.5, 0.5], [2, -0.5, -0.5], [np.nan] * 3]
)
def test_a_prior_is_a_positive_frequency_for_each_class(prior):
    """Anything else is refused under the parameter's name; only a new one may be 0."""
    P, good = np.full((2, 3), 1 / 3), np.full(3, 1 / 3)
    calls = {
        "class_prior": [lambda: match_prior(P, prior)],
        "train_prior": [lambda: em_prior(P, prior), lambda: change_prior(P, prior, good)],
    }
    if min(prior) == 0:
        found = change_prior(P, good, prior)
        np.testing.assert_allclose(found, [prior, prior], atol=1e-300)
    else:
        calls["class_prior"].append(lambda: change_prior(P, good, prior))
    for name, made in calls.items():
        for call in made:
            with pytest.raises(ValueError, match=f"'{name}' .* each of the 3 classes"):
                call()


def test_frequencies_by_name_are_refused_in_words():
    """A mapping has no order; the message says that there is one."""
    with pytest.raises(ValueError, match="2 classes, in their order, with sum 1"):
        adapt(AffineCalibration(), [0.5, 0.5], class_prior={"bad": 0.9, "good": 0.1})


def test_certainty_survives_a_frequency_of_zero():
    """A row that knows its class keeps it, and no row turns into NaN."""
    adapted = change_prior([[1.0, 0.0], [0.9, 0.1]], [0.5, 0.5], [0.0, 1.0])
    np.testing.assert_allclose(adapted, [[1, 0], [0, 1]], atol=1e-300)


def test_log_scores_are_no_probabilities():
    """EM on log scores would give numbers without meaning: refused."""
    with pytest.raises(ValueError, match="must hold probabilities"):
        em_prior([[-1.0, -2.0]], [0.5, 0.5])
