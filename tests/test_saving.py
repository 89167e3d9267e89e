"""Fitted classifiers as JSON: the same ones come back, and nothing else does."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_llama_server import FakeLlamaServer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from saved_classifiers import (
    FEW,
    FEW_Y,
    MADE,
    NEW,
    THREE,
    X,
    fake,
    fitted,
    refused,
    told,
)
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from sklearn_logprob import (
    BackendError,
    BestMetric,
    Cache,
    FakeBackend,
    LlamaCppBackend,
    LlamaServerBackend,
    LogprobClassifier,
    OpenAIBackend,
    PromptTemplate,
)
from sklearn_logprob._json_values import decode, encode, parse
from sklearn_logprob._saved_parts import PARTS


@pytest.mark.parametrize("name", MADE)
def test_the_same_classifier_comes_back(name):
    """All that it says is the same to the last bit, and so are its parameters."""
    clf, rows = fitted(name)
    text = clf.to_json()
    twin = LogprobClassifier.from_json(text)
    for one, other in zip(told(clf, rows), told(twin, rows), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert repr(twin.get_params()) == repr(clf.get_params())
    assert repr(clone(twin).get_params()) == repr(clf.get_params())
    learnt = {n for n in vars(clf) if n[-1] == "_"}
    assert learnt == {n for n in vars(twin) if n[-1] == "_"}
    for attribute in learnt - {"usage_", "report_", "threshold_", "prompt_"}:
        assert repr(getattr(twin, attribute)) == repr(getattr(clf, attribute))
    np.testing.assert_array_equal(
        np.asarray(twin.threshold_, float), np.asarray(clf.threshold_, float)
    )
    assert twin.to_json() == text
    assert pickle.loads(pickle.dumps(twin)).to_json() == text


def test_a_fresh_process_says_the_same(tmp_path):
    """Nothing that this process has imported or remembered is needed."""
    expected, some = {}, ["tokens", "stack", "nearest", "calibrator isotonic", "letters"]
    some += ["venn-abers", "three costs", "per label, pooled", "recall", "sampled"]
    for number, name in enumerate(some):
        clf, rows = fitted(name)
        clf.to_json(tmp_path / f"{number}.json")
        expected[f"{number}.json"] = rows, told(clf, rows)
    (tmp_path / "expected").write_bytes(pickle.dumps(expected))
    code = (
        "import pickle, sys; from pathlib import Path; import numpy as np\n"
        "from saved_classifiers import told; from sklearn_logprob import *\n"
        "folder = Path(sys.argv[1])\n"
        "expected = pickle.loads((folder / 'expected').read_bytes())\n"
        "for name, (rows, said) in expected.items():\n"
        "    clf = LogprobClassifier.from_json(folder / name)\n"
        "    for one, other in zip(said, told(clf, rows), strict=True):\n"
        "        np.testing.assert_array_equal(one, other)\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(here)}
    subprocess.run(command, check=True, cwd=here.parent, env=environ)


def changed(text, change):
    """Apply a change to what a file says."""
    document = json.loads(text)
    change(document)
    return json.dumps(document)


def test_files_are_private_and_whole(tmp_path):
    """Their owner alone reads them; a failure leaves the old one; links are refused."""
    clf, path = fitted("metric")[0], tmp_path / "clf.json"
    path.write_text("old")
    path.chmod(0o644)
    text = clf.to_json(path)
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o600
    assert LogprobClassifier.from_json(str(path)).to_json() == text
    assert LogprobClassifier.from_json(path).to_json() == text
    assert list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.json"
    link.symlink_to(path)
    assert "symbolic link" in refused(link)
    with pytest.raises(ValueError, match="symbolic link"):
        clf.to_json(link)
    with pytest.raises(FileNotFoundError):
        LogprobClassifier.from_json(tmp_path / "none.json")
    with pytest.raises(
        FileNotFoundError, match=r"folder of '.*no/clf.json' is not there"
    ):
        clf.to_json(tmp_path / "no" / "clf.json")
    with pytest.raises(IsADirectoryError, match="is a folder: name a file in it"):
        clf.to_json(tmp_path)
    with pytest.raises(TypeError, match="takes the text of to_json or the path"):
        LogprobClassifier.from_json({})
    assert "neither" in refused("no such file")
    path.write_bytes(pickle.dumps(clf))
    assert "does not hold text" in refused(path)


@pytest.mark.parametrize("cache", [None, "auto", "a", Path("a"), Cache("a")])
def test_places_for_answers_come_back(cache):
    """As they were given, and nothing is made there."""
    clf = zero_shot(fake()).set_params(cache=cache)
    found = LogprobClassifier.from_json(clf.to_json()).cache
    assert type(found) is type(cache) and str(found) == str(cache)
    assert not Path("a").exists()


def test_parameters_that_are_absent_have_their_default():
    """So that a later version can read the file when it has more of them."""
    clf = fitted("affine")[0]
    text = changed(clf.to_json(), lambda document: document["params"].pop("verbose"))
    assert LogprobClassifier.from_json(text).to_json() == clf.to_json()


def test_the_model_must_be_the_one_of_fit():
    """Another one is named; the same one may be given."""
    text = fitted("metric")[0].to_json()
    twin = LogprobClassifier.from_json(text, backend=fake())
    assert twin.predict(NEW).tolist() == fitted("metric")[0].predict(NEW).tolist()
    said = refused(text, backend=fake(temperature=2.0))
    assert "model differs" in said and "temperature was 1.0 and is 2.0" in said
    said = refused(text, backend="openai:gpt-4.1-mini")
    assert "was FakeBackend and is OpenAIBackend" in said


def test_a_prompt_may_be_demanded():
    """However it is written; another one is refused, and both are named."""
    clf = LogprobClassifier(fake(), prompt="question", classes=["bad", "good"]).fit()
    text = clf.to_json()
    LogprobClassifier.from_json(
        text, prompt=PromptTemplate.from_style("question", ["text"])
    )
    said = refused(text, prompt="Review: {text}")
    assert "template differs" in said
    assert "Review: {text}" in said and "Choose from" in said


def zero_shot(backend):
    """Fit without asking anything."""
    return LogprobClassifier(backend, classes=["bad", "good"], cache=None).fit()


def test_other_weights_are_refused(tmp_path):
    """The same file may be elsewhere; what is in it may not change."""
    weights, moved = tmp_path / "a.gguf", tmp_path / "b.gguf"
    weights.write_bytes(b"GGUF" + bytes(1000))
    text = zero_shot(LlamaCppBackend(weights, weights="as-is")).to_json()
    LogprobClassifier.from_json(text)
    moved.write_bytes(weights.read_bytes())
    elsewhere = LlamaCppBackend(moved, weights="as-is")
    assert LogprobClassifier.from_json(text, backend=elsewhere).backend_ is elsewhere
    weights.write_bytes(b"GGUF" + b"x" * 1000)
    assert "weights was" in refused(text)
    weights.unlink()
    assert "There is no file" in refused(text)


def test_another_engine_warns(tmp_path):
    """Its scores may differ a little, and refusing would tie a file to one build."""
    pytest.importorskip("llama_cpp")
    weights = tmp_path / "a.gguf"
    weights.write_bytes(b"GGUF" + bytes(1000))
    text = zero_shot(LlamaCppBackend(weights, weights="as-is")).to_json()
    engine = json.dumps(LlamaCppBackend(weights).answer_identity()["engine"])
    with pytest.warns(UserWarning, match="engine was 'older'"):
        LogprobClassifier.from_json(text.replace(engine, '"older"'))


@pytest.mark.filterwarnings("ignore:The labels hold", "ignore:By these labels")
def test_a_server_may_move_but_not_change():
    """Loading sends nothing, and needs no server; the first question asks who it is."""
    with FakeLlamaServer() as first:
        backend = LlamaServerBackend(first.url, max_retries=0)
        clf = LogprobClassifier(backend, cache=None, prompt="{text}:")
        text = clf.fit(FEW[:8], FEW_Y[:8]).to_json()
        expected = clf.predict_proba(NEW)
    twin = LogprobClassifier.from_json(text)  # the server is gone
    with pytest.raises(BackendError):
        twin.predict(NEW)
    with FakeLlamaServer() as second:
        there = LlamaServerBackend(second.url)
        twin = LogprobClassifier.from_json(text, backend=there)
        assert second.calls == []
        np.testing.assert_array_equal(twin.predict_proba(NEW), expected)
    with FakeLlamaServer(model_path="/models/other.gguf") as other:
        twin = LogprobClassifier.from_json(text, backend=LlamaServerBackend(other.url))
        with pytest.raises(ValueError, match=r"model_path was .*toy.* and is .*other"):
            twin.predict(NEW)
        with pytest.raises(ValueError, match="model differs"):
            twin.to_json()
        assert other.asked("/completion") == []


def test_an_address_changes_only_where_it_is_given(monkeypatch):
    """Not by an environment variable, which somebody else may have set."""
    text = zero_shot(OpenAIBackend("some-model")).to_json()
    moved = OpenAIBackend("some-model", base_url="http://localhost:1/v1")
    assert LogprobClassifier.from_json(text, backend=moved).backend_ is moved
    assert "model was" in refused(text, backend=OpenAIBackend("another-model"))
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    assert "base_url was" in refused(text)


@pytest.mark.filterwarnings("ignore:The labels hold", "ignore:By these labels")
def test_no_key_is_saved(monkeypatch):
    """The name of its variable is."""
    key = "sk-planted-4711"
    monkeypatch.setenv("PLANTED", key)
    with FakeLlamaServer(key=key) as server:
        backend = LlamaServerBackend(server.url, api_key_env="PLANTED")
        clf = LogprobClassifier(backend, cache=None).fit(FEW[:8], FEW_Y[:8])
        text = clf.to_json()
        assert key not in text and "PLANTED" in text
        assert LogprobClassifier.from_json(text).predict(NEW).shape == (len(NEW),)


class OwnCalibrator(LogisticRegression):
    """Of the user."""


class OwnBackend(FakeBackend):
    """Of the user."""


def accuracy(y, decided):
    """Metric of the user."""
    return float((y == decided).mean())


@pytest.mark.parametrize(
    "named, params",
    [
        ("calibrator is of the class test_saving.OwnCalibrator",
         {"calibrator": OwnCalibrator()}),
        ("threshold.metric is test_saving.accuracy", {"threshold": BestMetric(accuracy)}),
        ("backend is of the class test_saving.OwnBackend", {"backend": OwnBackend()}),
        ("random_state is of the class", {"random_state": np.random.RandomState(0)}),
        ("classes is of the class", {"classes": pd.Index(["bad", "good"])}),
    ],
)  # fmt: skip
def test_what_is_not_ours_is_refused(named, params, tmp_path):
    """It is named, and pickle is recommended; no file is left behind."""
    clf = LogprobClassifier(**{"backend": fake(), "cache": None} | params)
    clf.fit(FEW, FEW_Y)
    with pytest.raises(ValueError, match=f"{named}.*pickle"):
        clf.to_json(tmp_path / "clf.json")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_saved_before_fit():
    """As everywhere in scikit-learn."""
    with pytest.raises(NotFittedError):
        LogprobClassifier(fake()).to_json()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda d: d.update(version=2), "version 2"),
        (lambda d: d.update(version=True), "version True"),
        (lambda d: d.update(format="pickle"), "not a classifier"),
        (lambda d: d.update(more=1), "no others"),
        (lambda d: d.pop("heads"), "no others"),
        (lambda d: d["params"].update(more=1), "no parameters"),
        (lambda d: d["params"].update(on_error="ignore"), "'on_error' parameter"),
        (lambda d: d["params"].update(cache=7), "cache"),
        (lambda d: backend(d).update({"class": "os.system"}), "unknown class"),
        (lambda d: backend(d).update({"class": "LogprobClassifier"}), "unknown class"),
        (lambda d: backend(d)["params"].update(evil=1), "params"),
        (lambda d: learnt(d).update(evil_=1), "learnt"),
        (lambda d: learnt(d).pop("bias_"), "bias_ must be"),
        (lambda d: learnt(d)["bias_"]["array"].update(shape=[3]), "shape"),
        (lambda d: learnt(d)["bias_"]["array"].update(dtype="<U9"), "dtype"),
        (lambda d: learnt(d)["bias_"]["array"].update(dtype="|V8"), "dtype"),
        (lambda d: learnt(d)["bias_"]["array"].update(
            shape=[3], values=[0.5, 0.5, 0.5]), "bias_ must be"),
        (lambda d: learnt(d)["bias_"]["array"].update(
            values=[{"float": "inf"}, 0.5]), "bias_ must be"),
        (lambda d: learnt(d).update(scale_=True), "scale_ must be"),
        (lambda d: d["heads"].append(d["heads"][0]), "heads"),
        (lambda d: d["names"].pop(), "names"),
        (lambda d: d["described"].update(label_mass_="1"), "label_mass_"),
        (lambda d: d["prompt"]["object"]["params"].update(template="{title}"), "title"),
        (lambda d: d["prompt"]["object"]["params"].update(n_chains=10**9), "n_chains"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(change, said):
    """In one line, with the place."""
    assert said in refused(changed(fitted("affine")[0].to_json(), change))


def test_a_demonstration_has_a_text_for_each_column():
    """And an answer; what is missing would come to light in predict only."""

    def widen(document):
        pool = document["prompt"]["object"]["params"]["pool"]["object"]["params"]
        pool["values"][0]["tuple"] *= 2

    def shorten(document):
        document["prompt"]["object"]["params"]["answers"].pop()

    text = fitted("nearest")[0].to_json()
    assert "prompt.pool.values must be a list" in refused(changed(text, widen))
    assert "needs an answer to show" in refused(changed(text, shorten))


def backend(document):
    """The backend, in a file."""
    return document["params"]["backend"]["object"]


def learnt(document):
    """What the calibrator has learnt, in a file."""
    return document["heads"][0]["calibrator"]["object"]["learnt"]


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1, "a": 1}', '{"a": ' * 10**5, "{"]
)
def test_odd_json_is_refused(text):
    """What the standard does not have, and what would overflow the stack."""
    refused(text)


def test_a_file_that_is_no_json_is_called_so(tmp_path):
    """An empty one too, of which the parser only says that it expects a value."""
    path = tmp_path / "clf.json"
    path.write_text("")
    assert "the text is no JSON" in refused(path)


def test_reports_come_back_if_they_were_looked_at():
    """As from a pickle."""
    clf = LogprobClassifier(fake(), cache=None, random_state=0).fit(FEW, FEW_Y)
    blank = LogprobClassifier.from_json(clf.to_json()).report_
    with pytest.raises(RuntimeError, match="saved before it was looked at"):
        blank.to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = str(clf.report_)
    kept = LogprobClassifier.from_json(clf.to_json()).report_
    assert str(kept) == table
    assert kept.to_dict() == clf.report_.to_dict()


def test_adapted_and_explored_as_before():
    """Other class frequencies are kept, and the page is the same."""
    clf, _ = fitted("metric")
    adapted = clf.adapt_prior(class_prior=[0.2, 0.5, 0.3])
    twin = LogprobClassifier.from_json(adapted.to_json())
    for one, other in zip(told(adapted, NEW), told(twin, NEW), strict=True):
        np.testing.assert_array_equal(one, other)
    again = LogprobClassifier.from_json(clf.to_json())
    for out_of_fold in (False, True):
        pages = [one.explore(X, THREE, out_of_fold=out_of_fold) for one in (clf, again)]
        assert pages[0].html == pages[1].html


def held(thing):
    """All objects of registered classes in something, and in what they hold."""
    if type(thing).__name__ in PARTS:
        yield thing
    inner = vars(thing).values() if hasattr(thing, "__dict__") else ()
    inner = thing if isinstance(thing, list | tuple) else inner
    for value in inner:
        if not isinstance(value, type):
            yield from held(value)


@pytest.mark.parametrize("name", MADE)
def test_all_that_was_learnt_is_declared(name):
    """No attribute that ends in an underscore is left out of the table."""
    for thing in held(fitted(name)[0]._head):
        found = {n for n in getattr(thing, "__dict__", {}) if n[-1] == "_"}
        declared = set(PARTS[type(thing).__name__].learnt) | {"f_"}  # made by setstate
        assert found <= declared, type(thing)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
    | st.text() | arrays(st.sampled_from(["i1", "u8", "f4", "f8", "?", "U3"]),
                         array_shapes(min_dims=0, min_side=0)),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple)
    | st.dictionaries(st.text() | st.booleans() | st.tuples(st.text()), inner),
)  # fmt: skip


@settings(max_examples=40)
@given(VALUES)
def test_values_come_back_exactly(value):
    """With their types, dtypes and shapes, through real JSON."""
    text = json.dumps(encode(value, "", None), allow_nan=False)
    found = decode(parse(text), "", None)
    assert_equal_with_types(found, value)


def assert_equal_with_types(found, value):
    assert type(found) is type(value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype and found.shape == value.shape
        np.testing.assert_array_equal(found, value)
    elif isinstance(value, dict):
        assert list(found) == list(value)
        assert_equal_with_types(list(found.values()), list(value.values()))
    elif isinstance(value, list | tuple):
        assert len(found) == len(value)
        for one, other in zip(found, value, strict=True):
            assert_equal_with_types(one, other)
    else:
        assert found == value
