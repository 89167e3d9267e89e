"""A GGUF model in this process: text to tokens, tokens to next-token distributions.

It speaks to llama.cpp through the C functions that llama-cpp-python exposes, because its
``Llama`` class evaluates one sequence at a time and forgets what two prompts share.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from numpy.typing import NDArray

from sklearn_logprob._types import Message

__all__ = ["LlamaEngine", "load_engine"]

N_BATCH = 512
N_SEQUENCES = 32  # label branches that one pass evaluates side by side


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _silence(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    """Swallow llama.cpp's several hundred lines on standard error."""


@functools.lru_cache(maxsize=2)
def load_engine(path: str, n_ctx: int, n_threads: int | None) -> LlamaEngine:
    """Load a model once a process, however many clones ask for it."""
    return LlamaEngine(path, n_ctx, n_threads)


class LlamaEngine:
    """Weights, vocabulary and one evaluation context of a GGUF file."""

    def __init__(self, path: str, n_ctx: int, n_threads: int | None) -> None:
        self.lock = threading.Lock()  # a context evaluates one batch at a time
        llama_cpp.llama_log_set(_silence, None)
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        # llama.cpp's AMX kernels crash on some machines (its issues 20824 and 26954).
        model_params.use_extra_bufts = not _cpu_has_amx()
        self._model = llama_cpp.llama_model_load_from_file(
            os.fsencode(path), model_params
        )
        if not self._model:
            raise ValueError(f"llama.cpp could not load {path!r}: is the file complete?")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = N_BATCH
        params.n_seq_max = N_SEQUENCES + 1
        params.kv_unified = True  # lets a branch share the prompt's memory
        # Flash attention takes another kernel from 64 tokens a pass on, so that a score
        # would depend on what the prompt before it left evaluated.
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.n_threads = params.n_threads_batch = n_threads or _available_cpus()
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise ValueError(
                f"llama.cpp could not make room for n_ctx={n_ctx} with {path!r}: "
                "choose a smaller n_ctx."
            )
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._batch = llama_cpp.llama_batch_init(N_BATCH, 0, N_SEQUENCES + 1)
        self._evaluated: list[int] = []  # what sequence 0 holds

    @functools.cached_property
    def pieces(self) -> list[str]:
        """Text of every token; incomplete UTF-8 shows as the replacement character."""
        return [
            self._piece(token).decode("utf-8", "replace") for token in range(self.n_vocab)
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

    def tokenize(self, text: str, *, chat: bool = False) -> list[int]:
        """Split a prompt into tokens; control tokens are read in chat prompts only."""
        data = text.encode("utf-8")
        room = len(data) + 2
        tokens = (llama_cpp.llama_token * room)()
        special = not (chat and self._bos and text.startswith(self._bos))
        size = llama_cpp.llama_tokenize(
            self._vocab, data, len(data), tokens, room, special, chat
        )
        return list(tokens[:size])

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

    def evaluate(self, tokens: Sequence[int]) -> tuple[NDArray[np.float64], int]:
        """Evaluate a prompt, keeping what it shares with the one before it.

        Returns the next-token log-probabilities, and how many tokens were kept.
        """
        kept = _shared(self._evaluated, tokens[:-1])
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, kept, -1):
            kept = 0  # recurrent models cannot go back in part
            llama_cpp.llama_memory_clear(self._memory, True)
        self._evaluated = list(tokens[:kept])
        for start in range(kept, len(tokens), N_BATCH):
            part = tokens[start : start + N_BATCH]
            last = start + len(part) == len(tokens)
            self._decode(
                [(token, start + i, (0,)) for i, token in enumerate(part)],
                reads={len(part) - 1} if last else set(),
            )
            self._evaluated.extend(part)
        return self._log_probs(len(part) - 1), kept

    def branch(
        self, paths: Sequence[tuple[int, ...]]
    ) -> dict[tuple[int, ...], NDArray[np.float64]]:
        """Next-token log-probabilities after each path that may follow the prompt.

        Every path's beginnings must be among the paths, shorter ones first; each is
        evaluated once, in sequences that share the prompt's memory.
        """
        ends = [p for p in paths if not any(q[: len(p)] == p != q for q in paths)]
        after: dict[tuple[int, ...], NDArray[np.float64]] = {}
        for first in range(0, len(ends), N_SEQUENCES):
            some = ends[first : first + N_SEQUENCES]
            wanted = [p for p in paths if any(e[: len(p)] == p for e in some)]
            self._decode_branches(wanted, some)
            after.update((p, self._log_probs(i)) for i, p in enumerate(wanted))
            for sequence in range(1, len(some) + 1):
                llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return after

    def _decode_branches(
        self, paths: Sequence[tuple[int, ...]], ends: Sequence[tuple[int, ...]]
    ) -> None:
        for sequence in range(1, len(ends) + 1):
            llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
        entries = [
            (
                path[-1],
                len(self._evaluated) + len(path) - 1,
                tuple(i for i, end in enumerate(ends, 1) if end[: len(path)] == path),
            )
            for path in paths
        ]
        self._decode(entries, reads=set(range(len(entries))))

    def _decode(
        self, entries: Sequence[tuple[int, int, tuple[int, ...]]], reads: set[int]
    ) -> None:
        """Run one batch of (token, position, sequences) through the model."""
        batch = self._batch
        batch.n_tokens = len(entries)
        for i, (token, position, sequences) in enumerate(entries):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = len(sequences)
            for j, sequence in enumerate(sequences):
                batch.seq_id[i][j] = sequence
            batch.logits[i] = i in reads
        status = llama_cpp.llama_decode(self._context, batch)
        if status != 0:
            self._evaluated = []
            llama_cpp.llama_memory_clear(self._memory, True)
            raise RuntimeError(
                f"llama.cpp could not evaluate {len(entries)} tokens (status {status}): "
                "the context is full; choose a larger n_ctx."
            )

    def _log_probs(self, index: int) -> NDArray[np.float64]:
        pointer = llama_cpp.llama_get_logits_ith(self._context, index)
        logits = np.ctypeslib.as_array(pointer, (self.n_vocab,)).astype(np.float64)
        logits -= logits.max()
        return np.asarray(logits - np.log(np.exp(logits).sum()))


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the beginning that two sequences have in common."""
    shared = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        shared += 1
    return shared


def _cpu_has_amx() -> bool:
    """Whether this is an x86 CPU with matrix tiles, as far as Linux tells."""
    try:
        return " amx_tile" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def _available_cpus() -> int:
    """CPUs this process may use, which a container limits below the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
