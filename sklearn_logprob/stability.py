"""How much scores and decisions depend on the model, the prompt and the label words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_consistent_length

from sklearn_logprob._inputs import read_rows
from sklearn_logprob._labels import resolve_labels
from sklearn_logprob._optional import import_pandas
from sklearn_logprob._progress import progress
from sklearn_logprob._sensitivity import (
    VARIED,
    rank_agreement,
    sensitivity,
    summarize,
)
from sklearn_logprob._styles import LABEL_STYLES, STYLES
from sklearn_logprob._templating import make_template
from sklearn_logprob._types import Floats
from sklearn_logprob.backends import make_backend
from sklearn_logprob.calibration import cross_val_proba, make_calibrator
from sklearn_logprob.classifier import LogprobClassifier
from sklearn_logprob.scoring import label_mass
from sklearn_logprob.verbalizers import make_verbalizer

__all__ = ["VARIED", "rank_agreement", "sensitivity", "stability", "summarize"]


def stability(
    models: Any,
    X: Any,
    y: ArrayLike,
    *,
    styles: Sequence[str] | Mapping[str, Any] | None = None,
    label_styles: Sequence[str] | Mapping[str, Callable[[str], str]] | None = None,
    verbalizer: Any = None,
    calibrator: Any = "auto",
    cv: Any = 5,
    cache: Any = "auto",
    verbose: Any = "auto",
    random_state: Any = 0,
) -> Any:
    """Ask the same of the same texts, with each model and in each wording.

    Parameters
    ----------
    models : str, Backend, sequence of them, or mapping of name to them
        Who is asked.
    X : array-like of shape (n,) or (n, n_columns)
        Texts, or a table.
    y : array-like of shape (n,)
        Labels.
    styles : sequence of str, or mapping of name to str or PromptTemplate, default=None
        Prompts: names of styles (see `PromptTemplate.from_style`), or your own prompts
        under names. None: all nine styles.
    label_styles : sequence of str, or mapping of name to callable, default=None
        How the labels are written: "lower" case, as "given", and "verbose", a phrase that
        all of them begin with; or functions from the first word of each class to how it
        is written, such as ``"a {} review".format``. None: all three.
    verbalizer : mapping, Verbalizer or None, default=None
        Class → word, as for `LogprobClassifier`.
    calibrator : str, classifier or None, default="auto"
        What is fitted in each wording, out of fold.
    cv : int or splitter, default=5
        Its folds, the same ones in all wordings.
    cache : "auto", path, Cache or None, default="auto"
        Where answers are kept.
    verbose : "auto", bool or int, default="auto"
        Progress bar, one step a wording: "auto" shows it in a terminal when the work
        takes over two seconds.
    random_state : int, RandomState or None, default=0
        Shuffles the folds.

    Returns
    -------
    frame : pandas.DataFrame
        A row for each text in each wording, with the columns "row", "text",
        "true_class", "model", "style", "label_style"; "score_CLASS", the label log
        score (natural log), for each class; "label_mass"; "prediction", the class with
        the largest score; "proba_CLASS" and "calibrated_prediction", the same after
        calibration by other rows.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If a parameter is wrong, before any model is asked.

    See Also
    --------
    sklearn_logprob.plots.StabilityDisplay : Draws it.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend
    >>> from sklearn_logprob.stability import sensitivity, stability
    >>> model = FakeBackend({"great": {"good": 2.0}, "dull": {"good": -2.0},
    ...                      "json": {"good": 3.0}})
    >>> X, y = ["great", "dull", "great fun", "so dull"] * 5, ["good", "bad"] * 10
    >>> frame = stability({"fake": model}, X, y, styles=["plain", "json"],
    ...                   label_styles=["given"])
    >>> frame.groupby("style")["score_good"].mean().round(2).to_dict()
    {'json': -0.38, 'plain': -1.35}
    >>> sensitivity(frame)[["flip_rate", "calibrated_flip_rate"]]
           flip_rate  calibrated_flip_rate
    style        0.5                   0.0
    """
    pd = import_pandas("stability")
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
    codes = np.asarray(labels.codes)
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
    asking = [classifier(*wording) for wording in wordings]
    for clf in asking:
        clf._scorer.requests(rows)  # a template that does not fit fails here
    texts = ["\n".join(values) for values in rows.values]
    true = np.asarray(labels.names)[codes]
    parts, bar = [], progress(len(wordings), verbose, "wording")
    for wording, clf in zip(wordings, asking, strict=True):
        bar.set_postfix_str("/".join(wording))
        S = clf.label_scores(X)
        P = cross_val_proba(make_calibrator(calibrator), S, codes, cv, random_state)
        parts.append(
            pd.DataFrame(
                {
                    "row": np.arange(len(S)),
                    "text": texts,
                    "true_class": true,
                    **dict(zip(VARIED, wording, strict=True)),
                    **_columns("score", clf.classes_, S),
                    "label_mass": label_mass(S),
                    "prediction": clf.classes_[S.argmax(axis=1)],
                    **_columns("proba", clf.classes_, P),
                    "calibrated_prediction": clf.classes_[P.argmax(axis=1)],
                }
            )
        )
        bar.update()
    bar.close()
    return pd.concat(parts, ignore_index=True)


def _columns(prefix: str, classes: NDArray[Any], values: Floats) -> dict[str, Floats]:
    return {f"{prefix}_{label}": values[:, k] for k, label in enumerate(classes)}


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
