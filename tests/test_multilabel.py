"""Several labels a text, on a fake model whose posterior is known, and on real ones."""

import pickle
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import expit
from servers import ChatServer
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, hamming_loss, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

from sklearn_logprob import (
    AffineCalibration,
    BestMetric,
    ChowRule,
    FailedRowsWarning,
    FakeBackend,
    FewLabelsWarning,
    LabelReports,
    LeastCost,
    LogprobClassifier,
    OpenAIBackend,
    OperatingPointError,
    PrecisionAtLeast,
    PromptEnsemble,
    PromptError,
    PromptTemplate,
    RefusedError,
    SamplingBackend,
    SingleClassWarning,
    UninformativeModelWarning,
    UnsupportedRequestError,
    Verbalizer,
)
from sklearn_logprob.calibration import cross_val_proba, make_calibrator

LABELS = ["sport", "politics", "art"]
WORDS = {
    "goal": (2.0, -0.5, 0.0),
    "vote": (-1.0, 2.0, 0.0),
    "paint": (0.0, -1.0, 2.5),
    "match": (1.0, 0.0, -1.0),
    "law": (-1.0, 1.0, -1.0),
    "song": (0.0, -0.5, 1.5),
}
EVIDENCE = {
    f"{word} {label}": {"yes": weight}
    for word, weights in WORDS.items()
    for label, weight in zip(LABELS, weights, strict=True)
}
PROMPT = "{text}. Is it {label}?"
RARE = np.array([-2.0, 0.0, 0.5])  # added to the log-odds of each label


def texts(n, seed=0):
    """Texts, the labels drawn for them, and the probabilities that they came from."""
    rng = np.random.default_rng(seed)
    marks = ["".join(chr(97 + int(digit)) for digit in str(i)) for i in range(n)]
    X = [" ".join([*rng.choice(list(WORDS), size=3), mark]) for mark in marks]
    # a word twice counts twice, as in the model
    counts = np.array([[text.split().count(word) for word in WORDS] for text in X])
    P = expit(counts @ np.array(list(WORDS.values())) + RARE)
    return X, (rng.random(P.shape) < P).astype(int), P


def make(backend=None, **params):
    """A classifier over a model with a planted bias and over-confidence."""
    backend = backend or FakeBackend(EVIDENCE, bias={"yes": 3.0}, temperature=0.5)
    params = {"prompt": PROMPT, "classes": LABELS, "random_state": 0, **params}
    return LogprobClassifier(backend, **params)


class Spy(FakeBackend):
    """Keeps what it was asked, one list a call; it answers no question with "nine"."""

    calls: list = []  # noqa: RUF012 - clones share it

    def answer(self, requests):
        self.calls.append(list(requests))
        for index, outcome in super().answer(requests):
            text = requests[index].messages[-1][1]
            refused = "nine" in text and "art" in text
            yield index, RefusedError("refused {row}", index) if refused else outcome


@pytest.fixture
def spy():
    """A new one."""
    Spy.calls = []
    return Spy(EVIDENCE, bias={"yes": 3.0}, temperature=0.5)


# ------------------------------------------------------------------ probabilities


def test_every_label_is_calibrated():
    """Planted bias and over-confidence go; log loss is close to the posterior's own."""
    X, Y, _ = texts(400)
    new, truth, P = texts(400, seed=1)
    clf, raw = make().fit(X, Y), make(calibrator=None).fit(X, Y)
    assert clf.classes_.tolist() == LABELS
    found = clf.predict_proba(new)
    assert found.shape == (400, 3)
    for label in range(3):
        own = truth[:, label]
        best = log_loss(own, P[:, label])
        assert log_loss(own, found[:, label]) < best + 0.04
        assert log_loss(own, raw.predict_proba(new)[:, label]) > best + 0.2
    decided = clf.predict(new)
    assert hamming_loss(truth, decided) < hamming_loss(truth, P > 0.5) + 0.03
    np.testing.assert_array_equal(decided, found > 0.5)
    assert clf.score(new, truth) == (decided == truth).all(axis=1).mean()
    odds = clf.decision_function(new)
    np.testing.assert_allclose(expit(odds), found)
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(new)), found)
    assert len(clf.calibrator_) == 3 and clf.rejector_ is None
    np.testing.assert_allclose(clf.class_prior_, Y.mean(axis=0))


