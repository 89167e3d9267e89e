"""A model that is not one: deterministic, offline, with a posterior that is known."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import log, prod
from typing import Any, ClassVar

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator

from sklearn_logprob._types import Answer, Floats, Request, TokenLogprobs, TokenUsage

__all__ = ["FakeBackend"]

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
OTHERS = (" the", " I", " a", "\n", " This", " It", " not", " very", " and", " to")


class FakeBackend(BaseEstimator):
    """A deterministic stand-in for a language model, for tests, docs and dry runs.

    What it believes is known in closed form, so that tests can ask whether calibration
    finds it. The log-odds of a surface form are the sum of the `evidence` of the words
    in the prompt; numbers in the prompt count in proportion to their value, each with a
    fixed direction. To these it adds a planted `bias`, divides by a planted
    `temperature`, and spends `1 - label_mass` on tokens that are no labels.

    Parameters
    ----------
    evidence : mapping of str to mapping of str to float, default=None
        Word in the prompt → surface form → log-odds. Lower case. Of several words, such
        as ``"goal sport"``, all must be there.
    bias : mapping of str to float, default=None
        Surface form → log-odds added whatever the prompt says.
    temperature : float, default=1.0
        Below 1 it is over-confident.
    label_mass : float, default=0.8
        Probability that goes to the labels.
    labels : sequence of str, default=("negative", "positive")
        What it may say when it is not asked to score given text.
    exact : bool, default=True
        Whether it scores given text, as local models do, or only shows its most likely
        tokens, as chat endpoints do.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> backend = FakeBackend({"great": {"positive": 2.0}, "dull": {"positive": -2.0}})
    >>> clf = LogprobClassifier(backend, classes=["negative", "positive"],
    ...                         prompt="Review: {text}", calibrator=None).fit()
    >>> clf.predict(["a great film", "dull"]).tolist()
    ['positive', 'negative']
    """

    answer_params: ClassVar[tuple[str, ...]] = (
        "evidence",
        "bias",
        "temperature",
        "label_mass",
        "labels",
        "exact",
    )
    max_top_logprobs = 20

    def __init__(
        self,
        evidence: Mapping[str, Mapping[str, float]] | None = None,
        *,
        bias: Mapping[str, float] | None = None,
        temperature: float = 1.0,
        label_mass: float = 0.8,
        labels: Sequence[str] = ("negative", "positive"),
        exact: bool = True,
    ) -> None:
        self.evidence = evidence
        self.bias = bias
        self.temperature = temperature
        self.label_mass = label_mass
        self.labels = labels
        self.exact = exact

    @property
    def scores_choices(self) -> bool:
        """Whether it scores given text."""
        return self.exact

    def answer_identity(self) -> Mapping[str, Any]:
        """Give all of its parameters: each changes an answer.

        Returns
        -------
        identity : dict
            JSON-able.
        """
        return {name: getattr(self, name) for name in self.answer_params}

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answer requests, in order.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Yields
        ------
        index, answer : int, Answer
            Position of the request, and its answer.
        """
        for index, request in enumerate(requests):
            prompt = "\n".join(content for _, content in request.messages)
            forms = sorted({c.strip().casefold() for c in request.choices or self.labels})
            spoken = dict(zip(forms, self.log_posterior(prompt, forms), strict=True))
            usage = TokenUsage(len(prompt.split()), request.max_tokens, 0)
            position = self._position(spoken, request)
            if request.top_logprobs:
                choices = self._choices(spoken, request.choices) if self.exact else ()
                yield index, Answer((position,), choices, usage)
            else:
                yield index, Answer(usage=usage, draws=((position.token, 1),))

    def log_posterior(self, prompt: str, forms: Sequence[str]) -> Floats:
        """Give the log-probability of each surface form, given that it is one of them.

        Parameters
        ----------
        prompt : str
            All that the model reads.
        forms : sequence of str
            Surface forms, lower case.

        Returns
        -------
        log_posterior : ndarray of shape (n_forms,)
            Natural log; sums to one.
        """
        words = Counter(re.findall(r"\w+", prompt.casefold()))
        numbers = [float(number) for number in NUMBER.findall(prompt)]
        evidence, bias = self.evidence or {}, self.bias or {}
        seen = {key: prod(words[w] for w in key.split()) for key in evidence}
        logits = [
            sum(seen[key] * told.get(form, 0.0) for key, told in evidence.items())
            + sum(_direction(form, i) * x for i, x in enumerate(numbers))
            + bias.get(form, 0.0)
            for form in forms
        ]
        return np.asarray(log_softmax(np.asarray(logits) / self.temperature))

    def _choices(
        self, spoken: Mapping[str, float], choices: Sequence[str]
    ) -> tuple[tuple[str, float], ...]:
        """Spread each form's probability evenly over the spellings asked for."""
        folded = [choice.strip().casefold() for choice in choices]
        return tuple(
            (choice, spoken[form] + log(self.label_mass) - log(folded.count(form)))
            for choice, form in zip(choices, folded, strict=True)
        )

    def _position(self, spoken: Mapping[str, float], request: Request) -> TokenLogprobs:
        other = log(max(1.0 - self.label_mass, 1e-12) / len(OTHERS))
        top = [(" " + form, p + log(self.label_mass)) for form, p in spoken.items()]
        top += [(token, other) for token in OTHERS]
        top.sort(key=lambda item: (-item[1], item[0]))
        said = top[0]
        if request.draw:
            seed = hashlib.sha256(repr((request.messages, request.draw)).encode())
            noise = np.random.default_rng(list(seed.digest())).gumbel(size=len(top))
            said = top[int(np.argmax(np.array([p for _, p in top]) + noise))]
        return TokenLogprobs(*said, tuple(top[: request.top_logprobs]))


def _direction(form: str, index: int) -> float:
    """Give a fixed pseudo-random weight in [-1, 1] to the index-th number for a form."""
    digest = hashlib.sha256(f"{form}:{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**31 - 1.0
