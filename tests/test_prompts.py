"""Templates: what is a field, what stays as written, and where everything goes."""

import re
from contextlib import suppress
from time import perf_counter

import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone

from sklearn_logprob import PromptError
from sklearn_logprob._inputs import Rows, read_rows
from sklearn_logprob._templating import make_template
from sklearn_logprob.prompts import PromptTemplate

LABELS = ["bad", "good"]
modest = settings(max_examples=100, deadline=None)  # the machine may be busy
ANY_TEXT = st.text(max_size=30) | st.sampled_from(
    [
        "{text}",
        "{labels}",
        "{{text}}",
        "{",
        "}",
        "\\1",
        "%s",
        '{"text": "{text}"}',
        "\n",
    ]
)


def texts(*values):
    return Rows(("text",), [(value,) for value in values])


def raw(template, text="T", **params):
    """Render one text to one raw prompt."""
    ((message,),) = PromptTemplate(template, **params).render(texts(text), LABELS)
    role, content = message
    assert role == "prompt"
    return content


@modest
@given(ANY_TEXT, ANY_TEXT)
def test_values_survive_verbatim(title, body):
    """Whatever a row holds arrives unchanged, also if it looks like a field."""
    rows = Rows(("title", "body"), [(title, body)])
    ((message,),) = PromptTemplate("<{title}|{body}|{title}>").render(rows, LABELS)
    assert message == ("prompt", f"<{title}|{body}|{title}>")


@modest
@given(ANY_TEXT)
def test_labels_survive_verbatim(label):
    """A label that looks like a field is not filled."""
    ((message,),) = PromptTemplate("{labels}: {text}").render(texts("T"), [label, "b"])
    assert message[1] == f"{label}, b: T"


@modest
@given(ANY_TEXT, ANY_TEXT)
def test_demonstrations_and_prefix_survive_verbatim(given_text, answer):
    """Braces in demonstrations and in the answer's beginning mean nothing."""
    assume(answer and not answer[0].isspace())
    content = raw(
        "({text})", "T", demonstrations=[(given_text, answer)], answer_prefix="{text}="
    )
    assert content == f"({given_text}){{text}}= {answer}\n\n(T){{text}}="


@modest
@given(st.text(alphabet='ab1 {}":\n', max_size=25))
def test_only_names_in_braces_are_fields(template):
    """A template without a span like {name} is taken literally."""
    assume(not re.search(r"\{([ab][ab1 ]*|1+)\}", template))
    assert raw(template + "{text}", "T") == template + "T"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"text": "{text}", "a": 1}', '{"text": "T", "a": 1}'),
        ('{"a": {"b": {text}}}', '{"a": {"b": T}}'),
        ('{"a":{text}}', '{"a":T}'),
        ("{text} {} {.} {a:b} { text }", "T {} {.} {a:b} { text }"),
        ("{{text.a}} {{0}} {text}", "{text.a} {0} T"),
        ("{text} {a\nb} {", "T {a\nb} {"),
        ("{{text}} {text}", "{text} T"),
        ("{{body}} {text}", "{body} T"),
        ("{{labels}} {text}", "{labels} T"),
        ("{{{text}}}", "{T}"),
        ("{{{{text}}}} {text}", "{{text}} T"),
        ("{text}{text}{labels}", "TTbad, good"),
        ('{{"a": 1}} {text}', '{{"a": 1}} T'),
    ],
)
def test_braces(template, expected):
    """Literal braces stay, doubled ones name a field without filling it."""
    assert raw(template) == expected


@pytest.mark.parametrize(
    "field",
    ["text.__class__", "text[0]", "0", "text!r", "text:>10", "text: >10", "text!r:>10",
     "labels.__class__", "other.__init__.__globals__[x]", "text.__class__.__mro__[1]"],
)  # fmt: skip
def test_fields_are_plain_names(field):
    """What str.format would look up, convert or format is an error that names the fix."""
    with pytest.raises(PromptError, match="plain name of a column") as error:
        raw(f"{{text}} {{{field}}}")
    assert f"double them: {{{{{field}}}}}." in str(error.value)
    assert raw(f"{{text}} {{{{{field}}}}}", "T") == f"T {{{field}}}"