def test_one_label_is_the_binary_classifier():
    """The same scores, probabilities and threshold as two classes have."""
    X, Y, _ = texts(150)
    asked = PROMPT.replace("{label}", "politics")
    forms = {0: "no", 1: "yes"}
    params = {"threshold": "f1", "readout": "auto", "content_free": ("N/A",)}
    two = make(prompt=asked, classes=None, verbalizer=forms, **params).fit(X, Y[:, 1])
    sets = [["politics"] if applies else [] for applies in Y[:, 1]]
    one = make(classes=["politics"], **params).fit(X, sets)
    np.testing.assert_allclose(one.label_scores(X)[:, 0], two.label_scores(X))
    np.testing.assert_allclose(one.predict_proba(X)[:, 0], two.predict_proba(X)[:, 1])
    np.testing.assert_allclose(one.decision_function(X)[:, 0], two.decision_function(X))
    assert one.threshold_.tolist() == [two.threshold_]
    np.testing.assert_array_equal(one.predict(X)[:, 0], two.predict(X))
    assert one.usage_.requests == 0  # the questions are the same ones
    column = make(classes=["politics"], multilabel="per_label", **params)
    np.testing.assert_array_equal(column.fit(X, Y[:, [1]]).predict(X), one.predict(X))


def test_all_forms_of_y_learn_the_same():
    """Dense, sparse, a frame whose columns name the labels, and sets."""
    X, Y, _ = texts(60)
    expected = make(threshold="f1_macro").fit(X, Y).predict(X)
    sets = [{LABELS[k] for k in np.flatnonzero(row)} for row in Y]
    for y in (sparse.csr_matrix(Y), Y.tolist(), sets):
        np.testing.assert_array_equal(
            make(threshold="f1_macro").fit(X, y).predict(X), expected
        )
    named = make(threshold="f1_macro", classes=None)
    frame = pd.DataFrame(Y, columns=LABELS)
    np.testing.assert_array_equal(named.fit(X, frame).predict(X), expected)
    assert named.classes_.tolist() == LABELS
    assert named.score(X, sets) == named.score(X, frame) == named.score(X, Y)


def test_labels_have_words_and_descriptions():
    """The first surface form is asked about, with what it means."""
    verbalizer = Verbalizer(
        {"a": ["painting", "drawing"], "s": "sport"}, descriptions={"a": "fine arts"}
    )
    clf = make(verbalizer=verbalizer, classes=["s", "a"], prompt="{text} {label}?")
    y = np.array([[0, 1, 1], [1, 0, 0]])
    planned = clf.requests(["hm", "oh"], y[:, :2])
    asked = [request.messages[0][1] for request in planned[:2]]
    assert asked == ["hm sport?", "hm painting: fine arts?"]
    built = make(prompt=None).requests(["hm", "oh"], y)[:3]
    assert [request.messages[0][1].split('"')[1] for request in built] == LABELS
    beginnings = [request.messages[0][1].split('"')[0] for request in built]
    assert len(set(beginnings)) == 1 and "hm" in beginnings[0]


def test_tables_demonstrations_and_lists_of_labels():
    """Fields of a table, {labels} for all labels, and worked examples for one."""
    frame = pd.DataFrame({"title": ["goal"], "body": ["late"]})
    prompt = PromptTemplate(
        "{title}: {body} [{labels}] {label}?",
        demonstrations=[({"title": "A", "body": "B", "label": "art"}, "no")],
    )
    (first, *_) = make(prompt=prompt, multilabel="per_label").fit().requests(frame)
    listed = "[sport, politics, art]"
    assert first.messages[0][1] == (
        f"A: B {listed} art? no\n\ngoal: late {listed} sport?"
    )
    series, y = pd.Series(["goal", "hm"], name="review"), np.array([[0, 1, 1], [1, 0, 0]])
    renamed = make(prompt="{review} {text} {label}").requests(series, y)
    assert renamed[0].messages[0][1] == "goal goal sport"
    with pytest.raises(PromptError, match="Rename the column"):
        make().fit(pd.concat([frame.rename(columns={"body": "label"})] * 2), y)


