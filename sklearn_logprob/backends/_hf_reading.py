"""What is asked of a language model in this process, and what is read of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from math import isnan

import torch

from sklearn_logprob._errors import BackendError
from sklearn_logprob.backends._hf_rows import Rows
from sklearn_logprob.backends._trie import TokenTrie

__all__ = ["Question", "Reading", "Step", "read"]

Tokens = tuple[int, ...]

IMPOSSIBLE = -1e30  # nats: what models write for tokens that they must not say


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and labels in tokens. Without a seed the likeliest token is said."""

    tokens: list[int]
    trie: TokenTrie
    n_top: int
    max_tokens: int
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A token that was said, and the likeliest in its place, with log-probabilities."""

    token: int
    log_prob: float
    top: list[tuple[int, float]]


@dataclass(slots=True)
class Reading:
    """What came back for a question."""

    n_shared: int
    after: dict[Tokens, dict[int, float]]
    steps: list[Step] = field(default_factory=list)


def read(
    questions: Sequence[Question], evaluate: Callable[[], Rows], ends: Set[int]
) -> list[Reading]:
    """Evaluate rows, and say tokens behind them up to one that ends an answer."""
    with torch.inference_mode():
        rows = evaluate()
        readings = [
            Reading(n_shared, after)
            for n_shared, after in zip(
                rows.n_shared, _wanted(rows, questions), strict=True
            )
        ]
        n_top = max(q.n_top for q in questions)
        dice = [_dice(q.seed, rows.logits.device) for q in questions]
        log_probs = rows.log_probs(torch.from_numpy(rows.first).to(rows.logits.device))
        going = set(range(len(questions)))
        while True:
            steps = _steps(log_probs, dice, n_top)
            for i in sorted(going):
                question, said = questions[i], readings[i].steps
                said.append(steps[i])
                del steps[i].top[question.n_top :]
                if len(said) == question.max_tokens or steps[i].token in ends:
                    going.remove(i)
            if not going:
                return readings
            log_probs = rows.go_on([step.token for step in steps])


def _dice(seed: int | None, device: torch.device) -> torch.Generator | None:
    return None if seed is None else torch.Generator(device).manual_seed(seed)


def _wanted(
    rows: Rows, questions: Sequence[Question]
) -> list[dict[Tokens, dict[int, float]]]:
    """Fetch the log-probabilities that the labels need, and no others."""
    places = [
        (node, token)
        for first, question in zip(rows.first.tolist(), questions, strict=True)
        for node, tokens in enumerate(question.trie.children.values(), first)
        for token in tokens
    ]
    if not places:
        return [{} for _ in questions]
    index = torch.tensor(places, device=rows.logits.device).unbind(1)
    values = iter(rows.log_probs(*index).tolist())
    return [
        {
            path: {token: next(values) for token in tokens}
            for path, tokens in question.trie.children.items()
        }
        for question in questions
    ]


def _steps(
    log_probs: torch.Tensor, dice: Sequence[torch.Generator | None], n_top: int
) -> list[Step]:
    """Say one token in each row, and give the likeliest ones in its place."""
    top = log_probs.topk(min(max(1, n_top), log_probs.shape[1]))
    said = top.indices[:, 0].clone()
    for row, generator in enumerate(dice):
        if generator is not None:
            # the first of independent clocks to ring, each at its token's rate
            clocks = torch.empty_like(log_probs[row]).exponential_(generator=generator)
            said[row] = (log_probs[row] - clocks.log()).argmax()
    values = log_probs.gather(1, said[:, None])[:, 0].tolist()
    if any(map(isnan, values)):
        raise BackendError(
            "The model's probabilities are not numbers, as happens where float16 is too "
            "small for a model's activations: choose dtype='bfloat16' or 'float32'."
        )
    tops = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [
        Step(token, value, [(t, v) for t, v in zip(*pair, strict=True) if v > IMPOSSIBLE])
        for token, value, pair in zip(said.tolist(), values, tops, strict=True)
    ]