@given(st.text(alphabet="ab.{}[]!:0_()*+?\\^$|<>% \n"), st.text(max_size=10))
def test_a_template_is_filled_or_refused(template, value):
    """Whatever its braces, and the value comes out as it went in."""
    rows = Rows(("a", "b.a", "("), [(value, "x", "y")])
    with suppress(PromptError):
        ((message,),) = PromptTemplate(template + "{a}").render(rows, LABELS)
        assert message[1].endswith(value)


@pytest.mark.parametrize(
    "column",
    [
        "Price ($)",
        "2nd",
        "a.b",
        "x!r:>10",
        "ünï çode",
        "Price\n(EUR)",
        "a{b}",
        "{a}",
        "",
    ],
)
def test_any_column_name_is_a_field(column):
    """A name of a column in braces is its value, whatever characters it has."""
    rows = Rows((column, "other"), [("v", "w")])
    ((message,),) = PromptTemplate(f"<{{{column}}}>").render(rows, LABELS)
    assert message == ("prompt", "<v>")
    default = make_template(None, rows.columns)
    assert default.fields(rows.columns) == rows.columns
    assert default.render(rows, LABELS)[0][0][1].endswith(": v\nother: w\nLabel:")


def test_fields_are_the_columns_used():
    """Fields come in order of use, once, from every message."""
    template = PromptTemplate(
        [("user", "{b} {labels} {a} {b}"), ("assistant", "{c}:")], system="{d}"
    )
    assert template.fields(["a", "b", "c", "d", "e"]) == ("d", "b", "a", "c")
    assert PromptTemplate("{text}").fields(["review"]) == ("review",)


def test_alias_of_a_series():
    """{text} and {review} are the same for a Series and a column called review."""
    for X in (pd.Series(["v"], name="review"), pd.DataFrame({"review": ["v"]})):
        rows = read_rows(X, BaseEstimator(), reset=True)
        ((message,),) = PromptTemplate("{text}={review}").render(rows, LABELS)
        assert message[1] == "v=v"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Rows(("title", "text"), []), "but X has the columns: title, text. "),
        (texts(), "but X has one field only, {text}. "),
        (Rows(("text",), [], ("review",)), "X has one field only, {text} or {review}. "),
    ],
)
def test_unknown_field_is_refused(rows, message):
    """An unknown field is an error that says what there is and how to escape it."""
    with pytest.raises(PromptError, match=re.escape(message)) as error:
        PromptTemplate("{text} {body}").render(rows, LABELS)
    assert str(error.value).startswith("The prompt asks for {body}, but X ")
    assert str(error.value).endswith("double them: {{body}}.")


@pytest.mark.parametrize(
    "params",
    [
        {"template": "Is it {labels}?"},
        {"template": "{{text}}"},
        {"template": ""},
        {"template": []},
        {"template": "Well?", "system": "{text}"},
        {"template": [("system", "{text}"), ("user", "{labels}?")]},
        {"template": [("user", "Well?"), ("assistant", "{text}")]},
    ],
)
def test_prompt_without_a_field_is_refused(params):
    """A question that no row fills would be the same for every row."""
    with pytest.raises(PromptError, match=r"no field .* add \{text\}"):
        PromptTemplate(**params).render(texts("T"), LABELS)


def test_column_called_labels_is_ambiguous():
    """{labels} is refused where it could mean a column too, and only if used."""
    rows = Rows(("text", "labels"), [("T", "x")])
    with pytest.raises(PromptError, match="Rename the column"):
        PromptTemplate("{text} {labels}").render(rows, LABELS)
    assert PromptTemplate("{text}").render(rows, LABELS) == [(("prompt", "T"),)]


SHOTS = [("Superb.", "good"), ("Dull.", "bad")]