def test_without_labels_in_y():
    """Zero-shot it is the model's own odds; texts alone centre every label."""
    clf = make(multilabel="per_label").fit()
    assert clf.usage_.requests == 0
    truth = FakeBackend(EVIDENCE, bias={"yes": 3.0}, temperature=0.5).log_posterior(
        "goal goal sport", ["no", "yes"]
    )
    assert clf.predict_log_proba(["goal goal"])[0, 0] == pytest.approx(truth[1])
    assert clf.predict(["vote law vote law"]).shape == (1, 3)
    X, Y, _ = texts(200)
    centred = make(multilabel="per_label").fit(X)
    assert hamming_loss(Y, centred.predict(X)) < hamming_loss(Y, clf.predict(X)) - 0.1
    assert not hasattr(centred, "report_")


# ------------------------------------------------------------------ asking


def test_each_text_and_label_is_asked_once_in_one_go(spy):
    """One call of the backend; the questions about a text follow each other."""
    X, Y, _ = texts(20)
    clf = make(spy).fit(X * 2, np.tile(Y, (2, 1)))
    ((*asked,),) = Spy.calls
    assert [r.messages[0][1] for r in asked] == [
        PROMPT.format(text=text, label=label) for text in X for label in LABELS
    ]
    assert clf.usage_.requests == 60
    clf.predict(X)
    assert clf.usage_.requests == 60 and len(Spy.calls) == 1
    assert clf.requests(X).n_sent == 0 and len(clf.requests(X)) == 60
    assert make(spy).requests(X, Y) == clf.requests(X)


def test_a_question_that_fails_costs_no_other_label(spy):
    """Its cell is NaN and goes by the label's prior; the row's other labels stay."""
    X, Y, _ = texts(40)
    X[7] += " nine"
    clf = make(spy, on_error="nan")
    with pytest.warns(FailedRowsWarning, match="1 of 40 rows .* NaN: 7"):
        clf.fit(X, Y)
    with pytest.warns(FailedRowsWarning):
        P = clf.predict_proba(X)
    assert np.argwhere(np.isnan(P)).tolist() == [[7, 2]]
    with pytest.warns(FailedRowsWarning):
        decided = clf.predict(X)
    assert decided[7, 2] == (clf.class_prior_[2] > 0.5)
    assert clf.report_["art"].n_samples == 39 and clf.report_["sport"].n_samples == 40
    with pytest.raises(RefusedError, match="row 7"):
        make(spy, cache=None).fit(X, Y)


def test_a_label_without_any_answer_stays_without(spy):
    """Nothing is learnt of it, and its column is NaN."""
    X, Y, _ = texts(12)
    X = [f"{text} nine" for text in X]
    with pytest.warns(FailedRowsWarning):
        clf = make(spy, on_error="nan").fit(X, Y)
    assert not hasattr(clf, "report_")
    with pytest.warns(FailedRowsWarning):
        P = clf.predict_proba(X)
    assert np.isnan(P[:, 2]).all() and not np.isnan(P[:, :2]).any()


def test_content_free_inputs_are_asked_about_every_label():
    """They take out a planted bias, label by label."""
    X, Y, _ = texts(50)
    clf = make(calibrator=None, content_free=("N/A", "")).fit(X, Y)
    assert clf.usage_.requests == 52 * 3 and clf.content_free_scores_.shape == (3, 2)
    np.testing.assert_allclose(clf.predict_proba(["N/A"]), np.full((1, 3), 0.5))


def test_other_ways_to_answer():
    """Top-k, drawn answers and chains of thought are read as for two classes."""
    X, Y, _ = texts(30)
    exact = make().fit(X, Y)
    shown = make(FakeBackend(EVIDENCE, bias={"yes": 3.0}, temperature=0.5,
                             labels=("no", "yes"), exact=False)).fit(X, Y)  # fmt: skip
    np.testing.assert_allclose(shown.predict_proba(X), exact.predict_proba(X), atol=1e-3)
    texts_only = FakeBackend(EVIDENCE, labels=("no", "yes"), exact=False)
    drawn = make(SamplingBackend(texts_only, n_samples=20)).fit(X, Y)
    assert drawn.predict_proba(X).shape == (30, 3) and drawn.sampling_error_ > 0
    reasoned = PromptTemplate(
        "{text} {label}?", answer_prefix="A:", max_tokens=9, n_chains=2
    )
    asked = make(prompt=reasoned).requests(X, Y)
    assert len(asked) == 30 * 3 * 2 and asked[0].messages == asked[1].messages


# ------------------------------------------------------------------ decisions


