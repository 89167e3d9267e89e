"""Which prompt: held-out log loss and accuracy with 64 labels, on the pool alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _answers import ask
from _datasets import SOURCES
from _prompts import PROMPTS
from sklearn.metrics import log_loss

from sklearn_logprob._features import TokenFeatures
from sklearn_logprob.readout import TokenReadout

ROWS, LABELS, TIMES = 128, 64, 10


def held_out(answers, y, seed: int) -> tuple[float, float]:
    """Learn from 64 rows and judge on the others."""
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = order[:LABELS], order[LABELS:]
    known = answers[train]
    features = TokenFeatures().fit(known.outcomes)
    readout = TokenReadout().fit(known.S, features.transform(known.outcomes), y[train])
    new = answers[test]
    P = readout.predict_proba(new.S, features.transform(new.outcomes))
    return (
        log_loss(y[test], P, labels=range(P.shape[1])),
        float((P.argmax(axis=1) == y[test]).mean()),
    )


def compare_prompts(names: list[str], cache: Path) -> None:
    """Print one line a prompt."""
    for name in names:
        split = SOURCES[name].split(cache)
        texts, y = split.pool[:ROWS], split.y_pool[:ROWS]
        print(f"{SOURCES[name].title}: {ROWS} rows, {LABELS} labels, {TIMES} draws")
        for title, prompt in PROMPTS[name].items():
            answers = ask(prompt, texts, cache / "answers" / name, False)
            found = [held_out(answers, y, seed) for seed in range(TIMES)]
            loss, right = np.mean(found, axis=0)
            raw = (answers.S.argmax(axis=1) == y).mean()
            print(
                f"  {title:24} log loss {loss:.3f}  accuracy {right:.3f}  raw {raw:.3f}"
                f"  label mass {answers.mass:.3f}",
                flush=True,
            )
