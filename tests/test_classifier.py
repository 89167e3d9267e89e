"""The estimator on a fake model whose posterior and bias are known."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.model_selection import KFold

from sklearn_logprob import (
    BackendError,
    BestMetric,
    FakeBackend,
    LogprobClassifier,
    LowLabelMassWarning,
    PromptError,
    PromptTemplate,
    SingleClassWarning,
    UnnamedLabelsWarning,
)

WORDS = {
    "great": 1.5,
    "warm": 1.0,
    "funny": 0.5,
    "flat": -0.5,
    "slow": -1.0,
    "dull": -1.5,
}
EVIDENCE = {word: {"positive": weight} for word, weight in WORDS.items()}
PROMPT = "Review: {text}\nSentiment:"


def reviews(n, seed=0):
    """Texts with labels drawn from the posterior that the fake model knows."""
    rng = np.random.default_rng(seed)
    # A mark makes them distinct; of letters, for the fake model weighs numbers.
    marks = ["".join(chr(97 + int(digit)) for digit in str(i)) for i in range(n)]
    texts = [" ".join([*rng.choice(list(WORDS), size=4), mark]) for mark in marks]
    log_odds = np.array([sum(WORDS.get(w, 0) for w in t.split()) for t in texts])
    drawn = rng.random(n) < 1 / (1 + np.exp(-log_odds))
    return texts, np.where(drawn, "positive", "negative")


def biased(**params):
    """A classifier over a model with a planted bias and over-confidence."""
    backend = FakeBackend(EVIDENCE, bias={"positive": 4.0}, temperature=0.5)
    return LogprobClassifier(backend, prompt=PROMPT, **params)


def test_calibration_removes_a_planted_bias():
    """Raw decisions are bad, calibrated ones as good as the true posterior's."""
    X, y = reviews(400)
    X_test, y_test = reviews(400, seed=1)
    raw = biased(calibrator=None).fit(X, y)
    fitted = biased().fit(X, y)
    truth = FakeBackend(EVIDENCE)
    best = np.exp([truth.log_posterior(t, ["negative", "positive"]) for t in X_test])
    assert raw.score(X_test, y_test) < 0.65
    bayes = accuracy_score(y_test == "positive", best[:, 1] > 0.5)
    assert fitted.score(X_test, y_test) > bayes - 0.03
    found = log_loss(y_test, fitted.predict_proba(X_test))
    assert found < log_loss(y_test, best) + 0.02
    assert found < log_loss(y_test, raw.predict_proba(X_test)) - 0.3
    ranked = [roc_auc_score(y_test, c.decision_function(X_test)) for c in (raw, fitted)]
    assert ranked[0] == pytest.approx(ranked[1])


def test_fit_without_labels_is_batch_calibration():
    """Unlabelled texts alone remove a planted bias; the classes must be named."""
    X, y = reviews(300)
    raw = biased(calibrator=None, classes=["negative", "positive"]).fit(X)
    centred = biased(classes=["negative", "positive"]).fit(X)
    assert centred.score(X, y) > raw.score(X, y) + 0.1
    mean = log_softmax(centred.label_scores(X), axis=1).mean(axis=0)
    np.testing.assert_allclose(centred.calibrator_.center_, mean)


def test_zero_shot_asks_nothing_in_fit():
    """fit() with classes alone gives the model's own probabilities."""
    clf = LogprobClassifier(
        FakeBackend(EVIDENCE), prompt=PROMPT, classes=["negative", "positive"]
    ).fit()
    assert clf.usage_.requests == 0 and np.isnan(clf.label_mass_)
    expected = FakeBackend(EVIDENCE).log_posterior("great", ["negative", "positive"])
    np.testing.assert_allclose(clf.predict_log_proba(["great"])[0], expected)
    assert clf.usage_.requests == 1