def out_of_fold(clf, X, Y):
    """Probabilities that thresholds are chosen on."""
    S = clf.label_scores(X)
    fold = partial(cross_val_proba, make_calibrator("auto"), cv=5, random_state=0)
    return np.column_stack([fold(S[:, k], Y[:, k])[:, 1] for k in range(Y.shape[1])])


def test_thresholds_for_macro_f1_do_not_depend_on_other_labels():
    """Each is the best one of its label; together they have the best macro-F1."""
    X, Y, _ = texts(200)
    clf = make(threshold="f1_macro").fit(X, Y)
    P = out_of_fold(clf, X, Y)
    for k, label in enumerate(LABELS):
        alone = make(threshold="f1_macro", classes=[label], multilabel="per_label")
        alone.fit(X, Y[:, [k]])
        assert alone.threshold_[0] == clf.threshold_[k]
        cuts = np.sort(P[:, k])
        expected = [
            2 * P[P[:, k] >= t, k].sum() / ((P[:, k] >= t).sum() + P[:, k].sum())
            for t in cuts
        ]
        at = np.searchsorted(cuts, clf.threshold_[k])
        assert expected[at] == pytest.approx(max(expected), abs=1e-3)  # of 200 labels
    assert len(set(clf.threshold_)) == 3
    for same in ("f1", "f1_weighted", BestMetric("f1_macro")):
        found = clone(clf).set_params(threshold=same).fit(X, Y).threshold_
        np.testing.assert_array_equal(found, clf.threshold_)
    np.testing.assert_array_equal(clf.predict(X), clf.predict_proba(X) >= clf.threshold_)


def test_micro_f1_has_one_threshold_half_the_best_value():
    """The pooled expected F1 is maximal there, and the threshold is half of it."""
    X, Y, _ = texts(200)
    clf = make(threshold="f1_micro").fit(X, Y)
    assert clf.threshold_.shape == (3,) and len(set(clf.threshold_)) == 1
    p = np.sort(out_of_fold(clf, X, Y).ravel())[::-1]
    expected = 2 * p.cumsum() / (np.arange(1, len(p) + 1) + p.sum())
    t = clf.threshold_[0]
    # not exactly, for the labels correct the probabilities
    assert expected[(p >= t).sum() - 1] == pytest.approx(expected.max(), abs=2e-3)
    assert t == pytest.approx(expected.max() / 2, abs=0.02)
    assert clf.selector_.value_ == pytest.approx(expected.max(), abs=0.02)
    macro, plain = make(threshold="f1_macro").fit(X, Y), make().fit(X, Y)
    new, truth, _ = texts(400, seed=3)
    micro = [
        f1_score(truth, c.predict(new), average="micro") for c in (clf, plain, macro)
    ]
    assert micro[0] > max(micro) - 0.01


def test_numbers_and_selectors_for_all_labels_or_each():
    """One number, one a label, a cost matrix, an operating point."""
    X, Y, _ = texts(200)
    clf = make(threshold=0.3).fit(X, Y)
    assert clf.threshold_.tolist() == [0.3] * 3
    P = clf.predict_proba(X)
    for given in ([0.2, 0.5, 0.9], np.array([0.2, 0.5, 0.9])):
        each = make(threshold=given).fit(X, Y)
        np.testing.assert_array_equal(each.predict(X), P >= [0.2, 0.5, 0.9])
    costly = make(threshold=LeastCost({(0, 1): 4, (1, 0): 1})).fit(X, Y)
    np.testing.assert_array_equal(costly.predict(X), P > 0.8)
    precise = make(threshold=PrecisionAtLeast(0.8)).fit(X, Y)
    assert len(set(precise.threshold_)) == 3
    with pytest.raises(OperatingPointError, match="Label 'sport': "):
        make(threshold=PrecisionAtLeast(0.999, confidence=0.999)).fit(X, Y)


