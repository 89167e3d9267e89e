"""Named prompts ask the same thing: every row, every label, and then comes the label."""

from __future__ import annotations

import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_logprob import FakeBackend, LogprobClassifier, PromptError, PromptTemplate
from sklearn_logprob._inputs import Rows
from sklearn_logprob._styles import LABEL_STYLES, STYLES
from sklearn_logprob._templating import make_template

NINE = {
    "plain", "instruction", "question", "reasoned", "json", "role", "task",
    "constrained", "natural",
}  # fmt: skip
BACKEND = FakeBackend({"great": {"good": 2.0}, "dull": {"good": -2.0}})


def test_there_are_nine_and_three():
    """As promised, and no two of them are the same."""
    assert set(STYLES) == NINE
    assert len(set(STYLES.values())) == 9
    written = {write("New York") for write in LABEL_STYLES.values()}
    assert written == {"new york", "New York", "a text of the kind New York"}


@pytest.mark.parametrize("name", sorted(NINE))
@pytest.mark.parametrize("columns", [("text",), ("title", "a {year}")])
def test_each_shows_row_and_labels_and_ends_where_the_label_comes(name, columns):
    """Whatever the columns are called; without a space, which begins the label."""
    if name == "json":
        end = '{"label": "'
    else:
        end = "call it" if name == "natural" else "abel:"
        end = "label is:" if name == "reasoned" else end
    values = tuple(f"value {i} with {{braces}}" for i in range(len(columns)))
    fields = tuple(column.replace("a {year}", "year") for column in columns)
    template = PromptTemplate.from_style(name, fields)
    (((role, text),),) = template.render(Rows(fields, [values]), ["bad", "so {so}"])
    assert role == "prompt" and text.endswith(end)
    assert all(value in text for value in values)
    assert "bad, so {so}" in text and "<row>" not in text


@pytest.mark.parametrize("name", sorted(NINE))
def test_a_name_is_a_prompt(name):
    """prompt="question" is the template of that name, for texts and for tables."""
    made = make_template(name, ["title", "year"]).template
    assert made == PromptTemplate.from_style(name, ["title", "year"]).template
    clf = LogprobClassifier(BACKEND, prompt=name, classes=["bad", "good"]).fit()
    assert clf.prompt_.template == PromptTemplate.from_style(name).template


def test_no_prompt_is_an_instruction():
    """The default prompt is one of the nine."""
    assert (
        make_template(None, ["x"]).template
        == PromptTemplate.from_style("instruction", ["x"]).template
    )


def test_a_misspelt_name_is_told_the_names():
    """It has no field, as a template must; the message says what else it may be."""
    with pytest.raises(PromptError, match=r"no field .*add \{text\}.* 'question'"):
        LogprobClassifier(BACKEND, prompt="questoin").fit(["a", "b"], ["a", "b"])


def test_other_parameters_of_a_style():
    """They are those of any template."""
    template = PromptTemplate.from_style("task", system="Be brief.", n_shots=2)
    assert template.n_shots == 2
    messages = template.render(Rows(("text",), [("so",)]), ["a", "b"])[0]
    assert [role for role, _ in messages] == ["system", "user"]


def test_a_grid_over_names():
    """A search reaches them by their names."""
    X, y = ["great", "dull"] * 10, ["good", "bad"] * 10
    clf = LogprobClassifier(BACKEND)
    search = GridSearchCV(clf, {"prompt": ["plain", "natural"]}, cv=2).fit(X, y)
    assert search.best_score_ == 1.0


def test_a_table_with_a_style():
    """Its columns are the captioned lines of the row."""
    X = pd.DataFrame({"title": ["great", "dull"] * 4, "year": [1, 2] * 4})
    clf = LogprobClassifier(BACKEND, prompt="plain").fit(X, ["good", "bad"] * 4)
    assert clf.requests(X)[0].messages[0][1].startswith("title: great\nyear: 1\nChoose")


def test_unknown_names_are_refused():
    """With the names that there are."""
    with pytest.raises(ValueError, match=r"'plain', 'instruction'.* Got 'polite'"):
        PromptTemplate.from_style("polite")
