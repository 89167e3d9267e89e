"""Forward passes of a causal language model over many rows at once.

A row is a prompt, and behind it the tree of the labels' beginnings: every token of the
tree sees the prompt and its own ancestors, so that one pass gives the next-token
distribution after the prompt and after each of these beginnings. What the prompts of a
batch have in common is evaluated once, and its keys and values are copied.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

__all__ = ["Passes", "Rows"]

Path = tuple[int, ...]

WORTH_SHARING = 16  # tokens: evaluating fewer apart costs more than it saves
LARGEST_MASK = 1 << 26  # entries: 8192 tokens that each see all before them

# How far two ways to evaluate the same may be apart: nats, averaged over the vocabulary.
TRIAL_ERROR = {torch.float32: 1e-3}
TRIAL_ERROR_OF_HALF_PRECISION = 0.2

logger = logging.getLogger(__name__)


class Passes:
    """What a model says after prompts, and after beginnings of labels behind them."""

    def __init__(self, model: Any) -> None:
        self.model = model
        config = model.config.get_text_config()
        self.n_vocab = int(config.vocab_size)
        windows = (
            getattr(config, name, None)
            for name in ("sliding_window", "attention_chunk_size")
        )
        self._window = min((w for w in windows if w), default=LARGEST_MASK)
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._shared: tuple[list[int], Any] = ([], None)
        with torch.inference_mode():
            self.side_by_side = self._understands_trees()

    def begin(
        self,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
        n_more: int = 0,
    ) -> Rows:
        """Evaluate prompts, each with its nodes; up to `n_more` tokens will follow.

        A node's own beginnings stand before it among the nodes of its row.
        """
        longest = max(map(len, prompts)) + max(map(len, nodes)) + n_more
        # A layer with a window counts padding as well, so there rows go alone.
        if self.side_by_side and longest < self._window and longest**2 < LARGEST_MASK:
            return _SideBySide(self, prompts, nodes, n_more)
        return _OneByOne(self, prompts, nodes)

    def run(
        self, ids: NDArray[np.int64], n_kept: int, **arguments: Any
    ) -> tuple[torch.Tensor, Any]:
        """Give the log-probabilities after the last `n_kept` tokens, and the cache."""
        if self._keeps:
            arguments["logits_to_keep"] = n_kept
        output = self.model(input_ids=self.tensor(ids), **arguments)
        log_probs = torch.log_softmax(output.logits[:, -n_kept:].float(), dim=-1)
        return log_probs, getattr(output, "past_key_values", None)

    def tensor(self, values: NDArray[Any]) -> torch.Tensor:
        """Move an array to where the model is."""
        return torch.from_numpy(values).to(self.model.device)

    def mask(self, sees: NDArray[np.bool_]) -> torch.Tensor:
        """Turn what each token sees, (rows, tokens, seen), into what attention adds."""
        dtype = self.model.dtype
        hidden = torch.finfo(dtype).min
        mask = torch.zeros((), dtype=dtype, device=self.model.device)
        return torch.where(self.tensor(sees), mask, hidden).to(dtype)[:, None]

    def share(self, prompts: Sequence[list[int]]) -> tuple[int, Any, bool]:
        """Give the length and the cache of what prompts begin with, and if it is new."""
        common = _beginning(prompts)[: min(map(len, prompts)) - 1]
        known, cache = self._shared
        if known != common[: len(known)]:
            known, cache = [], None
        new = len(prompts) > 1 and len(common) - len(known) >= WORTH_SHARING
        if new:
            known = common
            _, cache = self.run(np.array([known]), 1, use_cache=True)
            self._shared = known, cache
        if cache is not None:
            cache = copy.deepcopy(cache)  # the rows will add to it
            cache.batch_repeat_interleave(len(prompts))
        return len(known), cache, new

    def _understands_trees(self) -> bool:
        """Try on made-up prompts whether rows side by side get what each gets alone.

        Models with recurrent layers or with their own idea of positions do not: they
        read the padding, or know no such mask. Numbers tell, or an exception does.
        """
        tokens = np.linspace(0, self.n_vocab - 1, WORTH_SHARING + 3)
        a, b, c, *start = tokens.astype(int).tolist()
        prompts = [[*start, a, b, c, b, a, c, c], [*start, b]]
        nodes = [[(a,), (b,), (a, c)], [(c,)]]
        slow = _OneByOne(self, prompts, nodes)
        try:
            fast = _SideBySide(self, prompts, nodes, 1)
            difference = fast.log_probs - slow.log_probs
            after = fast.go_on([c, a]) - slow.go_on([c, a])
            worst = max(float(d.abs().mean()) for d in (*difference, after))
        except Exception as error:  # whatever a model's code says to a strange mask
            worst, why = float("inf"), f"{error!r}"
        else:
            why = f"side by side they differ by {worst:.3g} nats"
        self._shared = ([], None)
        limit = TRIAL_ERROR.get(self.model.dtype, TRIAL_ERROR_OF_HALF_PRECISION)
        if not worst < limit:
            logger.warning(
                "%s evaluates rows one by one, which is slow: %s.",
                type(self.model).__name__,
                why,
            )
        return worst < limit


class Rows:
    """Rows under evaluation.

    Attributes
    ----------
    log_probs : Tensor of shape (n_rows, 1 + n_nodes, n_vocabulary)
        After the prompt, and after each node. Rows with fewer nodes end with zeros.
    n_shared : list of int
        How many tokens of each row were not evaluated for it.
    """

    log_probs: torch.Tensor
    n_shared: list[int]

    def go_on(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each prompt and give the log-probabilities after it."""
        raise NotImplementedError