@pytest.mark.parametrize(
    ("template", "prefix", "expected"),
    [
        ("R: {text}\nS:", "", "R: Superb.\nS: good\n\nR: Dull.\nS: bad\n\nR: T\nS:"),
        ("R: {text}\n", "", "R: Superb.\ngood\n\nR: Dull.\nbad\n\nR: T\n"),
        ("{text}\n", "It is", "Superb.\nIt is good\n\nDull.\nIt is bad\n\nT\nIt is"),
        ("{text}\n", "A: ", "Superb.\nA: good\n\nDull.\nA: bad\n\nT\nA: "),
    ],
)
def test_raw_demonstrations(template, prefix, expected):
    """Each example is the template and its answer, one space and a blank line apart."""
    assert raw(template, demonstrations=SHOTS, answer_prefix=prefix) == expected


def test_an_answer_may_begin_with_a_field():
    """Even where nothing but the value of the first column begins it."""
    template = PromptTemplate([("user", "Say {text}."), ("assistant", "{text}")])
    assert template.render(texts("T"), LABELS) == [
        (("user", "Say T."), ("assistant", "T"))
    ]


def test_answer_with_its_own_space_is_not_spaced_twice():
    """A surface form that begins with a space may be given as it is."""
    assert raw("{text}:", demonstrations=[("a", " good")]) == "a: good\n\nT:"


def test_chat_demonstrations():
    """Examples are turns between the system message and the question."""
    template = PromptTemplate(
        "Text: {text}", system="One of {labels}.", demonstrations=SHOTS
    )
    assert template.render(texts("T", "U"), LABELS) == [
        (
            ("system", "One of bad, good."),
            ("user", "Text: Superb."),
            ("assistant", "good"),
            ("user", "Text: Dull."),
            ("assistant", "bad"),
            ("user", f"Text: {text}"),
        )
        for text in ("T", "U")
    ]


@pytest.mark.parametrize(
    ("turn", "prefix"),
    [([], "It is"), ([("assistant", "It is")], ""), ([("assistant", "It ")], "is")],
)
def test_chat_answer_prefix(turn, prefix):
    """The beginning of the answer ends the prompt and begins every example's answer."""
    template = PromptTemplate(
        [("user", "{text}"), *turn], demonstrations=SHOTS[:1], answer_prefix=prefix
    )
    assert template.render(texts("T"), LABELS) == [
        (
            ("user", "Superb."),
            ("assistant", "It is good"),
            ("user", "T"),
            ("assistant", "It is"),
        )
    ]


def test_messages_before_the_question_are_not_repeated():
    """Only the turns from the first that a row fills belong to an example."""
    template = PromptTemplate(
        [
            ("system", "About {topic}."),
            ("user", "Rules."),
            ("assistant", "Yes."),
            ("user", "{text}"),
            ("user", "{labels}?"),
        ],
        demonstrations=[({"text": "a", "unused": 0}, "good")],
    )
    rows = Rows(("topic", "text"), [("films", "T"), ("books", "U")])
    for messages, (topic, text) in zip(
        template.render(rows, LABELS), rows.values, strict=True
    ):
        assert messages == (
            ("system", f"About {topic}."),
            ("user", "Rules."),
            ("assistant", "Yes."),
            ("user", "a"),
            ("user", "bad, good?"),
            ("assistant", "good"),
            ("user", text),
            ("user", "bad, good?"),
        )


def test_demonstrations_by_field():
    """A mapping fills fields by name or alias, with numbers as in a table."""
    rows = Rows(("name", "age"), [("Bo", "7")])
    shot = ({"age": 70, "name": "Al"}, "old")
    template = PromptTemplate("{name}, {age}:", demonstrations=[shot])
    assert template.render(rows, LABELS) == [(("prompt", "Al, 70: old\n\nBo, 7:"),)]
    assert raw("{text}:", demonstrations=[({"text": "a"}, "b")]) == "a: b\n\nT:"


