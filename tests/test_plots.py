"""Pictures: what is drawn, not its pixels."""

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from sklearn_logprob import FakeBackend, LogprobClassifier
from sklearn_logprob.plots import ThresholdDisplay

pytest.importorskip("matplotlib").use("agg")

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 200)
P = np.clip(RNG.normal(0.35 + 0.3 * Y, 0.2), 0, 1)


@pytest.fixture
def ax():
    """Axes of a figure that is no part of pyplot's state."""
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def test_curves_are_scikit_learns_scores_at_every_threshold(ax):
    """Each drawn point is precision and recall of predicting at that threshold."""
    display = ThresholdDisplay.from_predictions(Y, P, chosen=0.5, ax=ax)
    for i in (0, 50, 150):
        predicted = display.thresholds[i] <= P
        assert display.precision[i] == precision_score(Y, predicted)
        assert display.recall[i] == recall_score(Y, predicted)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), display.precision)
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert [t.get_text() for t in ax.get_legend().get_texts()][2] == "threshold 0.50"


def test_from_estimator_marks_the_fitted_threshold(ax):
    """The line stands at threshold_, the axis names the positive class."""
    X = ["great", "dull", "great fun", "dull tale"]
    y = ["good", "bad"] * 2
    backend = FakeBackend({"great": {"good": 2.0}, "dull": {"good": -2.0}})
    clf = LogprobClassifier(backend, threshold=0.3, pos_label="bad").fit(X, y)
    display = ThresholdDisplay.from_estimator(clf, X, y, ax=ax)
    assert display.chosen == 0.3 and "'bad'" in ax.get_xlabel()
    assert display.recall[0] == 1.0


def test_three_classes_are_refused():
    """A threshold on one probability is for two classes."""
    clf = LogprobClassifier(FakeBackend(), classes=list("abc")).fit()
    with pytest.raises(ValueError, match="two classes"):
        ThresholdDisplay.from_estimator(clf, ["x"], ["a"])
