"""The claim that the whole project rests on: what is read is what would be sampled."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import requests
from llama_server import served
from scipy.stats import chisquare

from sklearn_logprob import LlamaCppBackend, LogprobClassifier

pytestmark = [pytest.mark.local, pytest.mark.slow]

if importlib.util.find_spec("xllamacpp") is None:
    pytest.skip("xllamacpp is not installed", allow_module_level=True)

N_SAMPLES = 1000
PROMPT = (
    "Review: A dull, lifeless film.\nSentiment: negative\n\n"
    "Review: Warm and beautifully acted.\nSentiment: positive\n\n"
    "Review: {text}\nSentiment:"
)
REVIEW = "A slow start, but warm and funny in the end."


def sample(url, seed):
    """One answer of a real server, sampled at temperature 1 without any filter."""
    reply = requests.post(
        f"{url}/completion",
        json={
            "prompt": PROMPT.replace("{text}", REVIEW),
            "n_predict": 1,
            "temperature": 1.0,
            "top_k": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "seed": seed,
        },
        timeout=60,
    )
    reply.raise_for_status()
    return reply.json()["content"]


def test_a_thousand_samples_agree_with_the_label_probabilities(exact_weights):
    """Sampled shares of each label, and of no label, within sampling error."""
    clf = LogprobClassifier(
        LlamaCppBackend(exact_weights, n_ctx=512),
        prompt=PROMPT,
        classes=["negative", "positive"],
    ).fit()
    probabilities = np.exp(clf.label_scores([REVIEW])[0])
    expected = N_SAMPLES * np.append(probabilities, 1 - probabilities.sum())
    assert min(expected) > 20, "every outcome must be likely enough to be tested"
    with served(exact_weights) as url:
        said = [sample(url, seed).strip().casefold() for seed in range(N_SAMPLES)]
    counts = [said.count(label) for label in clf.classes_]
    counts.append(N_SAMPLES - sum(counts))
    assert chisquare(counts, expected).pvalue > 1e-3, (counts, expected)
