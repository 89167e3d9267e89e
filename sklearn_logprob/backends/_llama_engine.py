"""A GGUF model in this process: text to tokens, lines of tokens to next-token logits.

It speaks to llama.cpp through the C functions that llama-cpp-python exposes, because its
``Llama`` class evaluates one sequence at a time and forgets what two prompts share.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from numpy.typing import NDArray

from sklearn_logprob._types import Message
from sklearn_logprob.backends._cpu import cpu_has, physical_cores
from sklearn_logprob.backends._llama_plan import Layout, Line, Tokens, lay_out, runs

__all__ = ["LlamaEngine", "convert", "load_engine", "n_parameters"]

N_BATCH = 256  # tokens a pass; more are no faster, and need more memory
N_LINES = 126  # lines a pass, each with a number of its own; two more follow
BEFORE, PADDING = N_LINES, N_LINES + 1
# llama.cpp's attention takes another kernel below this many tokens, with other roundings.
LEAST = 64

NOTHING = np.empty(0, np.int32)

Logits = NDArray[np.float32]


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _silence(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    """Swallow llama.cpp's several hundred lines on standard error."""


@functools.lru_cache(maxsize=2)
def load_engine(path: str, n_ctx: int, n_threads: int | None) -> LlamaEngine:
    """Load a model once a process, however many clones ask for it."""
    return LlamaEngine(path, n_ctx, n_threads)


def convert(source: str, target: str, file_type: int) -> bool:
    """Write the weights in another format; whether that went well."""
    llama_cpp.llama_log_set(_silence, None)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = file_type, True
    status = llama_cpp.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), params
    )
    return not status


def n_parameters(path: str) -> int:
    """Count the weights in a file, without reading them."""
    llama_cpp.llama_log_set(_silence, None)
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = _load_model(path, params)
    try:
        return int(llama_cpp.llama_model_n_params(model))
    finally:
        llama_cpp.llama_model_free(model)


