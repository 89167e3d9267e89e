"""Files that are not what was saved: each is refused in one line, or works."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_classifiers import fitted, refused

from sklearn_logprob import LogprobClassifier

FUZZED = ("metric", "tokens", "per label, pooled", "nearest", "stack", "venn-abers",
          "calibrator isotonic", "three costs", "letters", "frame", "logistic",
          "one class", "per label, tokens", "sampled")  # fmt: skip
ODD = [None, True, 0, -1, 3, 0.5, 10**30, 1e308, -1e99, "", "x", "{", "{y}", "os"]
ODD += [[], {}, [None], [[1]], {"object": {}}, {"float": "nan"}, {"float": "inf"}]
ODD += [{"tuple": []}, {"dict": [["a", 1]]}, {"path": "x"}, "NoCalibration"]


CHANGES = ["drop", "retype", "double", "nest", "swap", "scale"]


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
        change = draw(st.sampled_from(CHANGES))
        match change:
            case "drop":
                del node[key]
            case "retype":
                node[key] = deepcopy(draw(st.sampled_from(ODD)))
            case "double" if isinstance(node[key], list):
                node[key] = node[key] * 2
            case "nest":
                for _ in range(draw(st.sampled_from([1, 2, 300]))):
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


@settings(max_examples=150)
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
