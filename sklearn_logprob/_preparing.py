"""From the estimator's parameters and data to what `fit` works with, all checked."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.utils.validation import check_consistent_length

from sklearn_logprob._inputs import Rows, forget_rows, read_rows
from sklearn_logprob._labels import Labels, resolve_labels
from sklearn_logprob.backends import make_backend
from sklearn_logprob.content_free import make_content_free
from sklearn_logprob.prompts import make_template
from sklearn_logprob.scorer import LABEL_SCORINGS, ON_ERROR, LabelScorer
from sklearn_logprob.thresholds import needs_labels
from sklearn_logprob.verbalizers import make_verbalizer

__all__ = ["check_label_free", "prepare"]


def prepare(
    estimator: Any, X: Any, y: ArrayLike | None
) -> tuple[Rows | None, Labels, LabelScorer]:
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
        X as text.
    labels : Labels
        The classes, and y as codes.
    scorer : LabelScorer
        How the model is asked.

    Raises
    ------
    ValueError or TypeError
        For what is wrong with any of them.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob._preparing import prepare
    >>> clf = LogprobClassifier(FakeBackend())
    >>> rows, labels, scorer = prepare(clf, ["fine", "dull"], ["good", "bad"])
    >>> len(rows), labels.codes.tolist()
    (2, [1, 0])
    """
    for name, known in (("label_scoring", LABEL_SCORINGS), ("on_error", ON_ERROR)):
        value = getattr(estimator, name)
        if value not in known:
            raise ValueError(
                f"The {name!r} parameter of LogprobClassifier must be "
                f"{', '.join(map(repr, known))}. Got {value!r} instead."
            )
    make_content_free(estimator.content_free)
    if X is None:
        forget_rows(estimator)
    rows = None if X is None else read_rows(X, estimator, reset=True)
    verbalizer = make_verbalizer(estimator.verbalizer)
    labels = resolve_labels(y, estimator.classes, verbalizer.forms)
    if labels.codes is not None:
        if rows is None:
            raise ValueError("fit got labels in y, but no texts in X.")
        check_consistent_length(rows.values, labels.codes)
    columns = ("text",) if rows is None else rows.columns
    forms = verbalizer.resolve(labels.names).values()
    scorer = LabelScorer(
        backend=make_backend(estimator.backend),
        template=make_template(
            estimator.prompt, columns, coded=verbalizer.codes is not None
        ),
        forms=dict(zip(labels.classes.tolist(), forms, strict=True)),
        views=verbalizer.views(labels.names),
        label_scoring=estimator.label_scoring,
        descriptions=verbalizer.described(labels.names),
        on_error=estimator.on_error,
    )
    return rows, labels, scorer


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
