"""77 intents of Banking77, asked by name and by number, with the embedded model.

    python benchmarks/banking77.py     # three minutes the first time

By name each intent is scored as a sequence of tokens; by number the prompt lists all 77
and one or two tokens answer. Without labels, and with two of each intent.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
from _banking77 import fetch_labelled
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import top_k_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_logprob import LlamaCppBackend, LogprobClassifier, Verbalizer

RESULT = Path(__file__).parent / "results" / "banking77.md"
N_TRAIN, N_TEST = 154, 154  # two and two of each intent
ASKED = {
    "by name": {"prompt": "Query: {text}\nTopic of the query:"},
    "by number": {
        "prompt": "{labels}\n\nQuery: {text}\nNumber of its topic:",
        "verbalizer": Verbalizer(codes="numbers"),
    },
}


def main() -> None:
    """Ask, compare, and write the table."""
    X, y, names = fetch_labelled()
    X, X_test, y, y_test = train_test_split(
        X, y, train_size=N_TRAIN, test_size=N_TEST, stratify=y, random_state=0
    )
    lines = [
        "# Banking77's 77 intents",
        "",
        "Written by `python benchmarks/banking77.py`: SmolLM2-135M, "
        f"{N_TRAIN} labelled queries, {N_TEST} to judge on.",
        "",
        "| | accuracy | top 5 | s for all |",
        "|---|---|---|---|",
    ]

    def report(name: str, model: object, seconds: float) -> None:
        P = model.predict_proba(X_test)
        top = top_k_accuracy_score(y_test, P, k=5, labels=model.classes_)
        right = np.mean(model.classes_[P.argmax(axis=1)] == y_test)
        lines.append(f"| {name} | {right:.3f} | {top:.3f} | {seconds:.0f} |")
        print(lines[-1], flush=True)

    warnings.simplefilter("ignore")
    for way, params in ASKED.items():
        start = perf_counter()
        raw = LogprobClassifier(
            LlamaCppBackend(), calibrator=None, classes=names, **params
        )
        report(f"{way}, raw", raw.fit(X), perf_counter() - start)
        for readout in ("labels", "auto"):
            start = perf_counter()
            learnt = LogprobClassifier(LlamaCppBackend(), readout=readout, **params)
            learnt.fit(X, y)
            report(f"{way}, {readout!r}", learnt, perf_counter() - start)
    words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=100))
    for name, model in (("chance", DummyClassifier()), ("TF-IDF", words)):
        start = perf_counter()
        report(name, model.fit(X, y), perf_counter() - start)
    RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
