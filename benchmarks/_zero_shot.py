"""Packages that classify without labels, on the same weights and the same prompts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from _methods import NO_LABELS, Result, Sample
from _prompts import CHOSEN, PROMPTS
from _sweep import Task, judge

from sklearn_logprob.backends.transformers import TransformersBackend

ROWS = 300


def first_forms(task: Task) -> list[str]:
    """Give the word of each class that other packages score."""
    return [forms[0] for forms in PROMPTS[task.name][CHOSEN[task.name]].forms]


def loaded() -> tuple[Any, Any]:
    """Load the embedded weights for transformers, as `TransformersBackend()` does."""
    engine = TransformersBackend(device="cpu", dtype="float32")._engine()
    return engine._passes.model, engine._tokenizer


def with_cappr(task: Task, model: Any, tokenizer: Any) -> np.ndarray:
    """Score the labels after our prompt."""
    # cappr 0.9.6 looks for a name that NumPy 2 has moved
    np.VisibleDeprecationWarning = np.exceptions.VisibleDeprecationWarning
    from cappr.huggingface.classify import predict_proba  # noqa: PLC0415

    template = PROMPTS[task.name][CHOSEN[task.name]].template
    prompts = [template.replace("{text}", text) for text in task.test.texts[:ROWS]]
    return predict_proba(
        prompts,
        first_forms(task),
        (model, tokenizer),
        batch_size=8,
        show_progress_bar=False,
    )


def with_skorch(task: Task, model: Any, tokenizer: Any) -> np.ndarray:
    """Let skorch ask with the prompt that it comes with."""
    from skorch.llm import ZeroShotClassifier  # noqa: PLC0415

    words = first_forms(task)
    classifier = ZeroShotClassifier(model=model, tokenizer=tokenizer)
    classifier.fit(None, words)
    P = classifier.predict_proba(list(task.test.texts[:ROWS]))
    return P[:, np.searchsorted(classifier.classes_, words)]


RIVALS: dict[str, Callable[[Task, Any, Any], np.ndarray]] = {
    "cappr": with_cappr,
    "skorch.llm": with_skorch,
}


def zero_shot(tasks: list[Task]) -> pd.DataFrame:
    """Give one row a data set and package; what cannot run says why."""
    model, tokenizer = loaded()
    cells = []
    for task in tasks:
        y = task.split.y_test[:ROWS]
        known = Sample(task.pool, task.split.y_pool, task.test[np.arange(ROWS)])
        found = {name: method(known).P for name, method in NO_LABELS.items()}
        for name, ask in RIVALS.items():
            cell = {"data": task.name, "method": name}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found[name] = ask(task, model, tokenizer)
            except Exception as error:  # any failure of theirs is a result
                cells.append(cell | {"failed": f"{type(error).__name__}: {error}"})
        for name, P in found.items():
            cell = {"data": task.name, "method": name}
            cells.append(cell | judge(Result(P), y, y))
    return pd.DataFrame(cells)
