"""The read-out against the label map, independent references and simulations."""

import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import check_grad, minimize
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import RepeatedStratifiedKFold, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier

from sklearn_logprob import FakeBackend, LogprobClassifier
from sklearn_logprob._correction import (
    PenalisedLoss,
    best_weight,
    corrected,
    fit_correction,
    mix,
)
from sklearn_logprob.calibration import (
    calibrated_proba,
    cross_val_proba,
    make_calibrator,
)
from sklearn_logprob.readout import (
    READOUTS,
    TokenReadout,
    cross_val_readout,
    make_readout,
)

few = settings(max_examples=10, deadline=None)


def simulate(seed, n=200, K=3, n_tokens=30, told=0.0):
    """Draw label scores, sparse features that tell `told` beyond them, and codes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(K, size=n)
    y[:K] = np.arange(K)
    S = rng.normal(size=(n, K)) - 2 * rng.random(K) - 1.0
    S[np.arange(n), y] += 1.0
    meaning = told * rng.normal(size=(K, n_tokens))
    F = np.maximum(rng.normal(size=(n, n_tokens)) + meaning[y] - 0.5, 0.0)
    F[0, 0] += 1.0  # so that not all rows are alike
    return S, sparse.csr_matrix(F), y


def losses(P, y):
    return -np.log(P[np.arange(len(y)), y])


def label_map(S, y=None):
    return calibrated_proba(make_calibrator("auto").fit(S, y), S)


problems = st.builds(
    simulate,
    st.integers(0, 10**6),
    n=st.integers(20, 80),
    K=st.integers(2, 4),
    n_tokens=st.integers(1, 12),
    told=st.floats(0, 2),
)


# --- The penalised softmax ------------------------------------------------------------


@few
@given(problem=problems, seed=st.integers(0, 999), ridge=st.floats(0, 1))
def test_gradient_agrees_with_finite_differences(problem, seed, ridge):
    """The analytic gradient is the derivative of the objective."""
    S, F, y = problem
    rng = np.random.default_rng(seed)
    mean = rng.random(F.shape[1])
    loss = PenalisedLoss(F, mean, log_softmax(S, axis=1), np.eye(S.shape[1])[y], ridge)
    theta = rng.normal(scale=0.3, size=F.shape[1] * S.shape[1])
    error = check_grad(lambda t: loss(t)[0], lambda t: loss(t)[1], theta)
    assert error < 1e-5


@few
@given(problem=problems, penalty=st.floats(0.02, 5))
def test_without_offset_it_is_ridge_logistic_regression(problem, penalty):
    """From equal probabilities it is scikit-learn's, on rows of typical length 1."""
    S, F, y = problem
    K = S.shape[1]
    Z = F.toarray() - F.toarray().mean(axis=0)
    Z /= np.sqrt((Z**2).sum(axis=1).mean())
    reference = LogisticRegression(
        C=1 / (2 * penalty), fit_intercept=False, tol=1e-8, max_iter=5000
    )
    if K == 2:  # scikit-learn has one weight for two classes: half the squares
        reference.set_params(C=1 / penalty)
    P = np.full((len(y), K), 1 / K)
    ours = corrected(P, F, fit_correction(F, P, y, penalty))
    np.testing.assert_allclose(ours, reference.fit(Z, y).predict_proba(Z), atol=2e-4)


@few
@given(problem=problems, penalty=st.floats(0.05, 5))
def test_with_offset_it_is_the_dense_optimum(problem, penalty):
    """A plain dense minimiser of the documented objective finds the same."""
    S, F, y = problem
    n, K = S.shape
    P = softmax(S, axis=1)
    D = F.toarray()
    length2 = ((D - D.mean(axis=0)) ** 2).sum() / n

    def objective(theta):
        W = theta.reshape(-1, K)
        logits = np.log(P) + (D - D.mean(axis=0)) @ W
        nll = losses(softmax(logits, axis=1), y).mean()
        return nll + penalty * length2 * (theta**2).sum() / n

    W, b = fit_correction(F, P, y, penalty)
    found = minimize(objective, W.ravel(), method="BFGS", options={"maxiter": 30})
    assert objective(W.ravel()) <= found.fun + 1e-6
    np.testing.assert_allclose(b, -D.mean(axis=0) @ W)


