"""Pictures: what is drawn, not its pixels."""

import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import (
    DetCurveDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from sklearn_logprob import FakeBackend, LogprobClassifier, threshold_curve
from sklearn_logprob._sensitivity import true_scores
from sklearn_logprob.plots import (
    OtherTokensDisplay,
    SoftHardDisplay,
    StabilityDisplay,
    ThresholdDisplay,
)
from sklearn_logprob.soft_hard import draw_answers
from sklearn_logprob.stability import stability

pytest.importorskip("matplotlib").use("agg")

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 200)
P = np.clip(RNG.normal(0.35 + 0.3 * Y, 0.2), 0, 1)
BACKEND = FakeBackend({"great": {"good": 2.0}, "dull": {"good": -2.0}}, label_mass=0.7)


@pytest.fixture
def ax():
    """Axes of a figure that is no part of pyplot's state."""
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_pictures_need_matplotlib_and_say_so(monkeypatch):
    """The error names the extra."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-logprob\[plots\]'"):
        ThresholdDisplay.from_predictions(Y, P)


def test_curves_are_scikit_learns_scores_at_every_threshold(ax):
    """Each drawn point is precision and recall of predicting at that threshold."""
    display = ThresholdDisplay.from_predictions(Y, P, chosen=0.5, ax=ax)
    for i in (0, 50, 150):
        predicted = display.thresholds[i] <= P
        assert display.precision[i] == precision_score(Y, predicted)
        assert display.recall[i] == recall_score(Y, predicted)
        assert display.f1[i] == f1_score(Y, predicted)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), display.precision)
    assert display.ax_ is ax and display.figure_ is ax.figure
    # what a threshold gives holds down to the score below it
    assert {line.get_drawstyle() for line in display.lines_} == {"steps-pre"}
    assert "threshold 0.50" in legend(ax)


def test_the_chosen_point_and_its_intervals(ax):
    """Between two scores it is the upper one's point, with scipy's exact intervals."""
    display = ThresholdDisplay.from_predictions(Y, P, chosen=0.5, confidence=0.9, ax=ax)
    predicted = P >= 0.5
    hits = int((predicted & (Y == 1)).sum())
    for name, n in (("precision", predicted.sum()), ("recall", Y.sum())):
        exact = binomtest(hits, int(n)).proportion_ci(0.9, method="exact")
        value, low, high = display.chosen_at[name]
        assert value == hits / n
        assert (low, high) == pytest.approx((exact.low, exact.high))
        assert f"{name} {value:.2f} (90%: {low:.2f} to {high:.2f})" in legend(ax)
    assert len(ax.containers) == 2


def test_a_threshold_that_predicts_nothing(ax):
    """It has a recall of 0, and no precision."""
    display = ThresholdDisplay.from_predictions(Y, P, chosen=1.5, ax=ax)
    assert display.chosen_at["recall"][:2] == (0, 0)
    assert "precision" not in display.chosen_at


def test_several_labels_in_log_scores(ax):
    """The curves are those of the table; rows are no independent decisions there."""
    S = np.log(np.c_[1 - P, P].clip(1e-6))
    display = ThresholdDisplay.from_predictions(
        Y, S, unit="log score", average="samples", chosen=-1.0, ax=ax
    )
    curve = threshold_curve(Y, S, average="samples")[:-1]
    for name in ("precision", "recall", "f1"):
        np.testing.assert_array_equal(getattr(display, name), curve[name])
    assert "label log score, nats" in ax.get_xlabel() and ax.get_xlim()[0] < -1
    assert not display.chosen_at and not ax.containers


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


@pytest.mark.parametrize(
    "display",
    [RocCurveDisplay, PrecisionRecallDisplay, DetCurveDisplay, CalibrationDisplay],
)
def test_scikit_learns_displays_take_the_classifier_as_it_is(ax, display):
    """Texts in, curve out: of the positive class's probabilities."""
    X = ["great", "dull", "great great", "so", "dull so"] * 4
    y = ["good", "bad", "good", "good", "bad"] * 4
    clf = LogprobClassifier(BACKEND).fit(X, y)
    drawn = display.from_estimator(clf, X, y, ax=ax)
    assert drawn.ax_ is ax and ax.lines
    if display is RocCurveDisplay:
        assert drawn.roc_auc == roc_auc_score(y, clf.predict_proba(X)[:, 1])


def test_other_tokens_and_labels_make_one(ax):
    """A bar for the labels, one a token with its spaces shown, and one for the rest."""
    clf = LogprobClassifier(BACKEND, classes=["bad", "good"]).fit()
    display = OtherTokensDisplay.from_estimator(clf, ["great", "dull"], n_tokens=3, ax=ax)
    widths = [bar.get_width() for bar in display.bars_]
    assert sum(widths) == pytest.approx(1)
    assert widths[0] == pytest.approx(BACKEND.label_mass)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names == ["all labels", "'I'", "'It'", "'This'", "all other tokens"]
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert ax.yaxis_inverted()  # the labels come first


