"""What the embedded model says about every text, asked once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _prompts import Prompt

from sklearn_logprob import LlamaCppBackend, Usage
from sklearn_logprob._inputs import Rows
from sklearn_logprob._types import Answer
from sklearn_logprob._views import plain_view
from sklearn_logprob.prompts import PromptTemplate
from sklearn_logprob.scorer import LabelScorer
from sklearn_logprob.verbalizers import Verbalizer


@dataclass(frozen=True)
class Answers:
    """Answers about the rows of one data set, and their label log scores."""

    outcomes: list[Answer]
    S: np.ndarray  # shape (n, K), natural log
    mass: float  # median probability on any label

    def __getitem__(self, rows: Any) -> Answers:
        return Answers([self.outcomes[i] for i in rows], self.S[rows], self.mass)


def verbalizer_of(prompt: Prompt) -> Verbalizer:
    """One spelling a word: others cost passes, and the read-out sees their tokens."""
    return Verbalizer(dict(enumerate(prompt.forms)), pool_case=False)


def scorer_of(prompt: Prompt, n_threads: int | None = None) -> LabelScorer:
    """Ask as `LogprobClassifier(prompt=..., verbalizer=...)` does."""
    forms = dict(enumerate(prompt.forms))
    spellings = verbalizer_of(prompt).spellings(list(forms))
    return LabelScorer(
        LlamaCppBackend(weights="bf16", n_threads=n_threads or 1),
        PromptTemplate(prompt.template),
        forms,
        [plain_view(list(forms.values()), spellings)],
    )


def ask(prompt: Prompt, texts: Sequence[str], cache: Path, verbose: bool) -> Answers:
    """Ask what is not in the cache."""
    scorer = scorer_of(prompt)
    requests = scorer.requests(Rows(("text",), [(text,) for text in texts]))
    outcomes = scorer.ask(requests, cache, Usage(), verbose)
    scores = scorer.read(outcomes).scores
    mass = float(np.median(np.exp(scores).sum(axis=1)))
    return Answers(outcomes, scores, mass)