def test_a_stronger_prior_means_smaller_weights():
    """The length of W falls with the penalty, to 0."""
    S, F, y = simulate(0, told=1.0)
    P = softmax(S, axis=1)
    sizes = [
        np.linalg.norm(fit_correction(F, P, y, penalty)[0])
        for penalty in (0.0, 0.01, 1.0, 100.0, np.inf)
    ]
    assert np.all(np.diff(sizes) < 0) and sizes[-1] == 0


def test_features_are_never_filled():
    """Memory follows the entries, not the columns: dense, these would take 0.8 GB."""
    rng = np.random.default_rng(0)
    F = sparse.random(2000, 50_000, density=2e-4, format="csr", random_state=rng)
    y = np.arange(2000) % 2
    tracemalloc.start()
    fit_correction(F, np.full((2000, 2), 0.5), y, 0.2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e8


# --- Weights --------------------------------------------------------------------------


@few
@given(problem=problems, seed=st.integers(0, 999))
def test_best_weight_is_the_best_of_a_grid(problem, seed):
    """No other weight has a smaller log loss with its prior, 0 included."""
    S, _, y = problem
    P = softmax(S, axis=1)
    Q = softmax(S + np.random.default_rng(seed).normal(size=S.shape), axis=1)
    weight, gain, error = best_weight(P, Q, y)

    def value(w):
        return losses(mix(P, Q, w), y).mean() + w**2 / len(y)

    assert value(weight) <= min(map(value, np.linspace(0, 20, 400))) + 1e-5
    gains = losses(P, y) - losses(mix(P, Q, weight), y)
    assert gain == pytest.approx(gains.mean())
    assert error == pytest.approx(gains.std(ddof=1) / np.sqrt(len(y)))


def test_mixing_is_a_line_of_log_odds():
    """0 is P, 1 is Q, and 2 is as far again, all of them distributions."""
    rng = np.random.default_rng(0)
    P, Q = rng.dirichlet(np.ones(4), size=(2, 50))
    odds = [np.diff(np.log(mix(P, Q, w)), axis=1) for w in (0, 0.5, 1, 2)]
    np.testing.assert_array_equal(mix(P, Q, 0), P)
    np.testing.assert_array_equal(mix(P, Q, 1), Q)
    np.testing.assert_allclose(odds[1], (odds[0] + odds[2]) / 2)
    np.testing.assert_allclose(odds[3], 2 * odds[2] - odds[0])
    np.testing.assert_allclose(mix(P, Q, 2).sum(axis=1), 1)


# --- Where the labels say it all ------------------------------------------------------


@few
@given(problem=problems)
def test_zero_weights_are_the_label_map(problem):
    """Weight 0 and an infinite penalty give the calibrator's probabilities."""
    S, F, y = problem
    expected = label_map(S, y)
    labels = TokenReadout(weight=0.0).fit(S, None, y)
    np.testing.assert_array_equal(labels.predict_proba(S), expected)
    fixed = TokenReadout(weight=1.0, penalty=np.inf, random_state=0).fit(S, F, y)
    np.testing.assert_allclose(fixed.predict_proba(S, F), expected, atol=1e-12)
    nearly = TokenReadout(weight=1.0, penalty=1e9, random_state=0).fit(S, F, y)
    np.testing.assert_allclose(nearly.predict_proba(S, F), expected, atol=1e-6)
    auto = TokenReadout(penalty=np.inf, random_state=0).fit(S, F, y)
    np.testing.assert_array_equal(auto.predict_proba(S, F), expected)


@pytest.mark.parametrize("weight", ["auto", 1.0])
@pytest.mark.parametrize("y", [None, np.zeros(200, dtype=int)])
def test_no_labels_or_one_class_are_the_label_map(weight, y):
    """Nothing can be learnt, so nothing is changed."""
    S, F, _ = simulate(1)
    readout = TokenReadout(weight=weight, random_state=0).fit(S, F, y)
    np.testing.assert_array_equal(readout.predict_proba(S, F), label_map(S, y))
    assert readout.weight_ == 0


@pytest.mark.parametrize("y", [[0, 1, 2], [0, 1, 2, 3]])
def test_rows_that_cannot_be_split_are_the_label_map(y):
    """Under four rows, or no class twice: nothing can be judged out of fold."""
    S, F, _ = simulate(2, n=len(y), K=4, told=3.0) if len(y) > 3 else simulate(2, n=3)
    readout = TokenReadout()
    P = readout.fit_predict_proba(S, F, y)
    np.testing.assert_array_equal(P, label_map(S, y))
    np.testing.assert_array_equal(readout.predict_proba(S, F), P)
    np.testing.assert_array_equal(cross_val_readout(TokenReadout(), S, F, y), P)


@pytest.mark.parametrize("F", [np.ones((200, 3)), np.empty((200, 0))])
@pytest.mark.parametrize("weight", ["auto", 1.0])
def test_features_that_do_not_vary_change_nothing(F, weight):
    """Equal rows, or no columns, leave the labels alone and warn of nothing."""
    S, _, y = simulate(3)
    readout = TokenReadout(weight=weight, random_state=0).fit(S, F, y)
    np.testing.assert_allclose(readout.predict_proba(S, F), label_map(S, y), atol=1e-12)


def test_useless_tokens_cost_little():
    """On noise "auto" loses a hundredth of a nat on average, "tokens" far more."""
    lost = []
    for seed in range(8):
        S, F, y = simulate(seed, n=400)
        train, test = slice(0, 100), slice(100, 400)
        labels, auto, tokens = (
            losses(
                TokenReadout(weight=weight, random_state=0)
                .fit(S[train], F[train], y[train])
                .predict_proba(S[test], F[test]),
                y[test],
            ).mean()
            for weight in (0.0, "auto", 1.0)
        )
        lost.append((auto - labels, tokens - labels))
    by_auto, by_tokens = np.mean(lost, axis=0)
    assert by_auto < 0.01
    assert by_tokens > 3 * by_auto


@few
@given(problem=problems)
def test_tokens_are_used_only_as_far_as_they_gain(problem):
    """They lower the out-of-fold log loss by the prior at least, or change nothing."""
    S, F, y = problem
    readout = TokenReadout(random_state=0)
    P = readout.fit_predict_proba(S, F, y)
    labels = cross_val_proba(make_calibrator("auto"), S, y, random_state=0)
    gains = losses(labels, y) - losses(P, y)
    if readout.weight_:
        assert gains.mean() == pytest.approx(readout.gain_)
        assert gains.mean() >= readout.weight_**2 / len(y) - 1e-6
    else:
        assert readout.gain_ == 0
        np.testing.assert_allclose(P, labels)
        np.testing.assert_array_equal(readout.predict_proba(S, F), label_map(S, y))


# --- Where the tokens say more --------------------------------------------------------


@pytest.mark.parametrize("weight", ["auto", 1.0])
def test_informative_tokens_are_learnt(weight):
    """The log loss on other rows falls well below that of the labels."""
    S, F, y = simulate(4, n=900, told=0.5)
    train, test = slice(0, 300), slice(300, 900)
    readout = TokenReadout(weight=weight, random_state=0).fit(
        S[train], F[train], y[train]
    )
    labels = TokenReadout(weight=0.0).fit(S[train], None, y[train])
    P = readout.predict_proba(S[test], F[test])
    assert readout.weight_ > 0
    assert log_loss(y[test], P) < 0.6 * log_loss(y[test], labels.predict_proba(S[test]))
    np.testing.assert_allclose(P.sum(axis=1), 1)


def test_offsets_are_out_of_fold():
    """A calibrator that knows its rows by heart does not keep the tokens out."""
    S, F, y = simulate(5, n=300, told=0.7)
    by_heart = KNeighborsClassifier(1)  # certain of every row of fit, and often wrong
    train, test = slice(0, 150), slice(150, 300)
    for weight in ("auto", 1.0):
        readout = TokenReadout(by_heart, weight=weight, random_state=0)
        readout.fit(S[train], F[train], y[train])
        in_sample = calibrated_proba(clone(by_heart).fit(S[train], y[train]), S[train])
        W, _ = fit_correction(F[train], in_sample, y[train], readout.penalty)
        assert np.linalg.norm(readout.coef_) > 100 * np.linalg.norm(W)
        wrong = readout.predict_proba(S[test], F[test]).argmax(axis=1) != y[test]
        labels = calibrated_proba(readout.calibrator_, S[test]).argmax(axis=1)
        assert wrong.mean() <= (labels != y[test]).mean()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_held_out_labels_are_not_looked_at(weight):
    """Other labels in the held-out rows change none of their probabilities."""
    S, F, y = simulate(6, n=120, told=1.0)
    train, test = np.arange(60), np.arange(60, 120)
    cv = [(train, test), (test, train)]
    changed = y.copy()
    changed[test] = (y[test] + 1) % 3
    readout = TokenReadout(weight=weight, cv=cv, random_state=0)
    P, Q = (clone(readout).fit_predict_proba(S, F, labels) for labels in (y, changed))
    np.testing.assert_array_equal(P[test], Q[test])
    assert np.abs(P[train] - Q[train]).max() > 0.1
    auto = TokenReadout(random_state=0)
    P, Q = (cross_val_readout(auto, S, F, labels, cv=cv) for labels in (y, changed))
    np.testing.assert_array_equal(P[test], Q[test])


def test_out_of_fold_is_worse_than_in_sample():
    """Held-out rows are not fitted: with many weights the difference is plain."""
    S, F, y = simulate(7, n=80, n_tokens=200)
    readout = TokenReadout(weight=1.0, penalty=0.0, random_state=0)
    P = readout.fit_predict_proba(S, F, y)
    assert losses(P, y).mean() > 5 * losses(readout.predict_proba(S, F), y).mean()


@pytest.mark.parametrize("cv", [3, RepeatedStratifiedKFold(n_splits=3, random_state=1)])
def test_folds_are_those_of_calibration(cv):
    """Weight 0 gives what `cross_val_proba` gives, also where rows are held out twice."""
    S, F, y = simulate(8, n=60)
    expected = cross_val_proba(make_calibrator("auto"), S, y, cv, random_state=3)
    readout = TokenReadout(weight=0.0, cv=cv, random_state=3)
    np.testing.assert_allclose(readout.fit_predict_proba(S, None, y), expected)
    np.testing.assert_allclose(
        cross_val_readout(readout, S, F, y, cv=cv, random_state=3), expected
    )


def test_every_row_must_be_held_out():
    """A splitter that leaves rows out cannot judge them."""
    S, F, y = simulate(9)
    with pytest.raises(ValueError, match=r"'cv'.*hold out every row.*ShuffleSplit"):
        TokenReadout(cv=ShuffleSplit(2)).fit(S, F, y)


def test_a_rare_class_is_no_obstacle():
    """Folds without a class fit, silently, and it gets a finite probability."""
    S, F, y = simulate(10, n=60, told=1.0)
    y[y == 2] = 1
    y[0] = 2
    P = TokenReadout(random_state=0).fit_predict_proba(S, F, y)
    assert np.isfinite(np.log(P)).all()


# --- Invariances ----------------------------------------------------------------------


@few
@given(problem=problems, seed=st.integers(0, 999))
def test_units_order_and_format_change_nothing(problem, seed):
    """Nor do a common scale or shift of F, the order of columns, constants in S."""
    S, F, y = problem
    rng = np.random.default_rng(seed)
    order = rng.permutation(F.shape[1])
    moved = 7.0 * F.toarray()[:, order] + rng.normal(size=F.shape[1])
    shifted = S + rng.normal(size=(len(S), 1))
    readout = TokenReadout(weight=1.0, random_state=0)
    P = clone(readout).fit(S, F, y).predict_proba(S, F)
    Q = clone(readout).fit(shifted, moved, y).predict_proba(shifted, moved)
    np.testing.assert_allclose(P, Q, atol=2e-3)


@few
@given(problem=problems, seed=st.integers(0, 999))
def test_renaming_classes_permutes_columns(problem, seed):
    """Permuting columns and codes together permutes the probabilities."""
    S, F, y = problem
    order = np.random.default_rng(seed).permutation(S.shape[1])
    cv = [(np.arange(0, len(y), 2), np.arange(1, len(y), 2))]
    cv.append(cv[0][::-1])
    readout = TokenReadout(weight=1.0, penalty=1.0, cv=cv)
    P = clone(readout).fit(S, F, y).predict_proba(S, F)
    renamed = clone(readout).fit(S[:, order], F, np.argsort(order)[y])
    np.testing.assert_allclose(
        P[:, order], renamed.predict_proba(S[:, order], F), atol=2e-3
    )


def test_rows_are_read_one_by_one():
    """A row's probabilities do not depend on the batch, and NaN stays where it is."""
    S, F, y = simulate(11, told=1.0)
    readout = TokenReadout(weight=1.0, random_state=0).fit(S, F, y)
    P = readout.predict_proba(S, F)
    np.testing.assert_allclose(readout.predict_proba(S[5:6], F[5:6]), P[5:6])
    broken = S.copy()
    broken[3] = np.nan
    Q = readout.predict_proba(broken, F)
    assert np.isnan(Q[3]).all()
    np.testing.assert_allclose(np.delete(Q, 3, axis=0), np.delete(P, 3, axis=0))


def test_attributes_give_the_map():
    """The documented attributes rebuild the probabilities."""
    S, F, y = simulate(12, told=1.0)
    readout = TokenReadout(weight=0.5, random_state=0).fit(S, F, y)
    log_p = np.log(calibrated_proba(readout.calibrator_, S))
    logits = log_p + 0.5 * (F @ readout.coef_ + readout.intercept_)
    np.testing.assert_allclose(readout.predict_proba(S, F), softmax(logits, axis=1))
    mean = np.asarray(F.mean(axis=0))
    np.testing.assert_allclose(mean @ readout.coef_ + readout.intercept_, 0, atol=1e-9)


# --- Parameters -----------------------------------------------------------------------


def test_clones_and_pickles():
    """Clones keep parameters, fitting the same again gives the same, as does a pickle."""
    S, F, y = simulate(13, told=1.0)
    readout = TokenReadout("sigmoid", penalty=0.5, random_state=0).fit(S, F, y)
    again = clone(readout).fit(S, F, y)
    assert again.get_params() == readout.get_params()
    stored = pickle.loads(pickle.dumps(readout))
    P = readout.predict_proba(S, F)
    np.testing.assert_array_equal(again.predict_proba(S, F), P)
    np.testing.assert_array_equal(stored.predict_proba(S, F), P)


def test_a_fit_can_be_repeated():
    """Without a random state too, the same data give the same probabilities."""
    S, F, y = simulate(16, n=60, told=0.5)
    one, other = (TokenReadout().fit(S, F, y).predict_proba(S, F) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    P, Q = (TokenReadout().fit_predict_proba(S, F, y) for _ in range(2))
    np.testing.assert_array_equal(P, Q)


def test_a_second_fit_forgets_the_first():
    """Refitted without labels, nothing of the correction is left."""
    S, F, y = simulate(14, told=1.0)
    readout = TokenReadout(random_state=0).fit(S, F, y)
    assert readout.weight_ > 0
    np.testing.assert_array_equal(readout.fit(S).predict_proba(S, F), label_map(S))


def test_short_names():
    """Each makes a read-out with its weight; shared parameters reach it."""
    assert [make_readout(name).weight for name in READOUTS] == [0.0, 1.0, "auto"]
    given = TokenReadout(penalty=3.0)
    made = make_readout(given, calibrator="sigmoid", cv=3, random_state=1)
    assert made is not given
    assert (made.penalty, made.calibrator, made.cv) == (3.0, "sigmoid", 3)


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        ("topk", "'readout'.*'labels', 'tokens', 'auto'.*Got 'topk' instead"),
        (None, "'readout'.*Got None instead"),
        (TokenReadout(penalty=-1), "'penalty'.*at least 0.*Got -1 instead"),
        (TokenReadout(penalty=np.nan), "'penalty'.*Got nan instead"),
        (TokenReadout(weight="all"), "'weight'.*'auto' or a number.*Got 'all' instead"),
        (TokenReadout(weight=-0.5), "'weight'.*Got -0.5 instead"),
    ],
)
def test_bad_parameters_are_named(readout, message):
    """A bad parameter is a ValueError that names it, before anything is fitted."""
    with pytest.raises(ValueError, match=message):
        make_readout(readout)