def test_other_tokens_of_a_fitted_classifier(ax):
    """Its table is drawn as it is."""
    clf = LogprobClassifier(BACKEND).fit(["great", "dull"] * 3, ["good", "bad"] * 3)
    display = OtherTokensDisplay.from_predictions(clf.other_tokens_, n_tokens=2, ax=ax)
    table = clf.other_tokens_["mean_probability"][:2]
    assert [bar.get_width() for bar in display.bars_] == table.tolist()


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    X, y = ["great", "dull", "so"] * 4, ["good", "bad", "good"] * 4
    return stability(
        {"one": BACKEND, "two": FakeBackend()}, X, y, styles=["task", "json"], cv=2,
        cache=str(tmp_path_factory.mktemp("answers")), label_styles=["given"],
    )  # fmt: skip


def test_histograms_hold_every_text(ax, frame):
    """A row for each prompt in the order of the frame, all on one scale."""
    display = StabilityDisplay.from_predictions(frame, by="style", n_bins=7, ax=ax)
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["json", "task"]
    assert list(display.values) == ["task", "json"]
    assert len(display.edges_) == 8 and "nats" in ax.get_xlabel()
    for patch, place, style in zip(ax.patches, (0, 1), ("json", "task"), strict=True):
        expected = true_scores(frame[frame["style"] == style], "score")
        heights = patch.get_data().values - place
        counts = heights / 0.85 * display.highest_
        np.testing.assert_allclose(counts, np.histogram(expected, display.edges_)[0])
    medians = [line.get_xdata()[0] for line in display.lines_]
    assert medians[0] == np.median(true_scores(frame[frame["style"] == "json"], "score"))


def test_before_and_after(ax, frame):
    """Two histograms a row; the lines stand at minus the log loss."""
    display = StabilityDisplay.from_predictions(
        frame, by=["model", "style"], value=["raw", "calibrated"], ax=ax
    )
    assert next(iter(display.values)) == "one / task"
    assert len(ax.patches) == 2 * 4 and len(display.lines_) == 2 * 4
    part = frame[(frame["model"] == "two") & (frame["style"] == "json")]
    at = [line.get_xdata()[0] for line in display.lines_[:2]]
    assert at == [true_scores(part, value).mean() for value in ("raw", "calibrated")]
    assert "mean after fit" in legend(ax) and "minus the log loss" in ax.get_xlabel()


def test_stability_from_an_estimator(ax):
    """Its model is asked in the wordings; the classifier need not be fitted."""
    clf = LogprobClassifier(BACKEND, cv=2, random_state=1)
    X, y = ["great", "dull"] * 4, ["good", "bad"] * 4
    display = StabilityDisplay.from_estimator(
        clf, X, y, styles=["plain", "role"], label_styles=["lower"], ax=ax
    )
    assert list(display.values) == ["plain", "role"]
    assert not hasattr(clf, "classes_")


@pytest.mark.parametrize("params", [{"by": "colour"}, {"value": "score_good"}])
def test_what_cannot_be_drawn_is_refused(params):
    """With what can."""
    with pytest.raises(ValueError, match="must be among '"):
        StabilityDisplay.from_predictions(pd.DataFrame(), **params)


def test_shares_on_their_way(ax):
    """A line a text ends at its share; dashed lines stand at the probabilities."""
    clf = LogprobClassifier(BACKEND, classes=["bad", "good"], prompt="{text}").fit()
    X = ["great", "dull"]
    display = SoftHardDisplay.from_estimator(clf, X, label="good", n_draws=60, ax=ax)
    drawn = draw_answers(clf, X, 60)
    for i, line in enumerate(display.lines_):
        assert line.get_ydata()[-1] == drawn.said[i, :, 1].mean()
        assert line.get_label() == repr(X[i])
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"][:2]
    assert [line.get_ydata()[0] for line in dashed] == drawn.probability[:, 1].tolist()
    assert ax.get_xscale() == "log" and "'good'" in ax.get_ylabel()
    assert display.ax_ is ax and display.figure_ is ax.figure


def test_an_unknown_label_is_refused():
    """Before anything is drawn from the model."""
    clf = LogprobClassifier(BACKEND, classes=["bad", "good"]).fit()
    with pytest.raises(ValueError, match=r"\['bad', 'good'\]. Got 'fine'"):
        SoftHardDisplay.from_estimator(clf, ["x"], label="fine")
    assert clf.usage_.requests == 0


def test_without_axes_a_figure_is_made():
    """As scikit-learn's displays do."""
    import matplotlib.pyplot as plt

    for display in (
        ThresholdDisplay.from_predictions(Y, P),
        SoftHardDisplay.from_predictions([[True, False]], [0.5]),
        OtherTokensDisplay(["a"], [0.5]).plot(),
        StabilityDisplay({"plain": {"score": np.array([-1.0, -2.0])}}).plot(),
    ):
        assert display.figure_ in map(plt.figure, plt.get_fignums())
        plt.close(display.figure_)
