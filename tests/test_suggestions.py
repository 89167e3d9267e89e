"""Which of the other tokens are worth becoming labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_logprob import (
    Answer,
    FakeBackend,
    LogprobClassifier,
    RefusedError,
    TokenLogprobs,
    Verbalizer,
)
from sklearn_logprob.suggestions import suggest_labels

LABELS = [("negative", "Negative"), ("positive", "Positive")]


def spoken(*then, **shown):
    """An answer that shows these words with a space before them."""
    top = sorted(
        ((f" {word}", p) for word, p in shown.items()), key=lambda pair: -pair[1]
    )
    logs = tuple((token, math.log(p)) for token, p in top)
    rest = tuple(TokenLogprobs(token, -0.1, ((token, -0.1),)) for token in then)
    return Answer((TokenLogprobs(*logs[0], logs), *rest))


def test_spellings_of_a_word_are_one():
    """Case and space aside; the likeliest spelling names it."""
    tokens = ((" Bad", 0.1), ("bad", 0.2), (" bad", 0.3), (" positive", 0.35))
    top = tuple((t, math.log(p)) for t, p in tokens)
    [found] = suggest_labels([Answer((TokenLogprobs(*top[-1], top),))], LABELS)
    assert found.word == "bad" and found.spellings == (" bad", "bad", " Bad")
    assert found.mean_probability == pytest.approx(0.6)
    assert found.share_ahead == 1  # together, though each alone is behind "positive"


@pytest.mark.parametrize(
    "token",
    [
        " the",
        "The",
        ".",
        '"',
        "\n",
        " 7",
        " B",
        " neg",
        "Pos",
        " positive",
        " n't",
        "<eos>",
    ],
)
def test_what_is_no_label_by_itself_is_left_out(token):
    """Function words, marks, numbers, lone letters, labels and their beginnings."""
    top = ((token, math.log(0.6)), (" weak", math.log(0.3)))
    found = suggest_labels([Answer((TokenLogprobs(*top[0], top),))], LABELS)
    assert [label.word for label in found] == ["weak"]


def test_a_token_that_was_seen_to_begin_a_longer_word_is_left_out():
    """The token " un" went on with "moving" twice of three times; " weak" once."""
    answers = [spoken("moving", un=0.6)] * 2 + [spoken(".", un=0.6)]
    answers += [spoken("er", weak=0.6)] + [spoken(" film", weak=0.6)] * 2
    assert [label.word for label in suggest_labels(answers, LABELS)] == ["weak"]


words = st.sampled_from(["awful", "fine", "splendid", "weak"])
hundredths = st.integers(1, 20).map(lambda n: n / 100)
answers = st.lists(st.dictionaries(words, hundredths, min_size=1), min_size=1, max_size=8)


@settings(max_examples=50)
@given(answers, hundredths.map(lambda p: p + 0.005))
def test_mean_and_share_are_those_of_the_texts(shown, positive):
    """Counted by hand; the most probable comes first, and none is below the least."""
    outcomes = [spoken(**{**each, "positive": positive}) for each in shown]
    found = suggest_labels(outcomes, LABELS, min_probability=0.0211)
    means = {w: np.mean([each.get(w, 0) for each in shown]) for w in set().union(*shown)}
    assert {label.word for label in found} == {w for w, p in means.items() if p >= 0.0211}
    told = [label.mean_probability for label in found]
    np.testing.assert_allclose(told, sorted(told, reverse=True))
    for label in found:
        assert label.mean_probability == pytest.approx(means[label.word])
        ahead = np.mean([each.get(label.word, 0) > positive for each in shown])
        assert label.share_ahead == pytest.approx(ahead)
        assert label.goes_with is None and math.isnan(label.log_odds)


def planted(n=200, seed=0):
    """Let "awful" be said of negative texts, and "neutral" of all."""
    rng = np.random.default_rng(seed)
    y = np.array(["neg", "pos"])[rng.integers(2, size=n)]
    awful = np.where(y == "neg", 0.3, 0.03) * rng.uniform(0.5, 1.5, n)
    return y, [spoken(awful=a, neutral=0.1 * rng.uniform(0.5, 1.5)) for a in awful]


def test_labels_tell_which_class_a_word_goes_with():
    """Saying it raises the log-odds of the class by ln 10, as planted."""
    y, outcomes = planted()
    awful, neutral = suggest_labels(outcomes, LABELS, y)
    assert (awful.word, awful.goes_with) == ("awful", "neg")
    assert awful.log_odds == pytest.approx(math.log(10), abs=0.2)
    assert (neutral.word, neutral.goes_with) == ("neutral", None)
    assert str(awful).endswith("; a surface form of 'neg'?")
    assert str(neutral).endswith("; a label of its own?")


def test_labels_at_random_tell_nothing():
    """Hardly any word goes with a class by chance, however unevenly it is said."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(50):
        said = np.minimum(0.9, 0.03 * rng.lognormal(sigma=1.5, size=20))
        outcomes = [spoken(awful=p) for p in said]
        found += suggest_labels(outcomes, LABELS, rng.permutation(["a", "b"] * 10))
    assert len(found) > 40
    assert sum(label.goes_with is not None for label in found) <= 2


def test_answers_about_one_row_are_averaged():
    """And those that failed say nothing."""
    outcomes = [spoken(awful=0.2), spoken(awful=0.4), spoken(awful=0.6)]
    outcomes.append(RefusedError("no", 3))
    [found] = suggest_labels(outcomes, LABELS, ["a", "b"], per_row=2)
    assert found.mean_probability == pytest.approx((0.3 + 0.3) / 2)


def test_drawn_texts_are_words_too():
    """Where no token is shown."""
    [found] = suggest_labels([Answer(draws=(("Mixed.", 3), ("positive", 2)))], LABELS)
    assert (found.word, found.mean_probability) == ("Mixed", 0.6)


# ------------------------------------------------------------------ the classifier


def test_the_classifier_suggests_from_answers_that_it_has():
    """Nothing is sent for the texts of fit; at most n, and readable."""
    backend = FakeBackend(
        {"great": {"positive": 2.0}, "dull": {"negative": 2.0, "boring": 2.5}},
        labels=("negative", "positive", "boring"),
        exact=False,
    )
    X = [f"{w} film {m}" for w in ("great", "dull") for m in "cdefghijkl"]
    y = ["positive"] * 10 + ["negative"] * 10
    clf = LogprobClassifier(backend, prompt="{text}:", random_state=0).fit(X, y)
    sent = clf.usage_.requests
    found = clf.suggest_labels(X, y, n=1)
    assert clf.usage_.requests == sent
    assert [(label.word, label.goes_with) for label in found] == [("boring", "negative")]
    assert "a surface form of 'negative'?" in str(found)
    assert str(clf.suggest_labels(X, min_probability=0.9)).startswith("Nothing")
    with_it = {"positive": "positive", "negative": ["negative", "boring"]}
    clf.set_params(verbalizer=with_it).fit(X, y)
    assert clf.suggest_labels(X, y) == []


def test_codes_are_no_words():
    """Where the model answers with letters, its other tokens are no labels."""
    clf = LogprobClassifier(FakeBackend(), verbalizer=Verbalizer(codes="letters"))
    clf.set_params(classes=["bad", "good"]).fit()
    with pytest.raises(ValueError, match="without codes="):
        clf.suggest_labels(["x"])