def test_rows_must_match():
    """Features of other rows are refused."""
    S, F, y = simulate(15)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TokenReadout(weight=1.0).fit(S, F[:-1], y)


# ------------------------------------------------------------------ in the classifier


class TellsBeside(FakeBackend):
    """Its labels say little, and another token tells the classes apart."""

    def answer(self, requests):
        for index, answer in super().answer(requests):
            [position] = answer.positions
            told = " tellers" if "great" in requests[index].messages[0][1] else " other"
            top = sorted([*position.top, (told, -1.5)], key=lambda pair: -pair[1])
            yield index, replace(answer, positions=(replace(position, top=tuple(top)),))


def reviews(n, seed=0):
    rng = np.random.default_rng(seed)
    great = rng.random(n) < 0.5
    words = rng.choice(["film", "plot", "song", "book", "cast"], (n, 3))
    texts = [
        f"{'great' if g else 'plain'} {' '.join(w)}"
        for g, w in zip(great, words, strict=True)
    ]
    noise = rng.random(n) < 0.1
    return texts, np.where(great ^ noise, "positive", "negative")


def classifier(readout, **params):
    backend = TellsBeside({"film": {"positive": 0.5}, "plot": {"positive": -0.5}})
    return LogprobClassifier(
        backend, prompt="{text}:", readout=readout, cache=None, random_state=0, **params
    )


