"""A Hugging Face model in this process: text to tokens, tokens to answers."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isnan

import jinja2
import torch

from sklearn_logprob._errors import BackendError, UnsupportedRequestError
from sklearn_logprob._types import Message
from sklearn_logprob.backends._control_texts import MARK, ControlTexts
from sklearn_logprob.backends._hf_load import load, resolve
from sklearn_logprob.backends._hf_passes import Passes, Rows
from sklearn_logprob.backends._hf_source import Source
from sklearn_logprob.backends._trie import TokenTrie, continuation

__all__ = ["HfEngine", "Question", "Reading", "Step", "load_engine", "resolve"]

Tokens = tuple[int, ...]

TAIL = 64  # characters before a label that can change how it is split into tokens
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


_loading = threading.Lock()


def load_engine(source: Source, device: str, dtype: str) -> HfEngine:
    """Load a model once a process, however many clones ask for it."""
    with _loading:
        return _load_engine(source, device, dtype)


@functools.lru_cache(maxsize=2)
def _load_engine(source: Source, device: str, dtype: str) -> HfEngine:
    return HfEngine(source, device, dtype)


class HfEngine:
    """Weights and tokenizer of a model."""

    def __init__(self, source: Source, device: str, dtype: str) -> None:
        self.lock = threading.Lock()  # the prompts' common beginning is kept
        self._tokenizer, model = load(source, device, dtype)
        self._passes = Passes(model)
        self.n_ctx: int | None = getattr(
            model.config.get_text_config(), "max_position_embeddings", None
        )
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self.ends = {*ends, self._tokenizer.eos_token_id} - {None}
        plain, added = self.split("a"), list(self._tokenizer("a")["input_ids"])
        starts = (i for i in range(len(added)) if added[i : i + len(plain)] == plain)
        self._start = added[: next(starts, 0)]
        self._anchor = plain[-1:]
        begin = self._tokenizer.bos_token_id
        # Without any token there is no distribution over the next.
        self._empty = [min(self.ends, default=0) if begin is None else begin]
        self._pieces: dict[int, str] = {}
        added = self._tokenizer.added_tokens_decoder.values()
        texts = [token.content for token in added if token.special]
        self._control = ControlTexts([*texts, *self._tokenizer.all_special_tokens])
        # of this object, for a cache of the class would keep all weights alive
        self._trie = functools.lru_cache(maxsize=1024)(self._split_labels)

    def split(self, text: str, *, chat: bool = False) -> list[int]:
        """Split text into tokens; control tokens are those that a chat template wrote."""
        if chat and MARK in text:
            pieces = self._control.pieces(text)
            return [t for piece, control in pieces for t in self._split(piece, control)]
        return self._split(text, chat)

    def _split(self, text: str, control: bool) -> list[int]:
        options = {"add_special_tokens": False, "split_special_tokens": not control}
        found = self._tokenizer(text, **options, verbose=False)
        return list(found["input_ids"])

    def tokenize(self, text: str, *, chat: bool = False) -> list[int]:
        """Split a prompt; a chat template writes the beginning-of-text token itself."""
        tokens = self.split(text, chat=chat)
        return ([] if chat else self._start) + tokens or self._empty

    def labels(self, text: str, choices: tuple[str, ...], *, chat: bool) -> TokenTrie:
        """Split labels into their tokens as they follow a prompt.

        White space well before the prompt's end begins a token, so what precedes it
        changes nothing, and rows of one template mostly have the rest in common.
        """
        end = max(0, len(text) - TAIL)
        space = max(text.rfind(" ", 0, end), text.rfind("\n", 0, end))
        start = len(text[: space + 1].rstrip())
        return self._trie(text[start:], choices, chat)

    def _split_labels(self, text: str, choices: tuple[str, ...], chat: bool) -> TokenTrie:
        before = self.split(text, chat=chat)
        joint = (self.split(text + choice, chat=chat) for choice in choices)
        alone = map(self.split, choices)
        return TokenTrie(
            [continuation(before, *pair) for pair in zip(joint, alone, strict=True)]
        )

    def piece(self, token: int) -> str:
        """Text of a token; incomplete UTF-8 shows as the replacement character."""
        if token not in self._pieces:
            self._pieces[token] = self.text([token])
        return self._pieces[token]

    def text(self, tokens: Sequence[int]) -> str:
        """Text of tokens that follow others: a leading space is part of it."""
        before, whole = (
            self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
            for ids in (self._anchor, [*self._anchor, *tokens])
        )
        return str(whole[len(before) :])

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer says how chat messages are written."""
        return self._tokenizer.chat_template is not None

    def chat_text(self, messages: Sequence[Message]) -> str:
        """Write chat messages as the model's own template does, up to the answer."""
        messages = [(role, self._control.mark(content)) for role, content in messages]
        answer_start = ""
        if messages[-1][0] == "assistant":
            # behind the generation prompt, which may hold more than the message's start
            *messages, (_, answer_start) = messages
        said = [{"role": role, "content": content} for role, content in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                said, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except jinja2.TemplateError as error:
            raise UnsupportedRequestError(
                f"The model's chat template refuses the messages: {error}. Where it "
                "knows no system message, put that text before the user's."
            ) from error
        return str(text) + answer_start

    def answer(
        self, questions: Sequence[Question], batch_size: int
    ) -> Iterator[tuple[int, Reading]]:
        """Answer questions in batches of similar length, and yield batch by batch."""
        todo = sorted(
            range(len(questions)),
            key=lambda i: (questions[i].max_tokens, len(questions[i].tokens)),
        )
        while todo:  # longest first: if memory is short, it shows at once
            batch = self._together(questions, todo[-batch_size:])
            try:
                with self.lock, torch.inference_mode():
                    readings = self._read([questions[i] for i in batch])
            except torch.cuda.OutOfMemoryError:
                readings = []  # what follows is outside, where no traceback holds tensors
            if readings:
                del todo[-len(batch) :]
                yield from zip(batch, readings, strict=True)
                continue
            torch.cuda.empty_cache()
            batch_size = len(batch) // 2
            if not batch_size:
                raise BackendError(
                    "The GPU's memory does not hold one row of "
                    f"{len(questions[batch[0]].tokens)} tokens beside the weights: use "
                    "a smaller model, dtype='bfloat16', shorter texts or device='cpu'."
                )

    def _together(self, questions: Sequence[Question], todo: list[int]) -> list[int]:
        """Take those from the end that go well into one pass."""
        longest_first = [questions[i] for i in reversed(todo)]
        return todo[-self._passes.fitting(*_asked(longest_first)) :]

    def _read(self, questions: Sequence[Question]) -> list[Reading]:
        rows = self._passes.begin(*_asked(questions))
        readings = [
            Reading(n_shared, after)
            for n_shared, after in zip(
                rows.n_shared, _wanted(rows, questions), strict=True
            )
        ]
        n_top = max(q.n_top for q in questions)
        dice = [self._dice(q.seed) for q in questions]
        log_probs = rows.log_probs[rows.first]
        going = set(range(len(questions)))
        while True:
            steps = _steps(log_probs, dice, n_top)
            for i in sorted(going):
                question, said = questions[i], readings[i].steps
                said.append(steps[i])
                del steps[i].top[question.n_top :]
                if len(said) == question.max_tokens or steps[i].token in self.ends:
                    going.remove(i)
            if not going:
                return readings
            log_probs = rows.go_on([step.token for step in steps])

    def _dice(self, seed: int | None) -> torch.Generator | None:
        if seed is None:
            return None
        return torch.Generator(self._passes.model.device).manual_seed(seed)


def _asked(
    questions: Sequence[Question],
) -> tuple[list[list[int]], list[list[Tokens]], int]:
    """Give prompts, the nodes behind each, and how many tokens may follow."""
    nodes = [question.trie.inner[1:] for question in questions]
    n_more = max(question.max_tokens for question in questions) - 1
    return [question.tokens for question in questions], nodes, n_more


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
    index = torch.tensor(places, device=rows.log_probs.device).unbind(1)
    values = iter(rows.log_probs[index].tolist())
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