@pytest.mark.filterwarnings("ignore::sklearn_logprob.FewLabelsWarning")
@pytest.mark.filterwarnings("ignore::sklearn_logprob.UninformativeModelWarning")
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"threshold": "f1_macro"},
        {"threshold": "f1_micro", "readout": "tokens"},
        {"readout": "auto", "threshold": BestMetric("f1", method="search")},
        {"calibrator": LogisticRegression()},
        {"calibrator": "sigmoid"},
        {"calibrator": "isotonic"},
        {"calibrator": "vector"},
        {"calibrator": None},
    ],
)
def test_labels_that_never_or_always_apply(params):
    """Finite probabilities, on the right side of an even chance, and a report."""
    X, Y, _ = texts(40)
    Y[:, 0], Y[:, 1] = 0, 1
    Y[1:, 2] = 0  # once: every fold but one lacks it
    Y[0, 2] = 1
    with pytest.warns(SingleClassWarning, match="no row: .'sport'.; to every row"):
        clf = make(cv=3, **params).fit(X, Y)
    P = clf.predict_proba(X)
    assert np.isfinite(P).all() and np.isfinite(clf.decision_function(X)).all()
    if params.get("calibrator", "auto") is not None:
        mean = P.mean(axis=0)
        assert mean[0] < 0.15 and mean[1] > 0.85 and mean[2] < 0.25
    assert clf.predict(X).shape == Y.shape
    if params == {"threshold": "f1_macro"}:
        assert "sport" in str(clf.report_)


# ------------------------------------------------------------------ company


def test_report_of_every_label_and_their_mean():
    """Each label's as for two classes; "f1" on average is macro-F1."""
    X, Y, _ = texts(80)
    clf = make(threshold="f1_macro", cv=3).fit(X, Y)
    report = clf.report_
    assert isinstance(report, LabelReports) and list(report) == LABELS
    assert repr(report) == "<LabelReports on 3 labels, computed when printed>"
    raw = make(calibrator=None).fit(X, Y).predict(X)
    scores = report.scores
    macro = f1_score(Y, raw, average="macro")
    assert scores["raw"]["f1"].value == pytest.approx(macro)
    losses = [report[label].scores["calibrated"]["log_loss"].value for label in LABELS]
    assert scores["calibrated"]["log_loss"].value == pytest.approx(np.mean(losses))
    assert scores["tuned"]["f1"].value > scores["raw"]["f1"].value
    frame = report.to_frame()
    assert frame.loc[("art", "raw", "f1"), "value"] == pytest.approx(
        f1_score(Y[:, 2], raw[:, 2])
    )
    assert report.to_dict()["mean"]["raw"]["f1"] == pytest.approx(macro)
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == [*LABELS, "mean"]
    micro = make(threshold="f1_micro").fit(X, Y).report_
    assert "tuned" not in micro.scores  # its threshold has seen all of these rows


def test_warnings_of_a_report_name_the_label():
    """Too few labels, or a model that knows nothing about one."""
    X, Y, _ = texts(40)
    Y[3:, 0] = 0
    Y[:3, 0] = 1
    Y[:, 1] = np.arange(40) % 2
    clf = make(threshold="f1_macro").fit(X, Y)
    with pytest.warns() as caught:
        str(clf.report_)
    said = [(w.category, str(w.message).split(":")[0]) for w in caught]
    assert (FewLabelsWarning, "Label 'sport'") in said
    assert (UninformativeModelWarning, "Label 'politics'") in said


def test_pickle_clone_and_prior():
    """What was learnt travels; other shares of a label move its probabilities alone."""
    X, Y, _ = texts(50)
    clf = make(threshold="f1_macro", readout="tokens", cv=2).fit(X, Y)
    kept = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(kept.predict_proba(X), clf.predict_proba(X))
    assert len(pickle.dumps(clf)) < 20_000
    refit = clone(clf).fit(X, Y)
    np.testing.assert_array_equal(refit.predict_proba(X), clf.predict_proba(X))
    share = clf.predict_proba(X).mean(axis=0)
    moved = clf.adapt_prior(class_prior=[share[0], share[1], 0.9])
    before, after = clf.predict_proba(X), moved.predict_proba(X)
    np.testing.assert_allclose(after[:, :2], before[:, :2], atol=1e-9)
    assert (after[:, 2] > before[:, 2]).all() and moved.class_prior_[2] == 0.9
    assert clf.adapt_prior(X).class_prior_ == pytest.approx(share, abs=0.02)
    with pytest.raises(ValueError, match="each of the 3 labels"):
        clf.adapt_prior(class_prior=[0.5, 0.5])


