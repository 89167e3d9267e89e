"""Rows that fail for reasons of their own: named, or left out, and nothing else lost."""

from __future__ import annotations

import json

import numpy as np
import pytest
from servers import ChatServer, Http, chat_completion, distribution, refuse
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from sklearn_logprob import (
    BackendError,
    FailedRowsWarning,
    FakeBackend,
    LogprobClassifier,
    OpenAIBackend,
    PromptTooLongError,
    RefusedError,
    RowError,
)

EVIDENCE = {"great": {"positive": 2.0}, "dull": {"positive": -2.0}}
TEXTS = ["great", "dull", "so great", "very dull", "great fun", "dull mess"] * 4
LABELS = ["positive", "negative"] * 12


class Touchy(FakeBackend):
    """Refuses what mentions a certain word, and finds some texts too long at once."""

    def check(self, requests):
        return [
            PromptTooLongError("The prompt of {row} is too long.", index)
            for index, request in enumerate(requests)
            if len(request.messages[0][1]) > 200
        ]

    def answer(self, requests):
        for index, answer in super().answer(requests):
            if "taboo" in requests[index].messages[0][1]:
                yield index, RefusedError("The model refuses {row}: taboo.", index)
            else:
                yield index, answer


def classifier(**params):
    return LogprobClassifier(
        Touchy(EVIDENCE), prompt="Review: {text}", random_state=0, **params
    )


def with_failures(texts):
    """Put two rows that fail among the others."""
    texts = list(texts)
    texts[3], texts[7] = "taboo", "x" * 300
    return texts


def test_a_row_that_fails_ends_the_work_by_default(cache_home):
    """The error names the row and the way out; what was answered is not asked again."""
    X = list(dict.fromkeys(TEXTS))
    X[3] = "taboo"
    with pytest.raises(RefusedError, match=r"row 3 of X: taboo\. With on_error='nan'"):
        classifier().fit(X, LABELS[:6])
    with pytest.warns(FailedRowsWarning):
        clf = classifier(on_error="nan").fit(X, LABELS[:6])
    assert clf.usage_.requests == 1
    assert clf.usage_.cache_hits == 5


def test_what_is_wrong_before_any_call_is_told_before_any_call(cache_home):
    """A prompt that is too long costs nothing, not even the other rows."""
    clf = classifier()
    with pytest.raises(PromptTooLongError, match="row 7 of X is too long"):
        clf.fit(with_failures(TEXTS), LABELS)
    assert clf.usage_.requests == 0


def test_rows_that_fail_are_left_out_of_fit(cache_home):
    """The rest is learnt as if they had not been there, and the warning numbers them."""
    X, y = with_failures(TEXTS), np.array(LABELS)
    params = {"threshold": "f1", "cv": 3}
    with pytest.warns(FailedRowsWarning, match=r"2 of 24 rows of X .*: 3, 7\.") as told:
        clf = classifier(on_error="nan", **params).fit(X, y)
    assert "row 3 of X: taboo" in str(told[0].message)
    keep = np.array([i not in (3, 7) for i in range(len(X))])
    without = classifier(**params).fit(np.array(X, dtype=object)[keep], y[keep])
    new = ["great", "dull", "great dull"]
    np.testing.assert_allclose(clf.predict_proba(new), without.predict_proba(new))
    assert clf.threshold_ == without.threshold_
    assert clf.label_mass_ == without.label_mass_


def test_predictions_of_rows_that_fail_are_nan_and_the_decision_is_the_prior(cache_home):
    """No probability is made up; a decision is a member of the classes all the same."""
    y = np.where(np.arange(24) % 4 == 0, "positive", "negative")
    clf = classifier(on_error="nan").fit(TEXTS, y)
    X = ["great", "taboo", "dull"]
    with pytest.warns(FailedRowsWarning, match="row 1 of X"):
        P = clf.predict_proba(X)
    assert np.isnan(P).all(axis=1).tolist() == [False, True, False]
    np.testing.assert_allclose(P[[0, 2]], clf.predict_proba(["great", "dull"]))
    np.testing.assert_allclose(clf.class_prior_, [0.75, 0.25])
    with pytest.warns(FailedRowsWarning):
        assert clf.predict(X)[1] == "negative"
    with pytest.warns(FailedRowsWarning):
        assert np.isnan(clf.decision_function(X)).tolist() == [False, True, False]


def test_failures_are_asked_again(cache_home):
    """A refusal is not kept: next time the row may be answered."""
    for _ in range(2):
        with pytest.warns(FailedRowsWarning):
            clf = classifier(on_error="nan").fit(["taboo", *TEXTS], ["positive", *LABELS])
        assert clf.usage_.requests >= 1


def test_nothing_can_be_learnt_if_every_row_fails(cache_home):
    """Then it is an error whatever on_error says."""
    clf = classifier(on_error="nan")
    with (
        pytest.warns(FailedRowsWarning),
        pytest.raises(BackendError, match="No row of X got an answer"),
    ):
        clf.fit(["taboo", "taboo too"], ["positive", "negative"])


def test_scikit_learn_passes_the_rows_through(cache_home):
    """Cross-validation works on with NaN where a row failed."""
    with pytest.warns(FailedRowsWarning):
        P = cross_val_predict(
            classifier(on_error="nan", classes=["negative", "positive"]),
            with_failures(TEXTS),
            LABELS,
            method="predict_proba",
            cv=2,
        )
    assert np.flatnonzero(np.isnan(P).any(axis=1)).tolist() == [3, 7]


def test_on_error_is_checked(cache_home):
    """A wrong value is an error before anything is asked."""
    with pytest.raises(ValueError, match=r"'on_error' .* Got 'ignore' instead"):
        classifier(on_error="ignore").fit(TEXTS, LABELS)


@pytest.mark.parametrize("kind", ["filter", "refusal", "blocked"])
def test_refusals_of_a_chat_endpoint_are_rows(cache_home, kind):
    """A content filter, before or behind the model, and the model's own refusal."""

    def reply(body):
        if kind == "blocked":
            return refuse(400, "The prompt was filtered.", code="content_filter")(body)
        content = chat_completion(body, distribution("x"))
        if kind == "filter":
            content["choices"][0]["finish_reason"] = "content_filter"
            content["choices"][0]["logprobs"] = None
        else:
            refusal = {"content": None, "refusal": "I cannot help with that."}
            content["choices"][0]["message"] |= refusal
            content["choices"][0]["logprobs"] = {"content": None, "refusal": []}
        return Http(json.dumps(content).encode())

    with ChatServer(script=[reply]) as server:
        backend = OpenAIBackend("m", base_url=server.url, max_concurrency=1)
        clf = LogprobClassifier(backend, classes=["t1", "t2"], on_error="nan").fit()
        with pytest.warns(FailedRowsWarning, match="row 0 of X"):
            P = clf.predict_proba(["a", "b", "c"])
        assert np.isnan(P).any(axis=1).tolist() == [True, False, False]
        strict = clone(clf).set_params(on_error="raise").fit()
        server.script.append(reply)
        with pytest.raises(RowError, match="row 0 of X"):
            strict.predict_proba(["d", "e"])
