"""Wordings are compared on what the classifier itself reads, and each is asked once."""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import accuracy_score, log_loss

from sklearn_logprob import Cache, FakeBackend, LogprobClassifier, PromptTemplate
from sklearn_logprob._sensitivity import true_scores
from sklearn_logprob._styles import STYLES
from sklearn_logprob.calibration import cross_val_proba, make_calibrator
from sklearn_logprob.metrics import flip_rate
from sklearn_logprob.stability import (
    VARIED,
    rank_agreement,
    sensitivity,
    stability,
    summarize,
)

WORDS = {"bad": "Awful", "good": "Fine"}
# what the style says weighs on the answer, as it does with language models
MODEL = FakeBackend(
    {
        "great": {"fine": 1.5},
        "dull": {"fine": -1.5},
        "json": {"fine": 4.0},
        "expert": {"awful": 4.0},
    },
    label_mass=0.6,
)
RNG = np.random.default_rng(0)
Y = RNG.choice(["bad", "good"], 60)
X = [
    " ".join(RNG.choice(["great", "dull", "film"], 4, p=p))
    for p in np.where(Y[:, None] == "good", [[0.5, 0.1, 0.4]], [[0.1, 0.5, 0.4]])
]

SOME = ["plain", "json", "role", "task"]


class Spy(FakeBackend):
    """Counts what it is asked."""

    asked = 0

    def answer(self, requests):
        type(self).asked += len(requests)
        return super().answer(requests)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    cache = Cache(tmp_path_factory.mktemp("answers"))
    models = {"one": MODEL, "sure": FakeBackend(MODEL.evidence, temperature=0.5)}
    made = stability(
        models, X, Y, styles=SOME, verbalizer=WORDS, cache=cache, verbose=False
    )
    cache.close()
    return made


def test_the_frame_is_tidy(frame):
    """A row for each text, model, prompt and way to write the labels."""
    assert len(frame) == 2 * 4 * 3 * len(X)
    assert not frame.duplicated(["row", *VARIED]).any()
    assert list(frame.columns) == [
        "row", "text", "true_class", "model", "style", "label_style", "score_bad",
        "score_good", "label_mass", "prediction", "proba_bad", "proba_good",
        "calibrated_prediction",
    ]  # fmt: skip
    assert list(frame["style"].unique()) == SOME
    assert (frame["text"] == np.array(X)[frame["row"]]).all()
    assert (frame["true_class"] == Y[frame["row"]]).all()


def test_scores_are_those_of_the_classifier(frame):
    """In one of the wordings, with its out-of-fold probabilities."""
    part = frame.query("model == 'one' & style == 'task' & label_style == 'verbose'")
    words = {k: f"a text of the kind {v}" for k, v in WORDS.items()}
    clf = LogprobClassifier(MODEL, prompt="task", verbalizer=words, calibrator=None)
    S = clf.fit(X, Y).label_scores(X)
    np.testing.assert_array_equal(part[["score_bad", "score_good"]], S)
    np.testing.assert_allclose(part["label_mass"], np.exp(S).sum(axis=1))
    assert list(part["prediction"]) == list(clf.predict(X))
    codes = (Y == "good").astype(int)
    P = cross_val_proba(make_calibrator("auto"), S, codes, 5, 0)
    np.testing.assert_allclose(part[["proba_bad", "proba_good"]], P)


def test_each_wording_is_asked_once(tmp_path):
    """About each distinct text, and never again; lower case is as given here."""
    cache = Cache(tmp_path / "kept")
    arguments = Spy(), ["great", "dull", "great"], ["good", "bad", "good"]
    params = {"styles": ["plain", "role"], "cache": cache, "cv": 2}
    stability(*arguments, **params)
    assert Spy.asked == 2 * 2 * 2
    stability(*arguments, **params, label_styles=["verbose"])
    assert Spy.asked == 2 * 2 * 2
    cache.close()


def test_calibration_repairs_what_wording_breaks(frame):
    """Planted shifts flip raw decisions, and hardly any calibrated ones."""
    # the fake model knows nothing of phrases
    table = sensitivity(frame[frame["label_style"] != "verbose"])
    assert list(table.index) == list(VARIED)
    style = table.loc["style"]
    assert style["flip_rate"] > 0.2
    assert style["calibrated_flip_rate"] < 0.1
    assert style["log_loss_range"] > 5 * style["calibrated_log_loss_range"]
    assert table.loc["label_style", "rank_agreement"] == pytest.approx(1)
    # the style's words shift all texts alike: their order stays
    assert style["rank_agreement"] == pytest.approx(1)


