"""What the model says besides the labels: as a class of its own, as an option."""

from __future__ import annotations

import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, cross_val_predict

from sklearn_logprob import (
    Answer,
    FakeBackend,
    LogprobClassifier,
    PromptTemplate,
    SystemOneBackend,
    TokenLogprobs,
    TokenUsage,
    UnnamedLabelsWarning,
    UnsupportedRequestError,
    Verbalizer,
)
from sklearn_logprob._chains import agree, average, read
from sklearn_logprob.scoring import label_scores

LABELS = [("bad",), ("good",)]
REST = [("bad",), (), ("good",)]  # in the middle, as classes are sorted


class Talker(BaseEstimator):
    """Says a label about films, and something else about all that is no film."""

    answer_params = ("exact",)

    def __init__(self, exact=True):
        self.exact = exact

    @property
    def scores_choices(self):
        return self.exact

    max_top_logprobs = 20

    def answer_identity(self):
        return {"exact": self.exact}

    def answer(self, requests):
        for index, request in enumerate(requests):
            text = request.messages[-1][1]
            mass = 0.9 if "film" in text else 0.2
            good = 0.8 if "great" in text else 0.3
            P = {" good": mass * good, " bad": mass * (1 - good), " Well": 1 - mass}
            top = tuple((t, math.log(p)) for t, p in sorted(P.items(), key=by_value))
            chosen = tuple((c, math.log(P.get(c, 1e-30))) for c in request.choices)
            yield index, Answer((TokenLogprobs(*top[0], top),), chosen, TokenUsage(5, 1))


def by_value(pair):
    return -pair[1]


def classifier(exact=True, calibrator=None, **params):
    return LogprobClassifier(
        Talker(exact),
        prompt="{text}?",
        classes=["bad", "good"],
        verbalizer=Verbalizer(**params),
        calibrator=calibrator,
    )


# ------------------------------------------------------------------ reading

probabilities = st.lists(st.floats(1e-6, 1), min_size=5, max_size=5)


