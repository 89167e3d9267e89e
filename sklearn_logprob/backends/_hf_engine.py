"""A Hugging Face model in this process: text to tokens, tokens to answers."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import jinja2
import torch

from sklearn_logprob._errors import BackendError, UnsupportedRequestError
from sklearn_logprob._types import Message
from sklearn_logprob.backends._control_texts import MARK, ControlTexts
from sklearn_logprob.backends._hf_crew import Crew, threads_on
from sklearn_logprob.backends._hf_load import load, resolve
from sklearn_logprob.backends._hf_passes import Passes
from sklearn_logprob.backends._hf_reading import Question, Reading, read
from sklearn_logprob.backends._hf_rows import Rows
from sklearn_logprob.backends._hf_source import Source
from sklearn_logprob.backends._trie import TokenTrie, continuation

__all__ = ["HfEngine", "Question", "load_engine", "resolve"]

TAIL = 64  # characters before a label that can change how it is split into tokens


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
        if not questions:
            return
        todo = sorted(
            range(len(questions)),
            key=lambda i: (questions[i].max_tokens, len(questions[i].tokens)),
        )
        device = self._passes.model.device.type
        n_others = sum(len(q.trie.inner[1:]) + q.max_tokens - 1 for q in questions)
        prompts = [question.tokens for question in questions]
        n_passes, share = self._passes.divide(prompts, n_others, threads_on(device))
        batch_size = min(batch_size, share)  # more are only looked through each time
        with Crew(device, n_passes) as crew:
            under_way: deque[tuple[list[int], Future[list[Reading]]]] = deque()
            while todo or under_way:
                readings, future = None, None
                try:
                    if todo and len(under_way) < crew.most:
                        # longest first: if memory is short, it shows at once
                        batch = todo[: -batch_size - 1 : -1]
                        del todo[-len(batch) :]
                        asked = [questions[i] for i in batch]
                        n, evaluate = self._begin(asked, share)
                        todo += reversed(batch[n:])
                        del batch[n:]
                        under_way.append(
                            (batch, crew.submit(read, asked[:n], evaluate, self.ends))
                        )
                        continue
                    batch, future = under_way.popleft()
                    readings = future.result()
                except torch.cuda.OutOfMemoryError:
                    del future  # what follows is where no traceback holds tensors
                if readings is not None:
                    yield from zip(batch, readings, strict=True)
                    continue
                torch.cuda.empty_cache()
                todo += reversed(batch)
                batch_size = len(batch) // 2
                if not batch_size:
                    raise BackendError(
                        "The GPU's memory does not hold one row of "
                        f"{len(questions[batch[0]].tokens)} tokens beside the weights: "
                        "use a smaller model, dtype='bfloat16', shorter texts or "
                        "device='cpu'."
                    )

    def _begin(
        self, longest_first: Sequence[Question], share: int
    ) -> tuple[int, Callable[[], Rows]]:
        """Count those that go well into one pass, and give what evaluates them.

        All of a pass say as many tokens: one that has fewer left may have no place for
        more in the context.
        """
        most = longest_first[0].max_tokens
        some = [question for question in longest_first if question.max_tokens == most]
        nodes = [question.trie.inner[1:] for question in some]
        with self.lock, torch.inference_mode():
            return self._passes.begin(
                [question.tokens for question in some], nodes, most - 1, share
            )
