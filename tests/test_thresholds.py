"""Thresholds against brute force, scikit-learn's metrics and closed forms."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics
from sklearn.base import clone

from sklearn_logprob._plug_in import recalibrated
from sklearn_logprob.thresholds import (
    METRICS,
    BestMetric,
    FixedThreshold,
    decide,
    make_selector,
)

REFERENCES = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": partial(metrics.f1_score, zero_division=0),
    "f1_macro": partial(metrics.f1_score, average="macro"),
    "f1_micro": partial(metrics.f1_score, average="micro"),
    "f1_weighted": partial(metrics.f1_score, average="weighted"),
    "jaccard": partial(metrics.jaccard_score, zero_division=0),
    "matthews_corrcoef": metrics.matthews_corrcoef,
    "cohen_kappa": metrics.cohen_kappa_score,
}
SEVERAL_CLASSES = [name for name in METRICS if name not in ("f1", "jaccard")]

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)
# sixteenths give ties, zeros and ones; the other floats give everything else
chances = st.lists(
    st.integers(0, 16).map(lambda i: i / 16) | st.floats(0, 1), min_size=2, max_size=12
)


def two_columns(p):
    p = np.asarray(p, dtype=float)
    return np.column_stack([1 - p, p])


def sample(seed, n, prior, *, calibrated=True):
    """Draw probabilities, and labels from them (or uniformly) that hold each class."""
    rng = np.random.default_rng(seed)
    K = len(prior)
    P = rng.dirichlet(prior, n)
    drawn = (rng.random((n, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(0, K - 1)
    y = drawn if calibrated else rng.integers(0, K, n)
    y[rng.choice(n, K, replace=False)] = np.arange(K)
    return P, y


def test_metrics_have_references():
    """Every metric that can be named is compared with scikit-learn's here."""
    assert METRICS.keys() == REFERENCES.keys()


# decide


@few
@given(seeds, st.integers(2, 5), st.integers(-8, 8))
def test_decide_depends_on_ratios_only(seed, K, exponent):
    """Equal thresholds are the argmax, and a common factor changes nothing."""
    rng = np.random.default_rng(seed)
    P, t = rng.dirichlet(np.ones(K), 50), rng.uniform(0.1, 1, K)
    np.testing.assert_array_equal(decide(P, np.full(K, 0.3)), P.argmax(axis=1))
    np.testing.assert_array_equal(decide(P), P.argmax(axis=1))
    np.testing.assert_array_equal(decide(P, t), decide(P, t * 2.0**exponent))
    np.testing.assert_array_equal(decide(P, t), (P / t).argmax(axis=1))


@given(chances, st.floats(0, 1), st.floats(0, 1))
def test_raising_binary_threshold_never_adds_positives(p, a, b):
    """What is positive at the higher threshold is positive at the lower one."""
    low, high = sorted((a, b))
    assert np.all(decide(two_columns(p), low) >= decide(two_columns(p), high))


def test_binary_threshold_is_reached_by_equality():
    """Column 1 is predicted iff its probability is at least t, from t = 0 to t = 1."""
    P = two_columns([0.0, 0.25, 0.5, 1.0])
    assert decide(P, 0).tolist() == [1, 1, 1, 1]
    assert decide(P, 0.25).tolist() == [0, 1, 1, 1]
    assert decide(P, np.float64(1)).tolist() == [0, 0, 0, 1]
    assert decide(P, 0.25).dtype == np.intp


@few
@given(seeds, st.floats(0.05, 5), st.floats(0.05, 5))
def test_pair_of_thresholds_is_one_number(seed, t0, t1):
    """For two classes p1/t1 >= p0/t0 is the cut t1 / (t0 + t1)."""
    P = two_columns(np.random.default_rng(seed).random(30))
    selector = FixedThreshold([t0, t1]).fit(P)
    np.testing.assert_array_equal(decide(P, selector.threshold_), decide(P, [t0, t1]))


def expected_macro_f1(P, decided):
    """Give the macro-F1 of counts that are expected where P is the truth."""
    chosen = np.eye(P.shape[1])[decided]
    hits = (chosen * P).sum(axis=0)
    return (2 * hits / (chosen.sum(axis=0) + P.sum(axis=0))).mean()


# plug-in: the metric of expected counts