@given(probabilities, st.floats(0.0, 1.0))
@example([1.0] * 5, 1.0)
def test_exact_labels_and_the_rest_sum_to_one(weights, mass):
    """The rest is 1 less the labels; they keep their scores, up to what 1e-6 takes."""
    p = np.array(weights[:4]) / sum(weights[:4]) * mass
    texts = ["bad", " bad", "good", " good"]
    answer = Answer(choices=tuple(zip(texts, np.log(np.maximum(p, 1e-300)), strict=True)))
    read = label_scores([answer], REST)
    np.testing.assert_allclose(logsumexp(read.scores, axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(
        read.scores[:, [0, 2]], label_scores([answer], LABELS).scores, atol=1e-5
    )
    if mass <= 1 - 2e-6:
        np.testing.assert_allclose(np.exp(read.scores[0, 1]), 1 - mass, rtol=1e-6)
    assert read.scores[0, 1] >= np.log(0.99e-6)
    assert not read.censored.any()
    np.testing.assert_array_equal(read.lower, read.upper)


@given(st.lists(st.floats(0.001, 1), min_size=9, max_size=9), st.integers(1, 9))
def test_what_top_k_shows_bounds_the_rest(weights, k):
    """Of any distribution over tokens, whatever its k likeliest."""
    tokens = [" bad", "good", " good", " the", " a", "\n", " I", ".", " goodness"]
    truth = dict(zip(tokens, np.array(weights) / sum(weights), strict=True))
    labels = truth[" bad"], truth["good"] + truth[" good"]
    top = tuple(sorted(((t, math.log(p)) for t, p in truth.items()), key=by_value))[:k]
    read = label_scores([Answer((TokenLogprobs(*top[0], top),))], REST)
    lower, point, upper = (np.exp(x[0]) for x in (read.lower, read.scores, read.upper))
    true = np.array([labels[0], 1 - sum(labels), labels[1]])
    assert (lower <= true + 1e-9).all() and (true <= upper + 1e-9).all()
    assert (lower <= point + 1e-12).all() and (point <= upper + 1e-12).all()
    assert point.sum() == pytest.approx(1)


def test_labels_of_several_tokens_are_followed_first():
    """What leaves the path of a label is no label: 0.8 · 0.05 and " the"."""
    first = ((" technical", math.log(0.8)), (" the", math.log(0.15)))
    second = tuple(
        (f" {w}", math.log(p))
        for w, p in {"issue": 0.7, "map": 0.05, "faq": 0.25}.items()
    )
    answer = Answer((TokenLogprobs(*first[0], first), TokenLogprobs(*second[0], second)))
    forms = [("technical issue",), ("technical faq",), ()]
    read = label_scores([answer], forms)
    np.testing.assert_allclose(np.exp(read.scores), [[0.56, 0.2, 0.24]])
    np.testing.assert_allclose(np.exp(read.lower[0, 2]), 0.8 * 0.05 + 0.15)


def test_drawn_answers_that_say_no_label_count_for_the_rest():
    """They are one more kind of answer: three of ten, smoothed as the labels are."""
    answer = Answer(draws=(("good", 5), ("bad", 2), ("I cannot tell", 3)))
    read = label_scores([answer], REST)
    np.testing.assert_allclose(np.exp(read.scores), (np.array([[2, 3, 5]]) + 1 / 3) / 11)


two = st.lists(probabilities, min_size=2, max_size=2)


@given(two)
def test_chains_and_views_treat_the_rest_as_a_class(weights):
    """Means of probabilities still sum to one; geometric ones to at most that."""
    answers = [
        Answer(choices=(("bad", math.log(0.1 * w[0])), ("good", math.log(0.8 * w[1]))))
        for w in weights
    ]
    several = read(answers, REST)
    np.testing.assert_allclose(logsumexp(average(several, 2).scores), 0, atol=1e-12)
    mean = agree([read([answer], REST) for answer in answers]).scores
    assert logsumexp(mean) <= 1e-12
    np.testing.assert_allclose(mean, several.scores.mean(axis=0, keepdims=True))


@given(probabilities, st.floats(0.0, 1.0))
def test_an_option_more_leaves_the_scores_of_the_others(weights, mass):
    """An answer that tells its probability tells the same about the other labels."""
    p = np.array(weights[:3]) / sum(weights[:3]) * mass
    texts = ["bad", "good", "none of these"]
    answer = Answer(choices=tuple(zip(texts, np.log(np.maximum(p, 1e-300)), strict=True)))
    without = Answer(choices=answer.choices[:2])
    three = label_scores([answer], [*LABELS, ("none of these",)]).scores
    two = label_scores([without], LABELS).scores
    np.testing.assert_allclose(three[:, :2], two, atol=1e-9)


# ------------------------------------------------------------------ classes


@pytest.mark.parametrize("exact", [True, False])
def test_what_is_no_label_becomes_a_class(exact):
    """Its probability is what the labels leave; it is predicted where that is most."""
    clf = classifier(exact, other="class").fit()
    assert clf.classes_.tolist() == ["bad", "good", "other"]
    X = ["a great film", "a film", "the weather"]
    np.testing.assert_allclose(
        clf.predict_proba(X),
        [[0.18, 0.72, 0.1], [0.63, 0.27, 0.1], [0.14, 0.06, 0.8]],
        atol=1e-9,
    )
    assert clf.predict(X).tolist() == ["good", "bad", "other"]
    normalised = classifier(exact).fit().predict_proba(X)
    np.testing.assert_allclose(normalised, [[0.2, 0.8], [0.7, 0.3], [0.7, 0.3]])


TEXTS = [f"{w} {number}" for number in "abcdef" for w in ("great film", "film", "rain")]


@pytest.mark.parametrize("y", [["good", "bad", "other"] * 6, ["good", "bad", "bad"] * 6])
def test_labels_may_hold_the_class_or_not(y):
    """A class either way; where y never holds it, calibration learns that it is rare."""
    clf = LogprobClassifier(
        Talker(), prompt="{text}?", verbalizer=Verbalizer(other="class"), random_state=0
    )
    clf.fit(TEXTS, y)
    assert clf.classes_.tolist() == ["bad", "good", "other"]
    P = clf.predict_proba(["rain z"])[0, 2]
    assert P > 0.5 if "other" in y else P < 0.5
    assert clf.class_prior_[2] == y.count("other") / 18
    assert clf.label_mass_ == pytest.approx(0.9)  # of the labels, without the rest
    assert pickle.loads(pickle.dumps(clf)).predict(TEXTS).tolist() == y


def test_meta_estimators_may_number_the_class():
    """Where y holds it, a number stands for it as for the others."""
    clf = classifier(calibrator="auto", other="class").set_params(random_state=0)
    X, y = np.array(TEXTS, dtype=object), ["good", "bad", "other"] * 6
    P = cross_val_predict(clf, X, y, method="predict_proba", cv=3)
    assert P.argmax(axis=1).tolist() == [1, 0, 2] * 6


def test_numbers_want_a_number():
    """Sorted, as everywhere; a text among numbers is refused before any call."""
    forms = {0: "bad", 1: "good"}
    clf = LogprobClassifier(
        Talker(), prompt="{text}?", verbalizer=Verbalizer(forms, other="class")
    )
    with pytest.raises(ValueError, match=r"'other_class' .* must be a number.*'other'"):
        clf.fit(TEXTS, [1, 0, 0] * 6)
    clf.set_params(verbalizer__other_class=-1).fit(TEXTS, [1, 0, -1] * 6)
    assert clf.classes_.tolist() == [-1, 0, 1]
    assert clf.predict(["rain z"]).tolist() == [-1]
    with pytest.raises(ValueError, match=r"'other_class' .* must be a text"):
        classifier(other="class", other_class=2).fit()
    unnamed = Verbalizer(other="class", other_class=2)
    with pytest.warns(UnnamedLabelsWarning):
        clf = LogprobClassifier(FakeBackend(), verbalizer=unnamed).fit(TEXTS, [0, 1] * 9)
    assert clf.classes_.tolist() == [0, 1, 2]


def test_one_label_and_the_rest_are_two_classes():
    """Enough to ask how probable a single answer is."""
    clf = LogprobClassifier(
        Talker(), prompt="{text}?", classes=["good"], verbalizer=Verbalizer(other="class")
    )
    P = clf.set_params(calibrator=None).fit().predict_proba(["a great film"])
    np.testing.assert_allclose(P, [[0.72, 0.28]])


def test_demonstrations_may_answer_with_the_class():
    """In its own word, which is no label and stands in no list."""
    prompt = PromptTemplate("{labels}. {text}?", n_shots=3)
    clf = LogprobClassifier(
        Talker(), prompt=prompt, verbalizer=Verbalizer(other="class"), random_state=0
    ).fit(TEXTS, ["good", "bad", "other"] * 6)
    assert {answer for _, answer in clf.prompt_.demonstrations} == {
        "good",
        "bad",
        "other",
    }
    text = clf.requests(["x"])[0].messages[0][1]
    assert text.startswith("bad, good. ") and "rain" in text and "? other\n" in text


def test_a_grid_reaches_the_treatment_of_other_tokens():
    """As any parameter of the verbalizer."""
    clf = LogprobClassifier(
        Talker(),
        prompt="{text}?",
        classes=["bad", "good"],
        verbalizer=Verbalizer(),
        random_state=0,
    )
    grid = {"verbalizer__other": ["normalise", "class"]}
    search = GridSearchCV(clf, grid, cv=3).fit(TEXTS, ["good", "bad", "bad"] * 6)
    assert len(search.cv_results_["params"]) == 2
    assert clone(clf).get_params()["verbalizer__other"] == "normalise"


# ------------------------------------------------------------------ the option


@pytest.mark.parametrize("codes", [None, "letters"])
def test_the_option_is_listed_last_and_is_a_class(codes):
    """Also where the name of its class comes before others, and in every order."""
    verbalizer = Verbalizer(
        none_option="none of the above",
        other_class="a none",
        codes=codes,
        permutations=2 if codes else 1,
    )
    clf = LogprobClassifier(
        FakeBackend(), classes=["bad", "good"], verbalizer=verbalizer, cache=None
    ).fit()
    assert clf.classes_.tolist() == ["a none", "bad", "good"]
    assert clf.verbalizer_["a none"] == ("none of the above",)
    requests = clf.requests(["x"])
    assert len(requests) == (2 if codes else 1)
    for request in requests:
        prompt = request.messages[0][1]
        if codes:
            assert re.search(r"^C\. none of the above$", prompt, re.M)
            assert request.choices == (" A", " B", " C", "A", "B", "C")
        else:
            assert "one of: bad, good, none of the above." in prompt
            assert " none of the above" in request.choices
    assert clf.predict_proba(["x"]).shape == (1, 3)


def test_the_option_counts_among_everything_else():
    """With both, one class has the option's probability and that of all other tokens."""
    both = classifier(other="class", none_option="none")
    assert both.fit().classes_.tolist() == ["bad", "good", "other"]
    listed = clone(both).set_params(prompt="{labels}: {text}").fit().requests(["a film"])
    assert listed[0].messages[0][1] == "bad, good, none: a film"
    assert listed[0].choices == classifier().fit().requests(["a film"])[0].choices
    np.testing.assert_allclose(both.fit().predict_proba(["rain"]), [[0.14, 0.06, 0.8]])


def test_a_prompt_without_a_list_stays_as_it_is():
    """The option is asked about, not shown."""
    plain, option = (
        classifier(**params).fit().requests(["a film"])[0]
        for params in ({}, {"none_option": "none"})
    )
    assert plain.messages == option.messages
    assert set(option.choices) - set(plain.choices) == {"none", " none", "None", " None"}


def test_endpoints_that_decide_have_an_option_and_no_rest():
    """They divide all probability among what they are shown."""
    backend = SystemOneBackend("m")
    params = {"prompt": "{text}?", "classes": ["bad", "good"]}
    option = Verbalizer(none_option="none of these")
    clf = LogprobClassifier(backend, verbalizer=option, **params).fit()
    assert ("none of these", "") in clf.requests(["x"])[0].options
    rest = Verbalizer(other="class")
    with pytest.raises(UnsupportedRequestError, match="none_option="):
        LogprobClassifier(backend, verbalizer=rest, **params).fit().requests(["x"])


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"other": "ignore"}, "'other' parameter of Verbalizer .* Got 'ignore'"),
        ({"none_option": " "}, "'none_option' parameter of Verbalizer .* Got ' '"),
        ({"none_option": 3}, "'none_option' parameter of Verbalizer .* Got 3"),
        ({"none_option": "bad"}, "'bad' to two classes"),
    ],
)
def test_wrong_parameters_are_refused(params, says):
    """Before anything is asked."""
    with pytest.raises(ValueError, match=says):
        classifier(**params).fit()
