"""The operating-point page: its data, its notes, what it asks and how it is written."""

from __future__ import annotations

import json
import pickle
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import KFold

from sklearn_logprob import (
    BackendError,
    ChowRule,
    FailedRowsWarning,
    FakeBackend,
    LeastCost,
    LogprobClassifier,
    OperatingPointPage,
    RefusedError,
    cross_val_proba,
)
from sklearn_logprob._page_data import LENGTHS, page_data, shorten
from sklearn_logprob.priors import change_prior

BACKEND = FakeBackend(
    {"great": {"good": 2.0}, "dull": {"good": -2.0}}, bias={"good": 1.0}
)
X = [f"{word} film {i / 10}" for i in range(15) for word in ("great", "dull")]
Y = ["good", "bad"] * 15
NEW = [f"{word} show {i / 10}" for i in range(5) for word in ("great", "dull", "new")]
NEW_Y = ["good", "bad", "good"] * 5


def fitted(**parameters):
    return LogprobClassifier(BACKEND, prompt="{text}:", **parameters).fit(X, Y)


def proba(page):
    flat = np.frombuffer(b64decode(page.data["P"]), dtype="<f8")
    return flat.reshape(len(page.data["y"]), -1)


def told(page):
    return " ".join(note["text"] for note in page.data["notes"])


def warned(page):
    return [note["text"] for note in page.data["notes"] if note["warns"]]


# ------------------------------------------------------------------ what it asks


@pytest.mark.parametrize("cache", [None, "auto"])
def test_each_distinct_text_is_asked_once(cache):
    """Without a cache too, and not again where the cache has the answer."""
    clf = fitted(cache=cache)
    before = clf.usage_.requests
    clf.explore([*NEW, *NEW], [*NEW_Y, *NEW_Y])
    assert clf.usage_.requests == before + len(NEW)
    clf.explore(X, Y)
    assert clf.usage_.requests == before + len(NEW) + (len(X) if cache is None else 0)


@pytest.mark.parametrize(
    "X_bad, y_bad, path, message",
    [
        (NEW, NEW_Y[:-1], None, "inconsistent numbers"),
        (NEW, ["odd", *NEW_Y[1:]], None, "'odd'"),
        (NEW, NEW_Y, "no/such/folder.html", "no/such/folder.html"),
        ([["a", 1]], ["good"], None, "table"),
        (NEW, [{"good", "bad"}, set()] * 8, None, r"\['bad', 'good'\] .* several labels"),
        (NEW, np.eye(15, 2), None, "several labels a row. .* fit a classifier for it"),
    ],
)
def test_bad_input_is_refused_before_the_model_is_asked(X_bad, y_bad, path, message):
    """And the message names it."""
    clf = fitted(cache=None)
    before = clf.usage_.requests
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        clf.explore(X_bad, y_bad, path)
    assert clf.usage_.requests == before


def test_one_class_has_no_operating_point():
    """There is nothing to decide."""
    clf = LogprobClassifier(BACKEND, classes=["good"]).fit()
    with pytest.raises(ValueError, match="two classes"):
        clf.explore(["x"], ["good"])


def test_several_labels_a_row_have_no_page():
    """Whatever y is; the message says what has one."""
    clf = LogprobClassifier(BACKEND, classes=["a", "b"], multilabel="per_label").fit()
    for y in ([{"a"}], [[0, 1]], ["a"]):
        with pytest.raises(ValueError, match="may apply: fit a classifier for the label"):
            clf.explore(["x"], y)


def test_a_column_of_labels_is_taken_as_in_fit():
    """Of shape (n, 1) too, which is one label a row."""
    clf = fitted()
    column = clf.explore(NEW, np.array(NEW_Y)[:, None])
    assert column.data == clf.explore(NEW, NEW_Y).data


# ------------------------------------------------------------------ what it shows


def test_probabilities_are_those_of_the_classifier_to_the_last_bit():
    """With the class that the threshold is about in the last column."""
    clf = fitted(pos_label="bad", threshold=0.3)
    page = clf.explore(NEW, NEW_Y)
    np.testing.assert_array_equal(proba(page), clf.predict_proba(NEW)[:, ::-1])
    assert [c["name"] for c in page.data["classes"]] == ["good", "bad"]
    assert page.data["y"] == [int(label == "bad") for label in NEW_Y]
    assert page.data["thresholds"] == [0.3]
    assert page.data["texts"] == NEW


def test_it_starts_where_the_classifier_stands():
    """At its costs, the threshold that follows from them, and its reject option."""
    costs = {("good", "bad"): 3, ("bad", "good"): 1}
    clf = fitted(threshold=LeastCost(costs), reject=ChowRule(0.2), pos_label="bad")
    data = clf.explore(NEW, NEW_Y).data
    assert data["costs"] == [[0, 3], [1, 0]]
    assert data["thresholds"] == [clf.threshold_] == [0.75]
    assert (data["confidence"], data["reject_cost"]) == (0.8, 0.2)


