"""Probabilities from counting what a model answers, for models that show none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from string import punctuation
from typing import Any, ClassVar

from scipy.special import betainc

from sklearn_logprob._errors import RowError
from sklearn_logprob._types import Answer, Outcome, Request
from sklearn_logprob.backends._repeated import (
    RepeatedBackend,
    ask_repeatedly,
    build,
    total,
)

__all__ = ["SamplingBackend"]

CERTAIN = 0.95  # probability at which the likeliest answer counts as found


class SamplingBackend(RepeatedBackend):
    """Asks another backend many times, and counts its answers.

    For models that write text and show no log-probabilities: Claude, OpenAI's reasoning
    models, Groq. Each text of X is asked `n_samples` times at temperature 1, or fewer
    times where the answers agree early. The shares of the labels are their probabilities,
    with a standard error of about ``sqrt(p * (1 - p) / n_samples)``.

    Stopping when the answers agree makes them look more agreed than they are: the share
    of the leading answer is too large on average. Calibration on labelled rows learns
    that as far as it is alike for all rows; ``adaptive=False`` avoids it, at full price.

    Parameters
    ----------
    backend : str or Backend, default="anthropic"
        Who is asked, such as ``"anthropic:claude-haiku-4-5"`` or an object.
    n_samples : int, default=20
        The most answers to draw for a request.
    min_samples : int, default=5
        With `adaptive`, how many answers are drawn before looking at them, and how many
        more each time.
    adaptive : bool, default=True
        Whether to stop asking when the likeliest answer is known with probability 0.95
        (against the second likeliest, from a uniform prior), or cannot be overtaken any
        more [1]_. All requests that are given together go through each round together.
        Answers that differ in case, surrounding space and final punctuation
        count as the same in this.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.
    scores_choices : bool
        False: it counts what the model says by itself.
    max_top_logprobs : int
        0: it shows no tokens.
    draws_samples : bool
        True: its answers hold several texts.
    requests_per_row : int
        The most calls of the model that a request takes.

    References
    ----------
    .. [1] P. Aggarwal, A. Madaan, Y. Yang and Mausam, "Let's Sample Step by Step:
       Adaptive-Consistency for Efficient Reasoning and Coding with LLMs", EMNLP 2023.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob.backends.sampling import SamplingBackend
    >>> model = FakeBackend({"great": {"positive": 2.0}}, exact=False)
    >>> backend = SamplingBackend(model, n_samples=50, adaptive=False)
    >>> clf = LogprobClassifier(backend, classes=["negative", "positive"],
    ...                         prompt="{text}", calibrator=None).fit()
    >>> bool(clf.predict_proba(["great"])[0, 1] > 0.7)  # the model means 0.88
    True
    """

    answer_params: ClassVar[tuple[str, ...]] = (
        "backend",
        "n_samples",
        "min_samples",
        "adaptive",
    )
    draws_samples: bool = True

    def __init__(
        self,
        backend: Any = "anthropic",
        *,
        n_samples: int = 20,
        min_samples: int = 5,
        adaptive: bool = True,
    ) -> None:
        self.backend = backend
        self.n_samples = n_samples
        self.min_samples = min_samples
        self.adaptive = adaptive

    def _times(self) -> int:
        return self.n_samples

    def _check(self, requests: Sequence[Request]) -> None:
        self._check_count("n_samples")
        self._check_count("min_samples")

    def _written(self, request: Request, number: int) -> Request:
        draw = request.draw * self.n_samples + number + 1
        return replace(request, top_logprobs=0, choices=(), draw=draw)

    def _answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask in rounds, the later ones about those requests that are not settled."""
        inner = self._inner()
        drawn: dict[int, list[Answer]] = {index: [] for index in range(len(requests))}
        n_drawn = 0
        while drawn:
            step = self.min_samples if self.adaptive else self.n_samples
            n_after = min(n_drawn + step, self.n_samples)
            numbers = range(n_drawn, n_after)
            asked = {i: [self._written(requests[i], n) for n in numbers] for i in drawn}
            for index, outcome in ask_repeatedly(inner, asked):
                if isinstance(outcome, RowError):
                    del drawn[index]
                    yield index, outcome
                    continue
                drawn[index] += outcome
                texts: Counter[str] = Counter()
                for text, times in chain(*(answer.draws for answer in drawn[index])):
                    texts[text] += times
                left = self.n_samples - n_after
                if not left or settled(_folded(texts), left):
                    answers = drawn.pop(index)
                    draws = sorted(texts.items(), key=lambda item: (-item[1], item[0]))
                    usage, who = total(answers), build(answers)
                    yield index, Answer(usage=usage, draws=tuple(draws), build=who)
            n_drawn = n_after


def settled(counts: Iterable[int], left: int) -> bool:
    """Tell whether the likeliest answer is known well enough.

    Parameters
    ----------
    counts : iterable of int
        How often each answer was drawn.
    left : int
        How many more may be drawn.

    Returns
    -------
    settled : bool
        Whether more draws would hardly change which is the likeliest.

    Examples
    --------
    >>> from sklearn_logprob.backends.sampling import settled
    >>> settled([5], left=15), settled([4, 1], left=15), settled([4, 1], left=2)
    (True, False, True)
    """
    first, second = sorted([*counts, 0, 0], reverse=True)[:2]
    if first > second + left:
        return True
    # that the first is drawn more often than the second, from their counts
    return bool(betainc(second + 1, first + 1, 0.5) > CERTAIN)


def _folded(texts: Counter[str]) -> Iterable[int]:
    counts: Counter[str] = Counter()
    for text, times in texts.items():
        counts[text.strip().casefold().rstrip(punctuation)] += times
    return counts.values()
