"""Sampled answers tend to what one call reads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from sklearn_logprob import (
    Cache,
    FakeBackend,
    LogprobClassifier,
    PromptTemplate,
    Verbalizer,
    soft_against_hard,
)
from sklearn_logprob.soft_hard import draw_answers

TEXTS = ["great", "so so", "dull"]


def classifier(**params):
    model = FakeBackend({"great": {"positive": 2.0}, "dull": {"positive": -3.0}})
    names = ["negative", "positive"]
    return LogprobClassifier(model, prompt="{text}", classes=names, **params).fit()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    cache = Cache(tmp_path_factory.mktemp("answers"))
    answers = draw_answers(classifier(cache=cache), TEXTS, n_draws=500)
    cache.close()
    return answers


def test_shares_are_the_probabilities_within_sampling_error(drawn):
    """Of each class, and of answers that say none, which are no rarer than read."""
    for said, probability in zip(drawn.said, drawn.probability, strict=True):
        counts = said.sum(axis=0)
        observed = [*counts, len(said) - counts.sum()]
        expected = [*probability, 1 - probability.sum()]
        assert chisquare(observed, np.multiply(expected, len(said))).pvalue > 1e-3
    assert drawn.said.sum(axis=2).max() == 1


def test_probabilities_are_those_of_one_call(drawn):
    """Not normalised over the labels, as other answers are drawn too."""
    clf = classifier(cache=None)
    np.testing.assert_allclose(drawn.probability, np.exp(clf.label_scores(TEXTS)))


def test_the_frame_counts_up():
    """Each row is the share among the first answers, with scipy's exact interval."""
    clf = classifier()
    frame = soft_against_hard(clf, TEXTS, n_draws=30)
    said = draw_answers(clf, TEXTS, n_draws=30).said
    assert len(frame) == 3 * 2 * 30
    row = frame.query("row == 2 & `class` == 'negative' & n_draws == 17").iloc[0]
    hits = int(said[2, :17, 0].sum())
    assert row["text"] == "dull" and row["share"] == hits / 17
    interval = binomtest(hits, 17).proportion_ci(0.95, method="exact")
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def test_more_draws_go_on_from_those_that_there_are():
    """Only the further ones are sent; the first stay what they were."""
    clf = classifier()
    before = draw_answers(clf, TEXTS[:1], n_draws=10)
    sent = clf.usage_.requests
    after = draw_answers(clf, TEXTS[:1], n_draws=25)
    assert clf.usage_.requests - sent == 15
    np.testing.assert_array_equal(after.said[:, :10], before.said)


@pytest.mark.parametrize(
    "params, n_draws, message",
    [
        ({}, 0, "'n_draws' .* Got 0"),
        ({}, 1.5, "'n_draws' .* Got 1.5"),
        ({"verbalizer": Verbalizer(codes="letters", permutations=2)}, 5, "permutations"),
        (
            {"prompt": PromptTemplate("{text}", max_tokens=5, n_chains=3)},
            5,
            "n_chains",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(params, n_draws, message):
    """Before anything is asked."""
    prompt = params.pop("prompt", "{labels}\n{text}")
    clf = classifier().set_params(prompt=prompt, **params).fit()
    with pytest.raises(ValueError, match=message):
        soft_against_hard(clf, TEXTS, n_draws=n_draws)
    assert clf.usage_.requests == 0
