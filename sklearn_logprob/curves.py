"""Precision, recall, F1 and cost at every threshold that makes a difference."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from sklearn_logprob._optional import import_pandas
from sklearn_logprob._sweep import Average, sweep

__all__ = ["threshold_curve"]


def threshold_curve(
    y: ArrayLike,
    scores: ArrayLike,
    *,
    pos_label: Any = None,
    labels: ArrayLike | None = None,
    average: Average = "micro",
    cost_fp: float = 1.0,
    cost_fn: float = 1.0,
    zero_division: float = 0.0,
) -> Any:
    """Tabulate precision, recall, F1 and cost for every threshold.

    The thresholds are the scores themselves, in whatever unit these have: between two
    neighbouring ones nothing changes, so no grid is needed and none could show more.

    A threshold that is chosen by this table is flattered by it. Choose on some rows and
    judge on others, as ``LogprobClassifier(threshold=...)`` and its ``report_`` do.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, L)
        Labels; or a column of 0 and 1 for each of L labels.
    scores : array-like of shape (n,) or (n, L)
        Probabilities or log scores: of the positive class, or of each label.
    pos_label : label, default=None
        With scores of shape (n,), the positive class. None: 1 of labels 0 and 1.
    labels : array-like of shape (L,), default=None
        With y of shape (n,) and scores of shape (n, L), what each column of the scores is
        about. None: the sorted labels of y.
    average : {"micro", "samples"}, default="micro"
        With scores of shape (n, L): of all decisions together, or the mean over the rows
        of precision, recall and F1 of each row.
    cost_fp, cost_fn : float, default=1.0
        What a false positive and a false negative cost.
    zero_division : float, default=0.0
        What a ratio is where it is 0 / 0, such as the precision where nothing is
        predicted.

    Returns
    -------
    curve : pandas.DataFrame
        A row for each distinct score, increasing, and one for inf, with the columns
        "threshold" (positive at or above it), "precision", "recall", "f1",
        "positive_rate" (share of the decisions) and "cost" (mean of the decisions; with
        the default costs the share of wrong ones).

    Raises
    ------
    ValueError
        If y and scores do not fit each other, or a score is NaN.
    ImportError
        If pandas is not installed.

    See Also
    --------
    sklearn.metrics.precision_recall_curve : Precision and recall, for one label.

    Examples
    --------
    >>> from sklearn_logprob.curves import threshold_curve
    >>> curve = threshold_curve([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9], cost_fn=5)
    >>> print(curve.round(2).to_string(index=False))
     threshold  precision  recall   f1  positive_rate  cost
           0.1       0.50     1.0 0.67           1.00  0.50
           0.4       0.67     1.0 0.80           0.75  0.25
           0.6       0.50     0.5 0.50           0.50  1.50
           0.9       1.00     0.5 0.67           0.25  1.25
           inf       0.00     0.0 0.00           0.00  2.50
    """
    pd = import_pandas("threshold_curve")
    found = sweep(
        y,
        scores,
        pos_label=pos_label,
        labels=labels,
        average=average,
        cost_fp=cost_fp,
        cost_fn=cost_fn,
        zero_division=zero_division,
    )
    names = ("threshold", "precision", "recall", "f1", "positive_rate", "cost")
    return pd.DataFrame({name: getattr(found, name) for name in names})
