"""Forward passes of a causal language model over many rows at once.

A row is a prompt, and behind it the tree of the labels' beginnings: every token of the
tree sees the prompt and its own ancestors, so that one pass gives the next-token
distribution after the prompt and after each of these beginnings. What prompts begin with
in common is evaluated once.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_logprob.backends._hf_rows import Batch, OneByOne, Path, Rows

__all__ = ["Passes"]

WORTH_SHARING = 16  # tokens: evaluating fewer apart costs more than it saves
LARGEST_MASK = 1 << 26  # entries
MOST_VALUES = 1 << 28  # log-probabilities that a pass may hold
# Tokens that a pass does well with: fewer do not fill the processor.
FULL = {"cpu": 2048, "cuda": 8192}
# What a layer takes around its arithmetic is as long as that of so many parameters times
# tokens in single precision, and thrice as many in half: it tells when fillings cost as
# much as another pass.
AROUND = {"cpu": 1e8, "cuda": 1e10}
LEAST = 128  # tokens that are worth a pass of their own, on a core of its own
# Tokens of rows and their beginnings for which a layer has keys and values at a time, and
# those for which all layers have them, where rows go on.
MOST_SEEN = {"cpu": 1 << 14, "cuda": 1 << 18}
MOST_KEPT = {"cpu": 1 << 12, "cuda": 1 << 16}

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
        n_inner = model.num_parameters() - model.get_input_embeddings().weight.numel()
        speed = 1 if model.dtype == torch.float32 else 3
        around = self._of_device(AROUND) * config.num_hidden_layers * speed
        self._fillings = int(around / n_inner)  # tokens
        with torch.inference_mode():
            self.batched = self._understands_trees()

    def divide(
        self, prompts: Sequence[list[int]], n_others: int, n_threads: int
    ) -> tuple[int, int]:
        """Give the number of passes and the tokens of each, as many for all threads.

        There are `n_others` tokens behind the prompts.
        """
        start = self._start(prompts)[0]
        n_tokens = sum(map(len, prompts)) - len(prompts) * start + n_others
        n_passes = -(-n_tokens // self._of_device(FULL))
        for_all = -(-n_passes // n_threads) * n_threads
        n_passes = max(n_passes, min(for_all, n_tokens // LEAST))
        return n_passes, -(-n_tokens // n_passes)

    def begin(
        self,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
        n_more: int,
        share: int,
    ) -> tuple[int, Callable[[], Rows]]:
        """Give what evaluates so many prompts as go well into a pass of `share` tokens.

        The first ones, each with its nodes, in any thread; and how many these are. A
        node's own beginnings stand before it among the nodes of its row. Up to `n_more`
        tokens will follow.
        """
        start = self._start(prompts)[0]
        rows = zip(prompts, nodes, strict=True)
        lengths = [len(p) - start + len(paths) + n_more for p, paths in rows]
        count = np.arange(1, len(prompts) + 1)
        longest = np.maximum.accumulate(lengths)
        n_kept = np.maximum.accumulate([1 + len(paths) for paths in nodes])
        together = self.batched & self._goes_together(start, count, longest, n_more > 0)
        fits = (
            (count * longest <= share)
            & (count * longest - np.cumsum(lengths) <= self._fillings)
            & (count * n_kept * self.n_vocab <= MOST_VALUES)
            & together
        )
        n = max(1, int(np.count_nonzero(fits)))
        if not together[n - 1]:
            return n, lambda: OneByOne(self, prompts[:n], nodes[:n])
        shared = self._share(prompts)
        return n, lambda: Batch(self, prompts[:n], nodes[:n], n_more, shared)

    def _goes_together(self, start: int, n_rows: Any, longest: Any, keep: bool) -> Any:
        """Whether so many rows can be one batch behind a beginning."""
        seen = start + longest
        most = self._of_device(MOST_KEPT if keep else MOST_SEEN)
        return (
            (seen < self._window)
            & (n_rows * longest * seen < LARGEST_MASK)
            & ((n_rows == 1) | (n_rows * seen <= most))
        )

    def _of_device(self, numbers: dict[str, Any]) -> Any:
        return numbers.get(self.model.device.type, numbers["cuda"])

    def run(
        self, ids: NDArray[np.int64], wanted: NDArray[np.int64], **arguments: Any
    ) -> tuple[torch.Tensor, Any]:
        """Give the logits after the wanted places of all rows, and the cache."""
        places = self.tensor(wanted)
        if self._keeps:
            arguments["logits_to_keep"] = places
        output = self.model(input_ids=self.tensor(ids), **arguments)
        logits = output.logits if self._keeps else output.logits[:, places]
        return logits, getattr(output, "past_key_values", None)

    def tensor(self, values: NDArray[Any]) -> torch.Tensor:
        """Move an array to where the model is."""
        return torch.from_numpy(values).to(self.model.device)

    def mask(self, sees: NDArray[np.bool_]) -> torch.Tensor:
        """Turn what tokens see, (rows, tokens, seen), into what attention adds."""
        dtype = self.model.dtype
        hidden = torch.finfo(dtype).min
        mask = torch.zeros((), dtype=dtype, device=self.model.device)
        return torch.where(self.tensor(sees), mask, hidden).to(dtype)[:, None]

    def _share(self, prompts: Sequence[list[int]]) -> tuple[int, Any, bool]:
        """Give the length and the cache of what prompts begin with, and if it is new."""
        length, new = self._start(prompts)
        if new:
            known = np.array([prompts[0][:length]])
            _, cache = self.run(known, np.array([length - 1]), use_cache=True)
            self._shared = prompts[0][:length], cache
        return length, self._shared[1] if length else None, new

    def _start(self, prompts: Sequence[list[int]]) -> tuple[int, bool]:
        """Count the tokens that need no evaluation for each row, and say if it is new."""
        common = _beginning(prompts)[: min(map(len, prompts)) - 1]
        known = self._shared[0]
        length = len(known) if known == common[: len(known)] else 0
        new = len(prompts) > 1 and len(common) - length >= WORTH_SHARING
        return (len(common), True) if new else (length, False)

    def _understands_trees(self) -> bool:
        """Try on made-up prompts whether rows in a batch get what each gets alone.

        Models with recurrent layers or with their own idea of positions do not: they
        read the padding, or know no such mask. Numbers tell, or an exception does.
        """
        tokens = np.linspace(0, self.n_vocab - 1, WORTH_SHARING + 3)
        a, b, c, *start = tokens.astype(int).tolist()
        prompts = [[*start, a, b, c, b, a, c, c], [*start, b]]
        nodes = [[(a,), (b,), (a, c)], [(c,)]]
        slow = OneByOne(self, prompts, nodes)
        try:
            shared = self._share(prompts)
            last, fast = (Batch(self, prompts, nodes, n, shared) for n in (0, 1))
            expected = slow.log_probs(self.tensor(_places(slow, nodes)))
            places = self.tensor(_places(fast, nodes))
            differences = [
                last.log_probs(places) - expected,
                fast.log_probs(places) - expected,
                fast.go_on([c, a]) - slow.go_on([c, a]),
            ]
            worst = max(float(d.abs().mean(1).max()) for d in differences)
        except Exception as error:  # whatever a model's code says to a strange mask
            worst, why = float("inf"), f"{error!r}"
        else:
            why = f"in a batch they differ by {worst:.3g} nats"
        self._shared = ([], None)
        limit = TRIAL_ERROR.get(self.model.dtype, TRIAL_ERROR_OF_HALF_PRECISION)
        if not worst < limit:
            logger.warning(
                "%s evaluates rows one by one, which is slow: %s.",
                type(self.model).__name__,
                why,
            )
        return worst < limit


def _places(rows: Rows, nodes: Sequence[Sequence[Path]]) -> NDArray[np.int64]:
    """Give where the prompts and their nodes stand."""
    pairs = zip(rows.first, nodes, strict=True)
    return np.concatenate([first + np.arange(1 + len(paths)) for first, paths in pairs])


def _beginning(sequences: Sequence[list[int]]) -> list[int]:
    """Give what all sequences begin with: what the first and last in order share."""
    first, last = min(sequences), max(sequences)
    differs = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(differs, len(first))]