class LlamaEngine:
    """Weights, vocabulary and one evaluation context of a GGUF file."""

    def __init__(self, path: str, n_ctx: int, n_threads: int | None) -> None:
        self.lock = threading.Lock()  # a context evaluates one batch at a time
        llama_cpp.llama_log_set(_silence, None)
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        # llama.cpp's AMX kernels crash on some machines (its issues 20824 and 26954).
        model_params.use_extra_bufts = not cpu_has("amx_tile")
        self._model = _load_model(path, model_params)
        # A recurrent state cannot be shared by reference, or go back in part.
        self._shares = not (
            llama_cpp.llama_model_is_recurrent(self._model)
            or llama_cpp.llama_model_is_hybrid(self._model)
        )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = N_BATCH
        params.n_seq_max = PADDING + 1 if self._shares else 1
        params.kv_unified = True  # lets lines share their memory
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.n_threads = params.n_threads_batch = n_threads or physical_cores()
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise ValueError(
                f"llama.cpp could not make room for n_ctx={n_ctx} with {path!r}: "
                "choose a smaller n_ctx."
            )
        self._room = int(llama_cpp.llama_n_ctx(self._context))
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._batch = _Batch(params.n_seq_max)
        self._before = NOTHING  # the tokens of the line that is kept in memory

    @functools.cached_property
    def pieces(self) -> list[str]:
        """Text of every token; incomplete UTF-8 shows as the replacement character."""
        return [
            self._piece(token).decode("utf-8", "replace") for token in range(self.n_vocab)
        ]

    def text(self, tokens: Sequence[int]) -> str:
        """Write tokens as text."""
        return b"".join(map(self._piece, tokens)).decode("utf-8", "replace")

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

    def tokenize(self, text: str, *, chat: bool = False) -> Tokens:
        """Split a prompt into tokens; control tokens are read in chat prompts only."""
        data = text.encode("utf-8")
        tokens = np.empty(len(data) + 2, np.int32)
        special = not (chat and self._bos and text.startswith(self._bos))
        size = llama_cpp.llama_tokenize(
            self._vocab, data, len(data), _pointer(tokens), len(tokens), special, chat
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

    def runs(self, lines: Sequence[Line]) -> Iterator[list[Line]]:
        """Sort lines and cut them into runs, each for one call of `evaluate`."""
        most = N_LINES if self._shares else 1
        return runs(lines, batch=N_BATCH, room=self._room, most=most)

    def lay_out(self, run: Sequence[Line]) -> Layout:
        """Find what a run needs evaluated, and take what it begins with from memory."""
        before, self._before = self._before, NOTHING  # should anything go wrong
        layout = lay_out(run, before, self._room - LEAST if self._shares else 0)
        if layout.kept[0]:
            for line, kept in enumerate(layout.kept):
                llama_cpp.llama_memory_seq_cp(self._memory, BEFORE, line, 0, kept)
            llama_cpp.llama_memory_seq_rm(self._memory, BEFORE, -1, -1)
        else:
            llama_cpp.llama_memory_clear(self._memory, False)
        return layout

    def evaluate(self, layout: Layout) -> Iterator[tuple[int, int, Logits]]:
        """Evaluate a run: line, position and logits for all that its lines read.

        The logits are good until the next step. The lines stay in memory, where `extend`
        may add to them, until `keep` is called.
        """
        n_entries = len(layout.tokens)
        wanted = np.zeros(n_entries, bool)
        wanted[[entry for entry, _, _ in layout.reads]] = True
        n_parts = -(-n_entries // N_BATCH)
        bounds = np.linspace(0, n_entries, n_parts + 1).astype(int).tolist()
        for start, stop in itertools.pairwise(bounds):
            part = slice(start, stop)
            logits = self._decode(
                layout.tokens[part],
                layout.positions[part],
                layout.first[part],
                layout.lines[part],
                wanted[part],
                least=LEAST if self._shares else 1,
            )
            row = np.cumsum(wanted[part]) - 1
            for entry, line, position in layout.reads:
                if start <= entry < stop:
                    yield line, position, logits[row[entry - start]]

    def extend(self, lines: Mapping[int, tuple[int, int]]) -> Logits:
        """Add a (token, position) to some lines of a run; give the logits after each."""
        tokens, positions = np.array(list(lines.values()), np.int32).T
        ids = np.array(list(lines), np.int32)
        every = np.ones_like(ids)
        return self._decode(tokens, positions, ids, every, every, least=1)

    def keep(self, run: Sequence[Line]) -> None:
        """Forget a run but for its last line, which the next one may begin like."""
        if self._shares:
            last, tokens = len(run) - 1, run[-1].tokens
            llama_cpp.llama_memory_seq_cp(self._memory, last, BEFORE, 0, len(tokens))
            for line in range(len(run)):
                llama_cpp.llama_memory_seq_rm(self._memory, line, -1, -1)
            self._before = tokens

    def _decode(
        self,
        tokens: NDArray[Any],
        positions: NDArray[Any],
        first: NDArray[Any],
        lines: NDArray[Any],
        wanted: NDArray[Any],
        *,
        least: int,
    ) -> Logits:
        """Run one batch through the model; give the logits that are wanted, in order."""
        n_tokens = len(tokens)
        self._batch.fill(tokens, positions, first, lines, wanted)
        self._batch.pad(least)
        status = llama_cpp.llama_decode(self._context, self._batch.struct)
        if status != 0:
            raise RuntimeError(
                f"llama.cpp could not evaluate {n_tokens} tokens (status {status}): "
                "the context is full; choose a larger n_ctx."
            )
        if n_tokens < least:
            llama_cpp.llama_memory_seq_rm(self._memory, PADDING, -1, -1)
        shape = (int(np.count_nonzero(wanted)), self.n_vocab)
        if not shape[0]:
            return np.empty(shape, np.float32)
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits(self._context), shape)


class _Batch:
    """The arrays of a batch, filled by numpy and read by llama.cpp."""

    def __init__(self, n_sequences: int) -> None:
        shape = N_BATCH
        self._tokens, self._positions, self._n_ids = np.zeros((3, shape), np.int32)
        self._wanted = np.zeros(shape, np.int8)
        self._ids = np.zeros((shape, n_sequences), np.int32)
        rows = (ctypes.POINTER(ctypes.c_int32) * shape)(*map(_pointer, self._ids))
        self.struct = llama_cpp.llama_batch(
            token=_pointer(self._tokens),
            pos=_pointer(self._positions),
            n_seq_id=_pointer(self._n_ids),
            seq_id=rows,
            logits=_pointer(self._wanted),
        )

    def fill(
        self,
        tokens: NDArray[Any],
        positions: NDArray[Any],
        first: NDArray[Any],
        lines: NDArray[Any],
        wanted: NDArray[Any],
    ) -> None:
        """Take entries, each with its neighbouring lines."""
        n = self.struct.n_tokens = len(tokens)
        self._tokens[:n], self._positions[:n] = tokens, positions
        self._n_ids[:n], self._wanted[:n] = lines, wanted
        most = lines.max()
        self._ids[:n, :most] = first[:, None] + np.arange(most)

    def pad(self, least: int) -> None:
        """Fill up with tokens that nobody reads."""
        n = self.struct.n_tokens
        if n < least:
            rest = slice(n, least)
            self._tokens[rest] = self._wanted[rest] = 0
            self._positions[rest] = np.arange(least - n)
            self._n_ids[rest], self._ids[rest, 0] = 1, PADDING
            self.struct.n_tokens = least


def _pointer(array: NDArray[Any]) -> Any:
    """Where an array begins, for C."""
    kind = np.ctypeslib.as_ctypes_type(array.dtype)
    return array.ctypes.data_as(ctypes.POINTER(kind))


def _load_model(path: str, params: Any) -> Any:
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ValueError(f"llama.cpp could not load {path!r}: is the file complete?")
    return model
