"""Film reviews, and what the embedded model answers about them, kept in this folder.

The gallery runs offline with them. In your own work write ``"llama-cpp"``, or another
backend, in the place of ``RecordedAnswers()``: that asks a model. The files are made by
``python docs/make_answers.py``.
"""

from __future__ import annotations

import csv
import functools
import json
import lzma
from pathlib import Path

from sklearn.base import BaseEstimator

from sklearn_logprob import BackendError
from sklearn_logprob._answer_json import decode
from sklearn_logprob.collect import request_keys

# sphinx-gallery runs the examples in their own folder, without a __file__ of theirs
DATA = Path(__file__).with_name("data")
ANSWERS, REVIEWS = DATA / "answers.json.xz", DATA / "reviews.csv"

WORDS = {"fresh": "positive", "rotten": "negative"}
PROMPT = """\
Review: A dull, lifeless film that wastes a good cast.
Sentiment: negative

Review: Funny, warm and beautifully acted throughout.
Sentiment: positive

Review: {text}
Sentiment:"""


class RecordedAnswers(BaseEstimator):
    """What SmolLM2-135M-Instruct, as 32-bit floats, answered when the file was made."""

    answer_params = ()
    scores_choices = True
    max_top_logprobs = 10

    def answer_identity(self):
        return {"model": "SmolLM2-135M-Instruct", "format": "f32"}

    def answer(self, requests):
        for index, key in enumerate(request_keys(self, requests)):
            if key not in load_answers():
                raise BackendError(
                    f"{ANSWERS.name} holds no answer to this. Ask a model, with "
                    "LogprobClassifier('llama-cpp', ...); or, where an example was "
                    "changed, run python docs/make_answers.py."
                )
            yield index, decode(load_answers()[key])


@functools.cache
def load_answers():
    return json.loads(lzma.decompress(ANSWERS.read_bytes()))


def load_reviews(subset, n=None):
    """Give texts and labels of the subset "train" or "test"; no film is in both."""
    with REVIEWS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["subset"] == subset][:n]
    return [row["text"] for row in rows], [row["label"] for row in rows]