@few
@given(chances)
def test_plug_in_f1_equals_brute_force_over_subsets(p):
    """No set of positives has a higher expected F1 than the rows above the cut."""
    p = np.asarray(p)
    subsets = np.array(list(product([0, 1], repeat=len(p))))
    scale = subsets.sum(axis=1) + p.sum()
    expected = 2 * (subsets @ p) / np.where(scale > 0, scale, 1)
    selector = BestMetric("f1").fit(two_columns(p))
    positive = decide(two_columns(p), selector.threshold_)
    assert selector.value_ == pytest.approx(expected.max(), abs=1e-9)
    chosen = (subsets == positive).all(axis=1)
    assert expected[chosen] == pytest.approx(expected.max(), abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [(1, 9), (0.5, 0.5), (2, 3)])
def test_plug_in_f1_threshold_is_half_the_best_f1(a, b):
    """With calibrated probabilities t* = F*/2, and F* is what labels then show."""
    rng = np.random.default_rng(0)
    p = rng.beta(a, b, 50_000)
    y = (rng.random(len(p)) < p).astype(int)
    selector = BestMetric("f1").fit(two_columns(p))
    assert selector.threshold_ == pytest.approx(selector.value_ / 2, abs=1e-3)
    f1 = metrics.f1_score(y, decide(two_columns(p), selector.threshold_))
    assert f1 == pytest.approx(selector.value_, abs=0.02)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("labelled", [True, False])
def test_order_of_rows_is_nothing_to_plug_in(metric, labelled):
    """The same rows in another order give the same threshold."""
    P, y = sample(1, 60, [1, 2] if metric in ("f1", "jaccard") else [1, 2, 3])
    y = y if labelled else None
    first = BestMetric(metric, method="plug-in").fit(P, y).threshold_
    other = BestMetric(metric).fit(P[::-1], y[::-1] if labelled else None).threshold_
    np.testing.assert_allclose(first, other, rtol=1e-4)


@few
@given(chances)
def test_plug_in_macro_f1_is_exact_for_two_classes(p):
    """The cut has the best expected macro-F1 of all cuts."""
    P = two_columns(p)

    def expected(t):
        chosen = np.eye(2)[decide(P, t)]
        scale = chosen.sum(axis=0) + P.sum(axis=0)
        parts = 2 * (chosen * P).sum(axis=0)[scale > 0] / scale[scale > 0]
        return parts.mean()

    best = max(expected(t) for t in [0, 1, *p])
    selector = BestMetric("f1_macro").fit(P)
    assert expected(selector.threshold_) == pytest.approx(best, abs=1e-9)
    assert selector.value_ == pytest.approx(best, abs=1e-9)


@few
@given(seeds, st.integers(3, 5))
def test_plug_in_macro_f1_cannot_be_improved_by_one_class(seed, K):
    """Moving any one class's threshold lowers the expected macro-F1, if anything."""
    P, _ = sample(seed, 40, np.linspace(0.3, 2, K))

    def expected(t):
        return expected_macro_f1(P, decide(P, t))

    selector = BestMetric("f1_macro").fit(P)
    assert selector.value_ == pytest.approx(expected(selector.threshold_))
    assert selector.value_ >= expected(np.ones(K)) - 1e-9
    for k, factor in product(range(K), np.geomspace(0.05, 20, 30)):
        moved = selector.threshold_ * np.where(np.arange(K) == k, factor, 1)
        assert expected(moved) <= selector.value_ + 1e-9


def world(seed, n, K, *, scale=1.0, shift=0.0):
    """Draw true probabilities, labels, and what a wrong calibrator makes of them."""
    rng = np.random.default_rng(seed)
    true = softmax(2 * rng.standard_normal((n, K)) - np.arange(K), axis=1)
    y = (rng.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(0, K - 1)
    return true, y, softmax(scale * np.log(true) + shift * np.arange(K), axis=1)


@pytest.mark.parametrize("K", [2, 3, 6])
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.5, 0.5), (2, -0.7)])
def test_plug_in_corrects_what_the_labels_show(K, scale, shift):
    """A wrong temperature and wrong shifts cost next to nothing, on other rows."""
    _, y, shown = world(0, 3000, K, scale=scale, shift=shift)
    true, _, new = world(1, 3000, K, scale=scale, shift=shift)
    ideal = BestMetric("f1_macro").fit(true).value_
    learnt = decide(new, BestMetric("f1_macro").fit(shown, y).threshold_)
    assert expected_macro_f1(true, learnt) > ideal - 0.01
    if scale != 1:
        trusting = decide(new, BestMetric("f1_macro").fit(shown).threshold_)
        assert expected_macro_f1(true, trusting) < expected_macro_f1(true, learnt)


