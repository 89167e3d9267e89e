"""What every test shares: no test reads or writes the user's own folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from sklearn_logprob.backends import _llama_wire, _token_server, llama_server
from sklearn_logprob.backends._llama_weights import find_gguf
from sklearn_logprob.cache import Cache

# Before any library reads it: no test reaches the internet.
os.environ["HF_HUB_OFFLINE"] = "1"

# Shared machines are slow at times; and what lands should not depend on luck.
settings.register_profile("all", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "all")


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give scikit-learn an empty data folder, filled by the first test that fetches."""
    folder = tmp_path_factory.mktemp("scikit_learn_data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIKIT_LEARN_DATA", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give ``cache="auto"`` a new folder in every test."""
    folder = tmp_path / "answers"
    monkeypatch.setenv("SKLEARN_LOGPROB_CACHE", str(folder))
    monkeypatch.setenv("SKLEARN_LOGPROB_BATCHES", str(tmp_path / "batches"))
    yield folder
    Cache(folder).close()


@pytest.fixture(scope="session", autouse=True)
def weights_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give converted weights a new folder, for all tests: converting takes seconds."""
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKLEARN_LOGPROB_WEIGHTS", str(folder))
        yield folder
    shutil.rmtree(folder)  # a third of a gigabyte, which pytest would keep


@pytest.fixture(scope="session")
def weights() -> Path:
    """Find the embedded model."""
    # not imported yet: the backend first says how long waiting threads may spin
    if find_spec("llama_cpp") is None:
        pytest.skip("needs llama-cpp-python")
    return find_gguf(None)


@pytest.fixture(scope="session")
def exact_weights(
    weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Write the same weights as 32-bit floats.

    On 4-bit weights llama.cpp rounds the activations to 8 bits, which amplifies last
    digits: two builds of it differ by tenths of a nat there, and hardly on floats.
    """
    import llama_cpp

    path = tmp_path_factory.mktemp("weights") / "float32.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = 0  # all tensors as they are computed with, in 32 bits
    params.allow_requantize = True
    assert not llama_cpp.llama_model_quantize(
        os.fsencode(weights), os.fsencode(path), params
    )
    yield path
    path.unlink()  # half a gigabyte, which pytest would keep


@pytest.fixture(autouse=True)
def _no_server_before() -> None:
    """Forget servers: a new one may get the port of one that is gone."""
    for cached in (
        _token_server._served,
        _llama_wire._model,
        _llama_wire._chat_splitter,
        llama_server._build,
    ):
        cached.cache_clear()
