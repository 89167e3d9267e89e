"""Several prompts for one question: averages, stacks, and what they cost."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV

from sklearn_logprob import (
    Answer,
    FakeBackend,
    LogprobClassifier,
    PromptEnsemble,
    PromptTemplate,
    RefusedError,
    TokenLogprobs,
    TokenUsage,
    Verbalizer,
)
from sklearn_logprob._chains import agree
from sklearn_logprob._evidence import Evidence
from sklearn_logprob._parts import deviations
from sklearn_logprob._stacking import StackedCalibration
from sklearn_logprob.scoring import LabelScores

EVIDENCE = {"great": {"good": 1.5}, "warm": {"good": 1.0}, "dull": {"good": -1.5}}
EVIDENCE |= {"Really": {"good": 2.0}, "why": {"good": -1.0}}
TEMPLATES = ["Really, {text}:", "{text}, but why?", "{labels}: {text}"]


def reviews(n, seed=0):
    rng = np.random.default_rng(seed)
    marks = ["".join(chr(97 + int(digit)) for digit in str(i)) for i in range(n)]
    texts = [" ".join([*rng.choice(["great", "warm", "dull"], 3), m]) for m in marks]
    odds = [sum(EVIDENCE[w]["good"] for w in t.split()[:3]) for t in texts]
    y = np.where(rng.random(n) < 1 / (1 + np.exp(-np.array(odds))), "good", "bad")
    return texts, y


def classifier(prompt, **params):
    params = {"classes": ["bad", "good"], "random_state": 0} | params
    return LogprobClassifier(FakeBackend(EVIDENCE), prompt=prompt, **params)


def ensemble(combine="average", templates=TEMPLATES):
    return PromptEnsemble(templates, combine=combine)


# ------------------------------------------------------------------ the average


@settings(max_examples=12)
@given(
    st.sampled_from(["average", "stack"]),
    st.sampled_from(TEMPLATES),
    st.integers(1, 5),
    st.booleans(),
)
def test_equal_prompts_are_one_prompt(combine, template, n, labelled):
    """Same requests, scores, probabilities and decisions; nothing is asked twice."""
    X, y = reviews(16)
    y = y if labelled else None
    one = classifier(template, cache=None, readout="labels").fit(X, y)
    many = clone(one).set_params(prompt=ensemble(combine, [template] * n)).fit(X, y)
    np.testing.assert_allclose(many.label_scores(X), one.label_scores(X), atol=1e-12)
    np.testing.assert_allclose(many.predict_proba(X), one.predict_proba(X), atol=1e-9)
    assert many.usage_.requests == one.usage_.requests


def test_the_average_is_that_of_normalised_log_scores():
    """Up to a number for each row, which makes no difference to probabilities."""
    X, _ = reviews(30)
    scores = [classifier(t).fit().label_scores(X) for t in TEMPLATES]
    clf = classifier(ensemble(), calibrator=None).fit()
    np.testing.assert_allclose(clf.label_scores(X), np.mean(scores, axis=0))
    mean = np.mean([log_softmax(s, axis=1) for s in scores], axis=0)
    np.testing.assert_allclose(clf.predict_proba(X), softmax(mean, axis=1))


shapes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 5))


@given(shapes, st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_no_row_loses_more_than_its_members_do_on_average(shape, seed, spread):
    """Whatever the true class: the convexity that the docstring states."""
    S = np.random.default_rng(seed).normal(scale=spread, size=shape)
    no = np.zeros(shape[1:], dtype=bool)
    together = agree([LabelScores(s, s, s, no) for s in S]).scores
    losses = -log_softmax(S, axis=2).mean(axis=0)
    assert (-log_softmax(together, axis=1) <= losses + 1e-9).all()


def test_a_row_is_asked_once_with_each_template():
    """Requests, plan and usage count them; the first template's text comes first."""
    X, y = reviews(10)
    clf = classifier(ensemble(), cache=None)
    planned = clf.requests(X, y)
    assert len(planned) == planned.n_sent == 30
    told = [request.messages[0][1] for request in planned[:3]]
    assert told == [f"Really, {X[0]}:", f"{X[0]}, but why?", f"bad, good: {X[0]}"]
    single = [classifier(t, cache=None).requests(X, y) for t in TEMPLATES]
    assert planned.prompt_tokens == sum(plan.prompt_tokens for plan in single)
    assert clf.fit(X, y).usage_.requests == 30
    assert clf.prompt_.templates[0].template == TEMPLATES[0]
    assert len(pickle.dumps(clf)) < 100_000


def test_permutations_and_the_plain_question_are_members_too():
    """Two orders of the options, for each of two templates."""
    verbalizer = Verbalizer(codes="letters", permutations=2)
    prompt = ensemble(templates=[None, "{labels}\nWhich, for {text}?"])
    clf = classifier(prompt, verbalizer=verbalizer).fit()
    texts = [request.messages[0][1] for request in clf.requests(["fine"])]
    assert len(texts) == 4
    assert [("A. bad" in t, "Which, for" in t) for t in texts] == [
        (True, False), (False, False), (True, True), (False, True)
    ]  # fmt: skip
    np.testing.assert_allclose(clf.predict_proba(["fine"]).sum(), 1)


