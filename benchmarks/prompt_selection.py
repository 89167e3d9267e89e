"""How well prompts are chosen without labels, and what asking several is worth.

    pip install 'sklearn-logprob[local]'
    python benchmarks/prompt_selection.py      # an hour on two busy cores; then minutes

Eight templates ask the embedded model about 200 training and 200 test reviews of Rotten
Tomatoes. Mutual information ranks them by the training texts alone, on batch-calibrated
probabilities. Is the ranking that of the accuracies on the test reviews? And does an
ensemble of all of them do better than the template chosen? The answers are kept in the
cache. Writes results/prompt_selection.md.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedShuffleSplit

from sklearn_logprob import (
    LlamaCppBackend,
    LogprobClassifier,
    LowLabelMassWarning,
    PromptEnsemble,
    PromptTemplate,
    cross_val_proba,
    make_calibrator,
)
from sklearn_logprob.datasets import fetch_rotten_tomatoes
from sklearn_logprob.demo import DULL, QUESTION, TEMPLATES, VERBALIZER, WARM
from sklearn_logprob.metrics import mutual_information

N_TRAIN, N_TEST, N_FEW, N_DRAWS = 200, 200, 64, 20
RESULT = Path(__file__).parent / "results" / "prompt_selection.md"
ASKED: dict[str, Any] = {
    **TEMPLATES,
    "two, other order": f"{WARM}\n\n{DULL}\n\n{QUESTION}",
    "labels listed": None,
    "asked in a sentence": "{text}\n\nIs this review positive or negative? It is",
    "tone": "Review: {text}\nThe tone of this review is",
    "chat": PromptTemplate(
        [
            (
                "user",
                "Review: {text}\nIs it positive or negative? Answer with one word.",
            )
        ]
    ),
}
ENSEMBLES: dict[str, Any] = {
    f"ensemble, {combine}": PromptEnsemble(list(ASKED.values()), combine=combine)
    for combine in ("average", "stack")
}


def main() -> None:
    """Ask, compare, and write the tables."""
    warnings.simplefilter("ignore", LowLabelMassWarning)
    train, test = reviews("train", N_TRAIN), reviews("test", N_TEST)
    free = {name: without_labels(name, train, test) for name in ASKED}
    every = {name: learnt(name, train, test)[0] for name in ASKED}
    few, by_loss = with_few(train, test)
    chosen = max(ASKED, key=lambda name: free[name][0])
    lines = [
        f"SmolLM2-135M-Instruct (4 bits), llama-cpp-python "
        f"{version('llama-cpp-python')}; "
        f"{N_TRAIN} training and {N_TEST} test reviews of Rotten Tomatoes. Accuracy on "
        "the test reviews; an accuracy there has a standard error of about "
        f"{np.sqrt(0.21 / N_TEST):.3f}.",
        "",
        "| template | mutual information | no labels | 200 labels | 64 labels |",
        "|---|---|---|---|---|",
    ]
    for name in sorted(ASKED, key=lambda name: -free[name][0]):
        mi, accuracy = free[name]
        lines.append(
            f"| {name} | {mi:.4f} | {accuracy:.3f} | {every[name]:.3f} | "
            f"{few[name][:, 0].mean():.3f} |"
        )
    lines += ["", *ranking(free, every, few), "", *choices(free, every, few, chosen)]
    lines += ["", *ensembles(few, by_loss, chosen)]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        "# Prompts chosen without labels\n\nWritten by "
        "`python benchmarks/prompt_selection.py`.\n\n" + "\n".join(lines) + "\n"
    )
    print("\n".join(lines))


def reviews(subset: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the first texts of a subset, and their labels."""
    bunch = fetch_rotten_tomatoes(subset=subset)
    return bunch.data[:n], bunch.target[:n]


def classifier(name: str) -> LogprobClassifier:
    """Ask with a template, or with all of them."""
    prompt = {**ASKED, **ENSEMBLES}[name]
    return LogprobClassifier(
        LlamaCppBackend(weights="bf16"),
        prompt=prompt,
        verbalizer=VERBALIZER,
        readout="labels",
        random_state=0,
    )


