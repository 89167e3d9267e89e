"""Sparse token features against their definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sklearn_logprob import Answer, RefusedError, TokenLogprobs
from sklearn_logprob._features import TokenFeatures

WORDS = ["a", " a", "A", "b", " b", "\n", "é", " good", "Good"]

shown = st.dictionaries(
    st.sampled_from(WORDS), st.floats(-12, -0.01), min_size=1, max_size=6
)
fewer = settings(max_examples=40, deadline=None)


def answer(top, choices=(), more=()):
    """Show tokens at the first position, the likeliest first."""
    ranked = tuple(sorted(dict(top).items(), key=lambda item: -item[1]))
    first = TokenLogprobs(*ranked[0], ranked)
    return Answer((first, *more), tuple(choices))


def refused():
    return RefusedError("It refuses {row}.", 0)


def values(features, outcomes):
    """Give each row as token → value, zeros left out."""
    tokens = np.array(list(features.vocabulary_), dtype=object)
    table = features.transform(outcomes).toarray()
    return [{tokens[j]: row[j] for j in np.flatnonzero(row)} for row in table]


@fewer
@given(rows=st.lists(shown, min_size=1, max_size=8), least=st.integers(1, 3))
def test_values_are_log_probabilities_above_the_floor(rows, least):
    """Each entry is the token's log-probability less the smallest in its row."""
    answers = [answer(row) for row in rows]
    features = TokenFeatures(min_count=least).fit(answers)
    above = [{t: lp - min(row.values()) for t, lp in row.items()} for row in rows]
    counts = {t: sum(row.get(t, 0) > 0 for row in above) for t in WORDS}
    kept = {t for t, n in counts.items() if n >= least}
    assert list(features.vocabulary_) == sorted(kept)
    expected = [{t: v for t, v in row.items() if v > 0 and t in kept} for row in above]
    for got, wanted in zip(values(features, answers), expected, strict=True):
        assert got == pytest.approx(wanted)


@fewer
@given(rows=st.lists(shown, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_the_order_of_rows_and_the_level_of_a_row_change_nothing(rows, seed):
    """The vocabulary does not depend on order; a constant per row cancels."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    moved = [{t: lp - 3.0 for t, lp in rows[i].items()} for i in order]
    one, other = [answer(row) for row in rows], [answer(row) for row in moved]
    features = TokenFeatures(min_count=1).fit(one)
    assert TokenFeatures(min_count=1).fit(other).vocabulary_.keys() == (
        features.vocabulary_.keys()
    )
    np.testing.assert_allclose(
        features.transform(other).toarray(), features.transform(one).toarray()[order]
    )


def test_spellings_are_not_pooled():
    """Case and leading space make columns of their own."""
    answers = [answer({" good": -1.0, "Good": -2.0, "good": -3.0, "x": -5.0})] * 2
    features = TokenFeatures().fit(answers)
    assert values(features, answers)[0] == {" good": 4.0, "Good": 3.0, "good": 2.0}


def test_a_token_of_a_single_row_is_left_out():
    """By default two rows must show a token; later rows add none."""
    answers = [answer({"a": -1.0, "b": -2.0, "z": -9.0}), answer({"a": -1.0, "z": -9.0})]
    features = TokenFeatures().fit(answers)
    assert list(features.vocabulary_) == ["a"]
    assert values(features, [answer({"b": -0.1, "c": -0.2, "z": -4.0})]) == [{}]


def test_sentinels_are_no_floor():
    """-9999 and its kin mean "not shown"; they neither count nor set the floor."""
    top = {"a": -1.0, "b": -2.0, "c": -9999.0, "d": -3.4e38, "e": -np.inf}
    features = TokenFeatures(min_count=1).fit([answer(top)])
    assert values(features, [answer(top)]) == [{"a": 1.0}]


def test_exact_spellings_join_in_above_the_floor():
    """A scored spelling that a token list could have shown is a feature, once."""
    choices = ((" a", -1.0), (" very good", -2.0), (" bad", -7.0))
    answers = [answer({" a": -1.0, "the": -4.0}, choices)]
    features = TokenFeatures(min_count=1).fit(answers)
    assert values(features, answers) == [{" a": 3.0, " very good": 2.0}]


def test_only_the_first_position_counts():
    """Later positions depend on what was generated before."""
    later = TokenLogprobs(" b", -0.1, ((" b", -0.1), (" c", -3.0)))
    features = TokenFeatures(min_count=1).fit([answer({"a": -1, "z": -2}, more=[later])])
    assert list(features.vocabulary_) == ["a"]


def test_of_equal_texts_the_likeliest_counts():
    """Several tokens may be shown as one text, such as a broken character."""
    top = (("\ufffd", -1.0), ("\ufffd", -2.0), ("z", -4.0))
    answers = [Answer((TokenLogprobs("\ufffd", -1.0, top),))]
    assert values(TokenFeatures(min_count=1).fit(answers), answers) == [{"\ufffd": 3.0}]


@pytest.mark.parametrize(
    "nothing",
    [
        Answer(draws=(("good", 3), ("bad", 1))),
        Answer(choices=(("bad", -2.0), ("good", -0.1))),
        Answer((TokenLogprobs("good", -0.1),)),
        Answer(),
        refused(),
    ],
)
def test_without_tokens_a_row_is_empty(nothing):
    """Draws, options, hidden tokens and failures have no features."""
    other = answer({"a": -1.0, "z": -2.0})
    features = TokenFeatures(min_count=1).fit([nothing, other])
    assert values(features, [nothing, other]) == [{}, {"a": 1.0}]
    assert TokenFeatures(min_count=1).fit([nothing]).transform([nothing]).shape == (1, 0)


@fewer
@given(rows=st.lists(st.tuples(shown, shown, st.integers(0, 2)), min_size=1, max_size=6))
def test_chains_are_averaged(rows):
    """A row's features are the mean of its answers', failures apart."""
    pairs = [[answer(one), answer(other)] for one, other, _ in rows]
    for pair, (_, _, failing) in zip(pairs, rows, strict=True):
        if failing < 2:
            pair[failing] = refused()
    flat = [outcome for pair in pairs for outcome in pair]
    both = TokenFeatures(min_count=1, per_row=2).fit(flat)
    single = TokenFeatures(min_count=1).fit(flat)
    assert both.vocabulary_ == single.vocabulary_
    apart = single.transform(flat).toarray()
    answered = np.array([isinstance(outcome, Answer) for outcome in flat])
    expected = [
        apart[[2 * i, 2 * i + 1]][answered[[2 * i, 2 * i + 1]]].mean(axis=0)
        for i in range(len(pairs))
    ]
    np.testing.assert_allclose(both.transform(flat).toarray(), expected)


def test_a_token_counts_once_a_row():
    """Two chains of one row that show a token are one row."""
    flat = [answer({"a": -1.0, "z": -2.0})] * 2
    assert TokenFeatures(per_row=2).fit(flat).vocabulary_ == {}


def test_the_matrix_is_sparse_and_canonical():
    """As many entries as tokens above the floor, in CSR, columns sorted."""
    rng = np.random.default_rng(0)
    rows = [
        {f"t{j}": -rng.random() for j in rng.permutation(500)[:20]} for _ in range(50)
    ]
    answers = [answer(row) for row in rows]
    F = TokenFeatures(min_count=1).fit(answers).transform(answers)
    assert sparse.issparse(F) and F.format == "csr"
    assert F.nnz == 50 * 19
    assert F.has_canonical_format
