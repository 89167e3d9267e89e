"""Loading a Hugging Face model: where it computes, in what precision, how it splits."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers.utils import cached_file
from transformers.utils import logging as hf_logging

from sklearn_logprob.backends._hf_source import Source

__all__ = ["load", "resolve"]

# Kinds of byte-level vocabularies, by the name in a GGUF file. transformers rebuilds a
# tokenizer from the file and splits text as GPT-2 does where it does not know the kind:
# right for some, and off at digits for others, which are repaired here.
AS_GPT2 = {
    "a.x-4.0", "gigachat", "gpt-2", "granite-docling", "jais", "jina-de", "jina-es",
    "jina-v2-de", "jina-v2-es", "mellum", "mpt", "olmo", "phi-2", "trillion",
}  # fmt: skip
AT_DIGITS = {
    "codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder",
}  # fmt: skip


def load(source: Source, device: str, dtype: str) -> tuple[Any, Any]:
    """Load a tokenizer and a model."""
    arguments = source.arguments
    kind = None if source.gguf_file is None else _kind_of_vocabulary(source)
    with _no_bars_in_logs():
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.name, **arguments)
        if kind in AT_DIGITS:
            tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
                ]
            )
        # Else newer versions may compute on packed weights, by kernels that they fetch:
        # other numbers than those of the same weights elsewhere.
        if source.gguf_file is not None and hasattr(transformers, "GgufConfig"):
            unpack = transformers.GgufConfig(dequantize=True)
            arguments["quantization_config"] = unpack
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source.name, dtype=getattr(torch, dtype), **arguments
        )
    _respect_affinity()
    return tokenizer, model.to(device).eval()


def resolve(device: str, dtype: str) -> tuple[str, str]:
    """Say where "auto" computes, and in what."""
    device = _pick_device(device)
    return device, _pick_dtype(dtype, device)


def _pick_device(name: str) -> str:
    """Say where "auto" computes, and refuse a device that is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.partition(":")[0]
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(kind, False):
        raise ValueError(
            "The 'device' parameter of TransformersBackend must be 'auto', 'cpu', or "
            "'cuda', 'cuda:1' or 'mps' where there is one. "
            f"Got {name!r} instead; here PyTorch sees {[k for k in here if here[k]]}."
        )
    return name


def _pick_dtype(name: str, device: str) -> str:
    """Say what "auto" computes in: bfloat16 on a GPU that has it."""
    if name != "auto":
        return name
    capable = (8, 0)  # on a CPU it is faster too, but scores depend on the batch then
    cuda = device.startswith("cuda")
    native = cuda and torch.cuda.get_device_capability(device) >= capable
    return "bfloat16" if native else "float32"


def _kind_of_vocabulary(source: Source) -> str | None:
    """Read how a GGUF file splits text, and refuse what would be split otherwise."""
    path = cached_file(
        source.name,
        source.gguf_file,
        revision=source.revision,
        local_files_only=source.is_local,
    )
    with Path(path).open("rb") as file:
        head = file.read(1 << 24)
    kind = _text_in(head, b"tokenizer.ggml.pre")
    known = AS_GPT2 | AT_DIGITS | _known_to_transformers()
    if _text_in(head, b"tokenizer.ggml.model") == "gpt2" and kind not in known:
        raise ValueError(
            f"This version of transformers does not know how {source.gguf_file!r} "
            f"splits text into tokens ({kind!r}), and would do it wrongly. Name the "
            "repository that the file was made from, or use LlamaCppBackend."
        )
    return kind


def _text_in(head: bytes, key: bytes) -> str | None:
    """Read a text among the metadata at the beginning of a GGUF file."""
    _, found, rest = head.partition(key + struct.pack("<I", 8))
    if not found:
        return None
    (size,) = struct.unpack_from("<Q", rest)
    return rest[8 : 8 + size].decode()


def _known_to_transformers() -> set[str]:
    try:
        module = import_module("transformers.integrations.gguf.gguf_tokenizer_mapping")
    except ImportError:  # 4.56 begins texts with a token that the file does without
        raise ValueError(
            f"transformers {transformers.__version__} reads the tokenizers of GGUF files "
            "wrongly: pip install -U transformers."
        ) from None
    return set(module.GGUF_PRE_TOKENIZER_SPLITS)


@contextmanager
def _no_bars_in_logs() -> Iterator[None]:
    """Show progress of loading in a terminal only."""
    shown = hf_logging.is_progress_bar_enabled()
    if not sys.stderr.isatty():
        hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()


def _respect_affinity() -> None:
    """Use no more threads than CPUs that this process may use, unlike its machine."""
    if hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(min(torch.get_num_threads(), len(os.sched_getaffinity(0))))
