"""Demonstrations from the training data never judge themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_logprob import FakeBackend, LogprobClassifier, PromptTemplate, Verbalizer

EVIDENCE = {"great": {"positive": 2.0}, "dull": {"positive": -2.0}}
NAMES = [a + b for a in "bdfgk" for b in ("al", "em", "in", "or", "us", "ab", "ek", "id")]
X = [f"{'great' if i % 2 else 'dull'} film called {name}" for i, name in enumerate(NAMES)]
Y = ["positive" if i % 2 else "negative" for i in range(40)]


@pytest.fixture(autouse=True)
def _cache(cache_home):
    """Each test has a cache of its own."""


def template(**params):
    return PromptTemplate("Review: {text}\nMood:", **params)


def classifier(random_state=0, **params):
    return LogprobClassifier(
        FakeBackend(EVIDENCE), prompt=template(**params), random_state=random_state
    )


def asked(clf, rows):
    """The reviews that the requests are about."""
    prompts = [request.messages[0][1] for request in clf.requests(rows)]
    return [prompt.rpartition("Review: ")[2].partition("\n")[0] for prompt in prompts]


@pytest.mark.parametrize("shots", ["balanced", "random"])
def test_rows_that_demonstrate_are_not_learnt_from(shots):
    """They are not even asked about; the rest is learnt as if they had not been there."""
    clf = classifier(n_shots=6, shots=shots).fit(X, Y)
    demonstrated = [given["text"] for given, _ in clf.prompt_.demonstrations]
    assert len(demonstrated) == len(set(demonstrated)) == 6
    for text, answer in ((g["text"], a) for g, a in clf.prompt_.demonstrations):
        assert answer == Y[X.index(text)]
    assert clf.usage_.requests == 34
    rest = [i for i, text in enumerate(X) if text not in demonstrated]
    by_hand = LogprobClassifier(FakeBackend(EVIDENCE), prompt=clf.prompt_, random_state=0)
    by_hand.fit([X[i] for i in rest], [Y[i] for i in rest])
    assert by_hand.usage_.requests == 0
    np.testing.assert_allclose(clf.predict_proba(X), by_hand.predict_proba(X))


def test_balanced_shots_are_as_many_of_each_class():
    """However rare a class is."""
    y = ["rare" if i % 10 == 0 else "common" for i in range(40)]
    clf = classifier(n_shots=6).fit(X, y)
    answers = [answer for _, answer in clf.prompt_.demonstrations]
    assert answers.count("rare") == answers.count("common") == 3


def test_nearest_shots_resemble_their_row_and_come_from_a_half_apart():
    """The most similar comes last, and no row that is learnt from is ever shown."""
    clf = classifier(n_shots=2, shots="nearest").fit(X, Y)
    assert clf.usage_.requests == 20
    pool = {values[0] for values in clf.prompt_.pool.values}
    left = [text for text in X if text not in pool]
    for request, text in zip(clf.requests(left), left, strict=True):
        prompt = request.messages[0][1]
        shown = prompt.split("Review: ")[1:-1]
        assert len(shown) == 2
        for shot in shown:
            assert shot.partition("\n")[0] in pool
        assert shown[-1].split()[0] == text.split()[0]  # great or dull, as the row is
    word = next(iter(pool)).split()[-1]
    [request] = clf.requests([f"a quite different {word}"])
    assert request.messages[0][1].split("Review: ")[-2].split("\n")[0].endswith(word)


def test_the_seed_chooses():
    """The same one gives the same rows, another one others."""
    fits = [classifier(seed, n_shots=4).fit(X, Y) for seed in (0, 0, 1)]
    one, same, other = (clf.prompt_.demonstrations for clf in fits)
    assert one == same != other


def test_requests_before_fit_are_those_of_fit():
    """The plan knows of the demonstrations."""
    clf = classifier(n_shots=4)
    planned = clf.requests(X, Y)
    assert len(planned) == planned.n_sent == 36
    assert clf.fit(X, Y).usage_.requests == 36
    assert clf.requests(X[:2]).n_sent <= 2


def test_tables_and_codes_demonstrate_too():
    """Every field of a row is shown, and the label as the model is to say it."""
    table = pd.DataFrame({"title": X, "year": range(40)})
    prompt = PromptTemplate("{labels}\n{title} ({year}):", n_shots=2)
    clf = LogprobClassifier(
        FakeBackend(EVIDENCE, labels=("A", "B")), prompt=prompt,
        verbalizer=Verbalizer(codes="letters"), random_state=0,
    ).fit(table, Y)  # fmt: skip
    shown = clf.requests(table[:1])[0].messages[0][1]
    (given, _), _ = clf.prompt_.demonstrations
    assert f"{given['title']} ({given['year']}): " in shown
    assert {line[-3:] for line in shown.split("\n") if ": " in line} == {": A", ": B"}


def test_grids_reach_the_number_of_shots():
    """Each fold shows rows of its own training part."""
    grid = GridSearchCV(classifier(), {"prompt__n_shots": [0, 2]}, cv=2).fit(X, Y)
    assert grid.best_score_ > 0.9


@pytest.mark.parametrize(
    ("params", "y", "kind", "says"),
    [
        ({"n_shots": 2}, None, ValueError, "fit got no y"),
        ({"n_shots": 21}, Y, ValueError, "at least 42 rows"),
        ({"n_shots": -1}, Y, TypeError, "'n_shots' .* Got -1"),
        ({"n_shots": 1, "shots": "best"}, Y, TypeError, "'shots' .* Got 'best'"),
    ],
)
def test_shots_that_cannot_be_are_refused(params, y, kind, says):
    """Before anything is asked."""
    clf = classifier(**params).set_params(classes=["negative", "positive"])
    with pytest.raises(kind, match=says):
        clf.fit(X, y)
