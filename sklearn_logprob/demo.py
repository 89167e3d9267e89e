"""The main job in one run: real reviews, a real model, calibrated and tuned."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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
DULL = "Review: A dull, lifeless film that wastes a good cast.\nSentiment: negative"
WARM = "Review: Funny, warm and beautifully acted throughout.\nSentiment: positive"
QUESTION = "Review: {text}\nSentiment:"
TEMPLATES = {
    "no demonstration": QUESTION,
    "two, run on": f"{DULL}\n{WARM}\n{QUESTION}",
    "two, set apart": f"{DULL}\n\n{WARM}\n\n{QUESTION}",
}
"""Name → template; the last two differ by blank lines only."""


def run_demo(backend: str, output: Path) -> None:
    """Compare templates, fit the best, report on held-out reviews, draw the curves.

    Parameters
    ----------
    backend : str
        Who answers.
    output : Path
        Folder for the pictures.
    """
    # Without demonstrations the labels hold little probability; the table says so.
    warnings.simplefilter("ignore", LowLabelMassWarning)
    print("Reading film reviews; the first run downloads 9 MB.", flush=True)
    X, y = _reviews("train", N_TRAIN)
    X_test, y_test = _reviews("test", N_TEST)
    clf = LogprobClassifier(
        backend,
        verbalizer=VERBALIZER,
        threshold=METRIC,
        pos_label="fresh",
        verbose=True,
        random_state=0,
    )
    usage = Usage()
    print(f"Asking {backend} about {N_TRAIN} labelled and {N_TEST} other reviews:")
    for name, template in TEMPLATES.items():
        print(f"  template with {name.replace('two', 'two demonstrations')}", flush=True)
        asked = clone(clf).set_params(prompt=template).fit(X, y)
        asked.predict(X_test)
        _add(usage, asked.usage_)

    clf.set_params(verbose=False)  # every answer is in the cache from here on
    search = GridSearchCV(
        clf,
        {"prompt": list(TEMPLATES.values())},
        scoring=["neg_log_loss", "roc_auc", "accuracy"],
        refit="neg_log_loss",
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    ).fit(X, y)
    _print_search(search)
    _print_tests(search, X, y, X_test, y_test)
    best = search.best_estimator_
    _print_model(best)
    _add(usage, best.usage_)
    print(
        f"\nrequests sent: {usage.requests}; answered from the cache: {usage.cache_hits}"
    )
    _draw(best, X_test, y_test, output)


def _reviews(subset: Literal["train", "test"], n: int) -> tuple[list[str], NDArray[Any]]:
    data = fetch_rotten_tomatoes(subset=subset)
    return list(data.data[:n]), np.asarray(data.target[:n])


def _add(total: Usage, part: Usage) -> None:
    for field in fields(Usage):
        both = getattr(total, field.name) + getattr(part, field.name)
        setattr(total, field.name, both)


def _print_search(search: Any) -> None:
    """Show how the templates compare out of fold, calibrated and tuned."""
    results = search.cv_results_
    print(f"\n5-fold cross-validation on {N_TRAIN} reviews, calibrated and tuned")
    print(f"{'demonstrations':<18}{'log loss':>10}{'accuracy':>10}{'ROC AUC':>10}")
    for i, name in enumerate(TEMPLATES):
        means = [results[f"mean_test_{s}"][i] for s in ("neg_log_loss", "accuracy")]
        print(
            f"{name:<18}{-means[0]:>10.3f}{means[1]:>10.3f}"
            f"{results['mean_test_roc_auc'][i]:>10.3f}"
            f"{'  <- best' if i == search.best_index_ else ''}"
        )


def _print_tests(
    search: Any, X: list[str], y: NDArray[Any], X_test: list[str], y_test: NDArray[Any]
) -> None:
    """Show raw against calibrated and tuned, on reviews that were not learnt from."""
    print(f"\n{N_TEST} test reviews{'raw':>32}{'calibrated and tuned':>36}")
    columns = f"{'accuracy':>10}{'log loss':>10}{'Brier':>8}"
    print(f"{'demonstrations':<18}{'ROC AUC':>9} {columns} {columns}")
    for i, (name, template) in enumerate(TEMPLATES.items()):
        tuned = clone(search.best_estimator_).set_params(prompt=template)
        raw = clone(tuned).set_params(calibrator=None, threshold=None)
        auc, before = _scores(raw.fit(X, y), X_test, y_test)
        _, after = _scores(tuned.fit(X, y), X_test, y_test)
        best = "  <- best" if i == search.best_index_ else ""
        print(f"{name:<18}{auc:>9.3f} {before} {after}{best}")


def _scores(clf: Any, X: list[str], y: NDArray[Any]) -> tuple[float, str]:
    P = clf.predict_proba(X)
    fresh, p = y == "fresh", P[:, clf.classes_.tolist().index("fresh")]
    accuracy = accuracy_score(y, clf.predict(X))
    loss, brier = log_loss(y, P, labels=clf.classes_), brier_score_loss(fresh, p)
    return roc_auc_score(fresh, p), f"{accuracy:>10.3f}{loss:>10.3f}{brier:>8.3f}"


def _print_model(clf: Any) -> None:
    said = ", ".join(repr(token) for token in clf.other_tokens_["token"][:5])
    print(
        f"\nbest template: threshold for 'fresh', chosen for {METRIC}: "
        f"{clf.threshold_:.3f}\nlabel mass (median): {clf.label_mass_:.2f}; "
        f"otherwise the model would say {said}"
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
