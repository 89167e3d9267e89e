"""X as rows of text: every container, every refusal, and scikit-learn's own checks."""

import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sklearn_logprob._inputs import Rows, cell_text, forget_rows, read_rows


class ReadsRows(ClassifierMixin, BaseEstimator):
    """Sees X through `read_rows` alone, and turns the texts back into numbers."""

    def fit(self, X, y):
        rows = read_rows(X, self, reset=True)
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        check_consistent_length(rows.values, y)
        check_classification_targets(y)
        self.model_ = LogisticRegression().fit(np.array(rows.values, float), y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        check_is_fitted(self)
        rows = read_rows(X, self, reset=False)
        return self.model_.predict(np.array(rows.values, float))


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([ReadsRows()])
def test_scikit_learn_checks_pass(estimator, check):
    """An estimator that reads X through read_rows passes scikit-learn's suite."""
    check(estimator)


TEXTS = ["fine", "", "a {brace}\n"]
TEXT_CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "object array": lambda texts: np.array(texts, dtype=object),
    "pandas": pd.Series,
    "pandas object": lambda texts: pd.Series(texts, dtype=object),
    "pandas, other index": lambda texts: pd.Series(texts, index=[9, 7, 8]),
    "pandas categories": lambda texts: pd.Series(texts, dtype="category"),
    "polars": pl.Series,
}


@pytest.mark.parametrize("container", TEXT_CONTAINERS.values(), ids=TEXT_CONTAINERS)
def test_texts_are_read_from_every_container(container):
    """A list, tuple, array or Series of texts gives the same plain str values."""
    estimator = BaseEstimator()
    rows = read_rows(container(TEXTS), estimator, reset=True)
    assert rows.columns == ("text",)
    assert rows.values == [(text,) for text in TEXTS]
    assert {type(value) for row in rows.values for value in row} == {str}
    assert not hasattr(estimator, "n_features_in_")


@pytest.mark.parametrize("series", [pd.Series, pl.Series])
def test_series_name_is_an_alias_that_fit_remembers(series):
    """{review} works for a Series of that name, and later for a plain list."""
    estimator = BaseEstimator()
    named = series(name="review", **{_values_keyword(series): TEXTS})
    for X, reset in [(named, True), (named, False), (TEXTS, False)]:
        positions = read_rows(X, estimator, reset=reset).positions
        assert positions == {"text": 0, "review": 0}
    assert read_rows(TEXTS, estimator, reset=True).positions == {"text": 0}


def _values_keyword(series):
    return "data" if series is pd.Series else "values"


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        (None, "None"),
        (float("nan"), "nan"),
        (pd.NA, "<NA>"),
    ],
)
def test_first_missing_text_is_named(bad, shown):
    """What is missing is refused with its row and with what to do."""
    with pytest.raises(ValueError, match=r"Drop such rows or replace them") as error:
        read_rows(["a", "b", bad, 7], BaseEstimator(), reset=True)
    assert str(error.value).startswith(f"X must hold texts: row 2 is {shown}. ")


@pytest.mark.parametrize(
    ("bad", "shown"),
    [(7, "7"), (b"raw", "of type bytes"), ({"text": "a"}, "of type dict")],
)
def test_first_bad_text_is_named(bad, shown):
    """What is there and no text is refused with its row, and is not called missing."""
    with pytest.raises(ValueError, match=r"Make texts of such rows") as error:
        read_rows(["a", "b", bad, None], BaseEstimator(), reset=True)
    assert str(error.value).startswith(f"X must hold texts: row 2 is {shown}. ")


@pytest.mark.parametrize("series", [pd.Series, pl.Series])
def test_missing_text_in_a_series_is_named(series):
    """A missing text is found in a Series too, whatever it is stored as."""
    with pytest.raises(ValueError, match=r"row 1 is (None|nan)\."):
        read_rows(series(["a", None]), BaseEstimator(), reset=True)


@pytest.mark.parametrize(
    "X", [[1, 2], np.array([0.5, 1.0]), pd.Series([1, 2]), pl.Series([1, 2]), [True]]
)
def test_one_dimensional_numbers_are_refused(X):
    """The wrong column: numbers in one dimension are no texts, and what they are."""
    with pytest.raises(ValueError, match=r"row 0 is .* column of texts.*reshape\(-1, 1"):
        read_rows(X, BaseEstimator(), reset=True)


@pytest.mark.parametrize(
    "X",
    [[], (), np.array([]), pd.Series([], dtype=str), pl.Series([], dtype=pl.String)],
)
def test_no_texts_are_refused(X):
    """An empty X is refused."""
    with pytest.raises(ValueError, match="X is empty: 0 samples"):
        read_rows(X, BaseEstimator(), reset=True)


