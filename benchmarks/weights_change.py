"""What the format of the weights changes: label probabilities, not speed.

    python benchmarks/weights_change.py

The embedded model reads the same reviews with its weights as 32-bit floats, which keep
the shipped values and are computed with exactly: the reference. Then in every other
format, all rows side by side as the classifier asks; and each format one row at a time,
which shows what a score depends on its neighbours. "torch" is `TransformersBackend`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from sklearn_logprob import LlamaCppBackend, LogprobClassifier, TransformersBackend
from sklearn_logprob.datasets import fetch_rotten_tomatoes
from sklearn_logprob.demo import TEMPLATES

N_ROWS = 100
FORMATS = {
    **{name: LlamaCppBackend(weights=name) for name in ("as-is", "bf16", "f16", "f32")},
    "torch bfloat16": TransformersBackend(dtype="bfloat16"),
    "torch float32": TransformersBackend(dtype="float32"),
}


def scores(backend: Any, texts: list[str], *, alone: bool = False) -> np.ndarray:
    """Give P(positive) and the log-probability of each label: (n, 3)."""
    clf = LogprobClassifier(
        backend,
        prompt=TEMPLATES["two, set apart"],
        classes=["negative", "positive"],
        calibrator=None,
        cache=None,
    ).fit()
    batches = [[text] for text in texts] if alone else [texts]
    log_probs = np.concatenate([clf.label_scores(batch) for batch in batches])
    odds = log_probs[:, 1] - log_probs[:, 0]
    return np.column_stack([1 / (1 + np.exp(-odds)), log_probs])


def main() -> None:
    """Print one line a format."""
    texts = fetch_rotten_tomatoes(subset="test").data[:N_ROWS].tolist()
    together = {name: scores(backend, texts) for name, backend in FORMATS.items()}
    exact = together["f32"]
    print(
        f"llama-cpp-python {version('llama-cpp-python')}; torch {version('torch')}; "
        f"{N_ROWS} reviews"
    )
    print("mean (largest) absolute difference, and decisions that differ")
    print(
        "               |            from f32                       | one row at a time"
    )
    print("weights        | P(positive)      log P(label)     decided | P(positive)")
    for name, backend in FORMATS.items():
        p, q = together[name], scores(backend, texts, alone=True)
        decided = np.mean((p[:, 0] > 0.5) != (exact[:, 0] > 0.5))
        print(
            f"{name:<15}| {said(p[:, 0] - exact[:, 0])} {said(p[:, 1:] - exact[:, 1:])}"
            f"   {decided:.2f}  | {said(p[:, 0] - q[:, 0])}"
        )


def said(differences: np.ndarray) -> str:
    """Write the mean and the largest."""
    return f"{np.abs(differences).mean():.4f} ({np.abs(differences).max():.4f})"


if __name__ == "__main__":
    main()
