"""Calibrators against their definitions, independent references and simulations."""

import pickle

import numpy as np
import pytest
import sklearn
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
)
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.fixes import parse_version

from sklearn_logprob._affine import BLOCK, PenalisedNLL
from sklearn_logprob.calibration import (
    CALIBRATORS,
    AffineCalibration,
    BatchCalibration,
    IsotonicCalibration,
    NoCalibration,
    SigmoidCalibration,
    calibrated_proba,
    cross_val_proba,
    make_calibrator,
)

INF = np.inf
FREE = {"scale_penalty": 0.0, "matrix_penalty": 0.0, "bias_penalty": 0.0}
NAMES = [None, *CALIBRATORS]
few = settings(max_examples=20, deadline=None)


def simulate(seed, n=300, K=3, signal=2.0, spread=1.5):
    """Draw unnormalised, biased log scores and the codes they tell of."""
    rng = np.random.default_rng(seed)
    y = rng.integers(K, size=n)
    y[:K] = np.arange(K)
    S = rng.normal(scale=spread, size=(n, K)) - 3 * rng.random(K)
    S[np.arange(n), y] += signal
    return log_softmax(S, axis=1) - rng.exponential(size=(n, 1)), y


def nll(calibrator, S, y):
    """Mean negative log-likelihood, without scikit-learn's clipping."""
    return -np.log(calibrator.predict_proba(S)[np.arange(len(y)), y]).mean()


problems = st.builds(
    simulate,
    st.integers(0, 10**6),
    n=st.integers(12, 120),
    K=st.integers(2, 5),
    signal=st.floats(0.5, 3),
    spread=st.floats(0.5, 4),
)


