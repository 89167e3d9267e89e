"""scikit-learn's own check suite, and its meta-estimators around our classifier."""

import pickle

import joblib
import numpy as np
import pytest
import sklearn
from servers import ChatServer
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_logprob import (
    FakeBackend,
    LogprobClassifier,
    OpenAIBackend,
    UnnamedLabelsWarning,
)

EXPECTED_FAILED: dict[str, str] = {}
OF_SEVERAL_LABELS = [
    "check_classifier_multioutput",
    "check_classifiers_multilabel_representation_invariance",
    "check_classifiers_multilabel_output_format_predict",
    "check_classifiers_multilabel_output_format_predict_proba",
    "check_classifiers_multilabel_output_format_decision_function",
]

# Sorted, the names are bad, good, meh; their surface forms sort the other way round.
FORMS = {"bad": "terrible", "good": "splendid", "meh": "average"}
EVIDENCE = {"x": {"terrible": 2.0}, "y": {"splendid": 2.0}, "z": {"average": 2.0}}
X = np.array([f"{w} {'abcdefghij'[i]}" for i in range(10) for w in "xyz"], dtype=object)
Y = np.array(["bad", "good", "meh"] * 10)

METHODS = ["sigmoid", "isotonic"]
if tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 8):
    METHODS.append("temperature")


def classifier(**params):
    """Three classes, told by the verbalizer what they are called."""
    backend = FakeBackend(EVIDENCE, bias={"average": 1.5})
    params = {"verbalizer": FORMS, **params}
    return LogprobClassifier(backend, prompt="Review: {text}", **params)