@pytest.mark.parametrize("X", [iter(TEXTS), set(TEXTS), {"text": TEXTS}], ids=type)
def test_what_has_no_order_or_no_length_is_refused(X):
    """A generator, a set and a dict are no rows; the message names what is."""
    with pytest.raises(ValueError, match=f"a list .*Got a {type(X).__name__}"):
        read_rows(X, BaseEstimator(), reset=True)


def test_one_text_is_refused():
    """A bare str is not taken for a list of letters."""
    with pytest.raises(ValueError, match="Wrap it"):
        read_rows("fine", BaseEstimator(), reset=True)


TABLE = {"title": ["a", "b"], "n": [1, 2], "x": [0.1, 2.0], "ok": [True, False]}
EXPECTED = [("a", "1", "0.1", "True"), ("b", "2", "2.0", "False")]
OBJECTS = np.array(list(zip(*TABLE.values(), strict=True)), dtype=object)


@pytest.mark.parametrize(
    ("X", "named"),
    [
        (pd.DataFrame(TABLE), True),
        (pd.DataFrame(TABLE, index=[5, 5]), True),
        (pd.DataFrame(TABLE).convert_dtypes(), True),
        (pd.DataFrame(TABLE).astype(object), True),
        (pl.DataFrame(TABLE), True),
        (OBJECTS, False),
        (OBJECTS.tolist(), False),
        ([tuple(row) for row in OBJECTS.tolist()], False),
        (pd.DataFrame(OBJECTS), False),
    ],
)
def test_tables_are_read_column_by_column(X, named):
    """Each value is printed as Python prints it, not as a common dtype would be."""
    estimator = BaseEstimator()
    rows = read_rows(X, estimator, reset=True)
    assert rows.columns == (tuple(TABLE) if named else ("x0", "x1", "x2", "x3"))
    assert rows.values == EXPECTED
    assert estimator.n_features_in_ == 4
    assert hasattr(estimator, "feature_names_in_") is named


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_integers_beside_floats_stay_integers(frame):
    """A frame of numbers only keeps 1 as "1", though numpy would make it 1.0."""
    rows = read_rows(frame({"n": [1], "x": [0.5]}), BaseEstimator(), reset=True)
    assert rows.values == [("1", "0.5")]


@pytest.mark.parametrize("wrap", [np.array, pd.DataFrame])
def test_single_precision_is_not_padded(wrap):
    """A float32 prints as it was written: 0.1, not 0.10000000149011612."""
    X = wrap(np.array([[0.1]], dtype=np.float32))
    assert read_rows(X, BaseEstimator(), reset=True).values == [("0.1",)]


@settings(max_examples=50, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1))
def test_numbers_read_as_python_prints_them(real, integer):
    """The text of a number is Python's own, so that it reads back exactly."""
    for X, value in [(np.array([[real]]), real), (np.array([[integer]]), integer)]:
        assert read_rows(X, BaseEstimator(), reset=True).values == [(str(value),)]


def test_one_column_also_answers_to_text():
    """{text} is the only column, whatever its name; two columns have no {text}."""
    one = read_rows(pd.DataFrame({"review": TEXTS}), BaseEstimator(), reset=True)
    assert one.columns == ("review",)
    assert one.positions == {"review": 0, "text": 0}
    assert Rows(("a", "b"), []).positions == {"a": 0, "b": 1}


MISSING = [None, float("nan"), pd.NA, pd.NaT, float("inf"), Decimal("NaN")]


@pytest.mark.parametrize("bad", MISSING, ids=str)
@pytest.mark.parametrize("form", [np.array, pd.DataFrame, list])
def test_missing_cell_is_named(bad, form):
    """A missing value in a table of objects is refused by row and column."""
    table = np.array([["a", "b"], ["c", bad]], dtype=object)
    X = table.tolist() if form is list else form(table, dtype=object)
    with pytest.raises(ValueError, match=r"^Row 1, column 'x1' of X is .*''\.$"):
        read_rows(X, BaseEstimator(), reset=True)