def without_labels(name: str, train: Any, test: Any) -> tuple[float, float]:
    """Give mutual information on the training texts, and accuracy on the others."""
    clf = classifier(name).fit(train[0])
    return mutual_information(clf.predict_proba(train[0])), clf.score(*test)


def learnt(name: str, train: Any, test: Any) -> tuple[float, float]:
    """Give accuracy and log loss after calibration."""
    clf = classifier(name).fit(*train)
    P = clf.predict_proba(test[0])
    return accuracy_score(test[1], clf.predict(test[0])), log_loss(test[1], P)


def with_few(train: Any, test: Any) -> tuple[dict[str, np.ndarray], list[str]]:
    """Repeat with few labels: the scores, and the templates that the labels choose."""
    X, y = train
    S = {name: classifier(name).fit(X).label_scores(X) for name in ASKED}
    codes = np.searchsorted(np.unique(y), y)
    found: dict[str, list[Any]] = {name: [] for name in [*ASKED, *ENSEMBLES]}
    by_loss = []
    draws = StratifiedShuffleSplit(N_DRAWS, train_size=N_FEW, random_state=0)
    for own, _ in draws.split(X, y):
        for name, scores in found.items():
            scores.append(learnt(name, (X[own], y[own]), test))
        losses = {
            name: log_loss(
                codes[own],
                cross_val_proba(
                    make_calibrator("auto"), s[own], codes[own], random_state=0
                ),
            )
            for name, s in S.items()
        }
        by_loss.append(min(losses, key=losses.__getitem__))
    return {name: np.array(scores) for name, scores in found.items()}, by_loss


def ranking(free: Any, every: Any, few: Any) -> list[str]:
    """Correlate mutual information with the accuracies."""
    mi = [free[name][0] for name in ASKED]
    columns = {
        "no labels": [free[name][1] for name in ASKED],
        "200 labels": [every[name] for name in ASKED],
        "64 labels": [few[name][:, 0].mean() for name in ASKED],
    }
    told = [
        f"{spearmanr(mi, column).statistic:.2f} ({name})"
        for name, column in columns.items()
    ]
    return ["Rank correlation of mutual information with accuracy: " + ", ".join(told)]


def choices(free: Any, every: Any, few: Any, chosen: str) -> list[str]:
    """Compare the template chosen with the average and the best one."""
    lines = [
        "| accuracy with | mean template | chosen by mutual information | "
        "best template | of the way |",
        "|---|---|---|---|---|",
    ]
    for title, scores in {
        "no labels": {name: free[name][1] for name in ASKED},
        "200 labels": every,
        "64 labels": {name: few[name][:, 0].mean() for name in ASKED},
    }.items():
        mean, best = np.mean(list(scores.values())), max(scores.values())
        way = (scores[chosen] - mean) / (best - mean)
        lines.append(
            f"| {title} | {mean:.3f} | {scores[chosen]:.3f} | {best:.3f} | {way:.0%} |"
        )
    return lines


def ensembles(few: Any, by_loss: list[str], chosen: str) -> list[str]:
    """Compare ensembles with single templates, with few labels."""
    draws = range(N_DRAWS)
    best = max(ASKED, key=lambda name: few[name][:, 0].mean())
    rows = {
        "mean template": np.mean([few[name] for name in ASKED], axis=0),
        f"chosen by mutual information: {chosen}": few[chosen],
        "chosen by out-of-fold log loss": np.array(
            [few[by_loss[draw]][draw] for draw in draws]
        ),
        **{name: few[name] for name in ENSEMBLES},
        f"best template, by the test reviews: {best}": few[best],
    }
    lines = [
        f"With {N_FEW} labels, mean over {N_DRAWS} draws of them; ± is the standard "
        "error, over draws, of the difference to the template chosen by mutual "
        "information. It does not count that other reviews would give other numbers.",
        "",
        "| prompt | accuracy | log loss |",
        "|---|---|---|",
    ]
    for name, scores in rows.items():
        apart = (scores - few[chosen]).std(axis=0, ddof=1) / np.sqrt(N_DRAWS)
        told = [
            f"{mean:.3f} ± {error:.3f}"
            for mean, error in zip(scores.mean(axis=0), apart, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(told)} |")
    return lines


if __name__ == "__main__":
    main()
