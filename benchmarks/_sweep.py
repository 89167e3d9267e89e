"""The sweep of `accuracy.py`: data sets × numbers of labels × seeds × methods."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _answers import Answers, ask, verbalizer_of
from _datasets import SOURCES, Split
from _embedding import embed
from _methods import METHODS, NO_LABELS, RefusedError, Result, Sample, View
from _prompts import CHOSEN, PROMPTS
from _tables import ROW_ERROR
from joblib import Parallel, delayed
from sklearn.metrics import f1_score, log_loss
from threadpoolctl import threadpool_limits

from sklearn_logprob import LlamaCppBackend, LogprobClassifier
from sklearn_logprob._cuts import decide
from sklearn_logprob._features import TokenFeatures
from sklearn_logprob.metrics import debiased_calibration_error
from sklearn_logprob.thresholds import BestMetric

SIZES = (0, 16, 32, 64, 128, 256, 1000)
UNLABELLED = 256  # rows that n = 0 may look at
REDRAWN = 200  # times that the test rows are drawn again
GAIN = "macro-F1, plug-in, gain redrawn"

SEARCHED = {
    "plug-in": lambda P, y: BestMetric("f1_macro").fit(P, y),
    "plug-in without labels": lambda P, y: BestMetric("f1_macro").fit(P),
    "search": lambda P, y: BestMetric("f1_macro", method="search").fit(P, y),
}


@dataclass(frozen=True)
class Task:
    """A data set with all that is known about its rows."""

    name: str
    split: Split
    pool: View
    test: View
    answers: tuple[Answers, Answers]  # about pool and test


def load(name: str, cache: Path, verbose: bool) -> Task:
    """Ask the model, embed the texts, or find both in the cache."""
    split, prompt = SOURCES[name].split(cache), PROMPTS[name][CHOSEN[name]]
    answers = tuple(
        ask(prompt, texts, cache / "answers" / name, verbose)
        for texts in (split.pool, split.test)
    )
    features = TokenFeatures(min_count=1).fit(answers[0].outcomes)
    views = (
        View(
            np.array(texts, dtype=object),
            embed(texts, cache),
            told.S,
            features.transform(told.outcomes),
        )
        for texts, told in zip((split.pool, split.test), answers, strict=True)
    )
    return Task(name, split, *views, answers)


def drawn(task: Task, n: int, seed: int) -> np.ndarray:
    """Draw rows of the pool as they come: rare classes may be missing."""
    order = np.random.default_rng(seed).permutation(len(task.pool.texts))
    return order[: n or UNLABELLED]


def redrawn_macro_f1(y: np.ndarray, decided: np.ndarray, n_classes: int) -> np.ndarray:
    """Give macro-F1 on bootstrap samples of the test rows, the same in every call."""
    n = len(y)
    drawn_rows = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), REDRAWN)
    true, said = np.eye(n_classes)[y], np.eye(n_classes)[decided]
    hits, total = drawn_rows @ (true * said), drawn_rows @ (true + said)
    return (2 * hits / np.maximum(total, 1)).mean(axis=1)


def judge(result: Result, y_known: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Score probabilities, and the decisions that they and their thresholds give."""
    P, codes = result.P, range(result.P.shape[1])

    def macro_f1(decided: np.ndarray) -> float:
        return f1_score(y, decided, labels=codes, average="macro", zero_division=0)

    found = {
        "accuracy": float((P.argmax(axis=1) == y).mean()),
        "macro-F1": macro_f1(P.argmax(axis=1)),
        "log loss": log_loss(y, P, labels=codes),
        "calibration error": debiased_calibration_error(y, P),
    }
    if result.held_out is not None:
        for name, select in SEARCHED.items():
            decided = decide(P, select(result.held_out, y_known).threshold_)
            found[f"macro-F1, {name}"] = macro_f1(decided)
            if name == "plug-in":
                new, old = (
                    redrawn_macro_f1(y, each, P.shape[1])
                    for each in (decided, P.argmax(axis=1))
                )
                found[GAIN] = new - old
    return found


def one_draw(task: Task, n: int, seed: int) -> Iterator[dict[str, object]]:
    """Judge all methods on the same rows."""
    rows = drawn(task, n, seed)
    sample = Sample(task.pool[rows], task.split.y_pool[rows], task.test)
    for method, fit in (METHODS if n else NO_LABELS).items():
        cell = {"data": task.name, "n": n, "seed": seed, "method": method}
        try:
            scores = judge(fit(sample), sample.y, task.split.y_test)
        except RefusedError:
            scores = {}
        yield cell | scores


def quietly(task: Task, n: int, seed: int) -> list[dict[str, object]]:
    """Run in a worker: one thread, and no word about classes that are rare."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(one_draw(task, n, seed))


def sweep(task: Task, n_seeds: int, n_jobs: int) -> pd.DataFrame:
    """Give one row for each number of labels, seed and method."""
    jobs = [
        delayed(quietly)(task, n, seed)
        for n in sorted(SIZES, reverse=True)
        for seed in range(n_seeds)
    ]
    found = [row for rows in Parallel(n_jobs, batch_size=1)(jobs) for row in rows]
    cells = pd.DataFrame(found).sort_values(["n", "seed"], kind="stable")
    # what redrawn test rows do to the mean over the seeds, for each n and method
    gains = cells.dropna(subset=GAIN).groupby(["n", "method"])[GAIN]
    errors = gains.agg(lambda each: np.mean(np.stack(each), axis=0).std(ddof=1))
    cells = cells.drop(columns=GAIN)
    return cells.merge(errors.rename(ROW_ERROR).reset_index(), "left", ["n", "method"])


def classifier_of(task: Task, cache: Path, **params: Any) -> LogprobClassifier:
    """Ask as `load` did, so that everything is in the cache."""
    prompt = PROMPTS[task.name][CHOSEN[task.name]]
    return LogprobClassifier(
        LlamaCppBackend(weights="bf16", n_threads=1),
        prompt=prompt.template,
        verbalizer=verbalizer_of(prompt),
        classes=list(range(len(prompt.forms))),
        cache=cache / "answers" / task.name,
        **params,
    )


def end_to_end(task: Task, cache: Path, n: int = 64, rows: int = 100) -> float:
    """Give the largest difference from what `LogprobClassifier` makes of the texts."""
    chosen = drawn(task, n, 0)
    new = task.test[np.arange(rows)]
    sample = Sample(task.pool[chosen], task.split.y_pool[chosen], new)
    classifier = classifier_of(task, cache, readout="auto", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier.fit(sample.known.texts, sample.y)
        P = classifier.predict_proba(sample.new.texts)
        direct = METHODS["ours, auto"](sample).P
    return float(np.abs(P - direct).max())