def test_tokens_beside_the_labels_are_learnt_from():
    """Probabilities, decisions, out-of-fold report and pickles all use them."""
    X, y = reviews(200)
    new, labels = reviews(200, seed=1)
    by_labels, by_tokens = (
        classifier(name, threshold="f1_macro").fit(X, y) for name in ("labels", "auto")
    )
    losses = [log_loss(labels, c.predict_proba(new)) for c in (by_labels, by_tokens)]
    assert losses[1] < losses[0]
    assert by_tokens.score(new, labels) > 0.85
    scores = by_tokens.report_.scores
    assert scores["calibrated"]["log_loss"].value == pytest.approx(losses[1], abs=0.1)
    copy = pickle.loads(pickle.dumps(by_tokens))
    np.testing.assert_array_equal(copy.predict_proba(new), by_tokens.predict_proba(new))
    adapted = by_tokens.adapt_prior(class_prior=[0.9, 0.1])
    assert (
        adapted.predict_proba(new)[:, 0].mean()
        > by_tokens.predict_proba(new)[:, 0].mean()
    )


def test_without_a_gain_the_label_map_is_kept():
    """Where tokens tell nothing more, "auto" is "labels" to a hundredth."""
    X, y = reviews(120)
    by_labels, by_auto = (
        LogprobClassifier(
            FakeBackend({"great": {"positive": 2.0}}), prompt="{text}:", readout=readout,
            cache=None, random_state=0,
        ).fit(X, y).predict_proba(X)
        for readout in ("labels", "auto")
    )  # fmt: skip
    np.testing.assert_allclose(by_auto, by_labels, atol=0.01)


def test_without_labels_there_is_no_read_out():
    """Batch calibration and zero-shot stay what they are; a wrong name is an error."""
    X, _ = reviews(30)
    classes = ["negative", "positive"]
    for data in ((X,), ()):
        auto, labels = (
            classifier(r, classes=classes).fit(*data) for r in ("auto", "labels")
        )
        np.testing.assert_array_equal(auto.predict_proba(X), labels.predict_proba(X))
    with pytest.raises(ValueError, match=r"'readout' .* Got 'wide' instead"):
        classifier("wide", classes=classes).fit(X)
