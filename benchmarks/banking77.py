"""77 intents of Banking77, asked by name and by number, with the embedded model.

    python benchmarks/banking77.py    # about ten minutes on two idle cores

By name each intent is scored as a sequence of tokens; by number the prompt lists all 77,
and one or two tokens answer. One draw of the rows: an accuracy of a half has a standard
error of three points.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _banking77 import fetch_labelled
from _embedding import embed
from platformdirs import user_cache_dir
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import top_k_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_logprob import LlamaCppBackend, LogprobClassifier, Verbalizer

RESULT = Path(__file__).parent / "results" / "banking77.md"
FOLDER = Path(user_cache_dir("sklearn-logprob"), "benchmarks")
EACH, EACH_TEST = (2, 5), 4  # rows of each intent
ASKED = {
    "by name": {
        "prompt": "Query: {text}\nTopic of the query:",
        "verbalizer": Verbalizer(pool_case=False),  # half the texts to score
    },
    "by number": {
        "prompt": "{labels}\n\nQuery: {text}\nNumber of its topic:",
        "verbalizer": Verbalizer(codes="numbers"),
    },
}


def ways(names: list[str]) -> Iterator[tuple[str, object, bool]]:
    """Give everything that is compared, and whether it needs labels."""
    backend = LlamaCppBackend()
    for way, params in ASKED.items():
        yield f"{way}, raw", _classifier(backend, names, calibrator=None, **params), False
        for readout in ("labels", "auto"):
            made = _classifier(backend, names, readout=readout, **params)
            yield f"{way}, `readout={readout!r}`", made, True
    strong = LogisticRegression(C=100, max_iter=2000)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    yield "TF-IDF, logistic regression", make_pipeline(words, strong), True
    vectors = FunctionTransformer(lambda texts: embed(list(texts), FOLDER))
    yield "MiniLM, logistic regression", make_pipeline(vectors, strong), True
    yield "chance", DummyClassifier(), True


def _classifier(backend: object, names: list[str], **params: object) -> object:
    return LogprobClassifier(backend, classes=names, **params)


def main() -> None:
    """Ask, compare, and write the table."""
    X, y, names = fetch_labelled()
    names = sorted(names)  # as scikit-learn's metrics want classes
    pool, X_test, y_pool, y_test = train_test_split(
        X,
        y,
        train_size=EACH[-1] * len(names),
        test_size=EACH_TEST * len(names),
        stratify=y,
        random_state=0,
    )
    # so that the first rows hold as many of each intent
    turn = {name: iter(range(EACH[-1])) for name in names}
    order = np.argsort([next(turn[name]) for name in y_pool], kind="stable")
    warnings.simplefilter("ignore")
    lines = [
        "# Banking77's 77 intents",
        "",
        "`python benchmarks/banking77.py`: SmolLM2-135M, accuracy (and whether the "
        f"intent is among the five likeliest) on {len(X_test)} queries after n "
        "labelled ones.",
        "",
        f"| | {' | '.join(f'n={each * len(names)}' for each in EACH)} |",
        "|---|" + "---|" * len(EACH),
    ]
    print("\n".join(lines), flush=True)
    for name, model, learns in ways(names):
        cells = []
        for each in EACH if learns else EACH[:1]:
            known = order[: each * len(names)]
            P = model.fit(pool[known], y_pool[known]).predict_proba(X_test)
            top = top_k_accuracy_score(y_test, P, k=5, labels=model.classes_)
            right = np.mean(model.classes_[P.argmax(axis=1)] == y_test)
            cells.append(f"{right:.3f} ({top:.3f})")
        cells += cells[:1] * (len(EACH) - len(cells))  # nothing is learnt
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    RESULT.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
