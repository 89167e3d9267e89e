"""Reports against scikit-learn's metrics, planted leaks, simulations and closed forms."""

import json
import pickle
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit, log_softmax, softmax
from sklearn import metrics
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, RepeatedStratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.fixes import parse_version

from sklearn_logprob._counts import METRICS
from sklearn_logprob._errors import (
    FewLabelsWarning,
    LogprobError,
    UninformativeModelWarning,
)
from sklearn_logprob._judging import Judge
from sklearn_logprob._resampling import (
    Resamples,
    area_under_curve,
    calibration_error,
    mean_of,
    metric_of,
)
from sklearn_logprob.calibration import (
    AffineCalibration,
    NoCalibration,
    cross_val_proba,
    make_calibrator,
)
from sklearn_logprob.metrics import calibration_noise_floor, debiased_calibration_error
from sklearn_logprob.report import make_report
from sklearn_logprob.thresholds import BestMetric, FixedThreshold, decide


def simulate(seed, n=200, K=3, signal=2.0):
    """Biased log scores and the codes they tell of."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % K)
    S = rng.normal(scale=1.5, size=(n, K)) - 2 * np.arange(K)
    S[np.arange(n), y] += signal
    return log_softmax(S, axis=1) - rng.exponential(size=(n, 1)), y


def draw(rng, P):
    """One label a row, with the probabilities of the row."""
    return (rng.random((len(P), 1)) > P.cumsum(axis=1)[:, :-1]).sum(axis=1)


# --- The numbers ----------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 4])
def test_scores_are_scikit_learns(K):
    """Of the softmax for "raw", and of out-of-fold probabilities for "calibrated"."""
    S, y = simulate(0, K=K)
    scores = make_report(S, y, random_state=np.random.RandomState(3)).scores
    seed = int(np.random.RandomState(3).randint(2**31 - 1))
    judged = {
        "raw": softmax(S, axis=1),
        "calibrated": cross_val_proba(AffineCalibration(), S, y, 5, seed),
    }
    prior = cross_val_proba(AffineCalibration(), np.zeros_like(S), y, 5, seed)
    for row, P in judged.items():
        found, decided = {n: s.value for n, s in scores[row].items()}, P.argmax(axis=1)
        brier = ((P - np.eye(K)[y]) ** 2).sum(axis=1).mean() / (2 if K == 2 else 1)
        area = metrics.roc_auc_score(y, P[:, 1] if K == 2 else P, multi_class="ovr")
        saved = 1 - metrics.log_loss(y, P) / metrics.log_loss(y, prior)
        floor = calibration_noise_floor(P, debiased=True, random_state=seed)
        assert found == pytest.approx(
            {
                "log_loss": metrics.log_loss(y, P),
                "brier_score": brier,
                "skill": saved,
                "roc_auc": area,
                "calibration_error": debiased_calibration_error(y, P),
                "noise_floor": floor,
                "accuracy": metrics.accuracy_score(y, decided),
                "f1_macro": metrics.f1_score(y, decided, average="macro"),
            }
        )
        if K == 2 or parse_version(sklearn.__version__) >= parse_version("1.7"):
            score = metrics.brier_score_loss(y, P[:, 1] if K == 2 else P)
            assert found["brier_score"] == pytest.approx(score)
    assert scores["raw"]["log_loss"].value > scores["calibrated"]["log_loss"].value + 0.1


def test_probabilities_of_tuned_decisions_are_the_calibrated_ones():
    """A threshold changes decisions and nothing else; its own metric is added."""
    S, y = simulate(1, n=300, signal=1.0)
    kept = (y > 0) | (np.arange(300) % 5 == 0)
    report = make_report(S[kept], y[kept], threshold="balanced_accuracy", random_state=0)
    scores = report.scores
    differ = {n for n, s in scores["tuned"].items() if s[0] != scores["calibrated"][n][0]}
    assert differ == {"accuracy", "f1_macro", "balanced_accuracy"}
    aims = [scores[row]["balanced_accuracy"].value for row in ("calibrated", "tuned")]
    assert aims[0] + 0.05 < aims[1]
    assert "tuned" not in make_report(S, y).scores


def test_fixed_threshold_is_applied_as_it_is():
    """Nothing is chosen: the decisions are the threshold's on out-of-fold rows."""
    S, y = simulate(2, K=2)
    report = make_report(S, y, threshold=0.8, cv=KFold(4))
    P = cross_val_proba(AffineCalibration(), S, y, KFold(4))
    expected = metrics.accuracy_score(y, decide(P, 0.8))
    assert report.scores["tuned"]["accuracy"].value == pytest.approx(expected)


