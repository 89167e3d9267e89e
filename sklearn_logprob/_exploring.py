"""From a fitted classifier and labelled rows to the operating-point page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, column_or_1d

from sklearn_logprob._errors import BackendError
from sklearn_logprob._inputs import read_rows, seen_rows
from sklearn_logprob._label_heads import LabelHeads
from sklearn_logprob._label_sets import form_of
from sklearn_logprob._page_data import page_data, provenance
from sklearn_logprob._private_files import check_folder
from sklearn_logprob.calibration import calibrated_proba, cross_val_proba
from sklearn_logprob.page import OperatingPointPage
from sklearn_logprob.scoring import label_mass

__all__ = ["make_page"]

N_OTHERS = 12


def make_page(
    clf: Any, X: Any, y: ArrayLike, path: Any, *, out_of_fold: bool
) -> OperatingPointPage:
    """Ask about X once, and lay out what follows from it.

    Parameters
    ----------
    clf : LogprobClassifier
        Fitted.
    X, y : array-like
        Rows and their labels.
    path : str, path or None
        Where to write the page.
    out_of_fold : bool
        Whether to fit the calibrator anew, without the row.

    Returns
    -------
    page : OperatingPointPage
        The page.

    Raises
    ------
    ValueError, FileNotFoundError
        Before anything is asked.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> from sklearn_logprob._exploring import make_page
    >>> clf = LogprobClassifier(FakeBackend()).fit(["a", "b"], ["bad", "good"])
    >>> make_page(clf, ["c", "d"], ["good", "bad"], None, out_of_fold=False)
    <OperatingPointPage of 2 rows: save(path) writes it>
    """
    rows, learnt = read_rows(X, clf, reset=False), hasattr(clf, "report_")
    _check(clf, path, out_of_fold and not learnt)
    codes = _codes(y, clf.classes_)
    check_consistent_length(rows.values, codes)

    outcomes = clf._ask(clf._scorer.requests(rows))
    scores = clf._scorer.read(outcomes).scores
    answered = np.flatnonzero(~np.isnan(scores).any(axis=1))
    if not len(answered):
        raise BackendError("No row of X got an answer: see the warning above.")
    evidence = clf._head.evidence(clf._debias(scores), outcomes)[answered]
    codes = codes[answered]
    if out_of_fold:
        P = cross_val_proba(clf.calibrator_, evidence, codes, clf.cv, clf.random_state)
    else:
        P = calibrated_proba(clf.calibrator_, evidence)

    seen = seen_rows(rows, clf)
    notes = provenance(
        len(answered),
        n_seen=None if seen is None else int(seen[answered].sum()),
        learnt=learnt,
        out_of_fold=out_of_fold,
        n_failed=len(rows) - len(answered),
    )
    threshold = clf.threshold_
    if threshold is None:
        n_classes = len(clf.classes_)
        threshold = 0.5 if n_classes == 2 else np.full(n_classes, 1 / n_classes)
        by = type(clf.selector_).__name__
        told = (
            f"The classifier decides by {by}. Thresholds start at equal numbers instead."
        )
        notes.append((told, False))
    labelled = np.delete(scores[answered], clf._scorer.unnamed, axis=1)
    order = clf._head.decisions.order  # the positive class of two comes last
    costs = getattr(clf.selector_, "cost_matrix_", None)
    page = OperatingPointPage(
        page_data(
            np.argsort(order)[codes],
            P[:, order],
            clf.classes_[order].tolist(),
            texts=[_shown(rows.columns, rows.values[i]) for i in answered],
            label_mass=label_mass(labelled),
            other_tokens=clf._scorer.others(outcomes)[:N_OTHERS].tolist(),
            threshold=threshold,
            confidence=getattr(clf.rejector_, "confidence_", 0.0),
            costs=costs,
            reject_cost=getattr(clf.rejector_, "cost", 0.1),
            notes=notes,
        )
    )
    if path is not None:
        page.save(path)
    return page


def _codes(y: ArrayLike, classes: NDArray[Any]) -> NDArray[np.intp]:
    """Give labels as positions in `classes`."""
    known = {label: code for code, label in enumerate(classes.tolist())}
    if form_of(y) != "labels":
        raise ValueError(
            f"y of explore must hold one of the classes {list(known)} for each row, and "
            "it holds several labels a row. To look at one of them, fit a classifier for "
            "it, with y of 0 and 1."
        )
    labels = column_or_1d(y).tolist()
    strange = sorted({str(label) for label in labels if label not in known})
    if strange:
        raise ValueError(
            f"y of explore must hold classes that fit saw, {list(known)}. Got "
            f"{', '.join(map(repr, strange[:5]))} too: drop these rows, or fit with "
            "classes= that has them."
        )
    return np.array([known[label] for label in labels], dtype=np.intp)


def _check(clf: Any, path: Any, nothing_learnt: bool) -> None:
    """Refuse, before the model is asked, what would fail afterwards."""
    if isinstance(clf._head, LabelHeads):
        raise ValueError(
            "explore shows decisions for one label a row, and here several may apply: "
            "fit a classifier for the label to look at, with y of 0 and 1."
        )
    if len(clf.classes_) < 2:
        raise ValueError("explore needs two classes or more: there is nothing to decide.")
    if nothing_learnt:
        raise ValueError(
            "out_of_fold=True is for classifiers that learnt from labels. This one did "
            "not: leave it out."
        )
    if path is not None:
        check_folder(path)


def _shown(columns: Sequence[str], values: Sequence[str]) -> str:
    """Give a row as text: the text itself, or the fields of a table by name."""
    if len(columns) == 1:
        return values[0]
    pairs = zip(columns, values, strict=True)
    return "\n".join(f"{column}: {value}" for column, value in pairs)