class Thinker(BaseEstimator):
    """Writes before it answers where it is told to; refuses to think about taboos."""

    answer_params = ()
    scores_choices = False
    max_top_logprobs = 20

    def answer_identity(self):
        return {}

    def answer(self, requests):
        for index, request in enumerate(requests):
            prompt, thinks = request.messages[-1][1], request.max_tokens > 5
            if thinks and "taboo" in prompt:
                yield index, RefusedError("Not {row}.", index)
                continue
            p = {0: 0.6, 1: 0.7, 2: 0.9}[request.draw]
            top = ((" good", math.log(p)), (" bad", math.log(1 - p)))
            places = [TokenLogprobs(*top[0], top)]
            if thinks:
                places[:0] = [TokenLogprobs("Answer:", -0.1)]
            yield index, Answer(tuple(places), usage=TokenUsage(1, 1))


THINKING = PromptTemplate(
    "{text}. Think.", answer_prefix="Answer:", max_tokens=20, n_chains=2
)


def test_members_may_think_first():
    """Their chains are averaged in probability, then the members in logarithm."""
    clf = LogprobClassifier(
        Thinker(),
        prompt=PromptEnsemble(["{text}:", THINKING]),
        classes=["bad", "good"],
        calibrator=None,
        on_error="nan",
    ).fit()
    assert [request.draw for request in clf.requests(["a", "b"])] == [0, 1, 2] * 2
    expected = softmax(np.log([[0.4, 0.6], [0.2, 0.8]]).mean(axis=0))
    np.testing.assert_allclose(clf.predict_proba(["a"]), [expected])
    # where one member fails, the others answer
    np.testing.assert_allclose(clf.predict_proba(["taboo"]), [[0.4, 0.6]])


def test_content_free_inputs_are_asked_with_every_template():
    """Contextual calibration of the average is the average of theirs, less a constant."""
    X, _ = reviews(5)
    params = {"content_free": ("N/A",), "calibrator": None}
    P = classifier(ensemble(), **params).fit().predict_proba(X)
    single = [classifier(t, **params).fit().predict_log_proba(X) for t in TEMPLATES]
    np.testing.assert_allclose(P, softmax(np.mean(single, axis=0), axis=1))


def test_rows_that_demonstrate_in_any_template_are_not_learnt_from():
    """The same rows serve all templates that want as many of them."""
    X, y = reviews(40)
    shots = [PromptTemplate(TEMPLATES[0], n_shots=n) for n in (0, 2, 4)]
    clf = classifier(ensemble(templates=shots), cache=None)
    assert len(clf.requests(X, y)) == 3 * 36
    clf.fit(X, y)
    assert clf.usage_.requests == 3 * 36
    several = [
        {given["text"] for given, _ in t.demonstrations} for t in clf.prompt_.templates
    ]
    assert [len(shown) for shown in several] == [0, 2, 4]
    assert several[1] < several[2]
    with pytest.raises(ValueError, match="takes demonstrations from labelled rows"):
        classifier(ensemble(templates=shots)).fit(X)


def test_grids_choose_between_prompts_and_reach_into_ensembles():
    """Strings, templates and ensembles are candidates alike."""
    X, y = reviews(30)
    clf = classifier(ensemble())
    assert clf.get_params()["prompt__combine"] == "average"
    clone(clf).set_params(prompt__combine="stack").fit(X, y)
    prompts = [TEMPLATES[0], PromptTemplate(TEMPLATES[1]), ensemble(), ensemble("stack")]
    search = GridSearchCV(clf, {"prompt": prompts}, cv=3, scoring="neg_log_loss")
    search.fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.predict(X).shape == (30,)


# ------------------------------------------------------------------ the stack