def test_positive_class_may_be_the_first_column():
    """With `order`, a threshold and its F1 are about class 0, as if it came last."""
    S, y = simulate(3, K=2)
    selector = BestMetric("f1", method="search")
    params = {"threshold": selector, "random_state": 0, "cv": KFold(4)}
    first = make_report(S, y, order=[1, 0], **params).scores
    swapped = make_report(S[:, ::-1], 1 - y, **params).scores
    for row in ("raw", "calibrated", "tuned"):
        for name, score in first[row].items():
            if name not in ("calibration_error", "noise_floor"):
                assert score == pytest.approx(swapped[row][name], abs=1e-3), name
    decided = softmax(S, axis=1).argmax(axis=1)
    f1 = metrics.f1_score(y, decided, pos_label=0)
    assert first["raw"]["f1"].value == pytest.approx(f1)


class Costly(BaseEstimator):
    """A selector that decides by costs, not by a threshold."""

    needs_labels = False

    def fit(self, P, y=None):
        self.threshold_ = None
        return self

    def decide(self, P):
        return (P @ [[0, 5, 1], [1, 0, 1], [1, 3, 0]]).argmin(axis=1)


def test_a_selector_may_decide_by_itself():
    """As costs of several classes do."""
    S, y = simulate(22)
    report = make_report(S, y, threshold=Costly(), cv=KFold(4))
    P = cross_val_proba(AffineCalibration(), S, y, KFold(4))
    expected = metrics.accuracy_score(y, Costly().decide(P))
    assert report.scores["tuned"]["accuracy"].value == pytest.approx(expected)


class Demanding(BaseEstimator):
    """A selector that wants more rows than a fold leaves it."""

    def fit(self, P, y):
        if len(P) < 200:
            raise LogprobError("no cut keeps it")
        self.threshold_ = 0.5
        return self


def test_a_fold_without_a_threshold_leaves_the_other_scores():
    """What cannot be chosen in the folds is missing, and a warning says why."""
    S, y = simulate(23, K=2)
    report = make_report(S, y, threshold=Demanding(), random_state=0)
    with pytest.warns(FewLabelsWarning, match="no tuned scores.*no cut keeps it"):
        assert set(report.scores) == {"prior", "raw", "calibrated"}


@pytest.mark.parametrize(
    "cv", [3, KFold(4), RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)]
)
def test_any_folds_that_hold_out_every_row(cv):
    """As many as cv says; what is held out repeatedly is decided by majority."""
    S, y = simulate(4, n=90)
    scores = make_report(S, y, threshold="f1_macro", cv=cv, random_state=0).scores
    assert scores["tuned"]["accuracy"].value > 0.5


def test_any_classifier_is_a_calibrator():
    """A foreign one too, and one that has folds of its own."""
    S, y = simulate(5, n=90)
    for calibrator in (LogisticRegression(), CalibratedClassifierCV(GaussianNB(), cv=2)):
        scores = make_report(S, y, calibrator, random_state=0).scores
        assert scores["calibrated"]["skill"].value > 0


# --- Nothing judges itself ------------------------------------------------------------


class Unseen(NoCalibration):
    """A calibrator that refuses to judge a row that it was fitted to."""

    def fit(self, S, y=None):
        self.seen_ = set(map(tuple, np.asarray(S)))
        return super().fit(S, y)

    def predict_proba(self, S):
        assert self.seen_.isdisjoint(map(tuple, np.asarray(S)))
        return super().predict_proba(S)


class Recogniser(BaseEstimator):
    """A selector that decides for class 1 if it was shown a marked row, else for 0."""

    def fit(self, P, y):
        assert len(P) == len(y)
        self.threshold_ = 0.0 if (P[:, 1] > 0.99).any() else 1.0
        return self


