"""Rows under evaluation: in one batch where a model understands that, else one by one.

In a batch all rows end together, with fillings before the shorter ones, so that what is
read of them stands in the same places. That no token sees a filling, or a node that is
not its own beginning, is a matter of the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_logprob.backends._hf_cache import behind_beginning

__all__ = ["Batch", "Evaluator", "OneByOne", "Path", "Rows"]

Path = tuple[int, ...]

# Places whose values over the vocabulary are added up at once: on a CPU as many as its
# cache holds in single precision.
AT_ONCE = {"cpu": 8, "cuda": 4096}


class Evaluator(Protocol):
    """A model, as rows see it."""

    def run(
        self, ids: NDArray[np.int64], wanted: NDArray[np.int64], **arguments: Any
    ) -> tuple[torch.Tensor, Any]:
        """Give the logits after the wanted places of all rows, and the cache."""

    def tensor(self, values: NDArray[Any]) -> torch.Tensor:
        """Move an array to where the model is."""

    def mask(self, sees: NDArray[np.bool_]) -> torch.Tensor:
        """Turn what tokens see, (rows, tokens, seen), into what attention adds."""


class Rows:
    """Rows under evaluation.

    Attributes
    ----------
    logits : Tensor of shape (n_places, n_vocabulary)
        After the prompt and after each node of the first row, of the second, and so on;
        before a row there may be places that nobody reads.
    normaliser : Tensor of shape (n_places,)
        What makes logits log-probabilities: the logarithm of the sum of their
        exponentials, in single precision.
    first : ndarray of shape (n_rows,)
        Where each row begins in it.
    n_shared : list of int
        How many tokens of each row were not evaluated for it.
    """

    logits: torch.Tensor
    normaliser: torch.Tensor
    first: NDArray[np.int64]
    n_shared: list[int]

    def log_probs(
        self, places: torch.Tensor, tokens: torch.Tensor | slice = slice(None)
    ) -> torch.Tensor:
        """Give log-probabilities at places, of one token each or of the vocabulary."""
        logits = self.logits[places, tokens].float()
        normaliser = self.normaliser[places]
        return logits - (normaliser if logits.ndim == 1 else normaliser[:, None])

    def go_on(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each prompt and give the log-probabilities after it."""
        raise NotImplementedError


class Batch(Rows):
    """All rows in one batch, each with its nodes at the end, behind fillings."""

    def __init__(
        self,
        passes: Evaluator,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
        n_more: int,
        shared: tuple[int, Any, bool],
    ) -> None:
        self._passes = passes
        start, cache, new = shared
        n_rows, n_kept = len(prompts), 1 + max(map(len, nodes))
        self.n_shared = [start] * n_rows
        if new:
            self.n_shared[0] = 0
        rows = list(zip(prompts, nodes, strict=True))
        width = max(len(prompt) - start + len(paths) for prompt, paths in rows)
        ids, positions = np.zeros((2, n_rows, width), dtype=np.int64)
        # A filling sees itself, for what sees nothing is no number.
        sees = np.zeros((n_rows, width, start + width), dtype=bool)
        sees[:, :, start:] = np.eye(width, dtype=bool)
        self._seen = np.zeros((n_rows, 1, start + width), dtype=bool)
        for i, (prompt, paths) in enumerate(rows):
            behind = width - len(paths)  # the prompt
            begin = behind - (len(prompt) - start)
            ids[i, begin:behind] = prompt[start:]
            positions[i, begin:behind] = np.arange(start, len(prompt))
            sees[i, begin:, :start] = True
            sees[i, begin:, start + begin : start + behind] = np.tri(
                width - begin, behind - begin, dtype=bool
            )
            place = {path: start + behind + j for j, path in enumerate(paths)}
            for j, path in enumerate(paths, behind):
                ids[i, j] = path[-1]
                positions[i, j] = len(prompt) + len(path) - 1
                sees[i, j, [place[path[:n]] for n in range(1, len(path) + 1)]] = True
            # What follows sees the prompt as its last token does, but no node.
            self._seen[i] = sees[i, behind - 1]
        self.first = np.array(
            [(i + 1) * n_kept - 1 - len(paths) for i, paths in enumerate(nodes)]
        )
        self._next = np.array([[len(prompt)] for prompt in prompts])
        logits, self._cache = passes.run(
            ids,
            np.arange(width - n_kept, width),
            attention_mask=passes.mask(sees),
            position_ids=passes.tensor(positions),
            past_key_values=behind_beginning(cache, n_rows, keep=n_more > 0),
            use_cache=n_more > 0 or cache is not None,
        )
        self.logits = logits.flatten(0, 1)
        self.normaliser = _log_of_sum(self.logits)

    def go_on(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each prompt and give the log-probabilities after it."""
        itself = np.ones((len(tokens), 1, 1), dtype=bool)
        self._seen = np.concatenate([self._seen, itself], axis=2)
        logits, self._cache = self._passes.run(
            np.array(tokens)[:, None],
            np.arange(1),
            attention_mask=self._passes.mask(self._seen),
            position_ids=self._passes.tensor(self._next),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._next = self._next + 1
        return torch.log_softmax(logits[:, 0].float(), dim=-1)


class OneByOne(Rows):
    """Every row alone, in passes that any causal model understands."""

    def __init__(
        self,
        passes: Evaluator,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
    ) -> None:
        self._passes = passes
        self._prompts = [list(prompt) for prompt in prompts]
        self.n_shared = [0] * len(prompts)
        rows = [self._row(p, paths) for p, paths in zip(prompts, nodes, strict=True)]
        self.first = np.cumsum([0, *map(len, rows)])[:-1]
        self.logits = torch.cat(rows)
        self.normaliser = _log_of_sum(self.logits)

    def go_on(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each prompt and give the log-probabilities after it."""
        for prompt, token in zip(self._prompts, tokens, strict=True):
            prompt.append(token)
        logits = torch.cat([self._row(prompt, []) for prompt in self._prompts])
        return torch.log_softmax(logits.float(), dim=-1)

    def _row(self, prompt: Sequence[int], paths: Sequence[Path]) -> torch.Tensor:
        """Evaluate a prompt and its nodes, one pass for each longest path."""
        ends = [p for p in paths if not any(q[: len(p)] == p != q for q in paths)] or [()]
        found: dict[Path, torch.Tensor] = {}
        for end in ends:
            ids = np.array([*prompt, *end])
            everything = self._passes.tensor(np.ones((1, len(ids)), dtype=np.float32))
            logits, _ = self._passes.run(
                ids[None],
                np.arange(len(prompt) - 1, len(ids)),
                attention_mask=everything,
                use_cache=False,
            )
            found |= {end[:n]: logits[0, n] for n in range(1 + len(end))}
        return torch.stack([found[path] for path in [(), *paths]])


def _log_of_sum(logits: torch.Tensor) -> torch.Tensor:
    """Give the logarithm of the sum of exponentials at each place."""
    parts = logits.split(AT_ONCE.get(logits.device.type, AT_ONCE["cuda"]))
    return torch.cat([part.float().logsumexp(dim=-1) for part in parts])
