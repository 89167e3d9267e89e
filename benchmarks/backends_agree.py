"""Whether backends agree: the same reviews, the same weights, four ways.

    pip install 'sklearn-logprob[local,transformers]' xllamacpp
    python benchmarks/backends_agree.py            # float32 weights: what should agree
    python benchmarks/backends_agree.py --as-is    # the 4-bit weights as shipped

The embedded model is asked in this process by llama.cpp and by transformers, and behind
a real llama.cpp server by the llama-server and the openai backend. Compared are the
probabilities of the labels before any calibration, and the decisions after `fit` on one
half of the reviews, about the other half.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from sklearn_logprob import (
    LlamaCppBackend,
    LlamaServerBackend,
    LogprobClassifier,
    OpenAIBackend,
    PromptTemplate,
)
from sklearn_logprob.backends._llama_weights import find_gguf
from sklearn_logprob.backends.transformers import TransformersBackend
from sklearn_logprob.datasets import fetch_rotten_tomatoes

SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel = sys.argv[1], 2048, 1
params.warmup, params.verbosity = False, -1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
CONVERT = """
import sys, llama_cpp
params = llama_cpp.llama_model_quantize_default_params()
params.ftype, params.allow_requantize = 0, True
names = [name.encode() for name in sys.argv[1:]]
sys.exit(llama_cpp.llama_model_quantize(*names, params))
"""
PROMPT = PromptTemplate(
    [("user", "Review: {text}\nSentiment:")],
    demonstrations=[
        ("A warm, funny and surprising film.", "positive"),
        ("Dull, endless, and badly acted.", "negative"),
    ],
)
WORDS = {"rotten": "negative", "fresh": "positive"}
LABELS = list(WORDS.values())


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100, help="reviews (default 100)")
    parser.add_argument("--as-is", action="store_true", help="keep the 4-bit weights")
    given = parser.parse_args()
    bunch = fetch_rotten_tomatoes(subset="test")
    texts = bunch.data[: given.rows].tolist()
    named = [WORDS[label] for label in bunch.target[: given.rows]]
    for package in ("llama-cpp-python", "xllamacpp", "transformers", "torch"):
        print(f"{package} {version(package)}", end="; ")
    kind = "4 bits, as shipped" if given.as_is else "float32"
    print(f"\n{len(texts)} reviews; weights: {kind}")
    with weights(given.as_is) as path, server(path) as url:
        backends = {
            "llama-cpp": LlamaCppBackend(path, weights="as-is"),
            "llama-server": LlamaServerBackend(url),
            "openai": OpenAIBackend("smollm2", base_url=f"{url}/v1", max_concurrency=1),
            "transformers": TransformersBackend(
                str(path.parent), gguf_file=path.name, dtype="float32"
            ),
        }
        P, decisions, right = {}, {}, {}
        for name, backend in backends.items():
            clf = classifier(backend)
            half = len(texts) // 2
            clf.fit(texts[:half], named[:half])
            P[name] = softmax(clf.label_scores(texts), axis=1)[:, 1]
            decisions[name] = clf.predict(texts[half:])
            right[name] = np.mean(decisions[name] == named[half:])
            print(
                f"{name:13} mass {clf.label_mass_:.3f}, right after fit {right[name]:.2f}"
            )
    table("mean (largest) absolute difference of P(positive), raw", P, differ)
    table("share of decisions after fit that differ", decisions, disagree)


def classifier(backend: Any) -> LogprobClassifier:
    """Ask as users do, with nothing kept from an earlier run."""
    return LogprobClassifier(
        backend,
        prompt=PROMPT,
        classes=LABELS,
        cache=tempfile.mkdtemp(prefix="agree-"),
        random_state=0,
    )


def differ(a: np.ndarray, b: np.ndarray) -> str:
    """Compare probabilities."""
    return f"{np.abs(a - b).mean():.5f} ({np.abs(a - b).max():.5f})"


def disagree(a: np.ndarray, b: np.ndarray) -> str:
    """Compare decisions."""
    return f"{np.mean(a != b):.3f}"


def table(title: str, values: dict[str, np.ndarray], compare: Any) -> None:
    """Print every pair."""
    print(f"\n{title}")
    for one, other in combinations(values, 2):
        print(f"  {one:13} {other:13} {compare(values[one], values[other])}")


@contextmanager
def weights(as_is: bool) -> Iterator[Path]:
    """Give the embedded weights, as 32-bit floats unless they are to be as shipped."""
    shipped = find_gguf(None)
    if as_is:
        yield shipped
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float32.gguf"
        convert = [sys.executable, "-c", CONVERT, str(shipped), str(path)]
        subprocess.run(convert, check=True, stderr=subprocess.DEVNULL)
        yield path


@contextmanager
def server(path: Path) -> Iterator[str]:
    """Run a real llama.cpp server and give its address."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


if __name__ == "__main__":
    main()
