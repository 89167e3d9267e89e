"""Packed pairs are the tuple of pairs, in less memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_logprob import Answer, TokenLogprobs
from sklearn_logprob._pairs import Pairs, distinct, join, number_of, text_of

texts = st.text(st.characters(), max_size=3)
pairs = st.lists(st.tuples(texts, st.floats(allow_nan=False)), max_size=6).map(tuple)


@given(pairs, st.integers(-7, 7), st.integers(-7, 7))
def test_it_is_the_tuple(plain, start, stop):
    """Equal, with the same hash, text, length, items, slices and order."""
    packed = Pairs.of(plain)
    assert packed == plain and plain == packed
    assert (hash(packed), repr(packed)) == (hash(plain), repr(plain))
    assert len(packed) == len(plain)
    assert list(packed) == list(plain)
    assert list(reversed(packed)) == list(reversed(plain))
    assert packed[start:stop] == plain[start:stop]
    assert [packed[i] for i in range(-len(plain), len(plain))] == [*plain, *plain]
    assert packed.texts == [text for text, _ in plain]
    assert Pairs.of(packed) is packed
    with pytest.raises(IndexError):
        packed[len(plain)]
    assert Pairs.of((*plain, ("x", 0.0))) != plain


def test_an_answer_of_packed_pairs_is_the_answer():
    """Whoever holds the one or the other need not know."""
    top = ((" good", -0.1), (" bad", -2.4))
    one = Answer((TokenLogprobs(" good", -0.1, top),), top)
    other = Answer((TokenLogprobs(" good", -0.1, Pairs.of(top)),), Pairs.of(top))
    assert one == other and hash(one) == hash(other) and repr(one) == repr(other)


def test_a_pickle_is_for_another_process():
    """The numbers of texts hold in one process; a pickle has the texts."""
    pickled = pickle.dumps(Pairs.of((("first here", -1.0), ("second here", -2.0))))
    code = (
        "import pickle, sys; from sklearn_logprob._pairs import number_of; "
        "number_of('something else before'); "
        "print(pickle.load(sys.stdin.buffer))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickled, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "(('first here', -1.0), ('second here', -2.0))"


def test_it_takes_little_memory():
    """Twelve bytes a pair, where a tuple takes over a hundred."""
    packed = Pairs.of([(f" {i}", -float(i)) for i in range(200)])
    assert len(packed.numbers) + len(packed.values) == 12 * 200


@pytest.mark.parametrize(
    ("texts_", "values", "error"),
    [
        (["a"], b"", ValueError),
        (["a"], b"1234567", ValueError),
        ([], b"12345678", ValueError),
        ([1], b"12345678", TypeError),
        ([None], b"12345678", TypeError),
        ([["a"]], b"12345678", TypeError),
    ],
)
def test_what_does_not_fit_is_refused(texts_, values, error):
    """As many texts as values, and nothing else than texts."""
    with pytest.raises(error):
        Pairs(texts_, values)


def test_threads_agree_on_numbers():
    """Threads that meet the same new texts at once give them the same numbers."""
    words = [f"a text of threads {i}" for i in range(2_000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: [number_of(word) for word in words], range(8)))
    assert all(numbers == found[0] for numbers in found)
    assert [text_of(number) for number in found[0]] == words


@given(st.lists(pairs, max_size=5))
def test_join_and_distinct(several):
    """All pairs one after the other, each with its owner; each text once."""
    numbers, values, owners = join([Pairs.of(p) if len(p) % 2 else p for p in several])
    flat = [(text, value, i) for i, p in enumerate(several) for text, value in p]
    found = zip(map(text_of, numbers.tolist()), values, owners, strict=True)
    assert list(found) == flat
    each, places = distinct(numbers)
    assert sorted(each) == sorted({text for text, _, _ in flat})
    assert [each[place] for place in places] == [text for text, _, _ in flat]
    assert np.all(np.bincount(places, minlength=len(each)) > 0)
