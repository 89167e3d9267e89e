"""The vocabulary of a GGUF model in chats, where what is said is text."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np

from sklearn_logprob._types import Message
from sklearn_logprob.backends._control_texts import MARK, ControlTexts
from sklearn_logprob.backends._llama_plan import Tokens
from sklearn_logprob.backends._llama_vocab import LlamaVocab

__all__ = ["ChatVocab", "chat_vocab"]


class ChatVocab(LlamaVocab):
    """A vocabulary that reads control tokens from the side of the template alone."""

    @functools.cached_property
    def _control(self) -> ControlTexts:
        kinds = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        return ControlTexts(
            self._special_text(token)
            for token in range(self.size)
            if llama_cpp.llama_vocab_get_attr(self._vocab, token) & kinds
        )

    def chat_text(self, messages: Sequence[Message]) -> str:
        """Write chat messages as the model's own template does, what is said marked."""
        marked = [(role, self._control.mark(content)) for role, content in messages]
        return super().chat_text(marked)

    def tokenize(self, text: str, *, chat: bool = False) -> Tokens:
        """Split text into tokens; in chats marked texts are none."""
        if not (chat and MARK in text):
            return super().tokenize(text, chat=chat)
        begun = bool(self._bos) and text.startswith(self._bos)
        parts = [super().tokenize("")[:0] if begun else super().tokenize("")]
        for piece, is_control in self._control.pieces(text):
            found = super().tokenize(piece, chat=is_control)
            parts.append(found[-1:] if is_control else found[self._start :])
        return np.concatenate(parts)


def chat_vocab(engine: Any) -> ChatVocab:
    """Give an engine's vocabulary, in place of the one that it was loaded with."""
    if not isinstance(engine.vocab, ChatVocab):
        engine.vocab = ChatVocab(engine._model)
    vocab: ChatVocab = engine.vocab
    return vocab