def test_scores_are_what_the_model_says():
    """Label log scores are the planted posterior times the label mass."""
    clf = LogprobClassifier(
        FakeBackend(EVIDENCE, label_mass=0.5),
        prompt="{text}",
        classes=["negative", "positive"],
    ).fit(["great", "dull"])
    assert clf.label_mass_ == pytest.approx(0.5)
    truth = FakeBackend(EVIDENCE).log_posterior("warm", ["negative", "positive"])
    np.testing.assert_allclose(clf.label_scores(["warm"])[0], truth + np.log(0.5))


def test_top_k_and_exact_scores_agree():
    """A model that only shows alternatives gives the same as one that scores text."""
    X, y = reviews(60)
    exact = LogprobClassifier(FakeBackend(EVIDENCE), prompt=PROMPT).fit(X, y)
    shown = clone(exact).set_params(backend__exact=False).fit(X, y)
    first = clone(exact).set_params(label_scoring="first_token").fit(X, y)
    for other in (shown, first):
        np.testing.assert_allclose(other.predict_proba(X), exact.predict_proba(X))
    assert exact.requests(X)[0].choices and not shown.requests(X)[0].choices
    assert not first.requests(X)[0].choices


def test_predict_proba_is_a_distribution_and_log_proba_its_log():
    """Rows sum to one; the decision function is the log-odds."""
    X, y = reviews(60)
    clf = biased().fit(X, y)
    P = clf.predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    np.testing.assert_allclose(clf.predict_log_proba(X), np.log(P))
    np.testing.assert_allclose(clf.decision_function(X), np.log(P[:, 1] / P[:, 0]))


@pytest.mark.parametrize(
    "calibrator",
    [
        None,
        "auto",
        "temperature",
        "sigmoid",
        "vector",
        "matrix",
        "isotonic",
        LogisticRegression(),
    ],
)
def test_every_calibrator_fits_and_clones(calibrator):
    """All short forms and a foreign classifier give probabilities."""
    X, y = reviews(80)
    clf = clone(biased(calibrator=calibrator, readout="labels")).fit(X, y)
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1)
    learns_bias = calibrator not in (None, "temperature")
    assert (clf.score(X, y) > 0.6) == learns_bias


def test_thresholds_act_in_predict_only():
    """A higher threshold predicts fewer positives; probabilities stay."""
    X, y = reviews(200)
    low, high = (biased(threshold=t).fit(X, y) for t in (0.2, 0.8))
    np.testing.assert_array_equal(low.predict_proba(X), high.predict_proba(X))
    assert (high.predict(X) == "positive").sum() < (low.predict(X) == "positive").sum()
    P = low.predict_proba(X)[:, 1]
    np.testing.assert_array_equal(low.predict(X) == "positive", P >= 0.2)


def test_pos_label_turns_the_threshold_round():
    """With pos_label the number is about that class."""
    X, y = reviews(200)
    clf = biased(threshold=0.9, pos_label="negative").fit(X, y)
    P = clf.predict_proba(X)
    assert clf.classes_.tolist() == ["negative", "positive"]
    np.testing.assert_array_equal(clf.predict(X) == "negative", P[:, 0] >= 0.9)


def test_a_metric_chooses_the_threshold():
    """On imbalanced data F1 is better at the chosen threshold than at one half."""
    X, y = reviews(1500)
    keep = (y == "negative") | (np.arange(len(y)) % 8 == 0)
    X, y = [x for x, k in zip(X, keep, strict=True) if k], y[keep]
    half = len(y) // 2
    plain, tuned, selected = (
        biased(threshold=t, random_state=0).fit(X[:half], y[:half])
        for t in (None, "f1", BestMetric("f1"))
    )
    scores = [
        f1_score(y[half:], c.predict(X[half:]), pos_label="positive")
        for c in (plain, tuned)
    ]
    assert 0 < tuned.threshold_ < 0.5 and tuned.threshold_ == selected.threshold_
    assert plain.threshold_ == 0.5 and scores[1] > scores[0] + 0.05


