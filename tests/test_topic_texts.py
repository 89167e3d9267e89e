"""Texts are made once: the file is the store, and what is missing is asked for."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from sklearn_logprob import BackendError, FakeBackend, LogprobsUnavailableError
from sklearn_logprob.datasets import make_topic_texts

TOPICS = ["art", "food", "health", "sports"]


class Writer(FakeBackend):
    """Says what it was asked, and breaks down after some requests."""

    asked = 0
    patience = 10**9

    def answer(self, requests):
        for index, answer in super().answer(requests):
            if type(self).asked >= type(self).patience:
                raise BackendError("no more")
            type(self).asked += 1
            text = f' "{requests[index].messages[0][1]}\n{requests[index].draw}" '
            yield index, type(answer)(usage=answer.usage, draws=((text, 1),))


@pytest.fixture
def make(tmp_path):
    """Make texts in a file of this test, without another store."""
    Writer.asked, Writer.patience = 0, 10**9
    params = {"path": tmp_path / "made.csv", "cache": None}
    return lambda n=40, **other: make_topic_texts(
        **{"backend": Writer(), "topics": TOPICS, "n": n, **params, **other}
    )


def test_texts_are_about_their_topics(make):
    """Those asked for are the ones of the target, from one to three of them."""
    made = make()
    assert made.data.shape == (40,) and made.target.shape == (40, 4)
    assert made.target_names == TOPICS
    assert set(made.target.sum(axis=1)) == {1, 2, 3}
    for text, row in zip(made.data, made.target, strict=True):
        asked = text.removeprefix("Write one short sentence about ").partition(".")[0]
        assert set(asked.split(" and ")) == {TOPICS[k] for k in np.flatnonzero(row)}
    assert len(set(made.data)) == 40  # one line each, without quotes, drawn anew


def test_the_file_is_a_table(make, tmp_path):
    """Pandas and csv read it; the first columns are text and request."""
    made = make(as_frame=True)
    table = pd.read_csv(tmp_path / "made.csv")
    pd.testing.assert_frame_equal(table.drop(columns="request"), made.frame)
    pd.testing.assert_frame_equal(made.frame[TOPICS], made.target)
    assert list(made.frame["text"]) == list(made.data)
    with (tmp_path / "made.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 41
    assert [path.name for path in tmp_path.glob("made*")] == ["made.csv"]


def test_the_second_call_asks_nothing(make):
    """And gives the same; fewer texts are the first ones, more begin with them."""
    made = make()
    again, fewer = make(), make(n=7)
    assert Writer.asked == 40
    np.testing.assert_array_equal(again.data, made.data)
    np.testing.assert_array_equal(again.target, made.target)
    np.testing.assert_array_equal(fewer.data, made.data[:7])
    more = make(n=50)
    assert Writer.asked == 50
    np.testing.assert_array_equal(more.data[:40], made.data)
    np.testing.assert_array_equal(more.target[:40], made.target)


def test_a_breakdown_costs_little(make, tmp_path):
    """What was written stays, and only the rest is asked for."""
    Writer.patience = 35
    with pytest.raises(BackendError, match="no more"):
        make()
    kept = len(pd.read_csv(tmp_path / "made.csv"))
    assert 20 < kept <= 35
    Writer.patience, asked = 10**9, Writer.asked
    broken = make()
    assert Writer.asked - asked == 40 - kept
    np.testing.assert_array_equal(make(path=tmp_path / "other.csv").data, broken.data)


def test_another_seed_draws_other_topics(make, tmp_path):
    """In another file."""
    other = make(random_state=1, path=tmp_path / "other.csv")
    assert (other.target != make().target).any()


@pytest.mark.parametrize(
    "other",
    [
        {"random_state": 1},
        {"topics": [*TOPICS[:3], "politics"]},
        {"backend": FakeBackend(label_mass=0.5)},
        {"template": "About {topics}:"},
    ],
)
def test_a_file_of_another_call_is_not_mixed_in(make, other, tmp_path):
    """Nor overwritten."""
    make(n=20)
    before = (tmp_path / "made.csv").read_bytes()
    with pytest.raises(ValueError, match=r"made\.csv holds other texts .*path="):
        make(n=20, **other)
    assert (tmp_path / "made.csv").read_bytes() == before


@pytest.mark.parametrize(
    "params, message",
    [
        ({"topics": "art"}, "'topics' .* distinct texts. Got 'art'"),
        ({"topics": ["art", "art"]}, "'topics'"),
        ({"n": 0}, "'n' .* Got 0"),
        ({"max_topics": 5}, "'max_topics' .* Got 5"),
        ({"max_topics": 0}, "'max_topics'"),
        ({"template": "Write."}, r"'template' .*\{topics\}"),
    ],
)
def test_wrong_parameters_are_refused(make, params, message):
    """Before anything is asked."""
    with pytest.raises(ValueError, match=message):
        make(**params)
    assert Writer.asked == 0


def test_a_backend_that_writes_nothing(make):
    """The error names backends that do."""

    class Decider(FakeBackend):
        def answer(self, requests):
            for index, answer in super().answer(requests):
                yield index, type(answer)(choices=(("yes", -1.0),), usage=answer.usage)

    with pytest.raises(LogprobsUnavailableError, match="Decider writes no text"):
        make(backend=Decider())
