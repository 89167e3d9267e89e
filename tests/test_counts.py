"""Metrics of counts and their sweeps against scikit-learn and evaluation one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from sklearn_logprob._counts import METRICS
from sklearn_logprob._cuts import CountObjective, decide

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10**6)
REFERENCES = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1_macro": lambda y, d: metrics.f1_score(y, d, average="macro"),
    "f1_weighted": lambda y, d: metrics.f1_score(y, d, average="weighted"),
    "matthews_corrcoef": metrics.matthews_corrcoef,
    "cohen_kappa": metrics.cohen_kappa_score,
}


@pytest.mark.parametrize("name", METRICS)
@few
@given(seed=seeds)
def test_leading_axes_are_alternatives(name, seed):
    """Many counts at once give what each gives alone."""
    rng = np.random.default_rng(seed)
    hits = rng.integers(0, 4, (5, 3, 2)).astype(float)
    true, predicted = (hits + rng.integers(0, 4, hits.shape) for _ in range(2))
    together = METRICS[name](hits, true, predicted)
    alone = [
        [
            METRICS[name](*(each[i, j] for each in (hits, true, predicted)))
            for j in range(3)
        ]
        for i in range(5)
    ]
    np.testing.assert_allclose(together, alone)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("expected", [False, True])
@few
@given(seed=seeds, K=st.integers(2, 5), n=st.integers(2, 40))
def test_a_sweep_equals_judging_every_size(name, expected, seed, K, n):
    """Following what a row changes gives what counting anew at each size gives."""
    rng = np.random.default_rng(seed)
    P, y = rng.dirichlet(np.ones(K), n), rng.integers(K, size=n)
    y[:K] = np.arange(K)[:n]
    k = int(rng.integers(K))
    rival = (k + rng.integers(1, K, n)) % K
    order, sizes = rng.permutation(n), np.arange(n + 1)
    objective = CountObjective(METRICS[name], P if expected else np.eye(K)[y])
    swept = objective.sweep(k, rival, order, sizes)
    for size in sizes:
        decided = rival.copy()
        decided[order[:size]] = k
        # one class for all makes MCC a ratio of two roundings
        assert swept[size] == pytest.approx(objective.value(decided), abs=1e-6)
        if not expected and len(np.unique(y)) == K:
            assert swept[size] == pytest.approx(REFERENCES[name](y, decided), abs=1e-12)


@few
@given(seeds, st.integers(2, 6), st.booleans(), st.booleans())
def test_decisions_are_the_argmax_in_any_memory_order(seed, K, ties, fortran):
    """Ties go to the first class, and the layout of P plays no part."""
    rng = np.random.default_rng(seed)
    P = rng.integers(0, 4, (30, K)) / 4 if ties else rng.dirichlet(np.ones(K), 30)
    t = rng.integers(1, 4, K) / 4
    given_as = np.asfortranarray(P) if fortran else P
    np.testing.assert_array_equal(decide(given_as), P.argmax(axis=1))
    np.testing.assert_array_equal(decide(given_as, t), (P * (t.min() / t)).argmax(axis=1))