def test_no_row_is_judged_by_what_saw_it():
    """Calibrators meet new rows only, and thresholds decide in folds they did not see."""
    rng = np.random.default_rng(6)
    p = rng.uniform(0.2, 0.8, size=100)
    y = (np.arange(100) % 10 > 0).astype(int)
    p[5] = 0.995
    S = np.log(np.column_stack([1 - p, p]))
    report = make_report(S, y, Unseen(), Recogniser(), cv=KFold(5))
    # The fold with row 5 has 20 rows, 2 of class 0, and is decided for class 0.
    accuracy = (2 + 80 - 8) / 100
    with pytest.warns(UninformativeModelWarning):
        assert report.scores["tuned"]["accuracy"].value == pytest.approx(accuracy)


def test_noise_is_not_flattered():
    """Searching a threshold on noise gives no accuracy beyond chance, on average."""
    found, flattered = [], []
    for seed in range(100, 116):
        S, y = simulate(seed, n=60, K=2, signal=0.0)
        selector = BestMetric("accuracy", method="search")
        report = make_report(S, y, threshold=selector, random_state=0, n_resamples=10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UninformativeModelWarning)
            found.append(report.scores["tuned"]["accuracy"].value)
        P = AffineCalibration().fit(S, y).predict_proba(S)
        flattered.append(selector.fit(P, y).value_)
    assert np.mean(found) == pytest.approx(0.5, abs=0.04)
    assert np.mean(flattered) > 0.56


# --- Intervals ------------------------------------------------------------------------


@pytest.mark.parametrize("n", [300, 9000])
def test_intervals_of_means_have_the_width_of_theory(n):
    """Twice 1.96 standard errors; in groups of rows too."""
    rng = np.random.default_rng(7)
    loss = rng.exponential(size=n)
    score = Resamples(n, 2000, 0.95, rng).score(mean_of(loss))
    assert score.value == pytest.approx(loss.mean())
    width = 2 * 1.96 * loss.std() / np.sqrt(n)
    assert score.high - score.low == pytest.approx(width, rel=0.08)
    assert (score.low + score.high) / 2 == pytest.approx(score.value, abs=width / 10)
    again = Resamples(n, 2000, 0.5, rng).score(mean_of(loss))
    assert again.high - again.low == pytest.approx(width * 0.6745 / 1.96, rel=0.1)


