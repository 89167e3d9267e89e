"""Several labels a row: every form of y, and what its columns are called."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.preprocessing import MultiLabelBinarizer

from sklearn_logprob import SingleClassWarning, UnnamedLabelsWarning
from sklearn_logprob._label_sets import form_of, indicator_of, resolve_label_sets

Y = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
NAMES = ["sport", "art", "law"]
SETS = [{"sport", "law"}, {"art"}, set(), {"law"}]


@pytest.mark.parametrize(
    "y, form",
    [
        (None, "labels"),
        ("sport", "labels"),
        ([], "labels"),
        (["a", "b"], "labels"),
        (pd.Series(["a", "b"]), "labels"),
        ([[0], [1]], "labels"),
        (np.array([[0], [1]]), "labels"),
        (Y, "indicator"),
        (Y.tolist(), "indicator"),
        (list(Y), "indicator"),
        (sparse.csr_matrix(Y), "indicator"),
        (sparse.csr_array(Y[:, :1]), "indicator"),
        (pd.DataFrame(Y), "indicator"),
        (pl.DataFrame(Y), "indicator"),
        (SETS, "sets"),
        (pd.Series([["a"], []]), "sets"),
        ([["a", "b"], ["b", "c"]], "sets"),
        ([["a"], ["b"]], "sets"),
        ([(), ()], "sets"),
        ([[3], [1, 2]], "sets"),
        (np.array([{1}, set()], dtype=object), "sets"),
    ],
)
def test_the_form_of_y_tells_what_it_means(y, form):
    """Nested numbers of one length are an indicator, words and sets are labels."""
    assert form_of(y) == form


@pytest.mark.parametrize(
    "y",
    [
        Y,
        Y.astype(bool),
        Y.astype(float),
        Y.tolist(),
        sparse.csr_matrix(Y),
        sparse.coo_array(Y),
        pd.DataFrame(Y, columns=NAMES),
        pl.DataFrame(Y, schema=NAMES),
        SETS,
        [sorted(labels) for labels in SETS],
        pd.Series([tuple(labels) for labels in SETS]),
    ],
)
def test_all_forms_say_the_same(y):
    """Labels and codes are the same, in the order of `classes`."""
    labels = resolve_label_sets(y, NAMES, None)
    assert labels.names == labels.classes.tolist() == NAMES
    np.testing.assert_array_equal(labels.codes, Y)
    assert labels.codes.dtype == np.intp and labels.several
    np.testing.assert_allclose(labels.shares, [0.25, 0.25, 0.5])


def test_names_without_classes():
    """A frame's columns, a verbalizer's keys, sorted labels of sets, or else numbers."""
    frame = pd.DataFrame(Y, columns=NAMES)
    assert resolve_label_sets(frame, None, None).names == NAMES
    assert resolve_label_sets(frame, None, dict.fromkeys(NAMES, "x")).names == NAMES
    assert resolve_label_sets(SETS, None, None).names == sorted(NAMES)
    forms = dict.fromkeys(["d", "a", "b"])
    in_order = dict.fromkeys(sorted(forms))
    assert resolve_label_sets(Y, None, in_order).names == ["a", "b", "d"]
    assert resolve_label_sets(Y, None, {1: "b", 0: "a", 2: "c"}).names == [0, 1, 2]
    known = dict.fromkeys([*NAMES, "never"])
    with pytest.warns(SingleClassWarning, match=r"to no row: \['never'\]"):
        assert resolve_label_sets(SETS, None, known).names == sorted(known)
    with pytest.warns(UnnamedLabelsWarning, match=r"\[0, 1, 2\]"):
        assert resolve_label_sets(Y, None, None).names == [0, 1, 2]
    assert resolve_label_sets(None, NAMES, None).codes is None
    assert resolve_label_sets(None, None, forms).names == ["a", "b", "d"]


def test_labels_that_never_or_always_apply_are_named():
    """They teach how frequent they are, and nothing else."""
    with pytest.warns(
        SingleClassWarning, match=r"no row: \['b'\]; to every row: \['c'\]"
    ):
        resolve_label_sets(np.array([[1, 0, 1], [0, 0, 1]]), ["a", "b", "c"], None)


def test_scikit_learns_binarizer_gives_the_sets_back():
    """Of an indicator in the order of the labels."""
    labels = resolve_label_sets(SETS, NAMES, None)
    binarizer = MultiLabelBinarizer(classes=labels.classes).fit([])
    back = binarizer.inverse_transform(labels.codes)
    assert [set(row) for row in back] == SETS
    assert indicator_of(Y, NAMES) is Y


@pytest.mark.parametrize(
    "y, classes, forms, message",
    [
        (Y + 1, None, None, "matrix of 0 and 1"),
        (np.array([[0, 2], [1, 0]]), None, None, "matrix of 0 and 1"),
        (["a", "b"], None, None, "leave multilabel=None"),
        (Y * 1.5, None, None, "Unknown label type"),
        (np.array([[0.0, np.nan]]), None, None, "NaN"),
        (Y, ["a", "b"], None, "3 columns, and there are 2 names"),
        (Y, None, {"b": "b", "a": "a", "c": "c"}, "not clear which column"),
        (pd.DataFrame(Y, columns=NAMES), sorted(NAMES), None, "same order"),
        (SETS, ["sport", "art"], None, "holds the label 'law'"),
        ([{"a"}, "b"], None, None, "row 1 is 'b'"),
        ([{"a"}, None], None, None, "row 1 is None"),
        ([[], []], None, None, "names no label"),
        (None, None, None, "need names or y"),
        (Y, "abc", None, "must be a list of labels"),
        (Y, ["a", "a", "b"], None, "each once"),
        (Y, [], None, "must be a list of labels"),
    ],
)
def test_bad_label_sets(y, classes, forms, message):
    """Each says what is wrong and what would be right."""
    with pytest.raises(ValueError, match=message):
        resolve_label_sets(y, classes, forms)