@pytest.mark.parametrize(
    "X",
    [
        pl.DataFrame({"a": ["u", "v"], "b": [1, None]}),
        pl.DataFrame({"a": ["u", "v"], "b": ["w", None]}),
        pd.DataFrame({"a": ["u", "v"], "b": ["w", None]}),
        pd.DataFrame({"a": ["u", "v"], "b": pd.array([1, None], dtype="Int64")}),
        pd.DataFrame({"a": ["u", "v"], "b": pd.Categorical(["w", None])}),
    ],
)
def test_missing_value_of_a_frame_is_named(X):
    """Every way in which pandas and polars store "missing" is found."""
    with pytest.raises(ValueError, match=r"^Row 1, column 'b' of X is (None|nan|<NA>)"):
        read_rows(X, BaseEstimator(), reset=True)


@pytest.mark.parametrize(
    "bad", [["l"], {"k": 1}, b"raw", 1j, np.datetime64("2024-01-01")]
)
def test_cell_that_is_no_text_or_number_is_named(bad):
    """Other objects are not silently printed into a prompt."""
    X = np.empty((2, 1), dtype=object)
    X[0, 0], X[1, 0] = "a", bad
    with pytest.raises(TypeError, match=r"^Row 1, column 'x0' of X is of type .*str\(\)"):
        read_rows(X, BaseEstimator(), reset=True)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (csr_array(np.eye(2)), TypeError, "Sparse data was passed"),
        (np.array([[1j]]), ValueError, "Complex data not supported"),
        (np.empty((0, 2)), ValueError, r"0 sample\(s\)"),
        (np.empty((2, 0)), ValueError, r"0 feature\(s\)"),
        (np.zeros((2, 2, 2)), ValueError, "dim 3"),
        (None, ValueError, "Expected 2D array"),
        (pd.DataFrame({("a", 1): [1], "b": [2]}), TypeError, "string names"),
        (
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            ValueError,
            "two columns named 'a'|unique column names",
        ),
    ],
)
def test_malformed_tables_are_refused(X, error, message):
    """What scikit-learn refuses is refused in its words; so is a name used twice."""
    with pytest.raises(error, match=message):
        read_rows(X, BaseEstimator(), reset=True)


def test_predict_holds_tables_against_fit():
    """Other columns than in fit are refused, as everywhere in scikit-learn."""
    estimator = BaseEstimator()
    frame = pd.DataFrame(TABLE)
    read_rows(frame, estimator, reset=True)
    assert read_rows(frame, estimator, reset=False).values == EXPECTED
    with pytest.raises(ValueError, match="feature names should match"):
        read_rows(frame[["n", "title", "x", "ok"]], estimator, reset=False)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        rows = read_rows(OBJECTS, estimator, reset=False)
    assert rows.columns == tuple(TABLE)


def test_texts_and_tables_do_not_mix():
    """A model of texts refuses a table and the reverse, until it is fitted anew."""
    estimator = BaseEstimator()
    read_rows(TEXTS, estimator, reset=True)
    with pytest.raises(ValueError, match="X is a table, but BaseEstimator was fitted on"):
        read_rows(OBJECTS, estimator, reset=False)
    read_rows(OBJECTS, estimator, reset=True)
    with pytest.raises(ValueError, match=r"X holds texts, .* table with 4 column"):
        read_rows(TEXTS, estimator, reset=False)
    read_rows(TEXTS, estimator, reset=True)
    assert not hasattr(estimator, "n_features_in_")
    assert len(read_rows(TEXTS, estimator, reset=False)) == 3


@pytest.mark.parametrize("X", [TEXTS, pd.DataFrame(TABLE), OBJECTS])
def test_estimator_that_saw_no_data_takes_any(X):
    """Without a fit on data, X speaks for itself and leaves nothing behind."""
    estimator = BaseEstimator()
    rows = read_rows(X, estimator, reset=False)
    assert rows == read_rows(X, BaseEstimator(), reset=True)
    assert vars(estimator) == {}


def test_forget_rows_removes_all_traces():
    """After forgetting, an estimator is as if it had never seen X."""
    for X in (TEXTS, pd.DataFrame(TABLE)):
        estimator = BaseEstimator()
        read_rows(X, estimator, reset=True)
        assert vars(estimator)
        forget_rows(estimator)
        assert vars(estimator) == {}


def test_cell_text_keeps_words_that_look_missing():
    """The texts "nan" and "None" are texts."""
    assert [cell_text(word, "Here") for word in ("nan", "None", "")] == [
        "nan",
        "None",
        "",
    ]
    assert type(cell_text(np.str_("a"), "Here")) is str


def test_rows_travel():
    """Rows compare and pickle as plain data; unfitted estimators still say so."""
    rows = Rows(("text",), [("a",)], aliases=("review",))
    assert pickle.loads(pickle.dumps(rows)) == rows
    with pytest.raises(NotFittedError):
        ReadsRows().predict([[1.0]])