# --- What every calibrator promises ---------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@few
@given(problem=problems)
def test_rows_are_distributions(name, problem):
    """Probabilities are positive, rows sum to 1, and predict takes the largest."""
    S, y = problem
    calibrator = make_calibrator(name).fit(S, y)
    P = calibrator.predict_proba(S)
    assert P.shape == S.shape
    assert (P > 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(calibrator.predict(S), P.argmax(axis=1))


@pytest.mark.parametrize("name", NAMES)
@few
@given(problem=problems, seed=st.integers(0, 1000))
def test_constant_per_row_changes_nothing(name, problem, seed):
    """Adding any constant to a row of S, in fit or after, changes no probability."""
    S, y = problem
    shifted = S + np.random.default_rng(seed).normal(scale=5, size=(len(S), 1))
    P = make_calibrator(name).fit(S, y).predict_proba(S)
    Q = make_calibrator(name).fit(shifted, y).predict_proba(shifted)
    # Scores that tie up to rounding are one step or two to isotonic regression.
    np.testing.assert_allclose(P, Q, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@few
@given(problem=problems, seed=st.integers(0, 1000))
def test_renaming_classes_permutes_columns(name, problem, seed):
    """Permuting columns and codes together permutes the probabilities."""
    S, y = problem
    order = np.random.default_rng(seed).permutation(S.shape[1])
    P = make_calibrator(name).fit(S, y).predict_proba(S)
    Q = make_calibrator(name).fit(S[:, order], np.argsort(order)[y])
    np.testing.assert_allclose(P[:, order], Q.predict_proba(S[:, order]), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_absent_class_gets_finite_probability(name):
    """A class without a row in y is improbable, not impossible."""
    S, y = simulate(0)
    seen = y != 1
    P = make_calibrator(name).fit(S[seen], y[seen]).predict_proba(S)
    assert np.isfinite(np.log(P)).all()
    if name not in (None, "temperature"):  # these two cannot learn a frequency
        assert P[:, 1].mean() < 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [-1.0, 1e-9, 0.0, 1.0, 1e6, 1e36])
def test_separable_and_extreme_scores_stay_finite(name, factor):
    """Perfect, reversed, constant and huge scores give finite logs and no warning."""
    y = np.arange(30) % 3
    S = factor * np.where(np.eye(3)[y] == 1, -0.1, -40.0)
    P = make_calibrator(name).fit(S, y).predict_proba(S)
    assert np.isfinite(np.log(P)).all()
    np.testing.assert_allclose(P.sum(axis=1), 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_scores_that_are_not_finite_are_refused(name, bad):
    """NaN and infinity are errors in fit and in predict_proba."""
    S, y = simulate(0, n=20)
    broken = S.copy()
    broken[3, 1] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        make_calibrator(name).fit(broken, y)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        make_calibrator(name).fit(S, y).predict_proba(broken)


@pytest.mark.parametrize("y", [[0, 1, 2], [0, -1, 1], [0, 0.5, 1], ["0", "1", "0"]])
def test_codes_must_name_columns(y):
    """Labels other than codes of the columns are refused."""
    with pytest.raises(ValueError, match="codes from 0 to 1"):
        AffineCalibration().fit(np.zeros((3, 2)), y)


@pytest.mark.parametrize("name", NAMES)
def test_clones_and_pickles(name):
    """Clones keep their parameters; a pickle predicts the same and stays small."""
    S, y = simulate(1)
    calibrator = make_calibrator(name).fit(S, y)
    assert clone(calibrator).get_params() == calibrator.get_params()
    stored = pickle.dumps(calibrator)
    assert len(stored) < 20_000
    np.testing.assert_array_equal(
        pickle.loads(stored).predict_proba(S), calibrator.predict_proba(S)
    )


# --- Batch calibration ----------------------------------------------------------------


@few
@given(problem=problems, shift=st.lists(st.floats(-9, 9), min_size=5, max_size=5))
def test_batch_calibration_by_its_properties(problem, shift):
    """Means become equal, class constants cancel, and a second pass changes nothing."""
    S, _ = problem
    batch = BatchCalibration().fit(S)
    P = batch.predict_proba(S)
    means = np.log(P).mean(axis=0)
    np.testing.assert_allclose(means, means[0], atol=1e-9)
    biased = S + np.array(shift[: S.shape[1]])
    Q = BatchCalibration().fit(biased).predict_proba(biased)
    np.testing.assert_allclose(P, Q, atol=1e-9)
    again = BatchCalibration().fit(np.log(P)).predict_proba(np.log(P))
    np.testing.assert_allclose(P, again, atol=1e-9)
    np.testing.assert_allclose(batch.predict_proba(S[:1]), P[:1])


def test_no_calibration_is_the_softmax():
    """Without calibration the model's own normalised probabilities come out."""
    S, y = simulate(2)
    P = NoCalibration().fit(S, y).predict_proba(S)
    np.testing.assert_allclose(P, np.exp(S - logsumexp(S, axis=1, keepdims=True)))


# --- Affine calibration ---------------------------------------------------------------


@few
@given(problem=problems, seed=st.integers(0, 1000), full=st.booleans())
def test_gradient_agrees_with_finite_differences(problem, seed, full):
    """The analytic gradient is the derivative of the objective."""
    S, y = problem
    K = S.shape[1]
    rng = np.random.default_rng(seed)
    theta = rng.normal(scale=0.3, size=1 + (K * K if full else K) + K)
    nll = PenalisedNLL(log_softmax(S, axis=1), y, rng.exponential(size=len(theta)))
    error = check_grad(lambda t: nll(t)[0], lambda t: nll(t)[1], theta)
    assert error < 1e-5


@pytest.mark.parametrize("n", [3, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
def test_blocks_of_rows_add_up_to_the_whole(n):
    """The objective is the mean log loss of the map, however many blocks there are."""
    S, y = simulate(9, n=n)
    rng = np.random.default_rng(0)
    a, D, b = 1.3, rng.normal(size=(3, 3)), rng.normal(size=3)
    penalty = rng.exponential(size=13)
    theta = np.concatenate([[np.log(a)], D.ravel(), b])
    logits = log_softmax(S, axis=1) @ (a * np.eye(3) + D).T + b
    losses = -log_softmax(logits, axis=1)[np.arange(n), y]
    expected = losses.mean() + penalty @ theta**2 / n
    found, _ = PenalisedNLL(log_softmax(S, axis=1), y, penalty)(theta)
    assert found == pytest.approx(expected, rel=1e-12)


@few
@given(problem=problems)
def test_infinite_penalties_are_batch_calibration(problem):
    """The prior alone is batch calibration, and large penalties come close to it."""
    S, y = problem
    P = BatchCalibration().fit(S).predict_proba(S)
    for strength, tolerance in [(INF, 1e-12), (1e9, 1e-6)]:
        penalties = dict.fromkeys(FREE, strength)
        Q = AffineCalibration(**penalties).fit(S, y).predict_proba(S)
        np.testing.assert_allclose(P, Q, atol=tolerance)


@pytest.mark.parametrize("y", [None, np.zeros(300, dtype=int)])
def test_no_labels_or_one_class_are_batch_calibration(y):
    """Where labels tell nothing, the default is batch calibration."""
    S, _ = simulate(3)
    affine = AffineCalibration().fit(S, y)
    np.testing.assert_allclose(
        affine.predict_proba(S), BatchCalibration().fit(S).predict_proba(S)
    )
    assert (affine.temperature_, affine.n_iter_) == (1.0, 0)


@few
@given(problem=problems)
def test_larger_families_fit_better(problem):
    """Without penalties, NLL falls from batch to scale, bias, vector, matrix."""
    S, y = problem
    losses = [
        nll(calibrator.fit(S, y), S, y)
        for calibrator in (
            AffineCalibration("matrix", **FREE),
            AffineCalibration("vector", **FREE),
            AffineCalibration("temperature", **FREE),
            AffineCalibration("temperature", bias=False, **FREE),
            BatchCalibration(),
        )
    ]
    assert (np.diff(losses) > -1e-4).all()


@pytest.mark.parametrize("structure", ["matrix", "vector", "temperature"])
def test_free_bias_matches_class_frequencies(structure):
    """With no penalty on the bias, mean probabilities equal class frequencies."""
    S, y = simulate(4, K=4)
    P = AffineCalibration(structure, bias_penalty=0.0).fit(S, y).predict_proba(S)
    np.testing.assert_allclose(P.mean(axis=0), np.bincount(y) / len(y), atol=1e-4)


def test_two_classes_without_penalty_are_logistic_regression():
    """Scale and bias for K=2 is the logistic regression on the log-odds."""
    S, y = simulate(5, K=2)
    log_odds = np.diff(S, axis=1)
    reference = LogisticRegression(C=1e10, tol=1e-8).fit(log_odds, y)
    ours = AffineCalibration("temperature", **FREE).fit(S, y)
    np.testing.assert_allclose(
        ours.predict_proba(S), reference.predict_proba(log_odds), atol=1e-4
    )


def test_matrix_without_penalty_is_multinomial_regression():
    """The free matrix is multinomial logistic regression on the log scores."""
    S, y = simulate(6, n=600)
    s = log_softmax(S, axis=1)
    reference = LogisticRegression(C=1e8, tol=1e-8, max_iter=2000).fit(s, y)
    ours = AffineCalibration(**FREE).fit(S, y)
    np.testing.assert_allclose(
        ours.predict_proba(S), reference.predict_proba(s), atol=1e-3
    )


def test_attributes_give_the_map():
    """The documented attributes rebuild the probabilities."""
    S, y = simulate(7)
    c = AffineCalibration().fit(S, y)
    z = (log_softmax(S, axis=1) - c.center_) @ c.matrix_.T + c.bias_
    np.testing.assert_allclose(softmax(z, axis=1), c.predict_proba(S))
    assert c.scale_ * c.temperature_ == pytest.approx(1)
    vector = AffineCalibration("vector").fit(S, y)
    assert (vector.matrix_ == np.diag(np.diag(vector.matrix_))).all()
    assert np.ptp(np.diag(vector.matrix_)) > 0
    assert (AffineCalibration(bias=False).fit(S, y).bias_ == 0).all()
    assert (AffineCalibration(center=False).fit(S, y).center_ == 0).all()


def test_more_than_thirty_classes_use_a_diagonal():
    """With 31 classes the matrix structure equals the vector structure."""
    S, y = simulate(8, n=200, K=31)
    matrix, vector = (
        AffineCalibration(structure).fit(S, y) for structure in ("matrix", "vector")
    )
    np.testing.assert_array_equal(matrix.matrix_, vector.matrix_)


def test_scale_stays_bounded():
    """Reversed scores are flattened up to the bound, log temperature 7."""
    y = np.arange(30) % 3
    S = np.where(np.eye(3)[y] == 1, -2.0, -1.0)
    calibrator = make_calibrator("temperature").fit(S, y)
    assert np.log(calibrator.temperature_) == pytest.approx(7, abs=1e-6)


def test_zero_penalties_have_one_optimum_on_separable_data():
    """Weights stay moderate where maximum likelihood would send them to infinity."""
    y = np.arange(30) % 3
    S = 0.01 * np.eye(3)[y]
    affine = AffineCalibration("vector", **(FREE | {"scale_penalty": INF})).fit(S, y)

    def ridged(w):
        return np.log1p(2 * np.exp(-0.01 * w)) + 1e-6 * 3 * (w - 1) ** 2 / 30

    expected = minimize_scalar(ridged, bounds=(0, 1e5), method="bounded").x
    np.testing.assert_allclose(np.diag(affine.matrix_), expected, rtol=0.01)


def test_planted_bias_and_temperature_are_recovered():
    """On posteriors spoilt by bias and temperature, log loss returns to the truth's."""
    rng = np.random.default_rng(9)
    n, K, temperature, bias = 6000, 4, 2.5, np.array([0.0, -3.0, 2.0, 1.0])
    y = rng.integers(K, size=n)
    features = rng.normal(size=(n, K)) + 1.5 * np.eye(K)[y]
    log_posterior = 1.5 * features  # Gaussian classes, equal variances and frequencies
    S = temperature * log_posterior + bias
    train, test = slice(0, 1000), slice(1000, n)
    truth = log_loss(y[test], softmax(log_posterior[test], axis=1))
    loss = {
        name: log_loss(
            y[test],
            make_calibrator(name).fit(S[train], y[train]).predict_proba(S[test]),
        )
        for name in NAMES
    }
    assert loss["auto"] < truth + 0.02
    assert loss["temperature"] > truth + 0.1
    assert loss[None] > truth + 0.5
    exact = AffineCalibration("temperature").fit(S[train], y[train])
    assert exact.temperature_ == pytest.approx(temperature, rel=0.15)
    assert log_loss(y[test], exact.predict_proba(S[test])) < truth + 0.01


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"structure": "full"}, "'structure'.*Got 'full' instead"),
        ({"scale_penalty": -1.0}, "'scale_penalty'.*at least 0.*Got -1.0 instead"),
        ({"bias_penalty": np.nan}, "'bias_penalty'.*at least 0.*Got nan instead"),
    ],
)
def test_bad_parameters_are_named(params, message):
    """A bad parameter is a ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        AffineCalibration(**params).fit(np.zeros((4, 2)), [0, 1, 0, 1])


def test_penalties_can_be_searched():
    """A grid search frees the bias where labels are many and unbalanced."""
    S, y = simulate(10, n=900, K=4)
    keep = (y > 0) | (np.arange(len(y)) % 5 == 0)
    grid = {"bias_penalty": [np.inf, 0.1]}
    search = GridSearchCV(AffineCalibration(), grid, scoring="neg_log_loss", cv=3)
    assert search.fit(S[keep], y[keep]).best_params_ == {"bias_penalty": 0.1}


# --- Temperature ----------------------------------------------------------------------


@few
@given(problem=problems)
def test_temperature_by_its_properties(problem):
    """The argmax stays; at the optimum mean predicted and observed scores agree."""
    S, y = problem
    s = log_softmax(S, axis=1)
    calibrator = make_calibrator("temperature").fit(S, y)
    P = calibrator.predict_proba(S)
    np.testing.assert_array_equal(P.argmax(axis=1), S.argmax(axis=1))
    assume(0.01 < calibrator.temperature_ < 20)
    expected, observed = (P * s).sum(axis=1).mean(), s[np.arange(len(y)), y].mean()
    assert expected == pytest.approx(observed, abs=1e-4)


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.8"),
    reason="temperature scaling came with scikit-learn 1.8",
)
@pytest.mark.parametrize("K", [2, 4])
def test_temperature_agrees_with_sklearn(K):
    """Plain temperature scaling equals scikit-learn's."""
    S, y = simulate(11, K=K)
    model = FrozenEstimator(NoCalibration().fit(S))
    reference = CalibratedClassifierCV(model, method="temperature").fit(S, y)
    ours = make_calibrator("temperature").fit(S, y)
    np.testing.assert_allclose(
        ours.predict_proba(S), reference.predict_proba(S), atol=1e-3
    )


# --- One curve for each class ---------------------------------------------------------


@pytest.mark.parametrize("K", [2, 4])
def test_sigmoid_agrees_with_sklearn(K):
    """Platt scaling of the log-odds equals scikit-learn's on the same input."""
    S, y = simulate(12, K=K)
    ours = SigmoidCalibration().fit(S, y)
    s = log_softmax(S, axis=1)
    log_odds = s - np.log1p(-np.exp(s))

    class LogOdds(NoCalibration):
        def decision_function(self, S):
            return log_odds[:, 1] if K == 2 else log_odds

    model = FrozenEstimator(LogOdds().fit(S))
    cv = [(np.arange(len(y)), np.arange(len(y)))]
    reference = CalibratedClassifierCV(model, method="sigmoid", cv=cv, ensemble=True)
    np.testing.assert_allclose(
        ours.predict_proba(S), reference.fit(S, y).predict_proba(S), atol=1e-3
    )


def test_sigmoid_of_two_classes_is_one_curve():
    """For K=2 the curves mirror each other, so that normalising changes nothing."""
    S, y = simulate(13, K=2)
    c = SigmoidCalibration().fit(S, y)
    assert c.slope_[0] == pytest.approx(c.slope_[1], rel=1e-3)
    assert c.intercept_[0] == pytest.approx(-c.intercept_[1], abs=1e-3)


def test_isotonic_is_monotone_and_bounded():
    """For K=2 a higher score never lowers the probability, within 0.001 and 0.999."""
    S, y = simulate(14, K=2, signal=4.0)
    grid = np.linspace(-30, 30, 200)
    P = (
        IsotonicCalibration()
        .fit(S, y)
        .predict_proba(np.column_stack([np.zeros(200), grid]))
    )
    assert (np.diff(P[:, 1]) > -1e-12).all()
    assert P[0, 1] == pytest.approx(0.001)
    assert P[-1, 1] == pytest.approx(0.999)


@pytest.mark.parametrize("name", ["sigmoid", "isotonic"])
def test_curves_need_labels(name):
    """Calibrators that cannot do without labels say so."""
    with pytest.raises(ValueError, match="requires y"):
        make_calibrator(name).fit(np.zeros((4, 2)))


# --- The functions around them --------------------------------------------------------


def test_make_calibrator_clones_and_refuses():
    """Classifiers are cloned; anything else is an error that lists the choices."""
    given_one = LogisticRegression(C=3)
    made = make_calibrator(given_one)
    assert made is not given_one
    assert made.C == 3
    assert make_calibrator("auto") is not make_calibrator("auto")
    with pytest.raises(ValueError, match=r"must be None, 'auto', .* Got 'platt' instead"):
        make_calibrator("platt")
    for wrong in (3, LogisticRegression, ["auto"], CalibratedClassifierCV):
        with pytest.raises(TypeError, match=r"'calibrator' parameter .* instead"):
            make_calibrator(wrong)


def test_presets_are_what_their_names_say():
    """Vector scaling is diagonal; matrix scaling is full, near maximum likelihood."""
    S, y = simulate(20, K=4)
    vector, matrix, free = (
        calibrator.fit(S, y)
        for calibrator in (
            make_calibrator("vector"),
            make_calibrator("matrix"),
            AffineCalibration(**FREE),
        )
    )
    off_diagonal = ~np.eye(4, dtype=bool)
    assert (vector.matrix_[off_diagonal] == 0).all()
    assert (matrix.matrix_[off_diagonal] != 0).all()
    assert nll(free, S, y) <= nll(matrix, S, y) < nll(free, S, y) + 1e-4
    assert nll(matrix, S, y) < nll(AffineCalibration().fit(S, y), S, y)


def test_foreign_classifier_is_aligned():
    """Columns follow the codes; an unseen class and hard zeros have finite logs."""
    S, y = simulate(15, K=4)
    seen = (y == 1) | (y == 3)
    tree = DecisionTreeClassifier(random_state=0).fit(S[seen], y[seen])
    P = calibrated_proba(tree, S)
    assert np.isfinite(np.log(P)).all()
    np.testing.assert_allclose(P.sum(axis=1), 1)
    np.testing.assert_allclose(P[:, [1, 3]], tree.predict_proba(S), atol=1e-5)
    assert P[:, [0, 2]].max() < 1e-5


def test_own_calibrators_pass_unchanged():
    """Aligning our own calibrators changes nothing, however small a probability is."""
    S, y = simulate(16, spread=20)
    calibrator = NoCalibration().fit(S, y)
    P = calibrator.predict_proba(S)
    assert P.min() < 1e-12
    np.testing.assert_allclose(calibrated_proba(calibrator, S), P, rtol=1e-12)


@pytest.mark.parametrize(
    "calibrator", [make_calibrator("matrix"), DecisionTreeClassifier(max_depth=3)]
)
def test_out_of_fold_is_honest_about_noise(calibrator):
    """On noise, in-sample log loss beats the class prior and out-of-fold does not."""
    gains = []
    for seed in range(8):
        S, y = simulate(seed, n=60, K=4, signal=0.0)
        prior = log_loss(y, np.tile(np.bincount(y) / len(y), (len(y), 1)))
        inside = calibrated_proba(clone(calibrator).fit(S, y), S)
        outside = cross_val_proba(calibrator, S, y, random_state=seed)
        gains.append([prior - log_loss(y, P) for P in (inside, outside)])
    in_sample, out_of_fold = np.mean(gains, axis=0)
    assert in_sample > 0.03
    assert out_of_fold < 0.0


def test_out_of_fold_rows_are_not_seen():
    """A row's own label does not enter its out-of-fold probabilities."""
    S, y = simulate(17, n=40)
    cv = KFold(4)
    changed = y.copy()
    changed[:10] = (y[:10] + 1) % 3
    P, Q = (
        cross_val_proba(AffineCalibration(), S, labels, cv) for labels in (y, changed)
    )
    np.testing.assert_allclose(P[:10], Q[:10])
    assert np.abs(P[10:] - Q[10:]).max() > 1e-3


def test_repeated_folds_are_averaged():
    """Where rows are held out repeatedly, the mean is a distribution."""
    S, y = simulate(18, n=60)
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=4, random_state=0)
    P = cross_val_proba(AffineCalibration(), S, y, cv)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    with pytest.raises(ValueError, match="hold out every row at least once"):
        cross_val_proba(AffineCalibration(), S, y, ShuffleSplit(2, random_state=0))