def test_three_classes_with_numbers_and_metric():
    """Per-class numbers divide the probabilities; a metric learns them."""
    names = ["bad", "good", "meh"]
    evidence = {"x": {"bad": 2.0}, "y": {"good": 2.0}, "z": {"meh": 2.0}}
    X = [f"{w} {i}" for i in range(60) for w in "xyz"]
    y = [n for _ in range(60) for n in names]
    backend = FakeBackend(evidence, bias={"meh": 5.0})
    clf = LogprobClassifier(backend, prompt="{text}!", threshold="f1_macro").fit(X, y)
    assert clf.threshold_.shape == (3,) and clf.score(X, y) > 0.95
    never = clone(clf).set_params(threshold=[1.0, 1.0, 1e9]).fit(X, y)
    assert set(never.predict(X)) == {"bad", "good"}
    assert clf.decision_function(X).shape == (180, 3)


def test_labels_of_every_type_come_back():
    """Integers and booleans with a verbalizer: predict gives the type of y."""
    X, y = reviews(60)
    positive = y == "positive"
    for labels in (positive, positive.astype(int) + 1, np.where(positive, "p", "n")):
        forms = dict(
            zip(np.unique(labels).tolist(), ["negative", "positive"], strict=True)
        )
        clf = biased(verbalizer=forms).fit(X, labels)
        predicted = clf.predict(X)
        assert predicted.dtype == labels.dtype
        assert accuracy_score(labels, predicted) > 0.7
        assert clf.verbalizer_ == {k: (v,) for k, v in forms.items()}


def test_encoded_labels_keep_their_words():
    """0/1 for 'negative'/'positive' asks about the words, not about '0' and '1'."""
    X, y = reviews(60)
    codes = (y == "positive").astype(int)
    clf = biased(classes=["negative", "positive"]).fit(X, codes)
    named = biased().fit(X, y)
    np.testing.assert_allclose(clf.predict_proba(X), named.predict_proba(X))
    assert clf.predict(X).dtype.kind == "i" and clf.classes_.tolist() == [0, 1]
    assert clf.verbalizer_ == {0: ("negative",), 1: ("positive",)}
    with pytest.warns(UnnamedLabelsWarning):
        biased().fit(X, codes)


def test_a_class_absent_from_y_has_finite_probability():
    """Given in `classes`, unseen in y: small but not zero."""
    X, y = reviews(60)
    backend = FakeBackend(EVIDENCE)
    clf = LogprobClassifier(
        backend, prompt=PROMPT, classes=["mixed", "negative", "positive"]
    ).fit(X, y)
    assert np.isfinite(clf.predict_log_proba(X)).all() and clf.classes_[0] == "mixed"


def test_one_class_only():
    """Alone it is always predicted, without a call; among named classes, centred."""
    X, _ = reviews(8)
    with pytest.warns(SingleClassWarning):
        alone = biased().fit(X, ["positive"] * 8)
    assert alone.predict_proba(X).tolist() == [[1.0]] * 8 and alone.usage_.requests == 0
    assert alone.predict(X).tolist() == ["positive"] * 8
    with pytest.warns(SingleClassWarning):
        known = biased(classes=["negative", "positive"]).fit(X, ["positive"] * 8)
    centred = biased(classes=["negative", "positive"]).fit(X)
    np.testing.assert_allclose(known.predict_proba(X), centred.predict_proba(X))


def test_content_free_inputs_remove_bias():
    """Contextual calibration: the content-free input itself becomes uniform."""
    X, y = reviews(100)
    clf = biased(calibrator=None, content_free=("N/A", "")).fit(X, y)
    raw = biased(calibrator=None).fit(X, y)
    assert clf.usage_.requests == 102
    assert clf.score(X, y) > raw.score(X, y) + 0.1
    np.testing.assert_allclose(clf.predict_proba(["N/A"]), [[0.5, 0.5]])


