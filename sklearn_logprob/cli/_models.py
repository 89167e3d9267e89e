"""Classifiers from arguments and from files, with what holds for one run."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn_logprob._label_heads import LabelHeads
from sklearn_logprob._planning import PlannedRequests
from sklearn_logprob._types import Usage
from sklearn_logprob.backends import make_backend
from sklearn_logprob.classifier import LogprobClassifier

__all__ = [
    "cache_of",
    "limit_cost",
    "load",
    "parse_options",
    "parse_pairs",
    "said_usage",
    "set_options",
    "show_plan",
    "text_columns",
    "verbosity",
]

VERBOSITY: dict[str, Any] = {"auto": "auto", "always": True, "never": False}


def load(arguments: Namespace) -> Any:
    """Load a classifier, with the cache, limits and treatment of errors of this run.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.

    Returns
    -------
    clf : LogprobClassifier
        Fitted.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If several labels may apply to a row, or a backend's option would change answers.
    """
    path = Path(arguments.model)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: there is no such file. 'sklearn-logprob fit' writes one."
        )
    clf: Any
    try:
        clf = LogprobClassifier.from_json(path, backend=arguments.backend)
    except ValueError as error:
        told = str(error).removeprefix("from_json: ")
        raise ValueError(f"{path}: {told}") from None
    if isinstance(clf._head, LabelHeads):
        raise ValueError(
            f"{path} gives several labels a row, and a table has one column for the "
            "class: use Python for it."
        )
    clf.set_params(cache=cache_of(arguments), verbose=verbosity(arguments))
    clf._scorer = replace(clf._scorer, on_error=arguments.on_error)
    options = parse_options(arguments.backend_option)
    fixed = [name for name in options if name in clf.backend_.answer_params]
    if fixed:
        raise ValueError(
            f"--backend-option {fixed[0]}: {path} was fitted to the answers of "
            f"{clf.backend_!r}. Give it to fit."
        )
    set_options(clf.backend_, options)
    if arguments.max_cost is not None:
        limit_cost(clf.backend_, arguments.max_cost)
    return clf


def set_options(backend: Any, options: dict[str, Any]) -> None:
    """Set a backend's parameters.

    Parameters
    ----------
    backend : Backend
        Changed in place.
    options : dict
        Parameters by name.

    Raises
    ------
    ValueError
        If a name is none of its parameters.
    """
    params = backend.get_params(deep=False)
    unknown = [name for name in options if name not in params]
    if unknown:
        raise ValueError(
            f"--backend-option {unknown[0]}: {type(backend).__name__} has the "
            f"parameters {', '.join(params) or '(none)'}."
        )
    backend.set_params(**options)


def limit_cost(backend: Any, max_cost: float | None) -> None:
    """Set the limit of a backend, or of the one that it asks.

    Parameters
    ----------
    backend : Backend
        Changed in place.
    max_cost : float or None
        US dollars. What costs nothing has no limit.
    """
    params = backend.get_params(deep=False)
    if "max_cost" in params:
        backend.set_params(max_cost=max_cost)
    elif "backend" in params:
        inner = make_backend(backend.backend)
        limit_cost(inner, max_cost)
        backend.set_params(backend=inner)


def parse_pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """Read ``NAME=VALUE``.

    Parameters
    ----------
    given : sequence of str or None
        What the user wrote.
    option : str
        Where.

    Returns
    -------
    pairs : dict
        Name → value.

    Raises
    ------
    ValueError
        If one has no ``=``.
    """
    pairs = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise ValueError(f"{option} must be NAME=VALUE. Got {each!r} instead.")
        pairs[name] = value
    return pairs


def parse_options(given: Sequence[str] | None) -> dict[str, Any]:
    """Read parameters of a backend: JSON, or else text.

    Parameters
    ----------
    given : sequence of str or None
        ``NAME=VALUE``.

    Returns
    -------
    options : dict
        Name → value.
    """
    options: dict[str, Any] = {}
    for name, value in parse_pairs(given, "--backend-option").items():
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def cache_of(arguments: Namespace) -> Any:
    """Give the `cache` parameter of a classifier.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.

    Returns
    -------
    cache : str or None
        None for ``--no-cache``.
    """
    return None if arguments.no_cache else arguments.cache or "auto"


def verbosity(arguments: Namespace) -> Any:
    """Give the `verbose` parameter of a classifier.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.

    Returns
    -------
    verbose : "auto" or bool
        Whether to show a bar.
    """
    return VERBOSITY[arguments.progress]


def text_columns(clf: Any, given: Sequence[str] | None) -> list[str]:
    """Give the columns of texts: those that are named, or else those of `fit`.

    Parameters
    ----------
    clf : LogprobClassifier
        Fitted.
    given : sequence of str or None
        What ``--text`` says.

    Returns
    -------
    columns : list of str
        One for texts; as many as `fit` saw for a table.
    """
    if given:
        return list(given)
    seen = getattr(clf, "feature_names_in_", None)
    if seen is not None:
        return list(map(str, seen))
    return list(getattr(clf, "_text_aliases", ()))[:1] or ["text"]


def show_plan(plans: Iterable[PlannedRequests], n_rows: Callable[[], int]) -> None:
    """Print what ``--dry-run`` found.

    Parameters
    ----------
    plans : iterable of PlannedRequests
        What is to be sent, in parts.
    n_rows : callable
        Gives the rows that all of it is about, once the parts have been seen.
    """
    names = ("n_sent", "prompt_tokens", "completion_tokens", "cost")
    sums = [0, 0, 0, 0.0]
    for planned in plans:
        sums = [s + getattr(planned, n) for s, n in zip(sums, names, strict=True)]
    n_sent, prompt, completion, cost = sums
    price = (
        "at a price that is not known (--backend-option price=[PROMPT,CACHED,GENERATED])"
        if math.isnan(cost)
        else f"${cost:.2f}"
    )
    print(
        f"{n_rows()} rows: {n_sent} requests to send, beyond what the cache answers; "
        f"about {prompt} prompt tokens, {completion} generated, {price}. Nothing is sent."
    )


def said_usage(usage: Usage) -> str:
    """Say what was spent.

    Parameters
    ----------
    usage : Usage
        What a classifier counted.

    Returns
    -------
    text : str
        A line.
    """
    cost = f", ${usage.cost:.4f}" if usage.cost > 0 else ""
    return f"{usage.requests} requests sent, {usage.cache_hits} in the cache{cost}"
