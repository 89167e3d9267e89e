"""``sklearn-logprob backends``: who can answer."""

from __future__ import annotations

import os
import re
import socket
import time
from argparse import Namespace
from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np

from sklearn_logprob.backends import BACKENDS, make_backend
from sklearn_logprob.backends._ollama_wire import server_url
from sklearn_logprob.backends._presets import PRESETS, Preset
from sklearn_logprob.backends.ollama import OllamaBackend
from sklearn_logprob.backends.sampling import SamplingBackend
from sklearn_logprob.backends.verbalised import VerbalisedBackend
from sklearn_logprob.classifier import LogprobClassifier

__all__ = ["run"]

PACKAGES = {
    "llama-cpp": (("llama_cpp",), "local"),
    "transformers": (("torch", "transformers"), "transformers"),
}
LOCAL = ("localhost", "127.0.0.1", "::1")
PATIENCE = 0.3  # seconds for a server on this machine

QUESTION = "Is water wet? Answer yes or no. Answer:"


def run(arguments: Namespace) -> None:
    """List the backends, or ask one.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    if arguments.probe is not None:
        _probe(arguments.probe)
        return
    print(f"{'backend':<24}{'log-probabilities':<24}state")
    for name in sorted([*BACKENDS, *PRESETS]):
        if name in PRESETS:
            gives, state = _top(PRESETS[name].max_top_logprobs), _service(PRESETS[name])
            parameter: str | None = "model"
        else:
            backend = make_backend(name)
            gives, state = _gives(backend), _state(name, backend)
            parameter = BACKENDS[name][2]
        shown = f"{name}:{parameter.upper()}" if parameter else name
        print(f"{shown:<24}{gives:<24}{state}")
    print("\n--probe MODEL asks one of them, such as --probe llama-cpp.")


def _gives(backend: Any) -> str:
    """Tell what its answers are made of."""
    if isinstance(backend, SamplingBackend):
        return "by counting answers"
    if isinstance(backend, VerbalisedBackend):
        return "as the model says"
    if getattr(backend, "decides", False):
        return "of the classes"
    return "exact" if backend.scores_choices else _top(backend.max_top_logprobs)


def _top(most: int) -> str:
    return f"top {most}" if most else "none: sampling:NAME"


def _service(preset: Preset) -> str:
    """Tell what a service lacks that is to be set, or whether it is there."""
    unset = [n for n in re.findall(r"\$(\w+)", preset.base_url) if n not in os.environ]
    if unset:
        return f"{unset[0]} is not set"
    return _reached(urlsplit(preset.params()["base_url"]), preset.api_key_env)


def _state(name: str, backend: Any) -> str:
    """Tell whether it can be asked, as far as that shows without asking."""
    packages, extra = PACKAGES.get(name, ((), ""))
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        return f"not installed: pip install 'sklearn-logprob[{extra}]'"
    if hasattr(backend, "backend"):
        return "as the one that it asks"
    url = _url(backend)
    if url is None:
        return "installed"
    return _reached(url, getattr(backend, "api_key_env", None))


def _reached(url: SplitResult, key: str | None) -> str:
    if url.hostname in LOCAL:
        port = url.port or (443 if url.scheme == "https" else 80)
        return (
            "reachable" if _listens(url.hostname, port) else f"no server at port {port}"
        )
    return f"{key} is {'set' if os.environ.get(key or '') else 'not set'}"


def _url(backend: Any) -> SplitResult | None:
    """Give where a server is asked, or None."""
    if isinstance(backend, OllamaBackend):
        return urlsplit(server_url(backend.host))
    find = getattr(backend, "_url", None)
    given = find() if callable(find) else getattr(backend, "base_url", None)
    return None if given is None else urlsplit(given)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), PATIENCE):
            return True
    except OSError:
        return False


def _probe(model: str) -> None:
    """Ask one question, and show what came."""
    clf = LogprobClassifier(
        model,
        classes=["no", "yes"],
        prompt="{text}",
        calibrator=None,
        cache=None,
        verbose=False,
    ).fit()
    start = time.perf_counter()
    no, yes = np.exp(clf.label_scores([QUESTION])[0])
    print(
        f"{model} answered in {time.perf_counter() - start:.1f} s, with probabilities: "
        f"of {QUESTION!r}, yes has {yes / (no + yes):.3f} and no has "
        f"{no / (no + yes):.3f}; both hold {no + yes:.1%} of all that it may say."
    )
