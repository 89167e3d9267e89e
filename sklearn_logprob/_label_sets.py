"""Several labels a row: an indicator matrix or sets of labels, and what they are called.

A column of an indicator stands for a label by its place, so the order of the columns is
never changed: predictions line up with y, as scikit-learn's metrics want them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets

from sklearn_logprob._errors import SingleClassWarning, UnnamedLabelsWarning
from sklearn_logprob._labels import Labels

__all__ = ["form_of", "indicator_of", "resolve_label_sets"]

Codes = NDArray[np.intp]

COLLECTIONS = (set, frozenset, list, tuple, np.ndarray)


def form_of(y: Any) -> str:
    """Tell what y holds for each row.

    Lists of numbers of one length are rows of an indicator, as in scikit-learn; sets are
    always sets of labels.

    Parameters
    ----------
    y : array-like or None
        As given to `fit`.

    Returns
    -------
    form : {"labels", "indicator", "sets"}
        One label a row (or nothing), a table with a column for each label, or sets.

    Examples
    --------
    >>> from sklearn_logprob._label_sets import form_of
    >>> form_of(["a", "b"]), form_of([[0, 1], [1, 1]]), form_of([{"a"}, set()])
    ('labels', 'indicator', 'sets')
    """
    if sparse.issparse(y):
        return "indicator"
    shape: tuple[int, ...] = getattr(y, "shape", (0,))
    if len(shape) != 1:
        return "indicator" if len(shape) == 2 and shape[1] > 1 else "labels"
    rows = y if isinstance(y, Iterable) and not isinstance(y, str | Mapping) else ()
    rows = list(rows)
    if not rows or not isinstance(rows[0], COLLECTIONS):
        return "labels"
    sets = any(isinstance(row, set | frozenset) for row in rows)
    listed = [row for row in rows if isinstance(row, list | tuple | np.ndarray)]
    lengths = {len(row) for row in listed}
    words = any(isinstance(label, str) for row in listed for label in row)
    if sets or words or len(lengths) != 1 or lengths == {0}:
        return "sets"
    return "labels" if lengths == {1} else "indicator"


def resolve_label_sets(
    y: Any, classes: Sequence[Any] | None, forms: Mapping[Any, Any] | None
) -> Labels:
    """Find the labels, their names and an indicator of y.

    Parameters
    ----------
    y : indicator matrix of shape (n, L), sequence of sets of labels, or None
        What applies to each row.
    classes : sequence or None
        All labels, in the order of the columns of an indicator.
    forms : mapping or None
        Label to surface forms, where they are given.

    Returns
    -------
    labels : Labels
        With codes of shape (n, L), 1 where a label applies.

    Raises
    ------
    ValueError
        If there are no names and no columns, or y does not fit them.

    Examples
    --------
    >>> from sklearn_logprob._label_sets import resolve_label_sets
    >>> labels = resolve_label_sets([{"b"}, {"a"}], None, None)
    >>> labels.names, labels.codes.tolist()
    (['a', 'b'], [[0, 1], [1, 0]])
    """
    known = _known(classes)
    if y is None:
        names = known or _sorted(forms or ())
        if not names:
            raise ValueError(
                "Several labels a row need names or y: LogprobClassifier(..., "
                "classes=['sport', 'politics'])."
            )
        return _labels(names, None)
    if form_of(y) == "sets":
        rows = _checked(y)
        names = known or _sorted(forms or {label for row in rows for label in row})
        labels = _labels(names, indicator_of(rows, names))
    else:
        Y = _checked_indicator(y)
        labels = _labels(_names_of_columns(y, Y.shape[1], known, forms), Y)
    if known is None and forms is None:
        _warn_unnamed(labels.names)
    _warn_constant(labels)
    return labels


def indicator_of(y: Any, names: Sequence[Any]) -> Any:
    """Turn sets of labels into an indicator matrix; an indicator stays as it is.

    Parameters
    ----------
    y : indicator matrix or sequence of sets of labels
        What applies to each row.
    names : sequence
        The labels, in the order of the columns.

    Returns
    -------
    indicator : array-like of shape (n, L)
        1 where a label applies.

    Raises
    ------
    ValueError
        If y holds a label that has no name.

    Examples
    --------
    >>> from sklearn_logprob._label_sets import indicator_of
    >>> indicator_of([["b"], []], ["a", "b"])
    array([[0, 1],
           [0, 0]])
    """
    if form_of(y) != "sets":
        return y
    if not names:
        raise ValueError("y names no label: give them all, classes=[...].")
    rows = _checked(y)
    stranger = next((v for row in rows for v in row if v not in names), None)
    if stranger is not None:
        raise ValueError(
            f"y holds the label {stranger!r}, which is not among the labels "
            f"{list(names)}: add it to classes= and to the verbalizer."
        )
    binary = MultiLabelBinarizer(classes=list(names)).fit_transform(rows)
    return np.asarray(binary, dtype=np.intp)


def _labels(names: Sequence[Any], Y: Codes | None) -> Labels:
    return Labels(np.asarray(names), list(names), Y, several=True)


def _sorted(names: Iterable[Any]) -> list[Any]:
    return list(np.unique(np.asarray(list(names))).tolist())


def _known(classes: Sequence[Any] | None) -> list[Any] | None:
    if classes is None:
        return None
    names = list(classes) if isinstance(classes, Iterable) else []
    if not names or isinstance(classes, str) or len(set(names)) < len(names):
        raise ValueError(
            "The 'classes' parameter of LogprobClassifier must be a list of labels, "
            f"each once. Got {classes!r} instead."
        )
    return names


def _checked(y: Any) -> list[Any]:
    rows = list(y)
    for row, labels in enumerate(rows):
        if not isinstance(labels, COLLECTIONS):
            raise ValueError(
                f"y must hold a set of labels for every row: row {row} is {labels!r}. "
                "Write [] where none applies."
            )
    return rows


def _checked_indicator(y: Any) -> Codes:
    Y: NDArray[Any] = np.asarray(y.toarray() if sparse.issparse(y) else y)
    assert_all_finite(Y, input_name="y")
    check_classification_targets(Y)
    if Y.ndim != 2 or not np.isin(Y, (0, 1)).all():
        raise ValueError(
            "Several labels a row must be a matrix of 0 and 1 with a column for each "
            "label, or sets of labels; for one label a row leave multilabel=None, and "
            "for columns with classes of their own use MultiOutputClassifier."
        )
    return Y.astype(np.intp)


def _names_of_columns(
    y: Any, n_labels: int, known: list[Any] | None, forms: Mapping[Any, Any] | None
) -> list[Any]:
    columns = list(getattr(y, "columns", range(n_labels)))
    given = known or (None if forms is None else list(forms))
    if given is not None and len(given) != n_labels:
        raise ValueError(
            f"y has {n_labels} columns, and there are {len(given)} names: {given}. Name "
            "each column once, in their order, with classes=[...]."
        )
    if columns != list(range(n_labels)):
        if known is not None and columns != known:
            raise ValueError(
                f"The columns of y are {columns}, and classes={known}: give them the "
                "same names in the same order."
            )
        return columns
    if known is None and given is not None:
        if set(given) == set(columns):
            return columns
        if given != _sorted(given):
            raise ValueError(
                f"The columns of y have no names, and the verbalizer's {given} are not "
                "in sorted order, so it is not clear which column is which: name them in "
                "the order of the columns, classes=[...]."
            )
    return given or columns


def _warn_unnamed(names: Sequence[Any]) -> None:
    if not any(isinstance(name, str) for name in names):
        warnings.warn(
            f"The model would be asked about labels called {list(names)[:5]}, which "
            "tells it nothing. Name the columns of y: LogprobClassifier(..., "
            "classes=['sport', 'politics']), or a DataFrame.",
            UnnamedLabelsWarning,
            stacklevel=5,
        )


def _warn_constant(labels: Labels) -> None:
    """Warn of labels that never or always apply: nothing tells their rows apart."""
    known = {"to no row": _constant(labels, 0), "to every row": _constant(labels, 1)}
    said = "; ".join(f"{where}: {names}" for where, names in known.items() if names)
    if said:
        warnings.warn(
            f"By y some labels apply {said}. That is all that could be learnt of them; "
            "label rows of both kinds.",
            SingleClassWarning,
            stacklevel=5,
        )


def _constant(labels: Labels, value: int) -> list[Any]:
    same = np.all(labels.codes == value, axis=0).tolist()
    return [name for name, constant in zip(labels.names, same, strict=True) if constant]
