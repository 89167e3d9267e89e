"""From the estimator's parameters and data to what `fit` works with, all checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_consistent_length

from sklearn_logprob._asking import (
    MULTILABEL,
    QUESTIONS,
    OneQueryScorer,
    PerLabelScorer,
    yes_or_no,
)
from sklearn_logprob._folds import check_folds
from sklearn_logprob._heads import Head
from sklearn_logprob._inputs import Rows, forget_rows, read_rows
from sklearn_logprob._label_heads import LabelHeads, label_selectors
from sklearn_logprob._label_sets import form_of, resolve_label_sets
from sklearn_logprob._labels import Labels, positive_last, resolve_labels
from sklearn_logprob._rare_labels import RareLabelCalibration
from sklearn_logprob._shots import take_shots
from sklearn_logprob._templating import make_template
from sklearn_logprob._types import Request
from sklearn_logprob.backends import make_backend
from sklearn_logprob.calibration import BatchCalibration, NoCalibration, make_calibrator
from sklearn_logprob.content_free import make_content_free
from sklearn_logprob.readout import TokenReadout, make_readout
from sklearn_logprob.rejection import make_rejector
from sklearn_logprob.scorer import LABEL_SCORINGS, ON_ERROR, LabelScorer
from sklearn_logprob.thresholds import make_selector, needs_labels
from sklearn_logprob.verbalizers import make_verbalizer

__all__ = ["check_label_free", "make_scorer", "prepare", "without_content"]

KNOWN = {
    "label_scoring": LABEL_SCORINGS,
    "on_error": ON_ERROR,
    "multilabel": (None, *MULTILABEL),
}


def prepare(
    estimator: Any, X: Any, y: Any
) -> tuple[Rows | None, Labels, LabelScorer, Head | LabelHeads]:
    """Check everything that can be checked without the model.

    Parameters
    ----------
    estimator : LogprobClassifier
        Its parameters are read, and what scikit-learn remembers of X is set.
    X : array-like or None
        Texts or a table.
    y : array-like or None
        Labels.

    Returns
    -------
    rows : Rows or None
        X as text, without what demonstrates.
    labels : Labels
        The classes, and y as codes, of the same rows.
    scorer : LabelScorer
        How the model is asked.
    head : Head or LabelHeads
        What is to be learnt from its answers.

    Raises
    ------
    ValueError or TypeError
        For what is wrong with any of them.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob._preparing import prepare
    >>> clf = LogprobClassifier(FakeBackend())
    >>> rows, labels, scorer, head = prepare(clf, ["fine", "dull"], ["good", "bad"])
    >>> len(rows), labels.codes.tolist(), head.n_classes
    (2, [1, 0], 2)
    """
    _check_known(estimator)
    make_content_free(estimator.content_free)
    if X is None:
        forget_rows(estimator)
    rows = None if X is None else read_rows(X, estimator, reset=True)
    verbalizer = make_verbalizer(estimator.verbalizer)
    several = estimator.multilabel is not None or form_of(y) != "labels"
    if several:
        labels = resolve_label_sets(y, estimator.classes, verbalizer.forms)
    else:
        added = verbalizer.added
        labels = resolve_labels(y, estimator.classes, verbalizer.forms, added=added)
    if labels.codes is not None:
        if rows is None:
            raise ValueError("fit got labels in y, but no texts in X.")
        check_consistent_length(rows.values, labels.codes)
    head = _make_head(estimator, labels)
    columns = ("text",) if rows is None else rows.columns
    scorer = make_scorer(estimator, labels, columns)
    _check_ensemble(estimator, labels, scorer)
    return *_set_shots_apart(estimator, rows, labels, scorer), head


def _check_known(estimator: Any) -> None:
    check_folds(estimator.cv, estimator.random_state)
    for name, known in KNOWN.items():
        value = getattr(estimator, name)
        if value not in known:
            raise ValueError(
                f"The {name!r} parameter of LogprobClassifier must be "
                f"{', '.join(map(repr, known))}. Got {value!r} instead."
            )


def _check_ensemble(estimator: Any, labels: Labels, scorer: LabelScorer) -> None:
    if not scorer.stacks:
        return
    if labels.several:
        raise ValueError(
            "PromptEnsemble(combine='stack') weights the scores of one label a row, and "
            "here several may apply: use combine='average'."
        )
    if estimator.readout not in ("labels", "auto"):
        raise ValueError(
            "The 'readout' parameter of LogprobClassifier must be 'labels' or 'auto' "
            "with PromptEnsemble(combine='stack'), which weights the label scores; "
            f"tokens go with combine='average'. Got {estimator.readout!r} instead."
        )


def make_scorer(estimator: Any, labels: Labels, columns: tuple[str, ...]) -> LabelScorer:
    """Say how the model is asked, but for demonstrations taken from the rows.

    Parameters
    ----------
    estimator : LogprobClassifier
        Its parameters are read.
    labels : Labels
        The classes.
    columns : tuple of str
        Names of the columns of X; ``("text",)`` for texts.

    Returns
    -------
    scorer : LabelScorer
        For one label a row, for a question about each, or for one about all.

    Raises
    ------
    ValueError or TypeError
        For parameters that are wrong, or do not go together.
    """
    _check_known(estimator)
    verbalizer = make_verbalizer(estimator.verbalizer)
    names, multilabel = labels.names, estimator.multilabel or MULTILABEL[0]
    if labels.several and verbalizer.added:
        raise ValueError(
            f"The verbalizer adds the class {verbalizer.other_class!r} for texts that no "
            "label fits, and where several labels may apply, none may: leave other= and "
            "none_option= of Verbalizer out."
        )
    resolved = list(verbalizer.resolve(names).values())
    per_label = labels.several and multilabel == "per_label"
    asking = QUESTIONS[multilabel] if labels.several else None
    coded = verbalizer.codes is not None
    params: dict[str, Any] = {
        "backend": make_backend(estimator.backend),
        "template": make_template(
            estimator.prompt, columns, coded=coded, question=asking
        ),
        "forms": dict(zip(labels.classes.tolist(), resolved, strict=True)),
        "label_scoring": estimator.label_scoring,
        "on_error": estimator.on_error,
    }
    descriptions = verbalizer.described(names)
    if not per_label:
        scorer = OneQueryScorer if labels.several else LabelScorer
        views = verbalizer.views(names)
        return scorer(views=views, descriptions=descriptions, **params)
    if coded:
        raise ValueError(
            f"verbalizer: codes={verbalizer.codes!r} stand for labels in a list, and "
            "multilabel='per_label' asks yes or no: leave them out, or use "
            "multilabel='one_query'."
        )
    words = [forms[0] for forms in resolved]
    told = zip(words, descriptions, strict=True)
    asked = tuple(f"{word}: {said}" if said else word for word, said in told)
    return PerLabelScorer(views=[yes_or_no(words)], asked=asked, **params)


def _make_head(estimator: Any, labels: Labels) -> Head | LabelHeads:
    folds = {"cv": estimator.cv, "random_state": estimator.random_state}
    calibrator = make_calibrator(estimator.calibrator)
    readout = _make_readout(estimator, **folds)
    rejector = make_rejector(estimator.reject)
    if not labels.several:
        n_classes = len(labels.classes)
        selector = make_selector(estimator.threshold, max(2, n_classes))
        if labels.codes is None:
            check_label_free(estimator, selector, rejector)
        order = positive_last(labels, estimator.pos_label)
        if n_classes > 1 and hasattr(selector, "for_classes"):
            selector = selector.for_classes(labels.names, order)
        return Head(
            order,
            labels.shares,
            calibrator,
            readout,
            selector=selector,
            rejector=rejector,
            **folds,
        )
    for name in ("reject", "pos_label"):
        if getattr(estimator, name) is not None:
            raise ValueError(
                f"The {name!r} parameter of LogprobClassifier is about one class a row, "
                f"and here several labels may apply: leave it None. "
                f"Got {getattr(estimator, name)!r}."
            )
    selectors, pooled = label_selectors(estimator.threshold, len(labels.names))
    if labels.codes is None:
        for selector in (*selectors, pooled):
            check_label_free(estimator, selector)
    elif not isinstance(calibrator, NoCalibration | BatchCalibration):
        calibrator = RareLabelCalibration(calibrator)
        readout.set_params(calibrator=calibrator)
    heads = [
        Head(
            np.arange(2),
            np.array([1 - share, share]),
            calibrator,
            readout,
            selector=selector,
            metrics=("accuracy", "f1"),
            **folds,
        )
        for share, selector in zip(labels.shares, selectors, strict=True)
    ]
    return LabelHeads(labels.names, heads, pooled)


def _make_readout(estimator: Any, **folds: Any) -> TokenReadout:
    """Give the read-out; "auto" leaves scores alone that nobody wants to be changed."""
    stacks = getattr(estimator.prompt, "combine", None) == "stack"
    bare = estimator.calibrator is None or stacks
    name = "labels" if estimator.readout == "auto" and bare else estimator.readout
    return make_readout(name, calibrator=estimator.calibrator, **folds)


def _set_shots_apart(
    estimator: Any, rows: Rows | None, labels: Labels, scorer: LabelScorer
) -> tuple[Rows | None, Labels, LabelScorer]:
    """Take demonstrations out of the rows, where the template wants some."""
    n_shots = getattr(scorer.template, "n_shots", 0)
    if rows is None or not n_shots:
        return rows, labels, scorer
    if labels.several:
        raise ValueError(
            f"PromptTemplate(n_shots={n_shots}) takes demonstrations with one label "
            "each, and here several may apply: write them, demonstrations=[...]."
        )
    words = [forms[0] for forms in scorer.forms.values()]
    template, left = take_shots(
        scorer.template, rows, labels.codes, words, estimator.random_state
    )
    rows = Rows(rows.columns, [rows.values[i] for i in left], rows.aliases)
    codes = None if labels.codes is None else labels.codes[left]
    return rows, replace(labels, codes=codes), replace(scorer, template=template)


def without_content(
    estimator: Any, rows: Rows | None, scorer: LabelScorer
) -> tuple[LabelScorer, list[Request]]:
    """Say what contextual calibration asks, besides the rows.

    Parameters
    ----------
    estimator : LogprobClassifier
        Its parameters are read.
    rows : Rows or None
        Those of `fit`.
    scorer : LabelScorer
        How the model is asked about them.

    Returns
    -------
    scorer : LabelScorer
        How it is asked about inputs without content.
    requests : list of Request
        None where `content_free` is empty.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob._preparing import prepare, without_content
    >>> clf = LogprobClassifier(FakeBackend(), prompt="{text}?", content_free=["N/A"])
    >>> rows, _, scorer, _ = prepare(clf, ["fine", "dull"], ["good", "bad"])
    >>> without_content(clf, rows, scorer)[1][0].messages
    (('prompt', 'N/A?'),)
    """
    template, inputs = make_content_free(estimator.content_free).asked(
        scorer.template, rows or Rows(("text",), []), estimator.random_state
    )
    asker = replace(scorer, template=template)
    return asker, asker.requests(inputs) if len(inputs) else []


def check_label_free(estimator: Any, selector: Any, rejector: Any = None) -> None:
    """Refuse what could not be learnt without labels.

    Parameters
    ----------
    estimator : LogprobClassifier
        Its parameters are read.
    selector : selector or None
        What `threshold` stands for.
    rejector : rejector or None
        What `reject` stands for.

    Raises
    ------
    ValueError
        If calibrator, threshold or rejector need labels.

    Examples
    --------
    >>> from sklearn_logprob import LogprobClassifier
    >>> from sklearn_logprob._preparing import check_label_free
    >>> check_label_free(LogprobClassifier(), None)  # nothing to say
    """
    if estimator.calibrator not in (None, "auto"):
        raise ValueError(
            f"calibrator={estimator.calibrator!r} learns from labels, and fit got no y: "
            "use 'auto' (batch calibration), None, or give labels."
        )
    if selector is not None and needs_labels(selector):
        raise ValueError(
            f"threshold={estimator.threshold!r} is chosen on labels, and fit got no y: "
            "give a number instead, or labels."
        )
    if rejector is not None and needs_labels(rejector):
        raise ValueError(
            f"reject={estimator.reject!r} learns from labels, and fit got no y: use "
            "ChowRule, or give labels."
        )