def test_scikit_learns_searches_and_cross_validation():
    """Prompts are searched, out-of-fold probabilities have a column a label."""
    X, Y, _ = texts(90)
    deaf = "{label}? It is a pity that {text} goes unread"
    grid = {"prompt": [PROMPT, deaf], "backend__temperature": [0.5, 50.0]}
    search = GridSearchCV(make(), grid, scoring="f1_macro", cv=2).fit(X, Y)
    assert search.best_params_["backend__temperature"] == 0.5
    P = cross_val_predict(make(), X, Y, cv=3, method="predict_proba")
    assert P.shape == Y.shape and np.mean((P > 0.5) == Y) > 0.7
    score = cross_val_score(make(), X, Y, cv=3, scoring="f1_micro").mean()
    assert score == pytest.approx(f1_score(Y, P > 0.5, average="micro"), abs=0.05)
    frame = pd.DataFrame(Y, columns=LABELS)
    named = cross_val_predict(make(), X, frame, cv=3, method="predict_proba")
    np.testing.assert_allclose(named, P)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "params, y, error, message",
    [
        ({"prompt": "{text}?"}, None, PromptError, r"put \{label\} into it"),
        ({"multilabel": "both"}, None, ValueError, "The 'multilabel' parameter"),
        ({"multilabel": "per_label"}, ["a"] * 4, ValueError, "multilabel=None"),
        ({"reject": ChowRule(0.1)}, None, ValueError, "'reject' .* leave it None"),
        ({"pos_label": "art"}, None, ValueError, "'pos_label' .* leave it None"),
        ({"threshold": [0.5, 0.5]}, None, ValueError, "one for each of the 3"),
        ({"threshold": [0.5, 0.5, 2]}, None, ValueError, "'threshold' parameter"),
        ({"threshold": "f1_samples"}, None, ValueError, "'threshold' parameter"),
        ({"verbalizer": "letters"}, None, ValueError, "use multilabel='one_query'"),
        ({"verbalizer": {"art": "art"}}, None, ValueError, "'sport' has no surface"),
        (
            {"prompt": PromptTemplate(PROMPT, n_shots=1)},
            None,
            ValueError,
            r"demonstrations=\[\.\.\.\]",
        ),
        (
            {"backend": SamplingBackend(FakeBackend()), "multilabel": "one_query"},
            None,
            UnsupportedRequestError,
            "use multilabel='per_label'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_call(spy, params, y, error, message):
    """The message names the fix."""
    X, Y = texts(4)[0], np.array([[1, 0, 1], [0, 1, 0]] * 2)
    clf = make(spy).set_params(**params)
    with pytest.raises(error, match=message):
        clf.fit(X, Y if y is None else y)
    assert Spy.calls == []


@pytest.mark.filterwarnings("ignore::sklearn_logprob.SingleClassWarning")
def test_decisions_about_one_class_a_row_are_refused():
    """Accepting and sets say what to use instead."""
    clf = make().fit(*texts(20)[:2])
    with pytest.raises(ValueError, match=r"accept .* several labels may apply"):
        clf.accept(["goal"])
    with pytest.raises(ValueError, match=r"predict_set .* Use predict"):
        clf.predict_set(["goal"])


# ------------------------------------------------------------------ one query


def lists(prompt):
    """A server's list for a text: of its words' labels, some surer than others."""
    text = prompt.split("Text: ")[1]
    shares = [("goal", " sport", 0.9), ("vote", " politics", 0.8), ("paint", " art", 0.7)]
    said = [(label, p) for word, label, p in shares if word in text]
    positions = []
    for label, p in said or [(" none", 0.8)]:
        others = {" sport", " politics", " art", " none"} - {label}
        positions.append({label: p, **dict.fromkeys(others, (1 - p) / 3)})
        positions.append({",": 0.9, "\n": 0.1})
    positions[-1] = {"\n": 0.9, ",": 0.1}
    return [
        sorted(((t, float(np.log(p))) for t, p in shown.items()), key=lambda x: -x[1])
        for shown in positions
    ]


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A classifier that asks a real server for lists, and the server."""
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with ChatServer(lists) as server:
        backend = OpenAIBackend("some-model", base_url=server.url, max_retries=0)
        yield make(backend, prompt=None, multilabel="one_query", cache=tmp_path), server


def test_one_query_reads_every_position(served):
    """One request a text; labels further down the list are found as well."""
    clf, server = served
    rng = np.random.default_rng(0)
    X = [" ".join([*rng.choice(list(WORDS), 3), f"n{i}"]) for i in range(40)]
    Y = np.array([[w in text for w in ("goal", "vote", "paint")] for text in X]).astype(
        int
    )
    clf.fit(X, Y)
    assert len(server.calls) == 40 and clf.usage_.requests == 40
    body = server.calls[0].body
    assert body["max_completion_tokens" if "max_completion_tokens" in body
                else "max_tokens"] > 6  # fmt: skip
    assert "sport, politics, art" in body["messages"][-1]["content"]
    assert (clf.predict(X) == Y).all()
    raw = clone(clf).set_params(calibrator=None).fit(X, Y)
    both = raw.predict_proba(["goal vote"])[0]
    assert both[1] == pytest.approx(0.1 / 3 + (0.9 + 0.1 / 3) * 0.9 * 0.8, abs=1e-6)
    assert clf.label_scores(X).shape == (40, 3, 2)
    assert np.exp(clf.label_scores(X)).sum(axis=-1) == pytest.approx(1)
    tuned = clone(clf).set_params(threshold="f1_micro", readout="tokens", cv=2).fit(X, Y)
    assert f1_score(Y, tuned.predict(X), average="micro") > 0.95
    assert {"none"} == {str(token) for token in clf.other_tokens_["token"]}
    pickle.loads(pickle.dumps(clf)).predict(X)
    zero_shot = clone(clf).fit()
    assert (zero_shot.predict(X) == Y).all()


def test_one_query_takes_codes(served):
    """Letters in the list stand for the labels."""
    clf, server = served
    server.answers = lambda prompt: [
        [(" C", -0.1), (" A", -3.0)],
        [(",", -0.1), ("\n", -3.0)],
        [(" B", -0.1), (" A", -3.0)],
        [("\n", -0.1)],
    ]
    clf.set_params(verbalizer="letters").fit()
    P = clf.predict_proba(["hm"])[0]
    assert P[2] > 0.85 and P[1] > 0.75 and P[0] < 0.2
    assert (
        "A. sport\nB. politics\nC. art" in server.calls[0].body["messages"][-1]["content"]
    )


# ------------------------------------------------------------------ a real model


@pytest.mark.local
@pytest.mark.filterwarnings("ignore::sklearn_logprob.LowLabelMassWarning")
def test_the_embedded_model_is_asked_both_ways(weights):
    """Scores are finite, every label has its own, and lists are written."""
    X = ["The striker scored twice.", "Parliament passed the bill."] * 4
    Y = np.array([[1, 0], [0, 1]] * 4)
    clf = LogprobClassifier(classes=["sports", "politics"], verbose=False).fit(X, Y)
    assert clf.usage_.requests == 4
    assert np.isfinite(clf.decision_function(X)).all()
    assert len(np.unique(clf.label_scores(X[:2]))) == 8
    listed = clone(clf).set_params(multilabel="one_query").fit(X, Y)
    assert listed.usage_.requests == 2
    assert (listed.predict(X) == Y).all()


def test_calibrators_may_be_told_how_frequent_labels_are():
    """A parameter of the calibrator counts for each label."""
    X, Y, _ = texts(30)
    calibrator = AffineCalibration(class_prior="labels")
    clf = make(calibrator=calibrator, readout="labels").fit(X, Y)
    assert all(c.class_prior == "labels" for c in clf.calibrator_)


def test_an_ensemble_of_one_prompt_twice_is_that_prompt():
    """Each member asks about each label; the average of equal scores is the score."""
    X, Y, _ = texts(30)
    one, both = (
        make(prompt=prompt) for prompt in (PROMPT, PromptEnsemble([PROMPT, PROMPT]))
    )
    np.testing.assert_allclose(
        one.fit(X, Y).predict_proba(X), both.fit(X, Y).predict_proba(X), rtol=1e-9
    )
    assert len(both.requests(X)) == 2 * len(one.requests(X))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"prompt": PromptEnsemble([PROMPT, "{text}"])}, "which: put {label} into it"),
        ({"prompt": PromptEnsemble([PROMPT], combine="stack")}, "combine='average'"),
        ({"verbalizer": Verbalizer(none_option="none")}, "none_option= of Verbalizer"),
        ({"verbalizer": Verbalizer(other="class")}, "leave other= and"),
    ],
)
def test_what_makes_no_sense_with_several_labels(parameters, told):
    """Refused before anything is asked."""
    with pytest.raises((PromptError, ValueError), match=re.escape(told)):
        make(**parameters).fit(*texts(10)[:2])
