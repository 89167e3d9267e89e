"""Classes to words: every class has one, no word stands for two."""

import pytest
from sklearn.base import clone

from sklearn_logprob import Verbalizer
from sklearn_logprob.verbalizers import make_verbalizer


def test_default_is_the_text_of_the_class():
    """Strings, booleans and numbers are written as str() writes them."""
    assert Verbalizer().resolve([False, True]) == {False: ("False",), True: ("True",)}
    assert Verbalizer().resolve(["a b"]) == {"a b": ("a b",)}


def test_case_is_pooled():
    """As given, lower case and capitalised count; each once."""
    assert Verbalizer().spellings(["New York", "paris"]) == [
        ("New York", "new york"),
        ("paris", "Paris"),
    ]
    assert Verbalizer(pool_case=False).spellings(["paris"]) == [("paris",)]


def test_classes_that_differ_in_case_only_are_not_pooled():
    """'US' and 'us' stay apart; other forms are still pooled."""
    assert Verbalizer().spellings(["US", "us", "uk"]) == [
        ("US",),
        ("us",),
        ("uk", "Uk"),
    ]


def test_a_class_without_a_surface_form_is_an_error():
    """Missing, empty or blank: the message names the class."""
    for forms in ({"a": "x"}, {"a": "x", "b": []}, {"a": "x", "b": " "}):
        with pytest.raises(ValueError, match="The class 'b' has no surface form"):
            Verbalizer(forms).resolve(["a", "b"])


@pytest.mark.parametrize("form", [1, None, ["x", 2]])
def test_a_surface_form_is_a_text(form):
    """Numbers and other things that no model says are named with their class."""
    with pytest.raises(TypeError, match=r"must map classes to texts. Got \{'b': "):
        Verbalizer({"a": "y", "b": form}).resolve(["a", "b"])
    with pytest.raises(TypeError, match=r"must map classes to texts. Got \{'b': "):
        Verbalizer({"b": form}, other="class", other_class="b").resolve(["a", "b"])


def test_two_classes_with_one_surface_form_are_an_error():
    """The message names the form and both classes."""
    with pytest.raises(ValueError, match="'good' to two classes, 'a' and 'b'"):
        Verbalizer({"a": ["good", "fine"], "b": "good"}).resolve(["a", "b"])


def test_short_forms_and_clone():
    """None, a mapping and the object itself are accepted; anything else is named."""
    assert make_verbalizer({"a": "b"}).forms == {"a": "b"}
    assert make_verbalizer(None).forms is None
    assert clone(Verbalizer({"a": "b"})).forms == {"a": "b"}
    with pytest.raises(TypeError, match="The 'verbalizer' parameter of LogprobClassif"):
        make_verbalizer(["a", "b"])
