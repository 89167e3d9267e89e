"""What every test shares: no test reads or writes the user's own folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sklearn_logprob.cache import Cache


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
    yield folder
    Cache(folder).close()
