"""What a table of the same texts in several wordings shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from sklearn_logprob._optional import import_pandas
from sklearn_logprob._types import Floats
from sklearn_logprob.metrics import flip_rate

__all__ = ["VARIED", "rank_agreement", "sensitivity", "summarize", "true_scores"]

VARIED = ("model", "style", "label_style")
"""What is varied: the columns that name a wording."""


def summarize(frame: Any, by: Sequence[str] = VARIED) -> Any:
    """Tell how well each wording works, before and after calibration.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `stability` gave.
    by : sequence of str, default=("model", "style", "label_style")
        Columns whose values make the rows of the table.

    Returns
    -------
    table : pandas.DataFrame
        For each wording "score_q05", "score_median" and "score_q95" of the true class's
        label log score (natural log), the median "label_mass", and "accuracy" and
        "log_loss" (nats), raw and ``calibrated_…`` out of fold. The raw probabilities are
        the scores normalised over the labels.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend
    >>> from sklearn_logprob.stability import stability, summarize
    >>> model = FakeBackend({"great": {"good": 2.0}}, bias={"good": 3.0})
    >>> frame = stability(model, ["great", "dull"] * 10, ["good", "bad"] * 10,
    ...                   styles=["plain", "task"], label_styles=["given"])
    >>> table = summarize(frame, by=["style"])
    >>> table[["accuracy", "calibrated_accuracy"]].to_numpy().tolist()
    [[0.5, 1.0], [0.5, 1.0]]
    """
    judged = frame[list(by)].assign(
        score=true_scores(frame, "score"),
        label_mass=frame["label_mass"],
        accuracy=frame["prediction"] == frame["true_class"],
        log_loss=-true_scores(frame, "raw"),
        calibrated_accuracy=frame["calibrated_prediction"] == frame["true_class"],
        calibrated_log_loss=-true_scores(frame, "calibrated"),
    )
    groups = judged.groupby(list(by), sort=False)
    score, mass = groups["score"], groups["label_mass"].median()
    table = score.quantile([0.05, 0.5, 0.95]).unstack()
    table.columns = ["score_q05", "score_median", "score_q95"]
    means = groups[["accuracy", "log_loss", "calibrated_accuracy", "calibrated_log_loss"]]
    return table.assign(label_mass=mass).join(means.mean())


def sensitivity(frame: Any) -> Any:
    """Tell what changes when only the model, the prompt or the label words change.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `stability` gave.

    Returns
    -------
    table : pandas.DataFrame
        A row for each of "model", "style" and "label_style" that was varied, with
        "flip_rate", "accuracy_range", "log_loss_range" (best to worst wording), raw and
        ``calibrated_…``, and "rank_agreement" (Spearman's, mean of all pairs). Each is
        the mean over the choices of the two others.

    References
    ----------
    M. Sclar et al., "Quantifying Language Models' Sensitivity to Spurious Features in
    Prompt Design", ICLR 2024 (the range over prompts that mean the same).

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend
    >>> from sklearn_logprob.stability import sensitivity, stability
    >>> model = FakeBackend({"great": {"good": 2.0}, "dull": {"good": -2.0}})
    >>> frame = stability({"one": model, "two": model}, ["great", "dull"] * 10,
    ...                   ["good", "bad"] * 10, styles=["plain"], label_styles=["given"])
    >>> sensitivity(frame)[["flip_rate", "rank_agreement"]]
           flip_rate  rank_agreement
    model        0.0             1.0
    """
    pd = import_pandas("sensitivity")
    table = {}
    for name in VARIED:
        if frame[name].nunique() == 1:
            continue
        others = [other for other in VARIED if other != name]
        found = [_within(part, name) for _, part in frame.groupby(others, sort=False)]
        table[name] = pd.DataFrame(found).mean()
    return pd.DataFrame(table).T


def rank_agreement(
    frame: Any, by: Sequence[str] = VARIED, method: str = "spearman"
) -> Any:
    """Tell whether wordings put the texts into the same order.

    Shifts of the scores, which calibration takes out, leave the order alone; where
    orders differ, wordings differ in what they tell about the texts.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `stability` gave.
    by : sequence of str, default=("model", "style", "label_style")
        Columns that name a wording; one row a text in each.
    method : {"spearman", "kendall"}, default="spearman"
        The rank correlation of the normalised label log scores, averaged over the
        classes.

    Returns
    -------
    table : pandas.DataFrame
        Wordings by wordings, in [-1, 1].

    References
    ----------
    C. Spearman, American Journal of Psychology 1904; M. G. Kendall, Biometrika 1938.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend
    >>> from sklearn_logprob.stability import rank_agreement, stability
    >>> model = FakeBackend({"great": {"good": 2.0}, "dull": {"good": -2.0}})
    >>> frame = stability(model, ["great", "so so", "dull"] * 5,
    ...                   ["good", "good", "bad"] * 5, styles=["plain", "task"],
    ...                   label_styles=["given"])
    >>> rank_agreement(frame, by=["style"]).to_dict()
    {'plain': {'plain': 1.0, 'task': 1.0}, 'task': {'plain': 1.0, 'task': 1.0}}
    """
    if method not in ("spearman", "kendall"):
        raise ValueError(
            "The 'method' parameter of rank_agreement must be 'spearman' or 'kendall'. "
            f"Got {method!r} instead."
        )
    columns = [column for column in frame if column.startswith("score_")]
    normal = frame[["row", *by]].join(_normalised(frame, columns))
    wide = normal.pivot(index="row", columns=list(by), values=columns)
    return sum(wide[column].corr(method=method) for column in columns) / len(columns)


def true_scores(frame: Any, value: str) -> Floats:
    """Give each row's logarithm for its true class.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `stability` gave.
    value : {"score", "raw", "calibrated"}
        The label log score, that normalised over the labels, or the log-probability
        after calibration.

    Returns
    -------
    values : ndarray of shape (n_rows,)
        Natural log.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_logprob._sensitivity import true_scores
    >>> frame = pd.DataFrame({"true_class": ["a"], "score_a": [-1.0], "score_b": [-2.0]})
    >>> true_scores(frame, "raw").round(2)
    array([-0.31])
    """
    prefix = "proba_" if value == "calibrated" else "score_"
    columns = [column for column in frame if column.startswith(prefix)]
    of_class = {column.removeprefix(prefix): k for k, column in enumerate(columns)}
    code = frame["true_class"].astype(str).map(of_class).to_numpy()
    if value == "calibrated":
        found = np.log(frame[columns].to_numpy())
    else:
        scores = frame[columns] if value == "score" else _normalised(frame, columns)
        found = scores.to_numpy()
    return np.asarray(found[np.arange(len(frame)), code])


def _within(part: Any, name: str) -> dict[str, float]:
    """Compare wordings that differ in one thing."""
    table, found = summarize(part, by=[name]), {}
    for prefix in ("", "calibrated_"):
        decided = part.pivot(index="row", columns=name, values=f"{prefix}prediction")
        found[f"{prefix}flip_rate"] = flip_rate(decided.to_numpy())
        for metric in ("accuracy", "log_loss"):
            values = table[f"{prefix}{metric}"]
            found[f"{prefix}{metric}_range"] = values.max() - values.min()
    agreement = rank_agreement(part, by=[name]).to_numpy()
    found["rank_agreement"] = float(agreement[np.triu_indices(len(agreement), 1)].mean())
    return found


def _normalised(frame: Any, columns: Sequence[str]) -> Any:
    scores = frame[columns]
    return scores.sub(logsumexp(scores.to_numpy(), axis=1), axis=0)
