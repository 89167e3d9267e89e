"""Sentences about one or several topics, written by a model and kept in a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from sklearn_logprob._errors import LogprobsUnavailableError
from sklearn_logprob._optional import import_pandas
from sklearn_logprob._progress import progress
from sklearn_logprob._types import Backend, Request, Usage
from sklearn_logprob.backends import make_backend
from sklearn_logprob.cache import resolve_cache
from sklearn_logprob.collect import collect, request_keys

__all__ = ["make_topic_texts"]

BLOCK = 16  # rows between two writes
MAX_TOKENS = 60
QUOTES = "\"'“”‘’"
TEMPLATE = "Write one short sentence about {topics}. Do not name the topics themselves."

DESCR = """\
Sentences that a language model was asked to write about one or several topics. The
topics are those that it was asked for: whether the sentence is about them was not
checked, and depends on the model.
"""


def make_topic_texts(
    backend: Any,
    topics: Sequence[str],
    n: int = 100,
    max_topics: int = 3,
    *,
    path: str | os.PathLike[str] = "topic_texts.csv",
    template: str = TEMPLATE,
    max_tokens: int = MAX_TOKENS,
    random_state: Any = 0,
    cache: Any = "auto",
    verbose: Literal["auto"] | int = "auto",
    as_frame: bool = False,
) -> Bunch:
    """Let a model write sentences, each about one to `max_topics` topics.

    What is written is kept in a CSV file, a few rows at a time. The same call later
    reads the file and asks nothing; after an interruption it asks for what is missing,
    and with a larger `n` for the rest.

    Parameters
    ----------
    backend : str or Backend
        Who writes: any that generates text. It is asked in a chat, at temperature 1.
    topics : sequence of str
        Distinct topics, more than `max_topics` or as many.
    n : int, default=100
        Number of sentences.
    max_topics : int, default=3
        The most topics of a sentence; every number up to it is equally likely.
    path : str or path-like, default="topic_texts.csv"
        The file. It has the columns "text", "request" (a hash of who was asked what),
        and one of 0 and 1 for each topic.
    template : str, default="Write one short sentence about {topics}. ..."
        What is asked; ``{topics}`` is the topics joined by " and ".
    max_tokens : int, default=60
        The longest text.
    random_state : int, default=0
        Draws the topics. Models in this process draw their words by the request alone,
        so that the same seed gives the same texts; services need not.
    cache : "auto", path, Cache or None, default="auto"
        Where answers are kept besides.
    verbose : "auto", bool or int, default="auto"
        Progress bar, as for `LogprobClassifier`.
    as_frame : bool, default=False
        Whether data and target are pandas objects.

    Returns
    -------
    texts : Bunch
        With these attributes:

        data : ndarray of str (dtype object) or Series, shape (n,)
            The sentences.
        target : ndarray of int or DataFrame, shape (n, n_topics)
            1 for the topics of each sentence.
        target_names : list of str
            The topics.
        frame : DataFrame or None
            Both, with ``as_frame=True``.
        DESCR : str
            What this is.

    Raises
    ------
    ValueError
        If a parameter is wrong, or the file holds what another call made.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_logprob import FakeBackend
    >>> from sklearn_logprob.datasets import make_topic_texts
    >>> with TemporaryDirectory() as folder:
    ...     made = make_topic_texts(FakeBackend(), ["art", "food", "sports"], n=4,
    ...                             max_topics=2, path=f"{folder}/topics.csv")
    >>> made.target.shape, made.target.sum(axis=1).tolist()
    ((4, 3), [2, 2, 2, 2])
    """
    _check(topics, n, max_topics, template)
    names, writer = list(topics), make_backend(backend)
    drawn = _draw_topics(len(names), n, max_topics, random_state)
    asked = [
        Request(
            (
                (
                    "user",
                    template.replace("{topics}", " and ".join(names[k] for k in row)),
                ),
            ),
            max_tokens=max_tokens,
            top_logprobs=0,
            draw=number + 1,
        )
        for number, row in enumerate(drawn)
    ]
    file = Path(path)
    keys = request_keys(writer, asked)
    texts = _resume(file, names, keys)
    with progress(n, verbose, "text") as bar:
        bar.update(len(texts))
        for start in range(len(texts), n, BLOCK):
            texts += _write(writer, asked[start : start + BLOCK], cache)
            _store(file, names, texts, keys, drawn)
            bar.update(len(texts) - start)
    data: Any = np.array(texts, dtype=object)
    target: Any = np.zeros((n, len(names)), dtype=int)
    for i, row in enumerate(drawn):
        target[i, row] = 1
    frame = None
    if as_frame:
        pd = import_pandas("make_topic_texts(as_frame=True)")
        data = pd.Series(data, name="text")
        target = pd.DataFrame(target, columns=names)
        frame = pd.concat([data, target], axis=1)
    return Bunch(data=data, target=target, target_names=names, frame=frame, DESCR=DESCR)


def _check(topics: Sequence[str], n: int, max_topics: int, template: str) -> None:
    wanted: dict[str, tuple[Any, bool, str]] = {
        "topics": (
            topics,
            not isinstance(topics, str) and 0 < len(set(topics)) == len(topics),
            "distinct texts",
        ),
        "n": (n, isinstance(n, int) and n > 0, "a positive integer"),
        "max_topics": (
            max_topics,
            isinstance(max_topics, int) and 0 < max_topics <= len(topics),
            f"an integer from 1 to the number of topics, {len(topics)}",
        ),
        "template": (template, "{topics}" in template, "a text with {topics} in it"),
    }
    for name, (value, fits, what) in wanted.items():
        if not fits:
            raise ValueError(
                f"The {name!r} parameter of make_topic_texts must be {what}. "
                f"Got {value!r} instead."
            )


def _draw_topics(
    n_topics: int, n: int, max_topics: int, random_state: Any
) -> list[NDArray[np.intp]]:
    """Draw row after row, so that a larger n begins with the same rows."""
    random = check_random_state(random_state)
    return [
        random.permutation(n_topics)[: random.randint(1, max_topics + 1)]
        for _ in range(n)
    ]


def _write(backend: Backend, requests: Sequence[Request], cache: Any) -> list[str]:
    kept = resolve_cache(cache)
    texts = []
    for answer in collect(backend, requests, kept, usage=Usage(), verbose=False):
        draws = getattr(answer, "draws", ())
        if not draws:
            raise LogprobsUnavailableError(
                f"{type(backend).__name__} writes no text: use one that generates, such "
                "as 'llama-cpp' or 'openai:MODEL'."
            )
        texts.append(" ".join(draws[0][0].split()).strip(QUOTES))
    return texts


def _store(
    file: Path,
    names: list[str],
    texts: Sequence[str],
    keys: Sequence[str],
    drawn: Sequence[NDArray[np.intp]],
) -> None:
    """Write all rows beside the file and put them in its place: it is never half done."""
    part = file.with_name(f"{file.name}.part")
    with part.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened)
        table.writerow(["text", "request", *names])
        for text, key, row in zip(texts, keys, drawn, strict=False):
            table.writerow([text, key, *(int(k in row) for k in range(len(names)))])
    part.replace(file)


def _resume(file: Path, names: list[str], keys: Sequence[str]) -> list[str]:
    """Give the texts that are there, if they are those of the first requests."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as opened:
        header, *rows = [*csv.reader(opened)] or [[]]
    rows = rows[: len(keys)]
    same = header == ["text", "request", *names]
    if not same or [row[1] for row in rows] != list(keys[: len(rows)]):
        raise ValueError(
            f"{file} holds other texts than these: of another model, other topics, "
            "another template or another seed. Give another path=, or delete the file."
        )
    return [row[0] for row in rows]