def test_each_distinct_text_is_asked_once():
    """Duplicates, refits and predictions on seen texts cost nothing."""
    X, y = reviews(30)
    clf = biased().fit(X * 2, np.tile(y, 2))
    assert (clf.usage_.requests, clf.usage_.cache_hits) == (30, 0)
    clf.predict(X)
    assert (clf.usage_.requests, clf.usage_.cache_hits) == (30, 30)
    again = biased(calibrator="vector", threshold="accuracy").fit(X, y)
    assert again.usage_.requests == 0
    assert biased(cache=None).fit(X, y).usage_.requests == 30


def test_requests_shows_what_would_be_sent():
    """Before fit and after it, without asking; the text is in it."""
    X, y = reviews(5)
    planned = biased().requests(X, y)
    clf = biased().fit(X, y)
    assert planned == clf.requests(X)
    assert planned[0].messages == (("prompt", f"Review: {X[0]}\nSentiment:"),)
    assert not hasattr(biased(), "classes_")


def test_low_label_mass_is_warned_about_with_a_remedy():
    """The warning names the share, what the model would say, and what to do."""
    X, y = reviews(20)
    backend = FakeBackend(EVIDENCE, label_mass=0.01)
    with pytest.warns(
        LowLabelMassWarning, match=r"hold 1.0% .* rather say 'I'"
    ) as caught:
        clf = LogprobClassifier(backend, prompt=PROMPT).fit(X, y)
    assert caught[0].filename == __file__
    assert clf.label_mass_ == pytest.approx(0.01)
    assert clf.other_tokens_["mean_probability"][0] == pytest.approx(0.099)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
def test_tables_fill_the_fields(table):
    """Columns of pandas and polars frames fill the template by name."""
    X, y = reviews(40)
    frame = table({"title": ["t"] * 40, "body": X})
    clf = biased().set_params(prompt="{title}: {body}").fit(frame, y)
    assert clf.requests(frame)[0].messages[0][1] == f"t: {X[0]}"
    assert clf.n_features_in_ == 2 and clf.feature_names_in_.tolist() == [
        "title",
        "body",
    ]
    with pytest.raises(PromptError, match="columns: title, body"):
        biased().set_params(prompt="{text} {nobody}").fit(frame, y)


def test_fitted_classifier_pickles_small():
    """A few kilobytes, and the same probabilities after loading."""
    X, y = reviews(200)
    clf = biased(threshold="f1").fit(X, y)
    stored = pickle.dumps(clf)
    assert len(stored) < 8000
    np.testing.assert_array_equal(pickle.loads(stored).predict(X), clf.predict(X))


def test_clone_keeps_parameters():
    """Constructors store and do nothing else."""
    clf = biased(calibrator="vector", cv=3)
    assert clone(clf).get_params(deep=False).keys() == clf.get_params(deep=False).keys()
    assert repr(clone(clf)) == repr(clf)


X4, Y4 = ["great", "dull", "warm", "slow"], ["positive", "negative"] * 2