@pytest.mark.parametrize(
    ("K", "n", "least"),
    [(2, 16, -0.001), (2, 300, 0), (4, 16, -0.002), (4, 64, 0.002), (4, 300, 0.004)],
)
def test_plug_in_costs_nothing_where_probabilities_are_right(K, n, least):
    """On average over draws it is no worse than the argmax, and better with more rows."""
    true, _, _ = world(99, 4000, K)
    gains = []
    for seed in range(40):
        P, y, _ = world(seed, n, K)
        decided = decide(true, BestMetric("f1_macro").fit(P, y).threshold_)
        gains.append(
            expected_macro_f1(true, decided) - expected_macro_f1(true, decide(true))
        )
    assert np.mean(gains) > least


def test_gain_within_noise_moves_nothing():
    """Of 16 rows of two equally frequent classes most samples leave the threshold."""
    moved = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        P = rng.dirichlet(np.ones(2), 16)
        y = (rng.random(16) < P[:, 1]).astype(int)
        moved.append(BestMetric("f1_macro").fit(P, y).threshold_ != 0.5)
    assert np.mean(moved) < 0.5


@few
@given(seeds, st.integers(3, 5))
def test_plug_in_does_not_depend_on_the_order_of_the_classes(seed, K):
    """Other column numbers lead to about the same maximum, at valid thresholds."""
    P, y = sample(seed, 60, np.linspace(0.3, 2, K))
    order = np.random.default_rng(seed).permutation(K)
    first = BestMetric("f1_macro").fit(P, y)
    other = BestMetric("f1_macro").fit(P[:, order], np.argsort(order)[y])
    assert other.value_ == pytest.approx(first.value_, abs=0.03)
    for threshold in (first.threshold_, other.threshold_):
        assert np.isfinite(threshold).all()
        assert (threshold > 0).all()


def test_one_class_of_labels_corrects_nothing():
    """Labels without a difference lead towards what is best without labels."""
    P, _ = sample(0, 300, [1, 2, 3])
    best = np.log(BestMetric("f1_macro").fit(P).threshold_)
    found = np.log(BestMetric("f1_macro").fit(P, np.ones(300)).threshold_)
    best, found = best - best.mean(), found - found.mean()
    share = found @ best / (best @ best)
    np.testing.assert_allclose(found, share * best)
    assert 0.8 < share < 1


def test_a_single_class_has_a_threshold():
    """There is nothing to choose, and nothing to gain."""
    assert BestMetric("f1_macro").fit(np.ones((4, 1)), np.zeros(4)).threshold_ == [1]


def test_one_surely_wrong_row_does_not_decide_alone():
    """A label that its probability ruled out leaves the cut about where it was."""
    P, y = sample(0, 1000, [2, 1])
    P[0], y[0] = [1, 0], 1
    before = BestMetric("f1").fit(P[1:], y[1:]).threshold_
    assert BestMetric("f1").fit(P, y).threshold_ == pytest.approx(before, abs=0.05)


def test_what_is_ruled_out_stays_so():
    """Whatever temperature and shifts the labels ask for."""
    P, y = np.eye(3)[[0, 1, 2, 0]] * 0.5 + [0.5, 0, 0], np.array([1, 1, 2, 0])
    found = recalibrated(P, y)
    assert ((found == 0) == (P == 0)).all()


def test_search_without_labels_is_refused():
    """Plug-in can do without them, a search cannot."""
    for selector in (BestMetric("f1", method="search"), BestMetric(max)):
        with pytest.raises(ValueError, match=r"needs them: BestMetric\.fit"):
            selector.fit(np.eye(2))


@pytest.mark.parametrize("prior", [[9, 1], [8, 3, 1]])
def test_balanced_accuracy_divides_by_the_prior(prior):
    """The mean probabilities are the thresholds, and beat the argmax on new labels."""
    P, y = sample(0, 20_000, np.array(prior) / 10)
    selector = BestMetric("balanced_accuracy").fit(P[:5000], y[:5000])
    mean = P[:5000].mean(axis=0)
    threshold = mean[1] if len(prior) == 2 else mean
    np.testing.assert_allclose(selector.threshold_, threshold)
    score = partial(metrics.balanced_accuracy_score, y[5000:])
    assert score(decide(P[5000:], selector.threshold_)) > score(decide(P[5000:])) + 0.02


