"""Lists of labels, read at every position, against writers that are known exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_logprob import Answer, RefusedError, TokenLogprobs
from sklearn_logprob._lists import _written, mention_scores
from sklearn_logprob._reading import AnswerReader

LABELS = ["sport", "art", "politics", "science"]
SPELLINGS = [[label] for label in LABELS]


def answer(*positions):
    """An answer that goes the likeliest way; each position maps tokens to shares."""
    tops = [
        sorted(((t, float(np.log(p))) for t, p in shown.items()), key=lambda x: -x[1])
        for shown in positions
    ]
    return Answer(tuple(TokenLogprobs(*top[0], tuple(top)) for top in tops))


def mentioned(*positions, labels=LABELS):
    """Probabilities that each label is mentioned."""
    read = mention_scores([answer(*positions)], [[label] for label in labels])
    return dict(zip(labels, np.exp(read.scores[0]), strict=True))


END = {"\n": 0.9, " the": 0.1}


def test_labels_that_exclude_each_other_keep_their_shares():
    """One label and the end: what came second was an alternative, no second label."""
    found = mentioned({" sport": 0.6, " art": 0.4}, {"\n": 1.0}, {"\n": 1.0})
    assert found["sport"] == pytest.approx(0.6) and found["art"] == pytest.approx(0.4)


def test_either_order_counts():
    """Two labels that come together in any order are both nearly certain."""
    found = mentioned(
        {" sport": 0.6, " art": 0.4}, {",": 1.0}, {" art": 0.99, " the": 0.01}, END
    )
    assert found["art"] == pytest.approx(0.4 + 0.6 * 0.99)
    assert found["sport"] == pytest.approx(0.6 + 0.4 * 0.99)


def test_going_on_is_no_more_certain_than_the_separator():
    """What follows the comma is as probable as a comma, or another separator, is."""
    then = {" art": 1.0}
    found = mentioned({" sport": 1.0}, {",": 0.5, " and": 0.2, ".": 0.3}, then)
    assert found["art"] == pytest.approx(0.7)
    lines = mentioned({"-": 0.8, " The": 0.2}, {" sport": 1.0}, {"\n": 0.6, ".": 0.4},
                      {"-": 1.0}, {" art": 1.0})  # fmt: skip
    assert lines["sport"] == pytest.approx(0.8)
    assert lines["art"] == pytest.approx(0.8 * 0.6)


def test_numbered_lists_and_a_beginning_are_passed():
    """Words before the first label, numbers and marks are gone through."""
    found = mentioned({"1": 1.0}, {".": 1.0}, {" art": 0.9, " the": 0.1}, {"\n": 1.0},
                      {"2": 0.5, "\n": 0.4}, {".": 1.0}, {" sport": 1.0})  # fmt: skip
    assert found["art"] == pytest.approx(0.9) and found["sport"] == pytest.approx(0.45)
    said = mentioned({"About": 0.7, " art": 0.3}, {" sport": 0.8, " art": 0.2})
    assert said["art"] == pytest.approx(0.3 + 0.7 * 0.2)


def test_a_list_ends_with_its_text():
    """A base model that goes on with a text of its own mentions nothing there."""
    own = [{"Text": 1.0}, {":": 1.0}, {" art": 1.0}]
    assert mentioned({" sport": 1.0}, {"\n": 1.0}, *own)["art"] < 1e-6
    assert mentioned({" sport": 1.0}, {"\n\n": 1.0}, *own)["art"] < 1e-6


def test_labels_of_several_tokens_are_followed():
    """Shared beginnings are told apart where the answer goes, and a label is whole."""
    labels = ["New York", "New Orleans", "Newark"]
    found = mentioned({" New": 0.9, " Newark": 0.1}, {" York": 0.75, " Orleans": 0.25},
                      {",": 0.5, "\n": 0.5}, {" Newark": 1.0}, labels=labels)  # fmt: skip
    assert found["New York"] == pytest.approx(0.675 + (0.225 + 0.1) * 0 + 0.1 * 0.5)
    assert found["New Orleans"] == pytest.approx(0.225)
    assert found["Newark"] == pytest.approx(0.1 + 0.9 * 0.5)


def test_what_is_written_next():
    """A label, its length in tokens, and nothing of what follows it."""
    reader = AnswerReader([["New"], ["New York"], ["art"]])
    tokens = [TokenLogprobs(t, 0.0) for t in (" New", " York", ",", " art")]
    assert _written(reader, tokens) == (1, 2)
    assert _written(reader, tokens[2:]) == (None, 1)
    assert _written(reader, [tokens[0], *tokens[2:]]) == (0, 1)
    assert _written(reader, tokens[3:]) == (2, 1)


def test_a_label_that_nothing_shows_is_censored():
    """It is as probable as scoring has it at the first position; odds are finite."""
    read = mention_scores(
        [answer({" sport": 1.0}, END), RefusedError("no", 1)], SPELLINGS
    )
    assert read.censored[0].tolist() == [False, True, True, True]
    assert np.isfinite(read.scores[0]).all() and (read.scores[0] < 0).all()
    assert np.isnan(read.scores[1]).all() and read.censored[1].all()


shares = st.lists(st.floats(0.01, 1.0), min_size=6, max_size=6)


@given(st.lists(shares, min_size=1, max_size=6))
def test_probabilities_whatever_is_shown(weights):
    """Between 0 and 1, and a label is never less probable than coming first."""
    tokens = [*(f" {label}" for label in LABELS), ",", "\n"]
    positions = [
        dict(zip(tokens, np.array(w) / sum(w) * 0.99, strict=True)) for w in weights
    ]
    found = mentioned(*positions)
    for label in LABELS:
        assert positions[0][f" {label}"] - 1e-9 <= found[label] <= 1


def inclusion(weights, end):
    """Exact probability that a writer, who draws without replacement, mentions each."""
    found = np.zeros(len(weights))

    def draw(left, probability):
        total = sum(weights[k] for k in left) + end
        for k in left:
            p = probability * weights[k] / total
            found[k] += p
            draw(left - {k}, p)

    draw(frozenset(range(len(weights))), 1.0)
    return found


def written_by(weights, end):
    """What such a writer shows while it writes its likeliest list."""
    left, positions = list(range(len(weights))), []
    while True:
        total = sum(weights[k] for k in left) + end
        shown = {f" {LABELS[k]}": weights[k] / total for k in left}
        if not left or end > max(weights[k] for k in left):
            return [*positions, shown | {"\n": end / total}]
        positions.append(shown | {"\n": end / total})
        left.remove(max(left, key=lambda k: weights[k]))


def test_closer_to_the_truth_than_simpler_readings():
    """On average over writers: than the first position, and than the list itself."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        weights = np.exp(rng.normal(scale=2, size=len(LABELS)))
        truth = inclusion(weights, 1.0)
        positions = written_by(weights, 1.0)
        found = np.array(list(mentioned(*positions).values()))
        first = np.array([positions[0][f" {label}"] for label in LABELS])
        said = [max(shown, key=shown.get) for shown in positions]
        listed = np.array([f" {label}" in said for label in LABELS])
        errors.append([np.abs(guess - truth).mean() for guess in (found, first, listed)])
    ours, first, listed = np.mean(errors, axis=0)
    assert ours < 0.5 * min(first, listed)
