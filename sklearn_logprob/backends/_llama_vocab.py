"""The vocabulary of a GGUF model: text to tokens and back, labels behind prompts."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from numpy.typing import NDArray

from sklearn_logprob._types import Message
from sklearn_logprob.backends._llama_plan import Tokens
from sklearn_logprob.backends._trie import TokenTrie, continuation

__all__ = ["LlamaVocab", "pointer"]

TAIL = 4  # tokens at the end of a prompt that a label may merge with


class LlamaVocab:
    """What the tokens of a model are."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self.size = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self._start = len(self.tokenize(""))  # some begin every text with a token
        begin = llama_cpp.llama_vocab_bos(self._vocab)
        end = llama_cpp.llama_vocab_eos(self._vocab)
        # without any token there is no distribution over the next
        self._empty = np.array([max(begin, 0) if begin >= 0 else max(end, 0)], np.int32)
        # of this object, for a cache of the class would keep all weights alive
        self._behind = functools.lru_cache(maxsize=1024)(self._labels_behind)
        self.n_tokens = functools.lru_cache(maxsize=4096)(self._count)

    def labels(
        self, text: str, tokens: Tokens, choices: tuple[str, ...], *, chat: bool
    ) -> TokenTrie:
        """Split labels into their tokens as they follow a prompt."""
        tail = tuple(tokens[-TAIL:].tolist())
        trie = self._behind(tail, choices, chat)
        return trie or TokenTrie(
            self._continuations(text, tokens.tolist(), choices, chat)
        )

    def _labels_behind(
        self, tail: tuple[int, ...], choices: tuple[str, ...], chat: bool
    ) -> TokenTrie | None:
        """Split labels behind the end of a prompt, which most prompts have in common.

        None where the end, alone, is split in another way than in the prompt.
        """
        text = b"".join(map(self._piece, tail)).decode("utf-8", "replace")
        tokens = self.tokenize(text, chat=chat).tolist()
        if tokens[self._start :] != list(tail):
            return None
        return TokenTrie(self._continuations(text, tokens, choices, chat))

    def _continuations(
        self, text: str, tokens: list[int], choices: tuple[str, ...], chat: bool
    ) -> list[tuple[int, ...]]:
        return [
            continuation(
                tokens,
                self.tokenize(text + choice, chat=chat).tolist(),
                self.tokenize(choice)[self._start :].tolist(),
            )
            for choice in choices
        ]

    def _count(self, text: str) -> int:
        return len(self.tokenize(text))

    @functools.cached_property
    def pieces(self) -> list[str]:
        """Text of every token; incomplete UTF-8 shows as the replacement character."""
        return [
            self._piece(token).decode("utf-8", "replace") for token in range(self.size)
        ]

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        size = llama_cpp.llama_token_to_piece(
            self._vocab, token, buffer, len(buffer), 0, True
        )
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = llama_cpp.llama_token_to_piece(
                self._vocab, token, buffer, len(buffer), 0, True
            )
        return buffer.raw[:size]

    def prompt(self, text: str, *, chat: bool = False) -> Tokens:
        """Split a prompt into tokens, at least one."""
        tokens = self.tokenize(text, chat=chat)
        return tokens if len(tokens) else self._empty

    def tokenize(self, text: str, *, chat: bool = False) -> Tokens:
        """Split text into tokens; control tokens are read in chat prompts only."""
        data = text.encode("utf-8")
        tokens = np.empty(len(data) + 2, np.int32)
        special = not (chat and self._bos and text.startswith(self._bos))
        size = llama_cpp.llama_tokenize(
            self._vocab, data, len(data), pointer(tokens), len(tokens), special, chat
        )
        return tokens[:size]

    def ends(self, token: int) -> bool:
        """Whether an answer is over with this token."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    @functools.cached_property
    def _bos(self) -> str:
        return self._special_text(llama_cpp.llama_vocab_bos(self._vocab))

    def _special_text(self, token: int) -> str:
        return self._piece(token).decode("utf-8", "replace") if token >= 0 else ""

    @functools.cached_property
    def _chat_formatter(self) -> Any:
        template = llama_cpp.llama_model_chat_template(self._model, None)
        if template is None:
            return None
        eos = self._special_text(llama_cpp.llama_vocab_eos(self._vocab))
        return Jinja2ChatFormatter(template.decode("utf-8"), eos, self._bos)

    @property
    def has_chat_template(self) -> bool:
        """Whether the file says how its chat messages are written."""
        return self._chat_formatter is not None

    def chat_text(self, messages: Sequence[Message]) -> str:
        """Write chat messages as the model's own template does, up to the answer."""
        answer_start = ""
        if messages[-1][0] == "assistant":
            *messages, (_, answer_start) = messages
        said = [{"role": role, "content": content} for role, content in messages]
        return str(self._chat_formatter(messages=said).prompt) + answer_start


def pointer(array: NDArray[Any]) -> Any:
    """Tell C where an array begins."""
    kind = np.ctypeslib.as_ctypes_type(array.dtype)
    return array.ctypes.data_as(ctypes.POINTER(kind))