@pytest.mark.parametrize("metric", ["accuracy", "f1_micro"])
def test_expected_accuracy_is_best_at_the_argmax(metric):
    """Its plug-in thresholds are equal: 0.5 for two classes."""
    P, y = sample(0, 30, [1, 2, 3])
    np.testing.assert_allclose(BestMetric(metric).fit(P, y).threshold_, 1 / 3)
    assert BestMetric(metric).fit(*sample(0, 30, [1, 2])).threshold_ == 0.5


# search: the metric on labels


@pytest.mark.parametrize("metric", METRICS)
@few
@given(p=chances, seed=seeds)
def test_binary_search_equals_brute_force_over_cuts(metric, p, seed):
    """The cut has the best value of all; its value is scikit-learn's."""
    P = two_columns(p)
    y = np.random.default_rng(seed).integers(0, 2, len(p))
    y[:2] = 0, 1
    values = [REFERENCES[metric](y, decide(P, t)) for t in [0, 1, *p]]
    selector = BestMetric(metric, method="search").fit(P, y)
    assert selector.value_ == pytest.approx(max(values), abs=1e-9)
    found = REFERENCES[metric](y, decide(P, selector.threshold_))
    assert found == pytest.approx(max(values), abs=1e-9)


def test_cut_lies_midway_and_near_one_half():
    """It is no data point, and of equally good cuts the one closest to 0.5."""
    search = BestMetric("accuracy", method="search")
    y = [
        0,
        1,
        0,
        1,
    ]  # right three times of four with two cuts: below and above the middle
    assert search.fit(two_columns([0.1, 0.3, 0.6, 0.9]), y).threshold_ == 0.75
    assert search.fit(two_columns([0.1, 0.4, 0.7, 0.9]), y).threshold_ == 0.25


def test_cut_separates_neighbouring_floats():
    """Where no number lies between two probabilities the upper one is the cut."""
    for low in (0.5, np.nextafter(0.5, 1)):
        P = two_columns([low, np.nextafter(low, 1)])
        selector = BestMetric("accuracy", method="search").fit(P, [0, 1])
        assert decide(P, selector.threshold_).tolist() == [0, 1]


def test_search_finds_the_optimum_of_the_precision_recall_curve():
    """Its F1 is the highest on scikit-learn's curve, at the same threshold's cut."""
    P, y = sample(3, 500, [2, 1])
    precision, recall, thresholds = metrics.precision_recall_curve(y, P[:, 1])
    f1 = (2 * precision * recall / (precision + recall))[:-1]
    selector = BestMetric("f1", method="search").fit(P, y)
    assert selector.value_ == pytest.approx(f1.max())
    at = thresholds[f1.argmax()]
    assert metrics.f1_score(y, decide(P, at)) == pytest.approx(selector.value_)


@pytest.mark.parametrize("metric", SEVERAL_CLASSES)
@few
@given(seed=seeds, K=st.integers(3, 5), ties=st.booleans())
def test_search_is_never_below_the_argmax(metric, seed, K, ties):
    """On its labels the search is at least as good, and `value_` is scikit-learn's."""
    P, y = sample(seed, 25, np.linspace(0.3, 2, K), calibrated=False)
    if ties:
        P = np.round(P * 8)
        P /= P.sum(axis=1, keepdims=True)
    selector = BestMetric(metric, method="search").fit(P, y)
    found = REFERENCES[metric](y, decide(P, selector.threshold_))
    assert found >= REFERENCES[metric](y, decide(P)) - 1e-9
    assert selector.value_ == pytest.approx(found)
    assert selector.threshold_.shape == (K,)
    assert np.all(selector.threshold_ > 0)
    assert selector.threshold_.sum() == pytest.approx(1)


def middles(values):
    values = np.unique(values)
    inner = (values[1:] + values[:-1]) / 2
    return np.r_[values[0] - 1, inner, values[-1] + 1]


def all_decisions(P):
    """List the distinct decisions that thresholds of three classes can make."""
    x, y = np.log(P[:, 1:] / P[:, :1]).T
    found = set()
    for a in middles(np.r_[x, np.subtract.outer(y, y - x).ravel()]):
        for b in middles(np.r_[y, a + (y - x)]):
            scores = np.column_stack([np.zeros_like(x), x - a, y - b])
            found.add(tuple(scores.argmax(axis=1)))
    return np.array(sorted(found))


def macro_f1(y, decisions):
    """Give the macro-F1 of each row of decisions; every class is in y."""
    parts = []
    for k in range(3):
        hits = ((decisions == k) & (y == k)).sum(axis=-1)
        parts.append(2 * hits / ((decisions == k).sum(axis=-1) + (y == k).sum()))
    return np.mean(parts, axis=0)


