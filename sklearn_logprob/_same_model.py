"""Whether a model is the one that a saved classifier was fitted on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from sklearn_logprob.backends import make_backend

__all__ = ["check_model", "expect_model", "model_of", "short"]

ADDRESS = {"base_url"}  # where a model is served; that one says what it is besides
ENGINES = {"dtype", "engine", "format", "torch", "transformers"}  # other last digits
ASK_A_SERVER = {
    "LlamaServerBackend", "OllamaBackend", "SGLangBackend", "TransformersBackend",
    "VLLMBackend",
}  # fmt: skip
"""Backends that may ask the network which model it is, which loading never does."""


def expect_model(clf: Any, model: Any, *, moved: bool) -> None:
    """Remember which model a classifier was fitted on, and hold its own against it.

    At once, unless a server has to be asked; then before the first question.

    Parameters
    ----------
    clf : LogprobClassifier
        With `backend_`.
    model : list
        What `model_of` gave.
    moved : bool
        Whether it may be at another address.

    Raises
    ------
    ValueError
        If it is another one.
    """
    if not (isinstance(model, list) and list(map(type, model)) == [str, dict]):
        raise ValueError("model must be the name of a backend, and its identity.")
    clf._fitted_on = (model, ADDRESS if moved else frozenset())
    backend, names = clf.backend_, set()
    while backend is not None:
        names.add(type(backend).__name__)
        inner = getattr(backend, "backend", None)
        backend = None if inner is None else make_backend(inner)
    if not names & ASK_A_SERVER:
        check_model(clf)


def check_model(clf: Any) -> None:
    """Hold the model against the one of `fit`, once, where a file told which that was.

    Parameters
    ----------
    clf : LogprobClassifier
        A fitted one.

    Raises
    ------
    ValueError
        If it is another one.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob._same_model import check_model
    >>> check_model(LogprobClassifier(FakeBackend(), classes=["a", "b"]).fit())
    """
    if getattr(clf, "_fitted_on", None) is None:
        return
    then, ignored = clf._fitted_on
    now = model_of(clf.backend_)
    if then[0] != now[0]:
        apart = {"backend": f"was {then[0]} and is {now[0]}"}
    else:
        old, new = _flat(then[1]), _flat(now[1])
        apart = {
            name: f"was {short(old.get(name))} and is {short(new.get(name))}"
            for name in {**old, **new}
            if _last(name) not in ignored and old.get(name) != new.get(name)
        }
    told = "; ".join(f"{name} {how}" for name, how in apart.items())
    if {_last(name) for name in apart} - ENGINES:
        raise ValueError(
            f"The model differs from the one that the classifier was fitted on: {told}. "
            "Give backend= the model of fit, or fit again."
        )
    if apart:
        warnings.warn(
            f"The classifier was fitted with another engine ({told}), whose scores may "
            "differ by a little. Fit again to be sure.",
            stacklevel=5,
        )
    clf._fitted_on = None


def model_of(backend: Any) -> list[Any]:
    """Give a backend's name and identity.

    Parameters
    ----------
    backend : Backend
        Any.

    Returns
    -------
    model : list of [str, dict]
        As JSON reads it: lists for tuples.

    Examples
    --------
    >>> from sklearn_logprob import OpenAIBackend
    >>> from sklearn_logprob._same_model import model_of
    >>> model_of(OpenAIBackend("gpt-4.1"))[1]["model"]
    'gpt-4.1'
    """
    identity = json.dumps(dict(backend.answer_identity()))
    return [type(backend).__name__, json.loads(identity)]


def _flat(identity: Any, name: str = "") -> dict[str, Any]:
    """Name every value of an identity, whatever holds it."""
    if isinstance(identity, Mapping):
        pairs = [(f"{name}.{k}" if name else str(k), v) for k, v in identity.items()]
    elif isinstance(identity, list):
        pairs = [(f"{name}[{i}]", v) for i, v in enumerate(identity)]
    else:
        return {name: identity}
    return {k: v for inner, held in pairs for k, v in _flat(held, inner).items()}


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def short(value: Any) -> str:
    """Show a value in few characters.

    Parameters
    ----------
    value : object
        Any.

    Returns
    -------
    text : str
        The beginning of its repr, on one line.
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}…"
