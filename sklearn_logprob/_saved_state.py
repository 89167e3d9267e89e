"""What a saved classifier says, and a classifier that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_logprob._inputs import Rows
from sklearn_logprob._json_values import decode, encode, entries
from sklearn_logprob._kinds import Kind, any_number, count, maybe, numbers, texts
from sklearn_logprob._label_heads import LabelHeads
from sklearn_logprob._labels import Labels
from sklearn_logprob._preparing import make_scorer
from sklearn_logprob._same_model import expect_model, model_of, short
from sklearn_logprob._saved_heads import head_content, make_heads, try_head
from sklearn_logprob._saved_parts import decode_part, encode_part, hold
from sklearn_logprob._types import Usage
from sklearn_logprob.cache import resolve_cache
from sklearn_logprob.ensembles import PromptEnsemble, members_of

__all__ = ["document_of", "restore"]

FORMAT, VERSION = "sklearn_logprob.LogprobClassifier", 1

COLUMNS = {  # what `read_rows` remembers of X
    "n_features_in_": maybe(count(1, 10_000)),
    "feature_names_in_": maybe(texts("columns")),
    "_text_aliases": maybe(texts("aliases")),
    "_seen": maybe(numbers("rows", low=0)),
}
SCORES = Kind(
    "finite numbers", lambda v, _: isinstance(v, np.ndarray) and v.dtype == float
)
DESCRIBED = {
    "content_free_scores_": SCORES,
    "label_mass_": any_number,
    "censored_share_": any_number,
    "sampling_error_": any_number,
    "other_tokens_": Kind("pairs", lambda v, _: isinstance(v, list)),
    "builds_": maybe(texts("builds")),
}
SECTIONS = ("params", "columns", "described")
VALUES = ("model", "prompt", "classes", "names", "pooled")
CONTENT = ("format", "version", "package", "several", "heads", *SECTIONS, *VALUES)


def document_of(clf: Any) -> dict[str, Any]:
    """Give all that is to be saved.

    Parameters
    ----------
    clf : LogprobClassifier
        A fitted one.

    Returns
    -------
    document : dict
        What the json module writes.

    Raises
    ------
    ValueError
        If something in it cannot be saved.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob._saved_state import document_of
    >>> clf = LogprobClassifier(FakeBackend(), classes=["bad", "good"]).fit()
    >>> document_of(clf)["names"]
    ['bad', 'good']
    """
    several = isinstance(clf._head, LabelHeads)
    heads = clf._head.heads if several else [clf._head]
    found = vars(clf)
    values: dict[str, Any] = {
        "params": clf.get_params(deep=False),
        "columns": {name: found.get(name) for name in COLUMNS},
        "described": {name: found.get(name) for name in DESCRIBED}
        | {"other_tokens_": clf.other_tokens_.tolist()},
        "model": model_of(clf.backend_),
        "prompt": clf.prompt_,
        "classes": clf.classes_,
        "names": clf._names,
        "pooled": clf._head.pooled if several else None,
    }
    sections = {
        section: {n: encode(v, n, encode_part) for n, v in values.pop(section).items()}
        for section in SECTIONS
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "package": version("sklearn-logprob"),
        "several": several,
        **sections,
        **{name: encode(value, name, encode_part) for name, value in values.items()},
        "heads": [head_content(head, f"heads[{i}]") for i, head in enumerate(heads)],
    }


def restore(cls: Any, document: Any, backend: Any, prompt: Any) -> Any:
    """Make a classifier of what was saved, and try it without asking anything.

    Parameters
    ----------
    cls : type
        `LogprobClassifier`.
    document : object
        What the json module read.
    backend : str, Backend or None
        Who takes the place of the backend in it.
    prompt : str, PromptTemplate, PromptEnsemble or None
        What its prompt must be.

    Returns
    -------
    clf : LogprobClassifier
        A fitted one.

    Raises
    ------
    ValueError
        If it is not what `document_of` gave, or another model or prompt is wanted.
        Parts of it may raise other errors for values that they cannot have.
    """
    _check_format(document)
    entries(document, CONTENT, "The file")
    parameters = cls().get_params(deep=False)
    clf = cls(**_params(document["params"], parameters, backend))
    resolve_cache(clf.cache)
    columns = _section(document, "columns", COLUMNS)
    hold(columns, COLUMNS, "columns", {})
    described = _section(document, "described", DESCRIBED)
    hold(described, DESCRIBED, "described", {})
    model, template, classes, names, pooled = (_read(document[n], n) for n in VALUES)
    labels = _labels(classes, names, document["several"])

    known = {**columns, **described, "other_tokens_": _table(described["other_tokens_"])}
    vars(clf).update({name: value for name, value in known.items() if value is not None})
    row = _some_row(clf)
    scorer = make_scorer(clf, labels, row.columns)
    if prompt is not None:
        _check_prompt(clf, prompt, labels, row, scorer.template)
    scorer = replace(scorer, template=_checked_template(template))
    if "_seen" in vars(clf):
        scorer.requests(row)  # a template that does not fit fails here

    clf.classes_, clf._names, clf.verbalizer_ = classes, names, scorer.forms
    clf.backend_, clf.prompt_ = scorer.backend, scorer.template
    clf._scorer, clf.usage_ = scorer, Usage()
    head = make_heads(document["heads"], pooled, clf, labels)
    try_head(clf, head)
    expect_model(clf, model, moved=backend is not None)
    clf._take(head)
    return clf


def _check_format(document: Any) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("This is not a classifier that to_json has saved.")
    found = document.get("version")
    if type(found) is not int or found != VERSION:
        raise ValueError(
            f"The file has version {short(found)} of the format, written by "
            f"sklearn-logprob {short(document.get('package'))}, and sklearn-logprob "
            f"{version('sklearn-logprob')} reads version {VERSION}: install the one that "
            "wrote it."
        )


def _read(raw: Any, where: str) -> Any:
    return decode(raw, where, partial(decode_part, sizes={}))


def _section(document: Any, section: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Read a part of the file with named values."""
    raw = entries(document[section], tuple(known), section)
    return {name: _read(value, name) for name, value in raw.items()}