class _SideBySide(Rows):
    """All rows in one pass, padded on the left, the nodes on the right."""

    def __init__(
        self,
        passes: Passes,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
        n_more: int,
    ) -> None:
        self._passes = passes
        start, cache, new = passes.share(prompts)
        self.n_shared = [start] * len(prompts)
        if new:
            self.n_shared[0] = 0
        width = max(map(len, prompts)) - start
        size = width + max(map(len, nodes))
        ids = np.zeros((len(prompts), size), dtype=np.int64)
        positions = np.zeros_like(ids)
        sees = np.zeros((*ids.shape, start + size), dtype=bool)
        # Padding sees itself: where a token sees nothing, attention is not a number.
        sees[:, np.arange(size), start + np.arange(size)] = True
        for i, (prompt, paths) in enumerate(zip(prompts, nodes, strict=True)):
            first = width - (len(prompt) - start)
            ids[i, first:width] = prompt[start:]
            positions[i, first:width] = np.arange(start, len(prompt))
            sees[i, :, :start] = True
            sees[i, first:, start + first : start + width] = np.tri(
                size - first, width - first, dtype=bool
            )
            place = {path: start + width + j for j, path in enumerate(paths)}
            for j, path in enumerate(paths, width):
                ids[i, j] = path[-1]
                positions[i, j] = len(prompt) + len(path) - 1
                sees[i, j, [place[path[:n]] for n in range(1, len(path) + 1)]] = True
        # What follows sees the prompt as its last token does, but no node.
        self._seen = sees[:, width - 1].copy()
        self._next = np.array([[len(prompt)] for prompt in prompts])
        log_probs, self._cache = passes.run(
            ids,
            1 + size - width,
            attention_mask=passes.mask(sees),
            position_ids=passes.tensor(positions),
            past_key_values=cache,
            use_cache=n_more > 0 or cache is not None,
        )
        n_nodes = torch.tensor([[len(paths)] for paths in nodes], device=log_probs.device)
        unused = torch.arange(1 + size - width, device=log_probs.device) > n_nodes
        self.log_probs = log_probs.masked_fill_(unused[:, :, None], 0)

    def go_on(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each prompt and give the log-probabilities after it."""
        self._seen = np.pad(self._seen, ((0, 0), (0, 1)), constant_values=True)
        log_probs, self._cache = self._passes.run(
            np.array(tokens)[:, None],
            1,
            attention_mask=self._passes.mask(self._seen[:, None]),
            position_ids=self._passes.tensor(self._next),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._next = self._next + 1
        return log_probs[:, 0]


class _OneByOne(Rows):
    """Every row alone, in passes that any causal model understands."""

    def __init__(
        self,
        passes: Passes,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
    ) -> None:
        self._passes = passes
        self._prompts = [list(prompt) for prompt in prompts]
        self.n_shared = [0] * len(prompts)
        rows = [self._row(p, paths) for p, paths in zip(prompts, nodes, strict=True)]
        self.log_probs = pad_sequence(rows, batch_first=True)

    def go_on(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each prompt and give the log-probabilities after it."""
        for prompt, token in zip(self._prompts, tokens, strict=True):
            prompt.append(token)
        return torch.stack([self._row(prompt, [])[0] for prompt in self._prompts])

    def _row(self, prompt: Sequence[int], paths: Sequence[Path]) -> torch.Tensor:
        """Evaluate a prompt and its nodes, one pass for each longest path."""
        ends = [p for p in paths if not any(q[: len(p)] == p != q for q in paths)] or [()]
        found: dict[Path, torch.Tensor] = {}
        for end in ends:
            ids = np.array([[*prompt, *end]])
            everything = torch.ones(ids.shape, device=self._passes.model.device)
            log_probs, _ = self._passes.run(
                ids, 1 + len(end), attention_mask=everything, use_cache=False
            )
            found |= {end[:n]: log_probs[0, n] for n in range(1 + len(end))}
        return torch.stack([found[path] for path in [(), *paths]])


def _beginning(sequences: Sequence[list[int]]) -> list[int]:
    """Give what all sequences begin with: what the first and last in order share."""
    first, last = min(sequences), max(sequences)
    differs = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(differs, len(first))]