def test_the_summary_is_scikit_learns(frame):
    """Accuracy and log loss of each wording, before and after."""
    table = summarize(frame)
    assert len(table) == 24
    for wording in list(table.index)[::5]:
        part = frame[(frame[list(VARIED)] == list(wording)).all(axis=1)]
        row = table.loc[wording]
        for prefix, P in (
            ("", np.exp(log_softmax(part[["score_bad", "score_good"]], axis=1))),
            ("calibrated_", part[["proba_bad", "proba_good"]]),
        ):
            decided = part[f"{prefix}prediction"]
            assert row[f"{prefix}accuracy"] == accuracy_score(Y, decided)
            assert row[f"{prefix}log_loss"] == pytest.approx(log_loss(Y, P))
        scores = np.where(Y == "bad", part["score_bad"], part["score_good"])
        np.testing.assert_array_equal(true_scores(part, "score"), scores)
        expected = np.quantile(scores, [0.05, 0.5, 0.95])
        np.testing.assert_allclose(row.iloc[:3].astype(float), expected)
        assert row["label_mass"] == pytest.approx(part["label_mass"].median())


@pytest.mark.parametrize(
    "method, correlation", [("spearman", spearmanr), ("kendall", kendalltau)]
)
def test_rank_agreement_is_scipys(method, correlation):
    """Between two wordings of random scores, in the mean over three classes."""
    rng = np.random.default_rng(1)
    S = rng.normal(size=(2, 40, 3))
    columns = ["score_a", "score_b", "score_c"]
    frames = [
        pd.DataFrame(S[i], columns=columns).assign(row=range(40), style=f"style {i}")
        for i in range(2)
    ]
    table = rank_agreement(pd.concat(frames, ignore_index=True), ["style"], method)
    one, two = log_softmax(S, axis=2)
    expected = np.mean([correlation(one[:, k], two[:, k]).statistic for k in range(3)])
    assert table.loc["style 0", "style 1"] == pytest.approx(expected)
    assert table.loc["style 1", "style 1"] == pytest.approx(1)


@given(
    st.integers(1, 6).flatmap(
        lambda m: st.lists(
            st.lists(st.sampled_from("abc"), min_size=m + 1, max_size=m + 1), min_size=1
        )
    )
)
def test_flip_rate_counts_pairs(predictions):
    """Pair by pair, and text by text."""
    differ = [one != two for row in predictions for one, two in combinations(row, 2)]
    assert flip_rate(predictions) == pytest.approx(np.mean(differ))


def test_own_prompts_models_and_words():
    """Under their names; a table fills the fields of a template."""
    table = pd.DataFrame({"title": X, "year": 2000})
    own = {
        "mine": PromptTemplate("{title} ({year})", system="{labels}?"),
        "plain": "task",
    }
    words = {"shout": str.upper, "review": "a {} review".format}
    made = stability(
        [MODEL], table, Y, styles=own, label_styles=words, verbalizer=WORDS, verbose=False
    )
    assert list(made["style"].unique()) == ["mine", "plain"]
    assert list(made["label_style"].unique()) == ["shout", "review"]
    assert made["model"].unique().tolist() == [repr(MODEL)]
    assert made["text"][0] == f"{X[0]}\n2000"
    assert set(sensitivity(made).index) == {"style", "label_style"}


def test_three_classes_and_numbers():
    """Columns are named by the class; all nine prompts where none are named."""
    made = stability(
        FakeBackend(), list("abcdef"), [1, 2, 3] * 2, label_styles=["lower"], cv=2,
        calibrator="temperature", verbalizer={1: "one", 2: "two", 3: "three"},
    )  # fmt: skip
    assert {"score_1", "score_2", "score_3"} <= set(made)
    assert set(made["style"]) == set(STYLES)
    assert true_scores(made, "raw").shape == (9 * 6,)


@pytest.mark.parametrize(
    "params, error, message",
    [
        ({"styles": ["polite"]}, ValueError, r"'styles' .*'natural'.* Got \['polite'\]"),
        ({"styles": []}, ValueError, "'styles' parameter of stability"),
        ({"label_styles": ["loud"]}, ValueError, "'label_styles' .*'verbose'"),
        ({"models": "nobody"}, ValueError, "'backend' parameter"),
        ({"styles": {"a": "{text}", "b": "{nothing}"}}, ValueError, "nothing"),
        ({"label_styles": {"same": lambda word: "x"}}, ValueError, "to two classes"),
        ({"styles": {"a": PromptTemplate(n_shots=2)}}, ValueError, "demonstrations="),
        ({"y": Y[:3]}, ValueError, "inconsistent numbers of samples"),
    ],
)
def test_mistakes_are_found_before_anything_is_asked(params, error, message):
    """With what would be right."""
    Spy.asked = 0
    with pytest.raises(error, match=message):
        stability(**{"models": Spy(), "X": X, "y": Y, **params})
    assert Spy.asked == 0


def test_other_methods_are_refused(frame):
    """With the two that there are."""
    with pytest.raises(ValueError, match=r"'kendall'\. Got 'pearson'"):
        rank_agreement(frame, method="pearson")
    with pytest.raises(ValueError, match="two or more wordings"):
        flip_rate([["a"], ["b"]])


def test_without_pandas(monkeypatch):
    """The error says how to get it, before anything is asked."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="stability needs pandas: pip install"):
        stability(MODEL, X, Y)


def test_the_bar_counts_wordings(capsys):
    """On stderr, when it is asked for."""
    stability(MODEL, X, Y, styles=["plain"], verbose=True)
    assert "3/3" in capsys.readouterr().err