def _params(raw: Any, known: Mapping[str, Any], backend: Any) -> dict[str, Any]:
    """Read parameters; those that an earlier version did not have keep their default."""
    if not isinstance(raw, dict) or not set(raw) <= set(known):
        raise ValueError("params has names that are no parameters.")
    given = {} if backend is None else {"backend": backend}
    return {n: _read(v, n) for n, v in raw.items() if n not in given} | given


def _labels(classes: Any, names: Any, several: Any) -> Labels:
    fits = (
        isinstance(several, bool)
        and isinstance(classes, np.ndarray)
        and classes.ndim == 1
        and isinstance(names, list)
        and 0 < len(set(classes.tolist())) == len(classes) == len(names)
    )
    if not fits:
        raise ValueError("classes and names must be as many, and different.")
    return Labels(classes, names, None, several)


def _some_row(clf: Any) -> Rows:
    """Give a row with the columns that `fit` saw."""
    found = vars(clf)
    n = found.get("n_features_in_", 1)
    if "n_features_in_" not in found:
        return Rows(("text",), [("x",)], tuple(found.get("_text_aliases", ())))
    names = found.get("feature_names_in_", [f"x{i}" for i in range(n)])
    if len(names) != n:
        raise ValueError("columns.feature_names_in_ must be n_features_in_ names.")
    return Rows(tuple(map(str, names)), [("x",) * n])


def _checked_template(template: Any) -> Any:
    if isinstance(template, PromptEnsemble):
        template.check()
    if not all(callable(getattr(t, "render", None)) for t in members_of(template)):
        raise ValueError("prompt must be a PromptTemplate or a PromptEnsemble.")
    return template


def _check_prompt(clf: Any, prompt: Any, labels: Labels, row: Rows, fitted: Any) -> None:
    """Refuse a prompt that is not the one of `fit`, however both are written."""
    other = copy(clf)
    other.prompt = prompt
    given = make_scorer(other, labels, row.columns).template
    pair = [encode(t, "prompt", encode_part) for t in (fitted, given)]
    if pair[0] != pair[1]:
        raise ValueError(
            "The template differs from the one that the classifier was fitted with: it "
            f"was {short(fitted)} and is {short(given)}. Give the prompt of fit, or fit "
            "again."
        )


def _table(pairs: list[Any]) -> NDArray[Any]:
    """Give `other_tokens_`, as `scoring.other_tokens` does."""
    fits = all(
        isinstance(pair, tuple) and list(map(type, pair)) == [str, float]
        for pair in pairs
    )
    if not fits:
        raise ValueError("described.other_tokens_ must be pairs of a text and a number.")
    return np.array(pairs, dtype=[("token", object), ("mean_probability", np.float64)])
