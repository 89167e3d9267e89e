"""The System One backend against real servers: sparrow-decider, and llama.cpp's."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_server import served

from sklearn_logprob import BackendError, LogprobClassifier, Request
from sklearn_logprob.backends.systemone import SystemOneBackend

pytestmark = [pytest.mark.local, pytest.mark.slow]

MODEL = "sparrow-nano-general-v1.1"  # 2 MB, in the package
QUESTION = "Which label fits?"
PRAISE = ["a wonderful film", "great fun, I loved it", "superb acting", "delightful"]
BLAME = ["a dull, boring mess", "I hated it", "terrible acting", "a waste of time"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run the server and give its address."""
    pytest.importorskip("sparrow_decider")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [sys.executable, "-m", "sparrow_decider.cli", "--model", MODEL, "serve"]
    with subprocess.Popen(
        [*serve, "--port", str(port)], stderr=subprocess.DEVNULL
    ) as run:
        try:
            until = time.monotonic() + 60
            while not _listens(port):
                assert run.poll() is None and time.monotonic() < until, "did not start"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            run.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_probabilities_are_those_of_the_model_itself(url: str) -> None:
    """Over HTTP and from the package in this process: the same, to its four decimals."""
    import sparrow_decider

    model = sparrow_decider.Decider.load(MODEL)
    labels = ["negative", "neutral", "positive"]
    question = {
        "type": "choice",
        "instructions": QUESTION,
        "criteria": dict.fromkeys(labels),
    }
    clf = LogprobClassifier(
        SystemOneBackend(base_url=url), prompt="{text}", classes=labels, calibrator=None
    ).fit()
    proba = clf.predict_proba(PRAISE + BLAME)
    own = [model.probs(text, question)[3] for text in PRAISE + BLAME]
    np.testing.assert_allclose(proba, own, atol=2e-4)
    assert clf.usage_.requests == len(PRAISE + BLAME)


def test_a_decision_model_is_calibrated_and_decides(url: str) -> None:
    """The classifier fits on its answers, and praise is told from blame."""
    X = PRAISE + BLAME
    y = np.repeat(["positive", "negative"], len(PRAISE))
    clf = LogprobClassifier(
        SystemOneBackend(base_url=url),
        prompt="{text}",
        threshold="balanced_accuracy",
        cv=2,
    ).fit(X, y)
    assert clf.score(X, y) >= 0.75
    assert clf.label_mass_ == pytest.approx(1)
    assert len(clf.other_tokens_) == 0


def test_the_servers_refusal_is_passed_on(url: str) -> None:
    """Another path is not found, and the message says what to check."""
    backend = SystemOneBackend(base_url=url, path="/other", max_retries=0)
    request = Request((("prompt", "text"),), options=(("no", ""), ("yes", "")))
    with pytest.raises(BackendError, match=r"HTTP 404.*not found.*base_url="):
        list(backend.answer([request]))


def test_an_ordinary_model_of_llama_cpp_does_not_decide(weights: Path) -> None:
    """llama.cpp has the endpoint, and the message names models that decide."""
    pytest.importorskip("xllamacpp")
    request = Request((("prompt", "text"),), options=(("no", ""), ("yes", "")))
    with served(weights) as address:
        backend = SystemOneBackend(base_url=f"{address}/v1", max_retries=0)
        with pytest.raises(BackendError, match=r"HTTP 501.*decision model.*gpt-6-luna"):
            list(backend.answer([request]))
