"""How much scores and decisions depend on the model, the prompt and the label words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_logprob._optional import import_pandas
from sklearn_logprob._progress import progress
from sklearn_logprob._sensitivity import (
    VARIED,
    rank_agreement,
    sensitivity,
    summarize,
)
from sklearn_logprob._types import Floats
from sklearn_logprob._wordings import make_wordings
from sklearn_logprob.calibration import cross_val_proba, make_calibrator
from sklearn_logprob.scoring import label_mass

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
    asking = make_wordings(
        models,
        X,
        y,
        styles=styles,
        label_styles=label_styles,
        verbalizer=verbalizer,
        cache=cache,
    )
    rows, labels = asking.rows, asking.labels
    codes = np.asarray(labels.codes)
    texts = ["\n".join(values) for values in rows.values]
    true = np.asarray(labels.names)[codes]
    parts, bar = [], progress(len(asking.classifiers), verbose, "wording")
    for wording, clf in asking.classifiers.items():
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
