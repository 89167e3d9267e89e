"""Python's collector is held off for our own work, and only for that."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from sklearn_logprob import FakeBackend, LogprobClassifier
from sklearn_logprob._garbage import garbage_again, no_garbage


@pytest.fixture(autouse=True)
def collector_on():
    """Whatever a test does, the next one finds it as it is."""
    assert gc.isenabled()
    yield
    gc.enable()


def test_it_is_off_within_and_on_after():
    """However deep, and whatever is raised."""
    with suppress(KeyError), no_garbage(), no_garbage():
        assert not gc.isenabled()
        with garbage_again():
            assert gc.isenabled()
            with no_garbage():
                assert not gc.isenabled()
            assert gc.isenabled()
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off():
    """It is the user's: nothing of ours switches it on."""
    gc.disable()
    with no_garbage(), garbage_again():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_a_model_answers_with_the_collector_on():
    """It may take hours."""
    seen = []

    class Looks(FakeBackend):
        def answer(self, requests):
            seen.append(gc.isenabled())
            yield from super().answer(requests)

    clf = LogprobClassifier(Looks(), classes=["no", "yes"], cache=None).fit()
    clf.predict_proba(["fine", "dull"])
    assert seen == [True]
    assert gc.isenabled()
