"""One request on its way to its answer: what it reads, and what it has read so far."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_logprob._types import Answer, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._llama_plan import Line, Tokens
from sklearn_logprob.backends._trie import TokenTrie, continuation

__all__ = ["Row", "n_tokens"]

DECIMALS = 6  # float32 log-probabilities hold no more, and the cache stays small
TAIL = 4  # tokens of a prompt that a label may merge with
BLOCK = 64

Logits = NDArray[np.float32]
Path = tuple[int, ...]


class Row:
    """A request, the lines that it needs evaluated, and its answer.

    Parameters
    ----------
    engine : LlamaEngine
        Whose tokens these are.
    request : Request
        The question.
    text : str
        The prompt.
    tokens : ndarray of int32
        The prompt's tokens.
    """

    def __init__(self, engine: Any, request: Request, text: str, tokens: Tokens) -> None:
        self.tokens = tokens
        self._engine = engine
        self._request = request
        self._choose = _chooser(request)
        chat = request.messages[0][0] != "prompt"
        self._trie = _trie(engine, text, tokens, request.choices, chat)
        self._after: dict[Path, dict[int, float]] = {}
        self._positions: list[TokenLogprobs] = []
        self._answered: list[int] = []
        self._to_read = 0
        self.shared = len(tokens)  # tokens that were evaluated for others

    def lines(self) -> list[Line]:
        """Give the prompt with each way that its labels may go on."""
        inner = self._trie.inner if self._trie else [()]
        more = self._request.max_tokens - 1
        ends = [p for p in inner if not any(q[: len(p)] == p != q for q in inner)]
        if more:  # needs the prompt in a line of its own
            ends = sorted({(), *ends})
        lines, read = [], set()
        for end in ends:
            paths = [end[:i] for i in range(len(end) + 1) if end[:i] not in read]
            read.update(paths)
            lines.append(
                Line(
                    np.concatenate([self.tokens, np.array(end, np.int32)]),
                    self,
                    {len(self.tokens) + len(path) - 1: path for path in paths},
                    0 if end else more,
                )
            )
        self._to_read = len(inner)
        return lines

    @property
    def complete(self) -> bool:
        """Whether everything is read and generated."""
        return not self._to_read and not self.goes_on

    @property
    def goes_on(self) -> bool:
        """Whether the next token of the answer is to be generated."""
        return len(self._answered) < self._request.max_tokens and not (
            self._answered and self._engine.ends(self._answered[-1])
        )

    @property
    def last(self) -> tuple[int, int]:
        """The token that was generated last, and its position."""
        return self._answered[-1], len(self.tokens) + len(self._answered) - 1

    def read(self, path: Path, logits: Logits) -> None:
        """Take what the model says after the prompt and the beginning of a label."""
        self._to_read -= 1
        log_sum = _log_sum(logits)
        if self._trie:
            children = self._trie.children[path]
            values = logits[children].astype(np.float64) - log_sum
            self._after[path] = dict(zip(children, values.tolist(), strict=True))
        if not path:
            self._add(logits, log_sum)

    def generate(self, logits: Logits) -> None:
        """Take what the model says after the answer so far."""
        self._add(logits, _log_sum(logits))

    def answer(self) -> Answer:
        """Put together what was read."""
        usage = TokenUsage(len(self.tokens), len(self._answered), self.shared)
        choices: tuple[tuple[str, float], ...] = ()
        if self._trie:
            scored = (
                round(value, DECIMALS) for value in self._trie.log_probs(self._after)
            )
            choices = tuple(zip(self._request.choices, scored, strict=True))
        if not self._request.top_logprobs:
            ended = self._engine.ends(self._answered[-1])
            told = self._positions[:-1] if ended else self._positions
            said = "".join(position.token for position in told)
            return Answer(choices=choices, usage=usage, draws=((said, 1),))
        return Answer(tuple(self._positions), choices, usage)

    def _add(self, logits: Logits, log_sum: float) -> None:
        token = self._choose(logits)
        self._answered.append(token)
        pieces = self._engine.pieces
        top = _largest(logits, min(self._request.top_logprobs, len(logits)))
        values = np.round(logits[[token, *top]].astype(np.float64) - log_sum, DECIMALS)
        own, *others = values.tolist()
        shown = zip((pieces[t] for t in top), others, strict=True)
        self._positions.append(TokenLogprobs(pieces[token], own, tuple(shown)))


@functools.lru_cache(maxsize=4096)
def n_tokens(engine: Any, text: str) -> int:
    """Count the tokens of a label."""
    return len(engine.tokenize(text))


def _trie(
    engine: Any, text: str, tokens: Tokens, choices: tuple[str, ...], chat: bool
) -> TokenTrie | None:
    """Give the choices' tokens as they follow the prompt."""
    if not choices:
        return None
    tail = tuple(tokens[-TAIL:].tolist())
    trie = _trie_behind(engine, tail, choices, chat)
    return trie or TokenTrie(_continuations(engine, text, tokens.tolist(), choices, chat))


@functools.lru_cache(maxsize=1024)
def _trie_behind(
    engine: Any, tail: Path, choices: tuple[str, ...], chat: bool
) -> TokenTrie | None:
    """Split choices behind the end of a prompt, which most prompts have in common.

    None where the end, alone, is split in another way than in the prompt.
    """
    text = engine.text(tail)
    start = len(engine.tokenize(""))  # some models begin every text with a token
    tokens = engine.tokenize(text, chat=chat).tolist()
    if tokens[start:] != list(tail):
        return None
    return TokenTrie(_continuations(engine, text, tokens, choices, chat))


def _continuations(
    engine: Any, text: str, tokens: list[int], choices: Sequence[str], chat: bool
) -> list[Path]:
    start = len(engine.tokenize(""))
    return [
        continuation(
            tokens,
            engine.tokenize(text + choice, chat=chat).tolist(),
            engine.tokenize(choice)[start:].tolist(),
        )
        for choice in choices
    ]


def _chooser(request: Request) -> Callable[[Logits], int]:
    """Give what picks the next token: the likeliest, or one drawn at temperature 1."""
    if not request.draw:
        return lambda logits: int(logits.argmax())
    # seeded by the request, so that a draw does not depend on what else is asked
    seed = hashlib.sha256(repr((request.messages, request.draw)).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "big"))
    return lambda logits: int((logits + rng.gumbel(size=len(logits))).argmax())


def _log_sum(logits: Logits) -> float:
    """``log(sum(exp(logits)))``; in float32, whose sums in pairs are good to 1e-6."""
    largest = logits.max()
    return float(largest) + float(np.log(np.exp(logits - largest).sum()))


def _largest(logits: Logits, n: int) -> list[int]:
    """Give the indices of the n largest values, largest first.

    The n-th largest of the blocks' largest values is at most the n-th largest value, so
    that few values need sorting.
    """
    if not n:
        return []
    blocks = np.maximum.reduceat(logits, np.arange(0, len(logits), BLOCK))
    least = np.partition(blocks, -n)[-n] if n < len(blocks) else -np.inf
    found = np.flatnonzero(logits >= least)
    order = np.argsort(-logits[found], kind="stable")[:n]
    return list(found[order].tolist())