def test_costs_may_be_no_threshold_of_two_classes_either():
    """Where a mistake costs less than the right decision; there is one slider still."""
    clf = fitted(threshold=LeastCost([[1, 0], [1, 0]]))
    assert clf.threshold_ is None
    assert clf.explore(NEW, NEW_Y).data["thresholds"] == [0.5]


def test_costs_of_three_classes_are_no_thresholds():
    """The page then starts at the most probable class, and says so."""
    costs = LeastCost(1 - np.eye(3))
    clf = LogprobClassifier(FakeBackend(), classes=list("abc"), threshold=costs).fit()
    assert clf.threshold_ is None
    page = clf.explore(["x", "y"], ["a", "b"])
    assert page.data["thresholds"] == [1 / 3] * 3
    assert "decides by LeastCost" in told(page)


def test_curves_are_summed_up_by_scikit_learn():
    """Areas, equal-mass bins and bars of each class against the rest."""
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(3), 100)
    y = np.array([rng.choice(3, p=p) for p in P])
    mass = rng.random(100)
    data = page_data(y, P, list("abc"), texts=["t"] * 100, label_mass=mass)
    for k, shown in enumerate(data["classes"]):
        true, p = y == k, P[:, k]
        assert shown["roc_auc"] == roc_auc_score(true, p)
        assert shown["average_precision"] == average_precision_score(true, p)
        shares, means = calibration_curve(true, p, n_bins=10, strategy="quantile")
        mean, hits, size = np.array(shown["reliability"]).T
        np.testing.assert_allclose([mean, hits / size], [means, shares])
        assert sum(shown["own"]) == shown["n"] == true.sum()
        assert shown["others"][7] == ((p >= 0.35) & (p < 0.4) & ~true).sum()
    assert data["label_mass"]["median"] == np.median(mass)
    assert data["label_mass"]["low"] == (mass < 0.1).sum()


def test_a_class_without_rows_has_no_curve():
    """Nor makes scikit-learn warn."""
    P = np.array([[0.2, 0.8], [0.4, 0.6]])
    data = page_data(np.array([1, 1]), P, "ab", texts=["", ""], label_mass=np.ones(2))
    assert [c["roc_auc"] for c in data["classes"]] == [None, None]
    json.dumps(data, allow_nan=False)


def test_label_mass_and_other_tokens_are_of_these_rows():
    """Not of those that fit saw."""
    vague = FakeBackend(label_mass=0.05, labels=("bad", "good"))
    clf = LogprobClassifier(vague, classes=["bad", "good"]).fit()
    data = clf.explore(NEW, NEW_Y).data
    assert data["label_mass"]["low"] == len(NEW)
    assert data["label_mass"]["median"] == pytest.approx(0.05)
    token, probability = data["other_tokens"][0]
    assert token and 0 < probability < 1


def test_a_table_is_shown_by_its_columns():
    """Each value with the name of its field."""
    rows = [["Jaws", "great"], ["Cats", "dull"]] * 2
    clf = LogprobClassifier(BACKEND, prompt="{x0}: {x1}").fit(rows, ["good", "bad"] * 2)
    page = clf.explore(rows, ["good", "bad"] * 2)
    assert page.data["texts"][0] == "x0: Jaws\nx1: great"


class Touchy(FakeBackend):
    """Refuses what mentions a certain word."""

    def answer(self, requests):
        for index, answer in super().answer(requests):
            taboo = "taboo" in requests[index].messages[0][1]
            yield index, RefusedError("It refuses {row}.", index) if taboo else answer


def test_rows_without_an_answer_are_left_out():
    """The others keep their labels and texts, and the page says how many there were."""
    clf = LogprobClassifier(Touchy(), on_error="nan").fit(X, Y)
    with pytest.warns(FailedRowsWarning):
        page = clf.explore(["a", "taboo", "b"], ["good", "good", "bad"])
    assert page.data["texts"] == ["a", "b"] and page.data["y"] == [1, 0]
    assert "1 more got no answer" in told(page)
    with pytest.warns(FailedRowsWarning), pytest.raises(BackendError, match="No row"):
        clf.explore(["taboo"], ["good"])


# ------------------------------------------------------------------ where rows are from


def test_rows_that_fit_saw_are_counted_and_warned_of():
    """All, some or none; in any order, and after a round trip through pickle."""
    clf = pickle.loads(pickle.dumps(fitted()))
    assert "30 of these 30 texts were seen" in warned(clf.explore(X[::-1], Y[::-1]))[0]
    assert "2 of these 17" in warned(clf.explore([*NEW, *X[:2]], [*NEW_Y, *Y[:2]]))[0]
    new = clf.explore(NEW, NEW_Y)
    assert warned(new) == [] and "None of them was seen by fit." in told(new)


