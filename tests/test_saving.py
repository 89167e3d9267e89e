"""Fitted classifiers as JSON: the same ones come back, and nothing else does."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_classifiers import MADE, NEW, fake, fitted, told
from sklearn.base import clone

from sklearn_logprob import LogprobClassifier


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
    expected = {}
    for number, name in enumerate(MADE):
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


def refused(text, **given):
    """Give the one line that says why a text is refused."""
    with pytest.raises(ValueError, match=r"^\w") as caught:
        LogprobClassifier.from_json(text, **given)
    said = str(caught.value)
    assert said and "\n" not in said
    return said


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
    assert "neither" in refused("no such file")


def test_the_model_must_be_the_one_of_fit():
    """Another one is named; the same one may be given."""
    text = fitted("metric")[0].to_json()
    twin = LogprobClassifier.from_json(text, backend=fake())
    assert twin.predict(NEW).tolist() == fitted("metric")[0].predict(NEW).tolist()
    said = refused(text, backend=fake(temperature=2.0))
    assert "model differs" in said and "temperature was 1.0 and is 2.0" in said
    said = refused(text, backend="openai:gpt-4.1-mini")
    assert "was FakeBackend and is OpenAIBackend" in said


FUZZED = ("metric", "tokens", "per label, pooled", "nearest", "stack", "venn-abers",
          "calibrator isotonic", "three costs", "letters", "frame", "logistic",
          "one class", "per label, tokens", "sampled")  # fmt: skip
ODD = [None, True, 0, -1, 3, 0.5, 10**30, 1e308, -1e99, "", "x", "{", "{y}", "os"]
ODD += [[], {}, [None], [[1]], {"object": {}}, {"float": "nan"}, {"float": "inf"}]
ODD += [{"tuple": []}, {"dict": [["a", 1]]}, {"path": "x"}, "NoCalibration"]


def places(node):
    """List all (container, key) in JSON."""
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(inner):
        yield node, key
        if isinstance(value, dict | list):
            yield from places(value)


@st.composite
def mutated(draw):
    """Give the name of a classifier, and its text with a few changes."""
    name = draw(st.sampled_from(FUZZED))
    document = json.loads(fitted(name)[0].to_json())
    for _ in range(draw(st.integers(1, 3))):
        node, key = draw(st.sampled_from(list(places(document))))
        match draw(
            st.sampled_from(["drop", "retype", "double", "nest", "swap", "scale"])
        ):
            case "drop":
                del node[key]
            case "retype":
                node[key] = draw(st.sampled_from(ODD))
            case "double" if isinstance(node[key], list):
                node[key] = node[key] * 2
            case "nest":
                for _ in range(draw(st.sampled_from([1, 2, 700]))):
                    node[key] = draw(
                        st.sampled_from([[node[key]], {"tuple": [node[key]]}])
                    )
            case "scale" if type(node[key]) in (int, float):
                node[key] = node[key] * draw(st.sampled_from([-1, 0, 2, 1e90]))
            case _:
                other, at = draw(st.sampled_from(list(places(document))))
                node[key] = json.loads(json.dumps(other[at]))
    try:
        return name, json.dumps(document)
    except RecursionError:
        return name, "[" * 100_000


@settings(max_examples=400)
@given(mutated())
def test_a_changed_file_is_refused_or_works(case):
    """Either one line says what is wrong, or probabilities can be predicted."""
    name, text = case
    try:
        twin = LogprobClassifier.from_json(text)
    except ValueError:
        refused(text)
        return
    twin.cache = None
    P = twin.predict_proba(fitted(name)[1])
    assert P.shape == (len(fitted(name)[1]), len(twin.classes_))
    assert np.isfinite(P).all()
    twin.predict(fitted(name)[1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON.map(json.dumps) | st.text() | st.text().map("{{{}".format))
def test_random_texts_are_refused(text):
    """JSON of anything else, and what is no JSON at all."""
    refused(text)
