"""Inputs without content: formulas, the uniform property, words in proportion."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_logprob import (
    BackendError,
    DomainPrompt,
    DomainWords,
    FakeBackend,
    FixedInputs,
    LogprobClassifier,
    PromptError,
    PromptTemplate,
)
from sklearn_logprob._inputs import Rows
from sklearn_logprob.content_free import make_content_free, mean_log_proba

PROMPT = "Review: {text}\nSentiment:"
WORDS = {"great": 1.5, "warm": 1.0, "slow": -1.0, "dull": -1.5}
CLASSES = ["negative", "positive"]
X = ["great warm film", "slow film", "dull slow film again", "warm"]


def classifier(content_free, **params):
    """Zero-shot, on a model that prefers one label and that the word "film" sways."""
    evidence = {word: {"positive": weight} for word, weight in WORDS.items()}
    evidence["film"] = {"positive": 0.7}
    evidence["sentiment"] = {"positive": -0.2}
    backend = FakeBackend(evidence, bias={"positive": 2.0})
    params = {"prompt": PROMPT, "calibrator": None, "cache": None} | params
    return LogprobClassifier(
        backend, classes=CLASSES, content_free=content_free, **params
    )


def raw_scores(texts, prompt=PROMPT):
    """What the model says before anything is subtracted, normalised."""
    clf = classifier((), prompt=prompt).fit(texts)
    return log_softmax(clf.label_scores(texts), axis=1)


# --- The formulas ---------------------------------------------------------------------


@pytest.mark.parametrize("texts", [("N/A",), ("N/A", "[MASK]", ""), ("great", "dull")])
def test_contextual_calibration_subtracts_the_log_of_the_mean(texts):
    """Probabilities are p / mean p of the inputs, normalised; a sequence is short."""
    mean = np.exp(raw_scores(list(texts))).mean(axis=0)
    expected = np.exp(raw_scores(X)) / mean
    expected /= expected.sum(axis=1, keepdims=True)
    for given_as in (texts, list(texts), np.array(texts), FixedInputs(texts)):
        found = classifier(given_as).fit(X).predict_proba(X)
        np.testing.assert_allclose(found, expected)


def test_domain_prompt_subtracts_the_score_without_the_row():
    """PMI: softmax of log p(label | prompt) less log p(label | domain prompt)."""
    domain = raw_scores([""], prompt="Film {text} sentiment:")
    found = classifier(DomainPrompt("Film sentiment:")).fit(X)
    assert found.usage_.requests == len(X) + 1
    np.testing.assert_allclose(
        found.predict_proba(X), softmax(raw_scores(X) - domain, axis=1)
    )


def test_domain_words_subtract_the_mean_over_their_texts():
    """The texts that were drawn, asked by hand, give what is subtracted."""
    rows = Rows(("text",), [(text,) for text in X])
    _, drawn = DomainWords(n=7).asked(None, rows, 3)
    texts = [text for (text,) in drawn.values]
    mean = np.log(np.exp(raw_scores(texts)).mean(axis=0))
    clf = classifier(DomainWords(n=7), random_state=3).fit(X)
    np.testing.assert_allclose(clf.content_free_scores_, mean)


@pytest.mark.parametrize(
    ("content_free", "input_"),
    [(("N/A",), "N/A"), (FixedInputs([""]), ""), (DomainPrompt("Review: a\nMood:"), "a")],
)
def test_one_content_free_input_becomes_uniform(content_free, input_):
    """What is subtracted from its own scores leaves no preference."""
    prompt = "Review: {text}\nMood:"
    clf = classifier(content_free, prompt=prompt).fit(X)
    np.testing.assert_allclose(clf.predict_proba([input_]), [[0.5, 0.5]])


def test_calibrators_with_a_bias_make_it_superfluous():
    """Batch calibration of the shifted scores is that of the scores."""
    for content_free in (("great",), DomainWords(), DomainPrompt("Film:")):
        with_it = classifier(content_free, calibrator="auto").fit(X).predict_proba(X)
        without = classifier((), calibrator="auto").fit(X).predict_proba(X)
        np.testing.assert_allclose(with_it, without)


@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_mean_log_proba_is_blind_to_what_rows_lose(n, n_classes, seed):
    """A constant in each row (mass on other words) and rows of NaN change nothing."""
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(n, n_classes))
    shifted = np.vstack([S - rng.exponential(size=(n, 1)), np.full(n_classes, np.nan)])
    np.testing.assert_allclose(mean_log_proba(S), mean_log_proba(shifted))
    assert np.exp(mean_log_proba(S)).sum() == pytest.approx(1)


def test_no_answer_at_all_is_an_error():
    """Nothing to subtract is not the same as nothing asked."""
    with pytest.raises(BackendError, match="choose other inputs"):
        mean_log_proba(np.full((2, 3), np.nan))


# --- Words ----------------------------------------------------------------------------


def test_words_are_drawn_in_proportion_and_texts_have_average_length():
    """Long texts and frequent words weigh by their words; columns are separate."""
    texts = ["a a a b", "", "c b"]  # 6 words in 3 texts: 2 a text
    rows = Rows(("x", "y"), [(text, "7") for text in texts])
    _, drawn = DomainWords(n=4000).asked(None, rows, 0)
    x, y = zip(*drawn.values, strict=True)
    assert set(y) == {"7"}
    assert {len(text.split()) for text in x} == {2}
    words, counts = np.unique(" ".join(x).split(), return_counts=True)
    assert words.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(counts / 8000, [3 / 6, 2 / 6, 1 / 6], atol=0.02)


def test_the_same_seed_draws_the_same_words():
    """An int and None repeat themselves; another seed does not."""
    rows = Rows(("text",), [(" ".join("abcdefgh"),)])
    drawn = [DomainWords(5).asked(None, rows, seed)[1].values for seed in (1, 1, None, 2)]
    assert drawn[0] == drawn[1] != drawn[3]
    assert DomainWords(5).asked(None, rows)[1].values == drawn[2]


def test_texts_without_words_stay_empty():
    """Nothing to draw from is the empty input."""
    rows = Rows(("text",), [("",), (" ",)])
    assert DomainWords(2).asked(None, rows)[1].values == [("",), ("",)]


# --- In the classifier ----------------------------------------------------------------


def test_tables_series_and_demonstrations():
    """Every column is filled; the name of a Series and shots stay usable."""
    frame = pd.DataFrame({"title": ["great", "dull"], "year": [1999, 2001]})
    for content_free in (("N/A",), DomainWords(2), DomainPrompt("Film: {labels}?")):
        clf = classifier(content_free, prompt="{title} ({year})").fit(frame)
        assert np.isfinite(clf.content_free_scores_).all()
        series = pd.Series(X, name="review")
        clf = classifier(content_free, prompt="{review}").fit(series)
        assert np.isfinite(clf.content_free_scores_).all()
        template = PromptTemplate(PROMPT, n_shots=2)
        clf = classifier(content_free, prompt=template, calibrator="auto")
        clf.fit(X * 2, CLASSES * 4)
        assert np.isfinite(clf.content_free_scores_).all()


def test_domain_prompt_may_be_a_chat_and_list_the_labels():
    """Messages keep their roles, and {labels} is what the classifier's prompt lists."""
    messages = [("system", "Answer with {labels}."), ("user", "Sentiment of a film?")]
    template, rows = DomainPrompt(messages).asked(None, Rows(("text",), [("x",)]))
    [rendered] = template.render(rows, CLASSES)
    assert rendered[0] == ("system", "Answer with negative, positive.")
    assert rendered[1] == ("user", "Sentiment of a film?")
    clf = classifier(DomainPrompt(messages)).fit(X)
    assert np.isfinite(clf.content_free_scores_).all()