@pytest.mark.parametrize(
    "params, X, y, error, message",
    [
        ({}, [], [], ValueError, "empty"),
        ({}, X4, Y4[:3], ValueError, "inconsistent numbers of samples"),
        ({}, [*X4[:3], None], Y4, ValueError, "row 3 is None"),
        ({}, [*X4[:3], float("nan")], Y4, ValueError, "row 3"),
        ({}, [*X4[:3], 5], Y4, ValueError, "row 3"),
        ({}, "great", Y4, (ValueError, TypeError), "list"),
        ({"verbalizer": {"positive": "good"}}, X4, Y4, ValueError, "'negative'"),
        (
            {"verbalizer": {"positive": "good", "negative": "good"}},
            X4,
            Y4,
            ValueError,
            "two classes",
        ),
        ({"verbalizer": 3}, X4, Y4, TypeError, "The 'verbalizer' parameter"),
        ({"prompt": "Review:"}, X4, Y4, PromptError, "no field"),
        ({"prompt": "{review}"}, X4, Y4, PromptError, r"\{review\}"),
        ({"prompt": 3}, X4, Y4, TypeError, "The 'prompt' parameter"),
        (
            {"backend": "olama"},
            X4,
            Y4,
            ValueError,
            "The 'backend' parameter .* 'openai",
        ),
        ({"backend": 3}, X4, Y4, TypeError, "The 'backend' parameter"),
        ({"calibrator": "platt"}, X4, Y4, ValueError, "'temperature'"),
        ({"calibrator": 3}, X4, Y4, TypeError, "The 'calibrator' parameter"),
        ({"threshold": "f1_makro"}, X4, Y4, ValueError, "'balanced_accuracy'"),
        ({"threshold": 1.5}, X4, Y4, ValueError, "The 'threshold' parameter"),
        ({"threshold": [1, 2, 3]}, X4, Y4, ValueError, "The 'threshold' parameter"),
        ({"content_free": "N/A"}, X4, Y4, ValueError, "The 'content_free' parameter"),
        ({"label_scoring": "x"}, X4, Y4, ValueError, "'first_token'"),
        ({"pos_label": "good"}, X4, Y4, ValueError, "The 'pos_label' parameter"),
        ({"cache": 3}, X4, Y4, TypeError, "The 'cache' parameter"),
        ({"prompt": PromptTemplate}, X4, Y4, TypeError, "The 'prompt' parameter"),
        ({"threshold": BestMetric}, X4, Y4, ValueError, "The 'threshold' parameter"),
        ({"cv": 1}, X4, Y4, ValueError, "The 'cv' parameter .* Got 1 instead"),
        ({"cv": "5"}, X4, Y4, ValueError, "The 'cv' parameter .* Got '5' instead"),
        ({"cv": KFold}, X4, Y4, ValueError, r"The 'cv' parameter .* StratifiedKFold\("),
        ({"random_state": "zero"}, X4, Y4, ValueError, "'zero' cannot be used to seed"),
        ({"classes": 2}, X4, Y4, ValueError, "The 'classes' parameter .* Got 2 instead"),
        (
            {"classes": 2, "multilabel": "one_query"},
            X4,
            None,
            ValueError,
            "The 'classes' parameter .* Got 2 instead",
        ),
        ({}, X4, None, ValueError, "requires y"),
        ({}, None, Y4, ValueError, "no texts"),
        (
            {"classes": Y4[:2], "calibrator": "vector"},
            X4,
            None,
            ValueError,
            "learns from labels",
        ),
        (
            {"classes": Y4[:2], "threshold": "f1"},
            X4,
            None,
            ValueError,
            "chosen on labels",
        ),
    ],
)
def test_bad_input_fails_before_any_call(params, X, y, error, message):
    """Each error names what is wrong; the model is not asked anything."""
    asked = []

    class Spy(FakeBackend):
        def answer(self, requests):
            asked.extend(requests)
            return super().answer(requests)

    clf = LogprobClassifier(Spy(EVIDENCE)).set_params(**params)
    with pytest.raises(error, match=message):
        clf.fit(X, y)
    assert asked == []


def test_lengths_are_held_together_before_any_call():
    """Labels and weights of another number of rows cost no request."""
    clf = biased(cache=None).fit(*reviews(20))
    sent = clf.usage_.requests
    for call in (
        lambda: clf.score(["great"], ["positive"] * 2),
        lambda: clf.score(["great"], ["positive"], sample_weight=[1, 2]),
        lambda: clf.suggest_labels(["great"], ["positive"] * 2),
    ):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            call()
    assert clf.usage_.requests == sent


def test_a_table_can_be_classified_zero_shot():
    """fit() without X leaves the columns open until there is a table."""
    clf = LogprobClassifier(
        FakeBackend(EVIDENCE), prompt="{title}: {body}", classes=["negative", "positive"]
    ).fit()
    table = pd.DataFrame({"title": ["t", "t"], "body": ["dull", "great"]})
    assert clf.predict(table).tolist() == ["negative", "positive"]


