"""One classifier for each model, prompt and way to write the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_consistent_length

from sklearn_logprob._inputs import Rows, read_rows
from sklearn_logprob._labels import Labels, resolve_labels
from sklearn_logprob._styles import LABEL_STYLES, STYLES
from sklearn_logprob._templating import make_template
from sklearn_logprob.backends import make_backend
from sklearn_logprob.classifier import LogprobClassifier
from sklearn_logprob.verbalizers import make_verbalizer

__all__ = ["Wordings", "make_wordings"]


@dataclass(frozen=True)
class Wordings:
    """What is asked in each wording.

    Parameters
    ----------
    rows : Rows
        X as text.
    labels : Labels
        The classes, and y as codes.
    classifiers : dict of (model, style, label style) to LogprobClassifier
        Uncalibrated, and ready to ask.
    """

    rows: Rows
    labels: Labels
    classifiers: Mapping[tuple[str, str, str], LogprobClassifier]


def make_wordings(
    models: Any,
    X: Any,
    y: ArrayLike,
    *,
    styles: Sequence[str] | Mapping[str, Any] | None = None,
    label_styles: Sequence[str] | Mapping[str, Callable[[str], str]] | None = None,
    verbalizer: Any = None,
    cache: Any = "auto",
) -> Wordings:
    """Combine everything with everything, and check all of it before anything is asked.

    Parameters
    ----------
    models, X, y, styles, label_styles, verbalizer, cache
        As for `stability`.

    Returns
    -------
    wordings : Wordings
        A classifier for each.

    Raises
    ------
    ValueError
        If a parameter is wrong.

    Examples
    --------
    >>> from sklearn_logprob._wordings import make_wordings
    >>> made = make_wordings("fake", ["fine", "dull"], ["good", "bad"],
    ...                      styles=["plain", "json"], label_styles=["lower"])
    >>> list(made.classifiers)
    [('fake', 'plain', 'lower'), ('fake', 'json', 'lower')]
    """
    named_models = _named(models)
    prompts = _chosen("styles", styles, {name: name for name in STYLES})
    if any(getattr(prompt, "n_shots", 0) for prompt in prompts.values()):
        raise ValueError(
            "stability asks about every row, so none is left for demonstrations: give "
            "PromptTemplate(demonstrations=...) instead of n_shots."
        )
    label_writers = _chosen("label_styles", label_styles, LABEL_STYLES)
    spoken = make_verbalizer(verbalizer)
    rows = read_rows(X, BaseEstimator(), reset=True)
    check_consistent_length(rows.values, y)
    labels = resolve_labels(y, None, spoken.forms)
    forms = spoken.resolve(labels.names)

    def classifier(model: str, style: str, label_style: str) -> LogprobClassifier:
        write = label_writers[label_style]
        words = {label: write(given[0]) for label, given in forms.items()}
        return LogprobClassifier(
            named_models[model],
            prompt=make_template(prompts[style], rows.columns),
            verbalizer=clone(spoken).set_params(forms=words),
            calibrator=None,
            cache=cache,
            verbose=False,
        ).fit()

    wordings = list(product(named_models, prompts, label_writers))
    asking = {wording: classifier(*wording) for wording in wordings}
    for clf in asking.values():
        clf._scorer.requests(rows)  # a template that does not fit fails here
    return Wordings(rows, labels, asking)


def _named(models: Any) -> dict[str, Any]:
    if isinstance(models, Mapping):
        given = dict(models)
    else:
        listed = models if isinstance(models, list | tuple) else [models]
        given = {m if isinstance(m, str) else repr(m): m for m in listed}
    return {name: make_backend(model) for name, model in given.items()}


def _chosen(name: str, given: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """Give what names stand for, all of it for None."""
    if isinstance(given, Mapping):
        return dict(given)
    names = list(known) if given is None else list(given)
    unknown = [style for style in names if style not in known]
    if unknown or not names:
        raise ValueError(
            f"The {name!r} parameter of stability must hold names among "
            f"{', '.join(map(repr, known))}, or be a mapping. Got {given!r} instead."
        )
    return {style: known[style] for style in names}
