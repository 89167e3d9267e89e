"""The main job in one run: real reviews, a real model, calibrated and tuned."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import (
    PrecisionRecallDisplay,
    RocCurveDisplay,
    accuracy_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from sklearn_logprob._errors import LowLabelMassWarning
from sklearn_logprob._types import Usage
from sklearn_logprob.classifier import LogprobClassifier
from sklearn_logprob.datasets import fetch_rotten_tomatoes
from sklearn_logprob.plots import ThresholdDisplay

__all__ = ["N_TEST", "N_TRAIN", "TEMPLATES", "VERBALIZER", "run_demo"]

N_TRAIN, N_TEST = 200, 300
METRIC = "balanced_accuracy"
VERBALIZER = {"rotten": "negative", "fresh": "positive"}
TEMPLATES = {
    "plain": "Review: {text}\nSentiment:",
    "sentence": "Movie review: {text}\nThe critic's opinion of the movie is",
    "two demonstrations": (
        "Review: A dull, lifeless film that wastes a good cast.\n"
        "Sentiment: negative\n\n"
        "Review: Funny, warm and beautifully acted from start to finish.\n"
        "Sentiment: positive\n\n"
        "Review: {text}\nSentiment:"
    ),
}


def run_demo(backend: str, output: Path) -> None:
    """Compare templates, fit the best, report on held-out reviews, draw the curves.

    Parameters
    ----------
    backend : str
        Who answers.
    output : Path
        Folder for the pictures.
    """
    # Two templates leave the labels little probability; the table says so instead.
    warnings.simplefilter("ignore", LowLabelMassWarning)
    X, y = _reviews("train", N_TRAIN)
    X_test, y_test = _reviews("test", N_TEST)
    usage = Usage()
    clf = LogprobClassifier(
        backend,
        verbalizer=VERBALIZER,
        threshold=METRIC,
        pos_label="fresh",
        random_state=0,
    )
    print(f"Asking {backend} about {N_TRAIN} labelled reviews, with each template:")
    raw_scores = {}
    for name, template in TEMPLATES.items():
        print(f"  {name}", flush=True)
        raw = clone(clf).set_params(prompt=template, calibrator=None, threshold=None)
        raw.set_params(verbose=True).fit(X, y).set_params(verbose=False)
        raw_scores[name] = (raw.label_mass_, *_log_loss_and_accuracy(raw, X, y))
        _add(usage, raw.usage_)
    search = GridSearchCV(  # asks nothing: every answer is in the cache
        clf.set_params(verbose=False),
        {"prompt": list(TEMPLATES.values())},
        scoring=["neg_log_loss", "roc_auc", "accuracy"],
        refit="neg_log_loss",
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    ).fit(X, y)
    _print_search(search, raw_scores)

    best = search.best_estimator_
    raw = clone(best).set_params(calibrator=None, threshold=None).fit(X, y)
    print(f"\nAsking about {N_TEST} other reviews, with the best template:", flush=True)
    best.set_params(verbose=True).predict(X_test)
    _print_scores(raw, best.set_params(verbose=False), X_test, y_test)
    _print_model(best)
    for part in (best, raw):
        _add(usage, part.usage_)
    print(f"\n{usage.requests} requests sent, {usage.cache_hits} answered from the cache")
    _draw(best, X_test, y_test, output)


def _reviews(subset: Literal["train", "test"], n: int) -> tuple[list[str], NDArray[Any]]:
    data = fetch_rotten_tomatoes(subset=subset)
    return list(data.data[:n]), np.asarray(data.target[:n])


def _add(total: Usage, part: Usage) -> None:
    for field in fields(Usage):
        both = getattr(total, field.name) + getattr(part, field.name)
        setattr(total, field.name, both)


def _log_loss_and_accuracy(
    clf: Any, X: list[str], y: NDArray[Any]
) -> tuple[float, float]:
    loss = log_loss(y, clf.predict_proba(X), labels=clf.classes_)
    return loss, accuracy_score(y, clf.predict(X))


def _print_search(search: Any, raw_scores: Mapping[str, tuple[float, ...]]) -> None:
    """Show how the templates compare before calibration, and after it out of fold."""
    print(
        f"\n{'':<20}{'label':>8}{'raw':>19}{'calibrated, 5-fold CV':>29}\n"
        f"{'template':<20}{'mass':>8}{'log loss':>10}{'accuracy':>9}"
        f"{'log loss':>10}{'accuracy':>9}{'ROC AUC':>9}"
    )
    results = search.cv_results_
    for i, (name, (mass, loss, accuracy)) in enumerate(raw_scores.items()):
        print(
            f"{name:<20}{mass:>8.3f}{loss:>10.3f}{accuracy:>9.3f}"
            f"{-results['mean_test_neg_log_loss'][i]:>10.3f}"
            f"{results['mean_test_accuracy'][i]:>9.3f}"
            f"{results['mean_test_roc_auc'][i]:>9.3f}"
            f"{'  <- best' if i == search.best_index_ else ''}"
        )


def _print_scores(raw: Any, best: Any, X: list[str], y: NDArray[Any]) -> None:
    """Show raw against calibrated and tuned, on reviews that were not learnt from."""
    fresh = y == "fresh"
    rows: dict[str, list[float]] = {}
    for clf in (raw, best):
        P = clf.predict_proba(X)
        p = P[:, clf.classes_.tolist().index("fresh")]
        rows.setdefault("ROC AUC", []).append(roc_auc_score(fresh, p))
        rows.setdefault("accuracy", []).append(accuracy_score(y, clf.predict(X)))
        rows.setdefault("log loss", []).append(log_loss(y, P, labels=clf.classes_))
        rows.setdefault("Brier score", []).append(brier_score_loss(fresh, p))
    print(f"\n{f'{len(y)} test reviews':<26}{'raw':>9}{'calibrated and tuned':>23}")
    for name, (before, after) in rows.items():
        print(f"  {name:<24}{before:>9.3f}{after:>23.3f}")


def _print_model(clf: Any) -> None:
    said = ", ".join(repr(token) for token in clf.other_tokens_["token"][:5])
    print(
        f"\nthreshold for 'fresh', chosen for {METRIC}: {clf.threshold_:.3f}\n"
        f"label mass (median): {clf.label_mass_:.2f}; else it would say {said}"
    )


def _draw(clf: Any, X: list[str], y: NDArray[Any], output: Path) -> None:
    """Write the ROC curve, precision and recall by threshold and against each other."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        print("\nNo pictures: they need matplotlib, pip install 'sklearn-logprob[plots]'")
        return
    output.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "roc": (
            "ROC curve",
            lambda ax: RocCurveDisplay.from_estimator(
                clf,
                X,
                y,
                ax=ax,
                pos_label="fresh",
                name="calibrated",
                plot_chance_level=True,
            ),
        ),
        "thresholds": (
            "Choosing an operating point",
            lambda ax: ThresholdDisplay.from_estimator(clf, X, y, ax=ax),
        ),
        "precision_recall": (
            "Precision–recall curve",
            lambda ax: PrecisionRecallDisplay.from_estimator(
                clf,
                X,
                y,
                ax=ax,
                pos_label="fresh",
                name="calibrated",
                plot_chance_level=True,
            ),
        ),
    }
    for name, (title, draw) in drawings.items():
        figure = Figure(figsize=(5.5, 4.5), layout="constrained")
        ax = figure.add_subplot()
        draw(ax)
        ax.set_title(f"{title}: {len(y)} test reviews")
        figure.savefig(output / f"{name}.png", dpi=150)
        print(f"wrote {output / f'{name}.png'}")
