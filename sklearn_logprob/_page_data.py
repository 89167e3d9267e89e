"""What the operating-point page shows: labels, probabilities and texts as plain data."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_logprob._bins import Bins
from sklearn_logprob._types import Floats

__all__ = ["page_data", "provenance", "shorten"]

Codes: TypeAlias = NDArray[np.intp]

N_BARS, N_BINS = 20, 10
LOW_MASS = 0.1  # as where fit warns
PAGE_BYTES = 1_850_000  # for probabilities and texts; what else is there takes 100 kB
LENGTHS = (400, 300, 240, 200, 160, 120, 80, 40)  # characters of a text shown


def page_data(
    y: Codes,
    P: Floats,
    classes: Sequence[Any],
    *,
    texts: Sequence[str],
    label_mass: Floats,
    other_tokens: Iterable[tuple[str, float]] = (),
    threshold: float | ArrayLike = 0.5,
    confidence: float = 0.0,
    costs: Floats | None = None,
    reject_cost: float = 0.1,
    notes: Sequence[tuple[str, bool]] = (),
) -> dict[str, Any]:
    """Give all that the page needs, ready for JSON.

    Parameters
    ----------
    y : ndarray of int of shape (n,)
        Class codes, 0 to K - 1.
    P : ndarray of shape (n, K)
        Probabilities. Of two classes the last is the one that the threshold is about.
    classes : sequence of K labels
        Names of the columns.
    texts : sequence of n str
        The texts; long ones are cut so that the page stays small.
    label_mass : ndarray of shape (n,)
        Share of the model's probability that lands on any label.
    other_tokens : iterable of (str, float)
        What else the model would say, with mean probabilities.
    threshold : float or array-like of shape (K,)
        Where the sliders start.
    confidence : float
        Probability of the decided class from which on a decision is relied upon.
    costs : ndarray of shape (K, K), optional
        What each decision costs, true classes in rows. None: 1 for every mistake.
    reject_cost : float
        What it costs to leave a text to people.
    notes : sequence of (str, bool)
        What to say about the rows, and whether it is a warning.

    Returns
    -------
    data : dict
        Numbers, strings, lists and dicts. ``P`` is base64 of little-endian doubles,
        row by row: it is exact, and half as long as decimals.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._page_data import page_data
    >>> P = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    >>> data = page_data(np.array([0, 0, 1]), P, ["bad", "good"],
    ...                  texts=["a", "b", "c"], label_mass=np.ones(3))
    >>> data["classes"][1]["roc_auc"], data["costs"]
    (1.0, [[0.0, 1.0], [1.0, 0.0]])
    """
    probabilities = b64encode(P.astype("<f8").tobytes()).decode()
    shown, told = shorten(texts, PAGE_BYTES - len(probabilities))
    by_class = Bins(P, N_BINS)
    return {
        "notes": [
            {"text": text, "warns": warns}
            for text, warns in [*notes, *([(told, False)] if told else [])]
        ],
        "classes": [
            {"name": str(label), **_one_class(y == k, P[:, k], by_class.index[:, k])}
            for k, label in enumerate(classes)
        ],
        "y": y.tolist(),
        "P": probabilities,
        "texts": shown,
        "label_mass": {
            "rows": label_mass.round(3).tolist(),
            "histogram": _bars(label_mass),
            "median": float(np.median(label_mass)),
            "low": int((label_mass < LOW_MASS).sum()),
        },
        "other_tokens": [[_valid(token), float(p)] for token, p in other_tokens],
        "thresholds": np.atleast_1d(threshold).tolist(),
        "confidence": min(float(confidence), 1.0),
        "costs": (1 - np.eye(P.shape[1]) if costs is None else costs).tolist(),
        "reject_cost": reject_cost,
    }


def _one_class(true: NDArray[np.bool_], p: Floats, bins: Codes) -> dict[str, Any]:
    """Give what no threshold changes for one class against the rest."""
    from sklearn import metrics  # noqa: PLC0415 -- slow to import

    both = true.any() and not true.all()  # else curves are not defined
    _, places = np.unique(bins, return_inverse=True)
    sizes = np.bincount(places)
    means, hits = np.bincount(places, p) / sizes, np.bincount(places, true)
    return {
        "n": int(true.sum()),
        "own": _bars(p[true]),
        "others": _bars(p[~true]),
        "roc_auc": float(metrics.roc_auc_score(true, p)) if both else None,
        "average_precision": (
            float(metrics.average_precision_score(true, p)) if both else None
        ),
        "reliability": np.column_stack([means, hits, sizes]).tolist(),
    }


def _bars(values: Floats) -> list[int]:
    counts: list[int] = np.histogram(values, N_BARS, (0, 1))[0].tolist()
    return counts


def shorten(texts: Sequence[str], n_bytes: int) -> tuple[list[str], str]:
    """Cut texts to the same length, the largest at which they fit together.

    Parameters
    ----------
    texts : sequence of str
        Texts.
    n_bytes : int
        Room for all of them, as JSON in UTF-8. At 40 characters they are not cut
        further, whether they fit or not.

    Returns
    -------
    shown : list of str
        The texts, with an ellipsis where something is missing.
    told : str
        What was cut, in a sentence; empty where nothing was.

    Examples
    --------
    >>> from sklearn_logprob._page_data import shorten
    >>> shorten(["short", 50 * "long "], 60)
    (['short', 'long long long long long long long long …'], '1 of 2 texts is cut to 40 \
characters.')
    """
    valid = [_valid(text) for text in texts]
    fitting = (n for n in LENGTHS if sum(_size(t[:n]) for t in valid) <= n_bytes)
    length = next(fitting, LENGTHS[-1])
    shown = [text if len(text) <= length else f"{text[:length]}…" for text in valid]
    n_cut = sum(len(text) > length for text in valid)
    told = (
        f"{n_cut} of {len(texts)} texts {'is' if n_cut == 1 else 'are'} cut to "
        f"{length} characters."
    )
    return shown, told if n_cut else ""


def _valid(text: str) -> str:
    """Replace halves of surrogate pairs, which no file in UTF-8 can hold."""
    return text.encode(errors="replace").decode()


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) + 5 * text.count("<") + 4


def provenance(
    n_rows: int,
    *,
    n_seen: int | None,
    learnt: bool,
    out_of_fold: bool,
    n_failed: int = 0,
) -> list[tuple[str, bool]]:
    """Say which rows the page is about, and how far they can be trusted.

    Parameters
    ----------
    n_rows : int
        Rows shown.
    n_seen : int or None
        How many of them `fit` saw; None where that is not known.
    learnt : bool
        Whether `fit` saw labels.
    out_of_fold : bool
        Whether each row's probabilities come from a calibrator that did not see it.
    n_failed : int
        Rows without an answer, which are left out.

    Returns
    -------
    notes : list of (str, bool)
        Sentences, and whether each is a warning.

    Examples
    --------
    >>> from sklearn_logprob._page_data import provenance
    >>> notes = provenance(9, n_seen=0, learnt=True, out_of_fold=False)
    >>> [text for text, warns in notes][:2]
    ['9 labelled texts.', 'None of them was seen by fit.']
    """
    notes = [(f"{n_rows:,} labelled texts.", False)]
    if n_failed:
        notes.append((f"{n_failed:,} more got no answer and are left out.", True))
    if out_of_fold:
        told = (
            "Probabilities are out of fold: each text's come from a calibrator that was "
            "fitted anew to other texts."
        )
    elif not learnt:
        told = "The classifier learnt from no labels, so it cannot have fitted these."
    elif n_seen is None:
        told = "Whether fit saw these texts is not known."
    elif n_seen:
        told = (
            f"{n_seen:,} of these {n_rows:,} texts were seen by fit with their labels, "
            "so that the numbers are too good. Show other texts, or out-of-fold "
            "probabilities: explore(X, y, out_of_fold=True)."
        )
    else:
        told = "None of them was seen by fit."
    chosen = (
        "A threshold that is chosen here looks better here than it is: judge it on yet "
        "other texts."
    )
    return [*notes, (told, bool(learnt and n_seen and not out_of_fold)), (chosen, False)]