CHECKS = parametrize_with_checks(
    [LogprobClassifier(FakeBackend(), cache=None)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILED,
)


@pytest.mark.filterwarnings("ignore::sklearn_logprob.UnnamedLabelsWarning")
@pytest.mark.filterwarnings("ignore::sklearn_logprob.SingleClassWarning")
@CHECKS
def test_scikit_learn_check(estimator, check):
    """Each of scikit-learn's checks, on tables of numbers that fill the template."""
    check(estimator)


def test_all_of_scikit_learns_checks_run(request):
    """A shorter green run would look the same; and no failure is excused."""
    names = [getattr(item, "originalname", "") for item in request.session.items]
    if names == [request.node.originalname]:
        pytest.skip("selected alone: there is nothing to count")
    assert names.count("test_scikit_learn_check") >= 55
    assert not EXPECTED_FAILED
    checks = "".join(item.name for item in request.session.items)
    assert [check for check in OF_SEVERAL_LABELS if check not in checks] == []


def agrees(probabilities):
    """Whether the planted classes win, in the order bad, good, meh."""
    return (probabilities.argmax(axis=1) == np.arange(len(Y)) % 3).all()


@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_calibrated_classifier_cv(method, ensemble):
    """Cross-fitted, with names or codes inside: the words asked about stay the same."""
    outer = CalibratedClassifierCV(classifier(), method=method, ensemble=ensemble, cv=3)
    outer.fit(X, Y)
    assert outer.classes_.tolist() == ["bad", "good", "meh"]
    assert agrees(outer.predict_proba(X))
    for inner in outer.calibrated_classifiers_:
        assert list(inner.estimator.verbalizer_.values()) == [
            (form,) for form in FORMS.values()
        ]


def test_calibrated_classifier_cv_frozen():
    """Around a fitted classifier, on data of its own."""
    fitted = classifier(calibrator=None).fit(X[:15], Y[:15])
    outer = CalibratedClassifierCV(FrozenEstimator(fitted), method="sigmoid", cv=3)
    assert agrees(outer.fit(X[15:], Y[15:]).predict_proba(X))


def test_cross_val_predict():
    """It encodes y for probabilities; the columns are still the named classes."""
    assert agrees(cross_val_predict(classifier(), X, Y, method="predict_proba", cv=3))
    assert (cross_val_predict(classifier(), X, Y, cv=3) == Y).all()


def test_voting_and_stacking():
    """Both encode y before the base estimator sees it."""
    members = [("one", classifier()), ("two", classifier(calibrator=None))]
    assert agrees(VotingClassifier(members, voting="soft").fit(X, Y).predict_proba(X))
    assert agrees(StackingClassifier(members, cv=3).fit(X, Y).predict_proba(X))


def test_one_vs_rest():
    """Binary: the codes are the names. Three classes: it cannot be right, and says so."""
    two = Y != "meh"
    forms = {name: FORMS[name] for name in ("bad", "good")}
    outer = OneVsRestClassifier(classifier(verbalizer=forms)).fit(X[two], Y[two])
    assert (outer.predict(X[two]) == Y[two]).all()
    assert outer.estimators_[0].verbalizer_ == {0: ("terrible",), 1: ("splendid",)}
    with pytest.warns(UnnamedLabelsWarning, match="OneVsRestClassifier"):
        OneVsRestClassifier(classifier()).fit(X, Y)


def test_without_names_encoded_labels_are_warned_about():
    """Nobody named the numbers, so the model would be asked about '0' and '1'."""
    with pytest.warns(UnnamedLabelsWarning, match="meta-estimator has encoded it"):
        cross_val_predict(classifier(verbalizer=None), X, Y, method="predict_proba", cv=3)


def test_tuned_threshold_classifier_cv():
    """scikit-learn's own tuner works around ours, and asks nothing anew."""
    two = Y != "meh"
    forms = {name: FORMS[name] for name in ("bad", "good")}
    clf = classifier(verbalizer=forms).fit(X[two], Y[two])
    tuned = TunedThresholdClassifierCV(clf, scoring="balanced_accuracy", cv=3)
    tuned.fit(X[two], Y[two])
    assert (tuned.predict(X[two]) == Y[two]).all()
    assert tuned.estimator_.usage_.requests == 0


def test_pipeline_and_grid_search_find_the_planted_best():
    """A search over prompt, calibrator and threshold finds what was planted."""
    lower = FunctionTransformer(np.vectorize(str.lower, otypes=[object]))
    shouting = np.array([text.upper() for text in X], dtype=object)
    pipeline = make_pipeline(lower, classifier())
    name = "logprobclassifier"
    search = GridSearchCV(
        pipeline,
        {
            f"{name}__prompt": ["{text}", "x y z x y z x y z {labels} {text} xx"],
            f"{name}__calibrator": [None, "auto"],
            f"{name}__threshold": [None, "f1_macro"],
            f"{name}__backend__temperature": [1.0, 50.0],
        },
        scoring="neg_log_loss",
        cv=3,
        n_jobs=2,
    )
    search.fit(shouting, Y)
    assert search.best_params_[f"{name}__calibrator"] == "auto"
    assert search.best_params_[f"{name}__backend__temperature"] == 1.0
    assert search.score(shouting, Y) > -0.5


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A classifier that asks a real server, and the server, which counts.

    Its cache is named: worker processes outlive a test, and so does their environment.
    """
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with ChatServer() as server:
        backend = OpenAIBackend("some-model", base_url=server.url, max_retries=0)
        clf = LogprobClassifier(
            backend, verbalizer=FORMS, prompt="{text}", cache=tmp_path / "cache"
        )
        yield clf, server


@pytest.mark.filterwarnings("ignore::sklearn_logprob.LowLabelMassWarning")
def test_a_search_over_prompts_asks_each_distinct_prompt_once(served):
    """Distinct prompts × distinct texts, in two processes; the second run asks none."""
    clf, server = served
    pipeline = Pipeline([("clf", clf)])
    prompts = {"clf__prompt": ["Review: {text}", "Is it good? {text}"]}
    texts = np.concatenate([X, X[:10]])
    labels = np.concatenate([Y, Y[:10]])
    search = GridSearchCV(pipeline, prompts, cv=3, n_jobs=2, scoring="neg_log_loss")
    search.fit(texts, labels)
    assert len(server.calls) == 2 * len(X)
    search.fit(texts, labels)
    assert len(server.calls) == 2 * len(X)


@pytest.mark.filterwarnings("ignore::sklearn_logprob.LowLabelMassWarning")
def test_a_grid_over_calibrators_and_thresholds_asks_nothing(served):
    """Once the texts are answered, everything learnt afterwards is free."""
    clf, server = served
    clf.fit(X, Y)
    asked = len(server.calls)
    grid = {
        "calibrator": [None, "auto", "temperature", LogisticRegression()],
        "threshold": [None, "accuracy", "f1_macro"],
    }
    GridSearchCV(clf, grid, cv=3, scoring="accuracy").fit(X, Y)
    assert len(server.calls) == asked == len(X)


def test_joblib_and_pickle_round_trips(tmp_path):
    """Stored and loaded, it predicts the same."""
    clf = classifier(threshold="f1_macro").fit(X, Y)
    joblib.dump(clf, tmp_path / "clf.joblib")
    for loaded in (
        joblib.load(tmp_path / "clf.joblib"),
        pickle.loads(pickle.dumps(clf)),
    ):
        np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))


def test_logits_suit_scikit_learns_calibrators():
    """decision_function holds log-odds: Platt scaling on it is no worse than raw."""
    clf = classifier(calibrator=None).fit(X, Y)
    outer = CalibratedClassifierCV(FrozenEstimator(clf), method="sigmoid", cv=3).fit(X, Y)
    raw = log_loss(Y, clf.predict_proba(X))
    assert log_loss(Y, outer.predict_proba(X)) < raw