@pytest.mark.parametrize(
    "y", [[0, 1, 2], [0, 1, 2, 3], [0, 0, 0, 0, 0, 1], [0, 0, 1, 1], [1] * 6, [2, 0]]
)
@pytest.mark.parametrize("name", NAMES)
def test_rare_classes_do_not_stop_cross_validation(name, y):
    """Too few rows for the folds give finite probabilities, without a warning."""
    S = np.random.default_rng(0).normal(size=(len(y), 4))
    P = cross_val_proba(make_calibrator(name), S, y, cv=5, random_state=0)
    assert np.isfinite(np.log(P)).all()
    np.testing.assert_allclose(P.sum(axis=1), 1)


def test_no_split_possible_is_in_sample():
    """Where no class occurs twice the probabilities are those of the whole fit."""
    S, y = np.random.default_rng(1).normal(size=(4, 4)), np.arange(4)
    np.testing.assert_allclose(
        cross_val_proba(AffineCalibration(), S, y),
        AffineCalibration().fit(S, y).predict_proba(S),
    )


def test_folds_follow_the_random_state():
    """The same seed repeats the folds exactly; another seed changes them."""
    S, y = simulate(19, n=50)
    first, same, other = (
        cross_val_proba(AffineCalibration(), S, y, random_state=seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0


# --- Known class frequencies ----------------------------------------------------------


@few
@given(problem=problems, seed=st.integers(0, 1000))
def test_known_frequencies_are_matched(problem, seed):
    """By batch calibration exactly, and by the affine prior where labels are missing."""
    S, y = problem
    prior = np.random.default_rng(seed).dirichlet(np.full(S.shape[1], 3.0))
    prior = 0.95 * prior + 0.05 / S.shape[1]
    P = BatchCalibration(prior).fit(S).predict_proba(S)
    np.testing.assert_allclose(P.mean(axis=0), prior, atol=1e-6)
    Q = AffineCalibration(class_prior=prior).fit(S).predict_proba(S)
    np.testing.assert_allclose(P, Q, atol=1e-9)
    counts = np.bincount(y, minlength=S.shape[1]) + 4
    R = BatchCalibration("labels").fit(S, y).predict_proba(S)
    np.testing.assert_allclose(R.mean(axis=0), counts / counts.sum(), atol=1e-6)
    plain = BatchCalibration().fit(S).predict_proba(S)
    unlabelled = BatchCalibration("labels").fit(S).predict_proba(S)
    np.testing.assert_allclose(unlabelled, plain)


@pytest.mark.parametrize("calibrator", [BatchCalibration, AffineCalibration])
@pytest.mark.parametrize("prior", ["uniform", [0.5, 0.4], [1.0], [1.0, 0.0]])
def test_bad_class_priors_are_named(calibrator, prior):
    """A ValueError names the parameter."""
    with pytest.raises(ValueError, match="'class_prior'"):
        calibrator(class_prior=prior).fit(np.zeros((4, 2)), [0, 1, 0, 1])