def test_domain_prompt_has_no_place_for_the_row():
    """A field of X in it is an error that names it, before anything is asked."""
    clf = classifier(DomainPrompt("Review: {text}"))
    with pytest.raises(PromptError, match=r"leave \{text\} out"):
        clf.fit(X)
    assert clf.usage_.requests == 0


def test_domain_words_need_texts():
    """Without X there are no words, and nothing is asked."""
    with pytest.raises(ValueError, match=r"takes words from X, .* give texts"):
        classifier(DomainWords()).fit()


@pytest.mark.parametrize("bad", ["N/A", [1], 3, None, DomainWords])
def test_other_content_free_is_refused(bad):
    """Only texts and objects that say what to ask."""
    with pytest.raises(ValueError, match=r"The 'content_free' parameter .* DomainWords"):
        make_content_free(bad)


@pytest.mark.parametrize("n", [0, -1, 2.5, "20"])
def test_number_of_texts_is_positive(n):
    """Checked before any model is asked."""
    with pytest.raises(ValueError, match="The 'n' parameter of DomainWords"):
        classifier(DomainWords(n)).fit(X)


def test_a_grid_reaches_their_parameters():
    """They clone, and content_free__n is a parameter like others."""
    assert clone(classifier(DomainWords(5))).get_params()["content_free__n"] == 5
    search = GridSearchCV(
        classifier(DomainWords()), {"content_free__n": [1, 3]}, cv=2, scoring="accuracy"
    )
    assert search.fit(X * 2, CLASSES * 4).best_params_["content_free__n"] in (1, 3)


def test_a_domain_prompt_asks_about_each_label():
    """One yes/no question a label, without the row; the row's fields are refused."""
    asked = LogprobClassifier(
        FakeBackend(),
        prompt="{text}\nIs it about {label}?",
        multilabel="per_label",
        content_free=DomainPrompt("Is it about {label}?"),
        cache=None,
    )
    X, y = ["a goal", "a song", "a goal song"], [["sport"], ["art"], ["art", "sport"]]
    [*_, art, sport] = [request.messages[0][1] for request in asked.requests(X, y)]
    assert (art, sport) == ("Is it about art?", "Is it about sport?")
    assert asked.fit(X, y).content_free_scores_.shape == (2, 2)
    with pytest.raises(PromptError, match=r"without the row: leave \{text\} out"):
        asked.set_params(content_free=DomainPrompt("{text}{label}?")).fit(X, y)
