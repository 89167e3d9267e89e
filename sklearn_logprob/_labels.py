"""Which classes there are, and what each is called in front of the model.

scikit-learn replaces y by integers before a base estimator sees it: in
``CalibratedClassifierCV(ensemble=False)`` and with temperature scaling, in
``cross_val_predict``, in voting and stacking. A classifier that took its label text from
y would then ask the model about the words "0" and "1". So the names come from `classes`
or the verbalizer where they are given, and integers are mapped onto them by sorted order,
which is how scikit-learn numbered them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from sklearn_logprob._errors import SingleClassWarning, UnnamedLabelsWarning
from sklearn_logprob._inputs import is_missing

__all__ = ["Labels", "positive_last", "resolve_labels"]


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a problem.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted, in the type of y: what ``predict`` returns.
    names : list
        What the verbalizer knows each class by, in the same order.
    codes : ndarray of int of shape (n_samples,) or None
        Each sample's class as a column number; None without labels. Where several may
        apply, of shape (n_samples, n_classes): 1 where one does.
    several : bool, default=False
        Whether several classes may apply to a sample.
    """

    classes: NDArray[Any]
    names: list[Any]
    codes: NDArray[np.intp] | None
    several: bool = False

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of each class in y; equal shares without y, or even odds of several."""
        n_classes = len(self.classes)
        if self.several:
            without = np.full(n_classes, 0.5)
            return without if self.codes is None else self.codes.mean(axis=0)
        if self.codes is None:
            return np.full(n_classes, 1 / n_classes)
        return np.bincount(self.codes, minlength=n_classes) / len(self.codes)


def resolve_labels(
    y: ArrayLike | None,
    classes: Sequence[Any] | None,
    forms: Mapping[Any, Any] | None,
    added: Sequence[Any] = (),
) -> Labels:
    """Find the classes, their names and the codes of y.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or None
        Labels: strings, integers or booleans, or scikit-learn's integer codes of them.
    classes : sequence or None
        All classes, where they are given.
    forms : mapping or None
        Class to surface forms, where they are given.
    added : sequence, default=()
        Classes there are besides those given, or those of y.

    Returns
    -------
    labels : Labels
        Classes, names and codes.

    Raises
    ------
    ValueError
        If neither y nor names are given, or y holds a label that is not among them.
    """
    known = _known_names(classes, forms, added)
    if y is None:
        if known is None:
            raise ValueError(
                "LogprobClassifier requires y to be passed, but the target y is None. "
                "Without labels, name the classes: LogprobClassifier(..., "
                "classes=['negative', 'positive'])."
            )
        return Labels(known, known.tolist(), None)
    target = _check_target(y)
    present = np.unique(target)
    if known is None:
        _warn_unnamed(present)
        every = _joined(present, added)
        labels = Labels(every, every.tolist(), np.searchsorted(every, target))
    elif np.isin(present, known).all() and _comparable(present, known):
        labels = Labels(known, known.tolist(), np.searchsorted(known, target))
    elif _are_codes(present, len(known)):
        _warn_fewer_codes(present, known)
        labels = Labels(np.arange(len(known)), known.tolist(), target.astype(np.intp))
    else:
        stranger = next(v for v in present.tolist() if v not in known.tolist())
        raise ValueError(
            f"y holds the label {stranger!r}, which is not among the classes "
            f"{known.tolist()}: add it to classes= and to the verbalizer."
        )
    if len(present) == 1:
        _warn_single(present[0], len(labels.classes))
    return labels


def positive_last(labels: Labels, pos_label: Any) -> NDArray[np.intp]:
    """Order the columns so that the positive class of two is the last.

    Parameters
    ----------
    labels : Labels
        The classes.
    pos_label : label or None
        One of two classes, by label or by name; None leaves the order.

    Returns
    -------
    order : ndarray of int of shape (n_classes,)
        Column numbers.

    Raises
    ------
    ValueError
        If `pos_label` is given and is not one of two classes.
    """
    order = np.arange(len(labels.classes))
    if pos_label is None:
        return order
    known = [labels.classes.tolist(), labels.names]
    if len(order) != 2 or not any(pos_label in names for names in known):
        raise ValueError(
            "The 'pos_label' parameter of LogprobClassifier must be one of two "
            f"classes, here {labels.names}. Got {pos_label!r} instead."
        )
    names = next(names for names in known if pos_label in names)
    return order[::-1] if names.index(pos_label) == 0 else order


def _known_names(
    classes: Sequence[Any] | None, forms: Mapping[Any, Any] | None, added: Sequence[Any]
) -> NDArray[Any] | None:
    given = forms if classes is None else classes
    if given is None:
        return None
    names = list(given) if isinstance(given, Iterable) else []
    if not names or isinstance(classes, str):
        raise ValueError(
            "The 'classes' parameter of LogprobClassifier must be a list of labels. "
            f"Got {classes!r} instead."
        )
    known: NDArray[Any] = np.unique(np.asarray(names))
    if len(known) < len(names):
        raise ValueError(
            "The 'classes' parameter of LogprobClassifier must hold each label once. "
            f"Got {names!r} instead."
        )
    return _joined(known, added)


def _joined(names: NDArray[Any], added: Sequence[Any]) -> NDArray[Any]:
    """Sort the classes together with those that are added."""
    words = names.dtype.kind in "OUST"
    for label in added:
        if isinstance(label, str) is not words:
            raise ValueError(
                "The 'other_class' parameter of Verbalizer must be a "
                f"{'text' if words else 'number'}, as the classes are "
                f"{names.tolist()[:5]}. Got {label!r} instead. (If y held words, a "
                "scikit-learn meta-estimator has encoded it: pass classes=[...].)"
            )
    return np.union1d(names, added) if len(added) else names


def _check_target(y: ArrayLike) -> NDArray[Any]:
    target: NDArray[Any] = column_or_1d(y, warn=True)
    objects: Iterable[Any] = target if target.dtype == object else ()
    kinds = {isinstance(label, str): label for label in objects}
    if target.dtype.kind == "U" and isinstance(y, list | tuple):
        objects = y  # numpy has made the text 'nan' of a NaN in it
    for row, label in enumerate(objects):
        if is_missing(label):
            raise ValueError(
                f"y holds no label in row {row}: drop unlabelled rows, or pass them "
                "without y."
            )
    if len(kinds) > 1:
        raise ValueError(
            f"y holds texts and other labels, such as {kinds[True]!r} and "
            f"{kinds[False]!r}: make all of one kind, y = [str(label) for label in y]."
        )
    assert_all_finite(target, input_name="y")
    check_classification_targets(target)
    return target


def _comparable(present: NDArray[Any], known: NDArray[Any]) -> bool:
    """Strings are equal to strings only; numpy would compare '1' with 1 otherwise."""
    return (present.dtype.kind in "OUST") == (known.dtype.kind in "OUST")


def _are_codes(present: NDArray[Any], n_classes: int) -> bool:
    return present.dtype.kind in "iu" and bool(
        (present >= 0).all() and (present < n_classes).all()
    )


def _warn_unnamed(present: NDArray[Any]) -> None:
    if present.dtype.kind in "iuf":
        example = dict.fromkeys(present.tolist()[:2], "word")
        warnings.warn(
            f"The label text would be the bare numbers {present.tolist()[:5]}, which "
            "tell the model nothing. Name them: LogprobClassifier(..., "
            f"verbalizer={example}). If y held words, a scikit-learn meta-estimator has "
            "encoded it: pass classes=[...] with the words, and the numbers are mapped "
            "back by sorted order.",
            UnnamedLabelsWarning,
            stacklevel=4,
        )


def _warn_fewer_codes(present: NDArray[Any], known: NDArray[Any]) -> None:
    if len(present) > 0 and int(present.max()) + 1 < len(known):
        warnings.warn(
            f"y holds the codes {present.tolist()} for the {len(known)} classes "
            f"{known.tolist()}; they are mapped by sorted order. If y was encoded from "
            "fewer classes (OneVsRestClassifier does so), the names are wrong: this "
            "classifier needs no such wrapper, for it is multi-class by itself.",
            UnnamedLabelsWarning,
            stacklevel=4,
        )


def _warn_single(label: Any, n_classes: int) -> None:
    learnt = (
        "nothing could be learnt: it will always be predicted. Pass classes=[...] with "
        "all classes"
        if n_classes == 1
        else "the labels taught nothing; scores were only centred (batch calibration). "
        "Label a few rows of the other classes"
    )
    warnings.warn(
        f"y holds one class only, {str(label)!r}, so {learnt}.",
        SingleClassWarning,
        stacklevel=4,
    )