def test_after_a_failed_fit_it_is_not_fitted():
    """Half of what fit learns is not taken for all of it."""
    clf = biased().fit(*reviews(20))
    clf.set_params(backend=Failing())
    with pytest.raises(BackendError):
        clf.fit(*reviews(20))
    with pytest.raises(NotFittedError):
        clf.predict(["great"])


class Failing(FakeBackend):
    """A model that never answers."""

    def answer(self, requests):
        raise BackendError("no answer")
        yield


def test_template_objects_can_be_searched():
    """A PromptTemplate's parameters are reachable by name."""
    clf = biased().set_params(prompt=PromptTemplate("{text}"))
    assert clf.set_params(prompt__system="Be brief.").prompt.system == "Be brief."


# ------------------------------------------------------- reports and class frequencies


def test_fit_leaves_a_report_that_costs_no_request():
    """Raw, calibrated and tuned, about the rows that were answered."""
    X, y = reviews(120)
    clf = biased(threshold="f1", pos_label="negative", random_state=0).fit(X, y)
    assert "computed when printed" in repr(clf.report_)
    scores = clf.report_.scores
    assert clf.usage_.requests == len(set(X))
    assert scores["calibrated"]["accuracy"].value > scores["raw"]["accuracy"].value + 0.1
    raw = clone(clf).set_params(calibrator=None, threshold=None).fit(X, y)
    f1 = f1_score(y, raw.predict(X), pos_label="negative")
    assert scores["raw"]["f1"].value == pytest.approx(f1)
    assert clf.report_.n_samples == 120
    assert repr(clf.report_).startswith("<Report on 120 rows: tuned")
    kept = pickle.loads(pickle.dumps(clf))
    assert kept.report_.to_dict() == clf.report_.to_dict()
    clf.set_params(classes=["negative", "positive"], threshold=None).fit(X)
    assert not hasattr(clf, "report_")


def test_showing_a_classifier_computes_no_report():
    """scikit-learn's HTML form reads all fitted attributes; the report stays lazy."""
    X, y = reviews(40)
    clf = biased().fit(X, y)
    clf._repr_html_()
    assert "computed when printed" in repr(clf.report_)


def test_adapting_to_other_frequencies():
    """From unlabelled texts or a given prior; the first classifier is left alone."""
    X, y = reviews(600)
    clf = biased().fit(X, y)
    new, labels = reviews(3000, seed=5)
    keep = (labels == "negative") | (np.arange(3000) % 8 == 0)
    texts, labels = np.array(new)[keep], labels[keep]
    share = (labels == "positive").mean()
    before = clf.predict_proba(texts)
    adapted, told = (
        clf.adapt_prior(texts),
        clf.adapt_prior(class_prior=[1 - share, share]),
    )
    assert adapted.class_prior_[1] == pytest.approx(share, abs=0.08)
    losses = [log_loss(labels, c.predict_proba(texts)) for c in (clf, adapted, told)]
    assert losses[1] < losses[0] - 0.05
    assert losses[2] == pytest.approx(losses[1], abs=0.03)
    np.testing.assert_array_equal(clf.predict_proba(texts), before)
    again = clf.adapt_prior(X)
    np.testing.assert_allclose(again.predict_proba(X), clf.predict_proba(X), atol=1e-6)
    back = told.adapt_prior(class_prior=clf.predict_proba(X).mean(axis=0))
    np.testing.assert_allclose(back.predict_proba(X), clf.predict_proba(X), atol=1e-6)
    assert pickle.loads(pickle.dumps(adapted)).predict(texts[:3]).tolist() == (
        adapted.predict(texts[:3]).tolist()
    )
    for arguments in ({}, {"X": X, "class_prior": [0.5, 0.5]}):
        with pytest.raises(ValueError, match="either texts or class_prior"):
            clf.adapt_prior(**arguments)
    with pytest.raises(ValueError, match="each of the 2 classes"):
        clf.adapt_prior(class_prior=[0.5, 0.6])
