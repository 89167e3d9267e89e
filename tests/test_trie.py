"""Label continuations as a trie: exact, disjoint, each shared beginning asked once."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_logprob.backends._trie import TokenTrie

VOCABULARY = 4

paths = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=3).map(tuple)


def model(seed):
    """A random language model over four tokens: next-token log-probs by context."""
    rng = np.random.default_rng(seed)
    contexts = [c for n in range(4) for c in product(range(VOCABULARY), repeat=n)]
    logits = rng.normal(size=(len(contexts), VOCABULARY)) * 2
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return dict(zip(contexts, logits, strict=True))


def whole_answers(after):
    """Probability of every answer of four tokens, by brute force."""
    for answer in product(range(VOCABULARY), repeat=4):
        yield answer, np.exp(sum(after[answer[:i]][answer[i]] for i in range(4)))


@settings(max_examples=40, deadline=None)
@given(st.sets(paths, min_size=1, max_size=6), st.integers(0, 100))
def test_probabilities_equal_brute_force(labels, seed):
    """Each answer belongs to the longest label it begins with, and to no other."""
    after, labels = model(seed), sorted(labels)
    expected = dict.fromkeys(labels, 0.0)
    for answer, probability in whole_answers(after):
        begun = [label for label in labels if answer[: len(label)] == label]
        if begun:
            expected[max(begun, key=len)] += probability
    trie = TokenTrie(labels)
    found = np.exp(trie.log_probs({p: after[p] for p in trie.inner}))
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-12)
    assert found.sum() <= 1 + 1e-12


@given(st.lists(paths, min_size=1, max_size=8))
def test_each_beginning_is_asked_once_and_shorter_first(labels):
    """Inner nodes are distinct, contain all proper beginnings, and start empty."""
    inner = TokenTrie(labels).inner
    assert len(set(inner)) == len(inner)
    assert set(inner) == {s[:i] for s in labels for i in range(len(s))}
    assert inner == sorted(inner, key=lambda path: (len(path), path))


def test_one_token_labels_need_the_prompt_only():
    """Labels of one token each cost no pass beyond the prompt's."""
    assert TokenTrie([(1,), (2,), (3,)]).inner == [()]


def test_equal_sequences_share_their_probability():
    """Two spellings with the same tokens are one event, counted once."""
    trie = TokenTrie([(1,), (1,)])
    log_probs = trie.log_probs({(): np.log([0.25, 0.5, 0.25])})
    assert np.exp(log_probs) == pytest.approx([0.25, 0.25])
