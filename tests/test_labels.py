"""Classes, names and codes: what y means, also after scikit-learn has encoded it."""

import numpy as np
import pandas as pd
import pytest

from sklearn_logprob import SingleClassWarning, UnnamedLabelsWarning
from sklearn_logprob._labels import resolve_labels

NAMES = ["good", "bad", "meh"]


def test_names_come_from_y():
    """Strings and booleans name themselves; classes are sorted."""
    labels = resolve_labels(["good", "bad", "good"], None, None)
    assert labels.classes.tolist() == labels.names == ["bad", "good"]
    assert labels.codes.tolist() == [1, 0, 1]
    assert resolve_labels([True, False], None, None).names == [False, True]


@pytest.mark.parametrize("classes, forms", [(NAMES, None), (None, dict.fromkeys(NAMES))])
def test_encoded_y_maps_onto_the_sorted_names(classes, forms):
    """Codes 0..K-1 are the names in sorted order; predictions are codes."""
    labels = resolve_labels(np.array([2, 0, 1, 1]), classes, forms)
    assert labels.names == ["bad", "good", "meh"]
    assert labels.classes.tolist() == [0, 1, 2]
    assert labels.codes.tolist() == [2, 0, 1, 1]


def test_real_labels_win_over_codes():
    """Integers that are themselves the classes are no codes."""
    labels = resolve_labels([2, 1, 2], None, {1: "no", 2: "yes"})
    assert labels.classes.tolist() == labels.names == [1, 2]
    assert labels.codes.tolist() == [1, 0, 1]


def test_a_class_may_be_absent_from_y():
    """`classes` keeps the column of a class that y lacks."""
    labels = resolve_labels(["bad", "meh"], NAMES, None)
    assert labels.names == ["bad", "good", "meh"] and labels.codes.tolist() == [0, 2]


def test_numbers_as_label_text_are_warned_about():
    """Bare numbers that nobody named say how to name them."""
    with pytest.warns(UnnamedLabelsWarning, match=r"verbalizer=\{0: 'word', 1: 'word'\}"):
        resolve_labels([0, 1, 1], None, None)


def test_fewer_codes_than_names_are_warned_about():
    """OneVsRestClassifier hands 0/1 to a classifier that was told three names."""
    with pytest.warns(UnnamedLabelsWarning, match="OneVsRestClassifier"):
        resolve_labels(np.array([0, 1, 1]), NAMES, None)


def test_one_class_is_warned_about_with_what_was_learnt():
    """Alone it is always predicted; among known classes only centring is learnt."""
    with pytest.warns(SingleClassWarning, match="always be predicted"):
        resolve_labels(["good", "good"], None, None)
    with pytest.warns(SingleClassWarning, match="batch calibration"):
        resolve_labels(["good", "good"], NAMES, None)


@pytest.mark.parametrize(
    "y, classes, message",
    [
        (None, None, "requires y to be passed, but the target y is None"),
        (["fine"], NAMES, "y holds the label 'fine', which is not among the classes"),
        (["good", None], NAMES, "y holds no label in row 1"),
        (["good", float("nan")], None, "y holds no label in row 1"),
        (pd.Series(["good", pd.NA], dtype="string"), None, "y holds no label in row 1"),
        (np.array(["a", 1], dtype=object), None, "such as 'a' and 1: make all of one"),
        ([0.5, 1.2], None, "Unknown label type"),
        (np.array([1, 3]), NAMES, "y holds the label 1"),
        (["good"], ["good", "good"], "must hold each label once"),
        (["good"], "good", "must be a list of labels"),
        (["good"], [], "must be a list of labels"),
        (["0", "1"], [0, 1], "y holds the label '0'"),
    ],
)
def test_bad_labels(y, classes, message):
    """Each says what is wrong and what would be right."""
    with pytest.raises(ValueError, match=message):
        resolve_labels(y, classes, None)