@pytest.mark.parametrize(
    ("shot", "error", "message"),
    [
        ("a text", PromptError, r"Demonstration 1 has no value for \{age\}"),
        ({"name": "Al"}, PromptError, r"no value for \{age\}.*mapping"),
        ({}, PromptError, r"no value for \{name\}, \{age\}"),
        ({"name": "Al", "age": None}, ValueError, "1, field 'age' is None"),
        ({"name": "Al", "age": [1]}, TypeError, "1, field 'age' is of type list"),
    ],
)
def test_incomplete_demonstration_is_named(shot, error, message):
    """A demonstration that does not fill the question says which one and what lacks."""
    shots = [({"name": "Al", "age": 1}, "young"), (shot, "old")]
    template = PromptTemplate("{name} {age}", demonstrations=shots)
    with pytest.raises(error, match=message):
        template.fields(["name", "age"])


@pytest.mark.parametrize(
    "params",
    [
        {"template": None},
        {"template": 3},
        {"template": ("user", "{text}")},
        {"template": ["{text}"]},
        {"template": [("user", "{text}", "more")]},
        {"template": [("user", 3)]},
        {"template": [("usr", "{text}")]},
        {"template": [("prompt", "{text}")]},
        {"system": 3},
        {"answer_prefix": None},
        {"demonstrations": None},
        {"demonstrations": "ab"},
        {"demonstrations": ["ab"]},
        {"demonstrations": [("a", 1)]},
        {"demonstrations": [(1, "a")]},
        {"demonstrations": {"a": "b"}},
    ],
)
def test_wrong_parameters_are_refused(params):
    """The constructor stores anything; rendering names the wrong parameter."""
    template = PromptTemplate(**params)
    (name,) = params
    message = f"^The '{name}' parameter of PromptTemplate must be .* instead\\.$"
    with pytest.raises(TypeError, match=message):
        template.render(texts("T"), LABELS)


def test_clone_and_get_params():
    """A template is an estimator: its parameters are stored as they came."""
    params = {
        "template": [("user", "{text}")],
        "system": "s",
        "demonstrations": SHOTS,
        "answer_prefix": "p",
        "max_tokens": 9,
        "n_chains": 2,
        "n_shots": 3,
        "shots": "nearest",
    }
    template = PromptTemplate(**params)
    assert all(template.get_params()[name] is value for name, value in params.items())
    assert clone(template).get_params() == params


def test_default_prompt():
    """Without a prompt, texts and tables get a plain zero-shot question."""
    of_texts = make_template(None, ["text"]).render(texts("T"), LABELS)
    begin = "Classify the text as one of: bad, good.\n\n"
    assert of_texts == [(("prompt", f"{begin}Text: T\nLabel:"),)]
    table = Rows(("name", "age"), [("Bo", "7")])
    of_table = make_template(None, table.columns).render(table, LABELS)
    assert of_table == [(("prompt", f"{begin}name: Bo\nage: 7\nLabel:"),)]


@modest
@given(st.lists(st.text(max_size=8), min_size=1, max_size=4, unique=True))
@example(["{b}", "b"])
@example(["a{b", "c}d"])
@example(["\n", "}{"])
def test_default_prompt_fits_any_columns(columns):
    """The default prompt shows every column, whatever the columns are called."""
    assume("labels" not in columns)
    rows = Rows(tuple(columns), [tuple(f"<{i}>" for i in range(len(columns)))])
    ((message,),) = make_template(None, columns).render(rows, LABELS)
    assert [f"<{i}>" in message[1] for i in range(len(columns))] == [True] * len(columns)


def test_make_template():
    """A str is wrapped, a template kept, anything else refused."""
    template = PromptTemplate("{text}?")
    assert make_template(template, ["text"]) is template
    assert make_template("{text}!", ["text"]).template == "{text}!"
    with pytest.raises(
        TypeError, match=r"The 'prompt' parameter of Logprob.* Got 3 inst"
    ):
        make_template(3, ["text"])


def test_rendering_is_quick():
    """A hundred thousand rows with many examples render in seconds."""
    rows = texts(*map(str, range(100_000)))
    template = PromptTemplate("{text}", system="s", demonstrations=SHOTS * 10)
    start = perf_counter()
    prompts = template.render(rows, LABELS)
    assert perf_counter() - start < 10
    assert prompts[-1][-1] == ("user", "99999")