def test_intervals_of_other_scores_are_those_of_explicit_resampling():
    """Against scikit-learn's metrics on rows drawn one resample at a time."""
    rng = np.random.default_rng(8)
    S, y = simulate(8, n=120)
    P = softmax(S + np.array([0, 2, 4]), axis=1)
    decided = P.argmax(axis=1)
    drawn = []
    for rows in rng.integers(120, size=(300, 120)):
        f1 = metrics.f1_score(y[rows], decided[rows], average="macro")
        drawn.append([f1, metrics.roc_auc_score(y[rows], P[rows], multi_class="ovr")])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    resamples = Resamples(120, 1000, 0.95, rng)
    found = [
        resamples.score(metric_of("f1_macro", y, decided, 3)),
        resamples.score(area_under_curve(y, P)),
    ]
    np.testing.assert_allclose([s.low for s in found], low, atol=0.025)
    np.testing.assert_allclose([s.high for s in found], high, atol=0.025)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Nine in ten, of accuracy, area, F1 and calibration error, in fresh samples."""
    rng = np.random.default_rng(9)

    def sample(n):
        z = 2 * rng.normal(size=n)
        y = (rng.random(n) < expit(z)).astype(int)
        p = expit(2 * z + 0.5)  # over-confident, with a preference
        return y, np.column_stack([1 - p, p])

    def statistics(y, P):
        decided = P.argmax(axis=1)
        return [
            metric_of("accuracy", y, decided, 2),
            metric_of("f1_macro", y, decided, 2),
            area_under_curve(y, P),
            calibration_error(y, P, 10),
        ]

    big = sample(200_000)
    one = Resamples(200_000, 2, 0.9, rng)
    truth = np.array([one.score(s).value for s in statistics(*big)])
    held = []
    for _ in range(150):
        resamples = Resamples(150, 300, 0.9, rng)
        scores = [resamples.score(s) for s in statistics(*sample(150))]
        held.append([s.low <= t <= s.high for s, t in zip(scores, truth, strict=True)])
    np.testing.assert_allclose(np.mean(held, axis=0), 0.9, atol=0.08)


def test_calibrated_models_have_intervals_that_reach_zero():
    """Resampled noise does not lift the interval of the calibration error."""
    rng = np.random.default_rng(10)
    P = rng.dirichlet([1, 1], 300)
    resamples = Resamples(300, 300, 0.95, rng)
    found = [resamples.score(calibration_error(draw(rng, P), P, 15)) for _ in range(60)]
    assert np.mean([s.low == 0 for s in found]) > 0.9
    assert np.mean([s.low <= s.value <= s.high for s in found]) == 1


def test_areas_skip_classes_without_a_rival():
    """A class that never occurs has no area; a single class gives none at all."""
    S, y = simulate(11, K=3)
    seen = y < 2
    P = softmax(S[seen], axis=1)
    resamples = Resamples(seen.sum(), 50, 0.95, np.random.default_rng(0))
    areas = [metrics.roc_auc_score(y[seen] == k, P[:, k]) for k in (0, 1)]
    score = resamples.score(area_under_curve(y[seen], P))
    assert score.value == pytest.approx(np.mean(areas))
    assert np.isnan(resamples.score(area_under_curve(0 * y[seen], P))).all()


# --- Warnings -------------------------------------------------------------------------


def test_a_model_without_information_is_named():
    """On noise nearly always; on scores that tell something never."""
    warned = 0
    for seed in range(10):
        S, y = simulate(seed, n=60, signal=0.0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert make_report(S, y, random_state=0, n_resamples=10).scores
        warned += [w.category for w in caught] == [UninformativeModelWarning]
        informed, y = simulate(seed, n=60, signal=3.0)
        assert make_report(informed, y, random_state=0, n_resamples=10).scores
    assert warned >= 8
    assert "knows nothing about the classes" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(("n_right", "informed"), [(58, False), (70, True)])
def test_a_gain_within_its_standard_error_is_no_information(n_right, informed):
    """Of 100 coin flips told with 60 %, 58 right gain 0.6 standard errors, 70 gain 3."""
    y = np.arange(100) % 2
    right = np.random.default_rng(0).permutation(100) < n_right
    S = np.log(np.where(np.eye(2)[np.where(right, y, 1 - y)] == 1, 0.6, 0.4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        score = make_report(S, y, None, random_state=0).scores["raw"]["skill"]
    assert score.value > 0
    assert [w.category for w in caught] == [UninformativeModelWarning] * (not informed)


@pytest.mark.filterwarnings("ignore::sklearn_logprob.UninformativeModelWarning")
def test_few_labels_for_a_threshold_are_named():
    """Under 8 of the rarest class, absent ones included; not where nothing is learnt.

    The warning comes when the report is looked at: in `fit` it would come in each fold
    of a search.
    """
    S, y = simulate(12, n=24, K=3)
    str(make_report(S, y, threshold="f1_macro"))
    keep = np.arange(24) != np.flatnonzero(y == 1)[0]
    few = make_report(S[keep], y[keep], threshold="f1_macro")
    with pytest.warns(FewLabelsWarning, match="7 rows of the rarest class"):
        str(few)
    absent = make_report(S[y < 2], y[y < 2], threshold="f1_macro")
    with pytest.warns(FewLabelsWarning, match="0 rows of the rarest class"):
        str(absent)
    str(make_report(S[keep], y[keep]))
    str(make_report(S[keep], y[keep], threshold=FixedThreshold([1, 2, 1])))


def test_few_labels_for_isotonic_curves_are_named():
    """Under a thousand rows."""
    S, y = simulate(13, n=1000, K=2)
    str(make_report(S, y, "isotonic"))
    few = make_report(S[1:], y[1:], "isotonic")
    with pytest.warns(FewLabelsWarning, match="fitted to 999 rows"):
        str(few)


@pytest.mark.parametrize("y", [[0, 1, 2], [0, 1, 2, 3]])
def test_too_few_rows_to_hold_out_are_an_error(y):
    """Under four, or no class twice: nothing could be judged honestly."""
    S = np.zeros((len(y), 4))
    report = make_report(S, y)
    with pytest.raises(ValueError, match="label 4 or more, and a class twice"):
        str(report)


@pytest.mark.filterwarnings("ignore::sklearn_logprob.UninformativeModelWarning")
@pytest.mark.parametrize("y", [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0, 0, 1]])
def test_tiny_samples_have_reports(y):
    """One class, or a class with a single row, is shown without a fault."""
    S = np.log(np.random.default_rng(14).dirichlet([1, 1, 1], len(y)))
    scores = make_report(S, y, random_state=0).scores
    assert np.isfinite(scores["calibrated"]["log_loss"]).all()
    assert np.isnan(scores["calibrated"]["roc_auc"].value) == (len(set(y)) == 1)


# --- What it looks like ---------------------------------------------------------------


class Broken(NoCalibration):
    def fit(self, S, y=None):
        raise RuntimeError("fitted")


def test_nothing_is_computed_before_it_is_looked_at():
    """Making, showing briefly and pickling a report fit no calibrator."""
    S, y = simulate(15)
    report = make_report(S, y, Broken())
    assert repr(report) == "<Report on 200 rows, computed when printed>"
    pickle.dumps(report)
    with pytest.raises(RuntimeError, match="fitted"):
        str(report)


def test_a_pickle_holds_scores_and_not_what_they_are_made_from():
    """It is small; without scores it says what to do."""
    S, y = simulate(16, n=500)
    report = make_report(S, y, threshold="f1_macro", random_state=0)
    empty = pickle.loads(pickle.dumps(report))
    with pytest.raises(RuntimeError, match="saved before it was looked at"):
        str(empty)
    assert report.scores is report.scores
    stored = pickle.dumps(report)
    assert len(stored) < 5000
    assert pickle.loads(stored).to_dict() == report.to_dict()


def test_equal_seeds_give_equal_reports():
    """And other seeds other folds and resamples."""
    S, y = simulate(17)
    first, again, other = (
        make_report(S, y, threshold="f1_macro", random_state=seed).to_dict()
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_every_form_has_the_same_numbers():
    """JSON, frame and table; no score is shown without its name."""
    S, y = simulate(18)
    report = make_report(S, y, threshold="f1_macro", random_state=0)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (plain["n_samples"], plain["confidence"]) == (200, 0.95)
    frame, text = report.to_frame(), str(report)
    assert isinstance(frame, pd.DataFrame)
    assert set(plain["scores"]) == {"prior", "raw", "calibrated", "tuned"}
    for row, named in plain["scores"].items():
        for name, score in named.items():
            shown = frame.loc[(row, name)]
            assert shown["value"] == score["value"]
            assert shown["low"] == score["low"] or score["low"] is None
            if row != "prior":
                line = next(line for line in text.split("\n") if line.startswith(name))
                assert f" {score['value']:.3f}" in line
    assert max(map(len, text.split("\n"))) <= 90
    assert f"{report.scores['prior']['log_loss'].value:.3f}" in text
    assert repr(report).startswith("<Report on 200 rows: tuned, log_loss ")


@pytest.mark.parametrize("name", METRICS)
def test_intervals_of_few_rows_stay_where_scores_can_be(name):
    """A metric that is never negative has no negative end."""
    y, decided = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    resamples = Resamples(4, 1000, 0.95, np.random.default_rng(0))
    low, high = resamples.score(metric_of(name, y, decided, 2))[1:]
    least = -1 if name in ("matthews_corrcoef", "cohen_kappa") else 0
    assert least <= low < high <= 1


def test_frames_need_pandas_and_say_so(monkeypatch):
    """Without it the error names the other form."""
    S, y = simulate(19)
    report = make_report(S, y, random_state=0)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install pandas.*to_dict\(\)"):
        report.to_frame()


def test_calibrators_and_thresholds_are_named_as_in_the_classifier():
    """Short forms are understood, and wrong ones are refused at once."""
    S, y = simulate(20)
    with pytest.raises(ValueError, match="'calibrator' parameter"):
        make_report(S, y, "platt")
    with pytest.raises(ValueError, match="'threshold' parameter"):
        make_report(S, y, threshold="f2")
    assert make_report(S, y, "temperature").scores["calibrated"]["skill"].value > 0
    judge = Judge(S, y, make_calibrator(None), None, 5, 0, np.arange(3))
    np.testing.assert_allclose(judge.calibrated, softmax(S, axis=1))
