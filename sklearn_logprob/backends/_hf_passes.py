"""Forward passes of a causal language model over many rows at once.

A row is a prompt, and behind it the tree of the labels' beginnings: every token of the
tree sees the prompt and its own ancestors, so that one pass gives the next-token
distribution after the prompt and after each of these beginnings. Rows stand one behind
the other in one sequence, without padding, and what they begin with stands before them
once; that no row sees another is a matter of the mask.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Passes", "Rows"]

Path = tuple[int, ...]

WORTH_SHARING = 16  # tokens: evaluating fewer apart costs more than it saves
LARGEST_MASK = 1 << 26  # entries: 8192 tokens that each see all before them
MOST_VALUES = 1 << 28  # log-probabilities that a pass may hold
# Tokens that a pass does well with: fewer do not fill the processor, and with more the
# attention to what the mask then hides begins to count.
FULL = {"cpu": 512, "cuda": 4096}

# Places whose values over the vocabulary are added up at once: on a CPU as many as its
# cache holds in single precision.
AT_ONCE = {"cpu": 8, "cuda": 4096}

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

    def fitting(
        self,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
        n_more: int = 0,
    ) -> int:
        """Count the rows, from the first on, that go well into one pass."""
        start = self._start(prompts)[0]
        paths = np.array([len(row) for row in nodes])
        tokens = np.cumsum([len(row) - start + n_more for row in prompts] + paths)
        fits = (
            (tokens <= FULL.get(self.model.device.type, FULL["cuda"]))
            & (np.cumsum(1 + paths) * self.n_vocab <= MOST_VALUES)
            & self._goes_together(start, tokens)
        )
        return max(1, int(np.count_nonzero(fits)))

    def begin(
        self,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
        n_more: int = 0,
    ) -> Callable[[], Rows]:
        """Give what evaluates prompts, each with its nodes, in any thread.

        A node's own beginnings stand before it among the nodes of its row. Up to
        `n_more` tokens will follow.
        """
        start = self._start(prompts)[0]
        tokens = sum(len(p) - start + n_more for p in prompts) + sum(map(len, nodes))
        if self.side_by_side and self._goes_together(start, tokens):
            shared = self._share(prompts)
            return lambda: _SideBySide(self, prompts, nodes, n_more, shared)
        return lambda: _OneByOne(self, prompts, nodes)

    def _goes_together(self, start: int, tokens: Any) -> Any:
        """Whether so many tokens can be one sequence behind a beginning."""
        # A layer with a window counts what it passes over, other rows as well.
        seen = start + tokens
        return (seen < self._window) & (tokens * seen < LARGEST_MASK)

    def run(
        self, ids: NDArray[np.int64], wanted: NDArray[np.int64], **arguments: Any
    ) -> tuple[torch.Tensor, Any]:
        """Give the logits after the wanted places of a row, and the cache."""
        places = self.tensor(wanted)
        if self._keeps:
            arguments["logits_to_keep"] = places
        output = self.model(input_ids=self.tensor(ids[None]), **arguments)
        logits = output.logits[0] if self._keeps else output.logits[0, places]
        return logits, getattr(output, "past_key_values", None)

    def tensor(self, values: NDArray[Any]) -> torch.Tensor:
        """Move an array to where the model is."""
        return torch.from_numpy(values).to(self.model.device)

    def mask(self, sees: NDArray[np.bool_]) -> torch.Tensor:
        """Turn what each token sees, (tokens, seen), into what attention adds."""
        dtype = self.model.dtype
        hidden = torch.finfo(dtype).min
        mask = torch.zeros((), dtype=dtype, device=self.model.device)
        return torch.where(self.tensor(sees), mask, hidden).to(dtype)[None, None]

    def _share(self, prompts: Sequence[list[int]]) -> tuple[int, Any, bool]:
        """Give the length and the cache of what prompts begin with, and if it is new."""
        length, new = self._start(prompts)
        if new:
            known = np.array(prompts[0][:length])
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
        """Try on made-up prompts whether rows side by side get what each gets alone.

        Models with recurrent layers or with their own idea of positions do not: they
        read the padding, or know no such mask. Numbers tell, or an exception does.
        """
        tokens = np.linspace(0, self.n_vocab - 1, WORTH_SHARING + 3)
        a, b, c, *start = tokens.astype(int).tolist()
        prompts = [[*start, a, b, c, b, a, c, c], [*start, b]]
        nodes = [[(a,), (b,), (a, c)], [(c,)]]
        slow = _OneByOne(self, prompts, nodes)
        every = torch.arange(len(slow.logits), device=self.model.device)
        try:
            fast = _SideBySide(self, prompts, nodes, 1, self._share(prompts))
            differences = [
                fast.log_probs(every) - slow.log_probs(every),
                fast.go_on([c, a]) - slow.go_on([c, a]),
            ]
            worst = max(float(d.abs().mean(1).max()) for d in differences)
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
    logits : Tensor of shape (n_rows + n_nodes, n_vocabulary)
        After the prompt and after each node of the first row, of the second, and so on.
    normaliser : Tensor of shape (n_rows + n_nodes,)
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


class _SideBySide(Rows):
    """All rows in one sequence, each prompt with its nodes behind it."""

    def __init__(
        self,
        passes: Passes,
        prompts: Sequence[list[int]],
        nodes: Sequence[Sequence[Path]],
        n_more: int,
        shared: tuple[int, Any, bool],
    ) -> None:
        self._passes = passes
        start, cache, new = shared
        cache = copy.deepcopy(cache)  # the rows will add to it
        self.n_shared = [start] * len(prompts)
        if new:
            self.n_shared[0] = 0
        sizes = [
            len(p) - start + len(paths) for p, paths in zip(prompts, nodes, strict=True)
        ]
        ends = np.cumsum(sizes)
        ids, positions = np.zeros((2, ends[-1]), dtype=np.int64)
        sees = np.zeros((ends[-1], start + ends[-1]), dtype=bool)
        sees[:, :start] = True
        wanted = []
        for prompt, paths, end in zip(prompts, nodes, ends, strict=True):
            behind = end - len(paths)  # the prompt
            begin = behind - (len(prompt) - start)
            ids[begin:behind] = prompt[start:]
            positions[begin:behind] = np.arange(start, len(prompt))
            sees[begin:end, start + begin : start + behind] = np.tri(
                end - begin, behind - begin, dtype=bool
            )
            place = {path: start + behind + j for j, path in enumerate(paths)}
            for j, path in enumerate(paths, behind):
                ids[j] = path[-1]
                positions[j] = len(prompt) + len(path) - 1
                sees[j, [place[path[:n]] for n in range(1, len(path) + 1)]] = True
            wanted.append(np.arange(behind - 1, end))
        self.first = _starts(wanted)
        # What follows sees the prompt as its last token does, but no node.
        self._seen = sees[[places[0] for places in wanted]]
        self._next = np.array([len(prompt) for prompt in prompts])
        self.logits, self._cache = passes.run(
            ids,
            np.concatenate(wanted),
            attention_mask=passes.mask(sees),
            position_ids=passes.tensor(positions[None]),
            past_key_values=cache,
            use_cache=n_more > 0 or cache is not None,
        )
        self.normaliser = _log_of_sum(self.logits)

    def go_on(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each prompt and give the log-probabilities after it."""
        n = len(tokens)
        self._seen = np.hstack([self._seen, np.eye(n, dtype=bool)])
        logits, self._cache = self._passes.run(
            np.array(tokens),
            np.arange(n),
            attention_mask=self._passes.mask(self._seen),
            position_ids=self._passes.tensor(self._next[None]),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._next = self._next + 1
        return torch.log_softmax(logits.float(), dim=-1)


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
        self.first = _starts(rows)
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
            everything = torch.ones((1, len(ids)), device=self._passes.model.device)
            logits, _ = self._passes.run(
                ids,
                np.arange(len(prompt) - 1, len(ids)),
                attention_mask=everything,
                use_cache=False,
            )
            found |= {end[:n]: logits[n] for n in range(1 + len(end))}
        return torch.stack([found[path] for path in [(), *paths]])


def _beginning(sequences: Sequence[list[int]]) -> list[int]:
    """Give what all sequences begin with: what the first and last in order share."""
    first, last = min(sequences), max(sequences)
    differs = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(differs, len(first))]


def _log_of_sum(logits: torch.Tensor) -> torch.Tensor:
    """Give the logarithm of the sum of exponentials at each place."""
    parts = logits.split(AT_ONCE.get(logits.device.type, AT_ONCE["cuda"]))
    return torch.cat([part.float().logsumexp(dim=-1) for part in parts])


def _starts(parts: Sequence[Any]) -> NDArray[np.int64]:
    """Give where each of several parts begins when they stand one behind the other."""
    return np.cumsum([0, *map(len, parts)])[:-1]
