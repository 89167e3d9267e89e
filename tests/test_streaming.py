"""Predictions in batches: the same as at once, in order, in constant memory."""

from __future__ import annotations

import csv
import tracemalloc
from itertools import chain

import numpy as np
import pytest

from sklearn_logprob import ChowRule, LogprobClassifier
from sklearn_logprob.cli import main
from sklearn_logprob.cli._tables import Table

X = [f"value {i / 10}" for i in range(40)]
y = ["low" if i < 20 else "high" for i in range(40)]


@pytest.fixture
def clf():
    return LogprobClassifier("fake", threshold="f1", reject=ChowRule(0.3)).fit(X, y)


def split(rows, sizes):
    ends = np.cumsum(sizes)
    return [rows[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def test_batches_are_what_one_call_gives(clf):
    """Whatever their sizes, empty ones included; one method or several."""
    sizes = [7, 0, 1, 20, 0, 12]
    several = clf.predict_batches(split(X, sizes), ("predict", "predict_proba", "accept"))
    labels, P, accepted = zip(*several, strict=True)
    assert [len(each) for each in labels] == sizes
    assert np.array_equal(np.concatenate(labels), clf.predict(X))
    assert np.array_equal(np.concatenate(P), clf.predict_proba(X))
    assert np.array_equal(np.concatenate(accepted), clf.accept(X))
    alone = list(clf.predict_batches(split(X, sizes)))
    assert [each.shape for each in alone] == [(size, 2) for size in sizes]


def test_several_labels_in_batches():
    """Rows of 0 and 1, and none for no rows."""
    Y = np.column_stack([np.arange(40) % 2, np.arange(40) > 20])
    clf = LogprobClassifier("fake", classes=["odd", "large"]).fit(X, Y)
    none, some = clf.predict_batches([[], X], "predict")
    assert none.shape == (0, 2) and np.array_equal(some, clf.predict(X))


def test_a_row_is_asked_about_once_for_all_methods(clf):
    """Without a cache, too; and a batch is read when its result is wanted."""
    taken = []

    def batches():
        for batch in split([f"new {i}" for i in range(12)], [4, 4, 4]):
            taken.append(len(batch))
            yield batch

    clf.set_params(cache=None)
    before = clf.usage_.requests
    results = clf.predict_batches(batches(), ("predict_proba", "predict"))
    assert taken == []
    next(results)
    assert taken == [4]
    assert len(list(results)) == 2
    assert clf.usage_.requests == before + 12


def test_what_is_not_possible_fails_before_a_batch_is_read(clf):
    """An unknown method; accept without a rejector; not fitted."""
    with pytest.raises(ValueError, match="'method' parameter of predict_batches"):
        clf.predict_batches([X], "predict_probas")
    with pytest.raises(ValueError, match="accept needs"):
        LogprobClassifier("fake").fit(X, y).predict_batches([X], "accept")
    with pytest.raises(ValueError, match="not fitted"):
        LogprobClassifier("fake").predict_batches([X])


def write_table(path, n_rows):
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        rows.writerows([i, f"value {i % 97} {'word ' * 40}"] for i in range(n_rows))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_table(clf, ending, tmp_path):
    """Eight times the rows, about the same peak; no row lost, doubled or out of place."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    clf.to_json(tmp_path / "model.json")
    peaks = []
    for n_rows in (200, 1600):
        output = tmp_path / f"out.{ending}"
        write_table(tmp_path / "in.csv", n_rows)
        tracemalloc.start()
        main([
            "predict", str(tmp_path / "model.json"), str(tmp_path / "in.csv"),
            "--output", str(output), "--batch-size", "50", "--no-cache",
        ])  # fmt: skip
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        rows = list(chain.from_iterable(Table.of(str(output), None).batches(1000)))
        assert [int(row["id"]) for row in rows] == list(range(n_rows))
        p = clf.predict_proba([row["text"] for row in rows[:97]])[:, 0]
        found = [float(row["probability_high"]) for row in rows]
        assert found == np.resize(p, n_rows).tolist()
    assert peaks[1] < 2 * peaks[0]  # the collector is free to come late
