"""Others that classify without labels, on the same weights and the same prompts."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from _methods import NO_LABELS, Result, Sample
from _prompts import CHOSEN, PROMPTS
from _sweep import UNLABELLED, Task, classifier_of, judge

from sklearn_logprob import DomainPrompt, DomainWords
from sklearn_logprob.backends._llama_weights import find_weights
from sklearn_logprob.backends.transformers import TransformersBackend

ROWS = 200


def first_forms(task: Task) -> list[str]:
    """Give the word of each class that other packages score."""
    return [forms[0] for forms in PROMPTS[task.name][CHOSEN[task.name]].forms]


def with_cappr(task: Task, cache: Path) -> np.ndarray:
    """Score the labels after our prompt.

    cappr 0.9.6 cannot be imported beside transformers 5, wants a name that NumPy 2 has
    moved, and gives equal probabilities without a word unless all logits are kept.
    """
    np.VisibleDeprecationWarning = np.exceptions.VisibleDeprecationWarning
    with patch.dict(sys.modules, {"transformers": None}):
        from cappr.llama_cpp.classify import predict_proba  # noqa: PLC0415
    from llama_cpp import Llama  # noqa: PLC0415

    weights, _ = find_weights(None, "bf16")  # those that our own answers are from
    one = {"n_threads": 1, "n_threads_batch": 1}  # more wait for each other
    model = Llama(str(weights), n_ctx=1024, logits_all=True, verbose=False, **one)
    template = PROMPTS[task.name][CHOSEN[task.name]].template
    prompts = [template.replace("{text}", text) for text in task.test.texts[:ROWS]]
    return predict_proba(prompts, first_forms(task), model, show_progress_bar=False)


def with_skorch(task: Task, cache: Path) -> np.ndarray:
    """Let skorch ask with the prompt that it comes with."""
    from skorch.llm import ZeroShotClassifier  # noqa: PLC0415

    engine = TransformersBackend(device="cpu", dtype="float32")._engine()
    model, tokenizer = engine._passes.model, engine._tokenizer
    words = first_forms(task)
    classifier = ZeroShotClassifier(model=model, tokenizer=tokenizer)
    classifier.fit(None, words)
    P = classifier.predict_proba(list(task.test.texts[:ROWS]))
    return P[:, np.searchsorted(classifier.classes_, words)]


def without_content(content_free: Any, task: Task, cache: Path) -> np.ndarray:
    """Subtract what the model says to inputs that hold no text of a row."""
    classifier = classifier_of(
        task, cache, calibrator=None, content_free=content_free, random_state=0
    )
    classifier.fit(task.pool.texts[:UNLABELLED])
    return classifier.predict_proba(task.test.texts[:ROWS])


def without_text(task: Task, cache: Path) -> np.ndarray:
    """Subtract what the model says where only the end of the prompt stands."""
    template = PROMPTS[task.name][CHOSEN[task.name]].template
    end = template.rpartition("{text}")[2].strip()
    return without_content(DomainPrompt(end), task, cache)


RIVALS: dict[str, Callable[[Task, Path], np.ndarray]] = {
    "contextual calibration": partial(without_content, ("N/A", "[MASK]", "")),
    "domain calibration": partial(without_content, DomainWords()),
    "domain-conditional PMI": without_text,
    "cappr": with_cappr,
    "skorch.llm": with_skorch,
}


def zero_shot(task: Task, cache: Path) -> pd.DataFrame:
    """Give one row a package; what cannot run says why."""
    y = task.split.y_test[:ROWS]
    known = Sample(task.pool, task.split.y_pool, task.test[np.arange(ROWS)])
    methods = {name: partial(method, known) for name, method in NO_LABELS.items()}
    methods |= {
        name: partial(_of_rival, ask, task, cache) for name, ask in RIVALS.items()
    }
    cells = []
    for name, method in methods.items():
        cell: dict[str, object] = {"data": task.name, "method": name}
        try:
            cells.append(cell | judge(method(), y, y))
        except Exception as error:  # any failure of theirs is a result
            cells.append(cell | {"failed": f"{type(error).__name__}: {error}"})
    return pd.DataFrame(cells)


def _of_rival(ask: Callable[[Task, Path], np.ndarray], task: Task, cache: Path) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Result(ask(task, cache))