def test_without_labels_in_fit_there_is_nothing_to_warn_of():
    """Texts alone, and nothing at all."""
    clf = LogprobClassifier(BACKEND, classes=["bad", "good"])
    for page in (clf.fit(X).explore(X, Y), clf.fit().explore(X, Y)):
        assert warned(page) == [] and "no labels" in told(page)
    with pytest.raises(ValueError, match="out_of_fold=True"):
        clf.explore(X, Y, out_of_fold=True)


def test_a_classifier_that_does_not_know_what_it_saw_says_so():
    """As one from an older version might."""
    clf = fitted()
    del clf._seen
    assert "is not known" in told(clf.explore(NEW, NEW_Y))


@pytest.mark.parametrize("readout", ["labels", "tokens"])
def test_out_of_fold_probabilities_did_not_see_the_row(readout):
    """Another label in a fold leaves that fold's probabilities as they are."""
    clf = fitted(cv=KFold(3), readout=readout, calibrator="matrix")
    page = clf.explore(X, Y, out_of_fold=True)
    other = clf.explore(X, ["bad", *Y[1:]], out_of_fold=True)
    assert warned(page) == [] and "out of fold" in told(page)
    np.testing.assert_array_equal(proba(page)[:10], proba(other)[:10])
    assert (proba(page)[10:] != proba(other)[10:]).all()
    assert (proba(page) != proba(clf.explore(X, Y))).all()


def test_out_of_fold_probabilities_are_those_of_fit():
    """In the folds that fit chose its threshold on."""
    clf = fitted(random_state=0, readout="labels")
    codes = (np.array(Y) == "good").astype(int)
    scores, calibrator = clf.label_scores(X), clone(clf.calibrator_)
    P = cross_val_proba(calibrator, scores, codes, 5, 0)
    np.testing.assert_array_equal(proba(clf.explore(X, Y, out_of_fold=True)), P)


def test_adapted_frequencies_hold_out_of_fold():
    """The calibrator is fitted anew; the frequencies it is moved to are not learnt."""
    clf = fitted(random_state=0)
    before = proba(clf.explore(X, Y, out_of_fold=True))
    adapted, old = clf, [0.5, 0.5]
    for new in ([0.9, 0.1], [0.7, 0.3]):  # once, and again
        adapted = adapted.adapt_prior(class_prior=new)
        after = proba(adapted.explore(X, Y, out_of_fold=True))
        expected = change_prior(before, old, new)
        np.testing.assert_allclose(after, expected, rtol=1e-3)


# ------------------------------------------------------------------ how it is written


@given(st.lists(st.text()), st.integers(0, 2000))
def test_texts_are_cut_no_more_than_needed(texts, n_bytes):
    """To one length, so that they fit or are at the shortest; what is cut is counted."""
    shown, told = shorten(texts, n_bytes)
    size = sum(len(json.dumps(text, ensure_ascii=False).encode()) for text in shown)
    cut = [s for s, t in zip(shown, texts, strict=True) if len(s) != len(t)]
    assert {len(text) for text in cut} <= {n + 1 for n in LENGTHS}
    assert size <= n_bytes or max(map(len, shown), default=0) <= LENGTHS[-1] + 1
    assert told.startswith(f"{len(cut)} of") == bool(cut)
    assert "".join(shown).encode().decode() == "".join(shown)


@given(st.text())
def test_no_text_is_markup(text):
    """Between the tags of the data there is no tag, and the data come back."""
    page = OperatingPointPage(
        {"y": [], "texts": [text.encode(errors="replace").decode()]}
    )
    start = page.html.index('id="data">') + len('id="data">')
    inside = page.html[start : page.html.index("</script>", start)]
    assert "<" not in inside
    assert json.loads(inside) == page.data


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    """A page that cannot be written leaves the older one, and nothing beside it."""
    folder = tmp_path / "pages"
    folder.mkdir()
    clf, path = fitted(), folder / "page.html"
    page = clf.explore(NEW, NEW_Y, path)
    assert path.read_text(encoding="utf-8") == page.html
    assert page.save(str(path)) == path
    broken = OperatingPointPage({**page.data, "texts": [object()]})
    with pytest.raises(TypeError):
        broken.save(path)
    monkeypatch.setattr(
        Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        page.save(path)
    assert path.read_text(encoding="utf-8") == page.html
    assert list(folder.iterdir()) == [path]


def test_the_page_names_no_place_outside():
    """No address but the name of SVG, which is not one."""
    html = fitted().explore(NEW, NEW_Y).html
    assert set(re.findall(r"https?://[\w./]+", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|img|iframe)|\ssrc=|@import|url\(", html)