def stories(n, seed=0):
    """A table whose title tells the class, and whose gossip tells nothing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    told = [["dull", "great"][k if rng.random() < 0.8 else 1 - k] for k in y]
    marks = ["".join(chr(97 + int(digit)) for digit in str(i)) for i in range(n)]
    gossip = rng.choice(["great great", "dull dull", "great dull"], n)
    table = {"title": [f"{t} {m}" for t, m in zip(told, marks, strict=True)]}
    return pd.DataFrame(table | {"gossip": gossip}), np.array(["bad", "good"])[y]


APART = ["{title}:", "{gossip}:"]


def test_a_stack_learns_which_template_to_trust():
    """The average is spoilt by a template that knows nothing; the stack leaves it out."""
    X, y = stories(200)
    X_test, y_test = stories(400, seed=1)
    X_test["title"] += "x"
    loss = {}
    for name, prompt in {
        "single": APART[0],
        "average": ensemble(templates=APART),
        "stack": ensemble("stack", APART),
    }.items():
        clf = classifier(prompt).fit(X, y)
        P = clf.predict_log_proba(X_test)
        loss[name] = -P[np.arange(400), (y_test == "good").astype(int)].mean()
        if name == "stack":
            np.testing.assert_allclose(clf.calibrator_.weights_, [1, 0], atol=0.1)
    assert loss["average"] > loss["single"] + 0.02
    assert loss["stack"] < loss["single"] + 0.01


def test_without_labels_a_stack_is_the_average():
    """There is nothing to learn from."""
    X, _ = stories(50)
    average, stack = (
        classifier(ensemble(c, APART)).fit(X).predict_proba(X)
        for c in ("average", "stack")
    )
    np.testing.assert_array_equal(average, stack)


def test_a_stack_is_judged_on_rows_that_it_did_not_see():
    """Labels at random are fitted to, and out of fold are no better than a coin."""
    X, _ = reviews(60)
    seen, unseen = [], []
    for seed in range(3):
        codes = np.random.default_rng(seed).permutation([0, 1] * 30)
        y = np.array(["bad", "good"])[codes]
        clf = classifier(ensemble("stack"), random_state=seed).fit(X, y)
        seen.append(-clf.predict_log_proba(X)[np.arange(60), codes].mean())
        unseen.append(-np.log(clf._head.decisions.true_proba).mean())
    assert np.mean(seen) < math.log(2) < np.mean(unseen)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_weights_minimise_what_they_should(n_classes):
    """No other weights, temperature and bias have a smaller penalised loss."""
    rng = np.random.default_rng(0)
    y = rng.integers(n_classes, size=60)
    S = np.eye(n_classes)[y] + rng.normal(size=(3, 60, n_classes))
    S = S * np.array([2.0, 1.0, 0.2])[:, None, None]
    fitted = StackedCalibration().fit(Evidence(S.mean(axis=0), deviations(S)), y)
    assert fitted.weights_.sum() == pytest.approx(1)

    def loss(theta):
        weights, b = theta[1:4], theta[4:]
        z = np.exp(theta[0]) * np.einsum("t,tnk->nk", weights, centred) + b
        nll = -log_softmax(z, axis=1)[np.arange(60), y].sum()
        v = weights - 1 / 3
        return nll + 3 * theta[0] ** 2 + 3 * 3 * v @ v + 2 * b @ b

    centred = log_softmax(S, axis=2)
    centred = centred - centred.mean(axis=1, keepdims=True)
    start = np.concatenate([[0], np.full(3, 1 / 3), np.zeros(n_classes)])
    sums = {"type": "eq", "fun": lambda theta: theta[1:4].sum() - 1}
    best = minimize(loss, start, method="SLSQP", constraints=sums, tol=1e-12)
    np.testing.assert_allclose(fitted.weights_, best.x[1:4], atol=1e-3)


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_deviations_are_what_templates_say_beyond_the_average(n_templates, seed):
    """They sum to nothing over templates and classes; a row's constant is no matter."""
    S = np.random.default_rng(seed).normal(size=(n_templates, 6, 3))
    F = deviations(S).toarray().reshape(6, n_templates, 3)
    np.testing.assert_allclose(F.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(F.sum(axis=2), 0, atol=1e-12)
    shifted = deviations(S + np.arange(6)[:, None]).toarray()
    np.testing.assert_allclose(shifted, F.reshape(6, -1), atol=1e-12)
    assert deviations(np.stack([S[0]] * 3)).nnz == 0
    S[0, 2] = np.nan
    missing = deviations(S).toarray().reshape(6, n_templates, 3)
    assert not missing[2, 0].any()
    np.testing.assert_allclose(missing.sum(axis=1), 0, atol=1e-12)


# ------------------------------------------------------------------ parameters


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        (PromptEnsemble([]), TypeError, r"'templates' parameter .* Got \[\]"),
        (PromptEnsemble("{text}"), TypeError, "'templates' parameter of PromptEnsemble"),
        (PromptEnsemble([ensemble()]), TypeError, "'templates' parameter"),
        (PromptEnsemble([3]), TypeError, "'prompt' parameter .* Got 3"),
        (ensemble("vote"), ValueError, "'combine' parameter .* Got 'vote'"),
    ],
)
def test_wrong_parameters_are_refused(prompt, error, says):
    """Before anything is asked."""
    with pytest.raises(error, match=says):
        classifier(prompt).fit()


def test_a_stack_is_no_other_read_out():
    """Both would correct the same probabilities."""
    with pytest.raises(ValueError, match=r"'readout' parameter .* Got 'tokens'"):
        classifier(ensemble("stack"), readout="tokens").fit()
    X, y = reviews(20)
    tokens = classifier(ensemble(), readout="tokens").fit(X, y)
    np.testing.assert_allclose(tokens.predict_proba(X).sum(axis=1), 1)