@pytest.mark.parametrize("calibrated", [True, False])
def test_search_in_three_classes_is_nearly_always_the_global_optimum(calibrated):
    """It equals brute force over all decisions in 95 % of draws, and never exceeds."""
    reached = {"accuracy": [], "f1_macro": []}
    for seed in range(40):
        n = 4 + seed % 9
        P, y = sample(seed, n, np.ones(3), calibrated=calibrated)
        decisions = all_decisions(P)
        best = {
            "accuracy": (decisions == y).mean(axis=1).max(),
            "f1_macro": macro_f1(y, decisions).max(),
        }
        for metric, optimum in best.items():
            value = BestMetric(metric, method="search").fit(P, y).value_
            assert value <= optimum + 1e-9
            reached[metric].append(value > optimum - 1e-9)
    assert all(np.mean(hits) >= 0.95 for hits in reached.values())


@pytest.mark.parametrize("metric", SEVERAL_CLASSES)
@pytest.mark.parametrize("method", ["plug-in", "search"])
@pytest.mark.parametrize("K", [2, 3])
def test_class_that_never_occurs_is_not_predicted(metric, method, K):
    """A class without probability or labels leaves the others as they are."""
    P = np.column_stack([sample(0, 20, [1] * (K - 1))[0], np.zeros(20)])
    y = decide(P)
    selector = BestMetric(metric, method=method).fit(P, y)
    np.testing.assert_array_equal(np.unique(decide(P, selector.threshold_)), range(K - 1))
    assert np.min(selector.threshold_) > 0
    if method == "search" and K == 3:
        assert selector.value_ == pytest.approx(1)


@pytest.mark.parametrize("metric", SEVERAL_CLASSES)
def test_certain_probabilities_are_followed(metric):
    """Zeros and ones are probabilities too: nothing overflows, every row is right."""
    y = np.array([0, 1, 2, 1, 0])
    for method in ("plug-in", "search"):
        selector = BestMetric(metric, method=method).fit(np.eye(3)[y], y)
        assert selector.value_ == pytest.approx(1)
        np.testing.assert_array_equal(decide(np.eye(3)[y], selector.threshold_), y)


def test_search_beats_argmax_where_a_class_is_underrated():
    """Labels that the probabilities undervalue are won back: a gain to be found."""
    P, y = sample(0, 400, [1, 1, 1])
    underrated = P * [1, 1, 0.2]
    underrated /= underrated.sum(axis=1, keepdims=True)
    selector = BestMetric("accuracy", method="search").fit(underrated, y)
    assert selector.value_ > metrics.accuracy_score(y, decide(underrated)) + 0.05
    t = selector.threshold_
    assert t[2] < min(t[0], t[1])


# callables


@pytest.mark.parametrize("prior", [[1, 1], [1, 1, 1]])
def test_callable_metric_is_searched(prior):
    """scikit-learn's function leads to the same value as the name of that metric."""
    P, y = sample(2, 30, prior)
    called = BestMetric(REFERENCES["f1_macro"]).fit(P, y)
    named = BestMetric("f1_macro", method="search").fit(P, y)
    assert called.value_ <= named.value_ + 1e-9
    assert called.value_ > metrics.f1_score(y, decide(P), average="macro")
    if len(prior) == 2:
        assert called.threshold_ == named.threshold_


def test_callable_metric_may_be_undefined():
    """NaN at some cuts only rules these out."""

    def precision(y_true, y_pred):
        return np.nan if y_pred.sum() == 0 else y_true[y_pred == 1].mean()

    selector = BestMetric(precision).fit(two_columns([0.1, 0.4, 0.6]), [0, 0, 1])
    assert (selector.threshold_, selector.value_) == (0.5, 1.0)


@pytest.mark.parametrize("K", [2, 3])
def test_callable_metric_is_called_a_limited_number_of_times(K):
    """Many rows cost hundreds of calls, not thousands; the argmax stays a floor."""
    calls = []

    def accuracy(y_true, y_pred):
        calls.append(1)
        return np.mean(y_true == y_pred)

    P, _ = sample(0, 3000, np.ones(K))
    selector = BestMetric(accuracy).fit(P, decide(P))
    assert len(calls) < 10 * 100 * K
    assert selector.value_ == 1


