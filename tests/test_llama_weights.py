"""Formats of the weights: converted once, identified, and never in the way."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from sklearn_logprob import LlamaCppBackend, Request
from sklearn_logprob.backends import _llama_weights
from sklearn_logprob.backends._cpu import physical_cores
from sklearn_logprob.backends._llama_weights import find_weights

pytestmark = pytest.mark.local
pytest.importorskip("llama_cpp")

REQUEST = Request(
    (("prompt", "Review: great fun!\nSentiment:"),), (" negative", " positive")
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for converted weights of this test alone."""
    monkeypatch.setenv("SKLEARN_LOGPROB_WEIGHTS", str(tmp_path / "deep" / "weights"))
    _llama_weights._converted.cache_clear()
    yield tmp_path / "deep" / "weights"
    _llama_weights._converted.cache_clear()


def scores(weights):
    """Log-probabilities of the labels."""
    [(_, found)] = LlamaCppBackend(weights=weights, n_ctx=256).answer([REQUEST])
    return np.array([p for _, p in found.choices])


def test_formats_hardly_change_a_score(exact_weights):
    """From weights as 32-bit floats, all are hundredths of a nat away; 4 bits tenths."""
    exact = scores("f32")
    for weights, most in (("bf16", 0.1), ("as-is", 0.4)):
        assert abs(scores(weights) - exact).max() < most
    [(_, other)] = LlamaCppBackend(exact_weights, n_ctx=256).answer([REQUEST])
    assert [p for _, p in other.choices] == pytest.approx(exact, abs=1e-2)


def test_answers_are_kept_apart_by_format():
    """A cached answer says which format it came from; as they are, nothing was added."""
    identities = [LlamaCppBackend(weights=w).answer_identity() for w in ("as-is", "bf16")]
    assert identities[0].items() < identities[1].items()
    assert identities[1]["format"] == "bf16"


@pytest.mark.parametrize(("machine", "format"), [("x86_64", "f32"), ("arm64", None)])
def test_auto_is_one_format_for_all_cpus_of_a_kind(machine, format, monkeypatch):
    """32-bit floats on x86-64, the file's elsewhere; what are floats already stay."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    _llama_weights._computed.cache_clear()
    path, identity = find_weights(None, "auto")
    assert identity.get("format") == format
    assert find_weights(path, "auto")[0] == path
    _llama_weights._computed.cache_clear()


def test_large_files_stay_as_they_are(tmp_path):
    """What is converted without being asked for is small."""
    large = tmp_path / "large.gguf"
    large.write_bytes(b"GGUF")
    os.truncate(large, (1 << 28) + 1)  # a hole, not so many bytes
    assert find_weights(large, "auto")[0] == large


def test_two_processes_convert_at_once(folder):
    """Both get the same whole file, and nothing else is left."""
    code = (
        "from sklearn_logprob.backends._llama_weights import find_weights;"
        "print(find_weights(None, 'bf16')[0])"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    paths = {process.communicate()[0].strip() for process in both}
    [path] = paths
    assert [file.name for file in folder.iterdir() if file.suffix != ".lock"] == [
        os.path.basename(path)
    ]
    assert os.path.getsize(path) > 270_000_000


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    """The weights are used as they are; the warning names reason and remedy, once."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SKLEARN_LOGPROB_WEIGHTS", str(tmp_path / "file" / "weights"))
    backend = LlamaCppBackend(weights="bf16", n_ctx=256)
    with pytest.warns(UserWarning, match=r"as they are .*Not a directory.*WEIGHTS"):
        identity = backend.answer_identity()
    assert "format" not in identity
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend.answer_identity() == identity
        [(_, found)] = backend.answer([REQUEST])
    assert [p for _, p in found.choices] == pytest.approx(scores("as-is"), abs=1e-6)


def test_a_full_disk_is_noticed_before(folder, monkeypatch):
    """What is needed and what is free are told, and nothing is written."""
    full = SimpleNamespace(free=5 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.warns(UserWarning, match=r"needs 3\d\d MB, and 5 MB are free"):
        _, identity = find_weights(None, "bf16")
    assert "format" not in identity
    assert not list(folder.glob("*.gguf")) and not list(folder.glob("*.part"))


def test_what_was_killed_half_way_is_done_again(folder):
    """A part of a file is never taken for the whole."""
    path, _ = find_weights(None, "bf16")
    whole = path.read_bytes()
    path.unlink()
    path.with_suffix(".part").write_bytes(whole[:1000])
    _llama_weights._converted.cache_clear()
    assert find_weights(None, "bf16")[0].read_bytes() == whole
    assert not path.with_suffix(".part").exists()


def test_an_unknown_format_is_named():
    """Before anything is looked for."""
    with pytest.raises(ValueError, match=r"'weights' parameter .*'bf16'.* Got 'int4'"):
        LlamaCppBackend("missing.gguf", weights="int4").answer_identity()


def test_threads_are_physical_cores():
    """No more than this process may use; n_threads says otherwise."""
    assert 1 <= physical_cores() <= os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        code = (
            "import os; os.sched_setaffinity(0, {next(iter(os.sched_getaffinity(0)))});"
            "from sklearn_logprob.backends._cpu import physical_cores;"
            "print(physical_cores())"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == "1"