# parameters


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, float])
def test_codes_may_have_any_dtype(dtype):
    """Boolean and small integer codes mean the same as np.intp."""
    P, y = sample(0, 40, [1, 1])
    expected = BestMetric("f1", method="search").fit(P, y).threshold_
    found = BestMetric("f1", method="search").fit(P.tolist(), y.astype(dtype))
    assert found.threshold_ == expected


def test_selectors_are_estimators():
    """They clone, and their parameters can be read and set, as a grid search does."""
    selector = BestMetric("f1_macro", method="search")
    assert clone(selector).get_params() == {"metric": "f1_macro", "method": "search"}
    selector.set_params(metric="accuracy", method="plug-in")
    assert selector.fit(*sample(0, 20, [1, 1])).threshold_ == 0.5
    assert clone(FixedThreshold(0.2)).value == 0.2
    assert (BestMetric.needs_labels, FixedThreshold.needs_labels) == (True, False)


@pytest.mark.parametrize("number", [0, 1, 0.3, np.float32(0.25), np.int64(1)])
def test_number_becomes_fixed_threshold(number):
    """Any real number in [0, 1] is the threshold of two classes."""
    selector = make_selector(number, 2).fit(two_columns([0.1, 0.9]), [0, 1])
    assert isinstance(selector, FixedThreshold)
    assert selector.threshold_ == number
    assert isinstance(selector.threshold_, float)


def test_numbers_become_fixed_thresholds():
    """One number per class; a pair is normalised to the cut on column 1."""
    selector = make_selector((1, 2, 1), 3).fit(np.full((2, 3), 1 / 3))
    np.testing.assert_array_equal(selector.threshold_, [1.0, 2.0, 1.0])
    assert make_selector(np.array([3, 1]), 2).fit(np.eye(2)).threshold_ == 0.25


def test_names_and_selectors_are_taken():
    """A name is a BestMetric, a selector is cloned, None and one class are None."""
    assert make_selector("f1_macro", 3).metric == "f1_macro"
    given_selector = BestMetric(method="search")
    made = make_selector(given_selector, 2)
    assert made is not given_selector
    assert made.get_params() == given_selector.get_params()
    assert make_selector(None, 3) is None
    assert make_selector(0.5, 1) is None


@pytest.mark.parametrize(
    ("threshold", "n_classes"),
    [
        *product(["f1_makro", True, np.True_, [0.1, 0, 0.9], {"a": 1}, [True] * 3], [3]),
        *product([1.5, -0.1, np.nan, True, [1, 2, 3], [1, -1], [1, np.inf], object], [2]),
        (0.3, 3),
        ([1, 2], 3),
    ],
)
def test_wrong_threshold_is_named(threshold, n_classes):
    """The message says what may be given, for this number of classes, and what was."""
    with pytest.raises(ValueError, match="'threshold' parameter of") as error:
        make_selector(threshold, n_classes)
    message = str(error.value)
    assert message.endswith(f"Got {threshold!r} instead.")
    assert "'balanced_accuracy'" in message
    wanted = {2: "a number in [0, 1] (two classes)", 3: "per class, 3 here"}
    assert wanted[n_classes] in message


@pytest.mark.parametrize(
    ("selector", "n_classes", "match"),
    [
        (BestMetric("f1"), 3, r"must be 'f1_macro' or .* 3 classes\. Got 'f1'"),
        (BestMetric("jaccard"), 3, "must be 'f1_macro' or .* Got 'jaccard'"),
        (BestMetric("mcc"), 2, "'metric' .* 'matthews_corrcoef', .* Got 'mcc'"),
        (BestMetric(["f1"]), 2, r"'metric' .* Got \['f1'\]"),
        (BestMetric(method="plugin"), 2, "'method' .* 'plug-in' or .* Got 'plugin'"),
        (BestMetric(max, method="plug-in"), 2, "'auto' or 'search' where .* 'plug-in'"),
        (FixedThreshold(0.3), 3, "'value' parameter of FixedThreshold .* 3 here"),
        (FixedThreshold(2), 2, r"'value' .* \[0, 1\] .* Got 2"),
    ],
)
def test_wrong_selector_is_named_before_and_in_fit(selector, n_classes, match):
    """make_selector and fit raise the same sentence."""
    with pytest.raises(ValueError, match=match):
        make_selector(selector, n_classes)
    with pytest.raises(ValueError, match=match):
        selector.fit(np.eye(n_classes), np.arange(n_classes))


def test_name_for_two_classes_is_refused_for_three():
    """The name "f1" alone already leads to the message about f1_macro."""
    with pytest.raises(ValueError, match="'f1_macro'"):
        make_selector("f1", 3)
