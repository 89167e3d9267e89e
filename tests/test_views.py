"""Labels as lettered options: what the model sees, and what its letters mean."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from sklearn_logprob import (
    Answer,
    FailedRowsWarning,
    LogprobClassifier,
    PromptError,
    PromptTemplate,
    RefusedError,
    TokenLogprobs,
    TokenUsage,
    Verbalizer,
)
from sklearn_logprob._views import coded_views

CLASSES = ["billing", "delivery", "other", "returns"]
LINE = re.compile(r"^(\w+)\. (.*)$", re.M)


class Chooser(BaseEstimator):
    """Reads the options in the prompt; likes some words, some letters, some places."""

    answer_params = ("letters", "shown")

    def __init__(self, letters=None, shown=False):
        self.letters = letters
        self.shown = shown

    @property
    def scores_choices(self):
        return not self.shown

    @property
    def max_top_logprobs(self):
        return 20 if self.shown else 0

    def answer_identity(self):
        return {"letters": self.letters, "shown": self.shown}

    def answer(self, requests):
        for index, request in enumerate(requests):
            prompt = request.messages[-1][1]
            if "taboo" in prompt:
                yield index, RefusedError("Not {row}.", index)
                continue
            P = self.posterior(prompt)
            known = {f" {c}": math.log(p) for c, p in P.items()}
            if request.choices:
                scores = tuple((c, known.get(c, -60.0)) for c in request.choices)
                yield index, Answer(choices=scores, usage=TokenUsage(9, 1))
            else:
                top = tuple(sorted(known.items(), key=lambda pair: -pair[1]))
                position = TokenLogprobs(*top[0], top)
                yield index, Answer((position,), usage=TokenUsage(9, 1))

    def posterior(self, prompt):
        """0.9 of the probability goes to the codes, by word and by letter."""
        text = prompt.rpartition("Text:")[2]
        bias = self.letters or {}
        logits = {
            code: 3.0 * (word.split(":")[0] in text) + bias.get(code, 0.0)
            for code, word in LINE.findall(prompt)
        }
        total = sum(map(math.exp, logits.values()))
        return {code: 0.9 * math.exp(z) / total for code, z in logits.items()}


def classifier(codes="letters", permutations=1, backend=None, **params):
    return LogprobClassifier(
        backend or Chooser(),
        verbalizer=Verbalizer(codes=codes, permutations=permutations),
        classes=CLASSES,
        calibrator=None,
        cache=None,
        **params,
    ).fit()


def test_the_options_are_listed_and_letters_read_as_their_labels():
    """Each label has a line of its own, and its code's probability."""
    clf = classifier()
    [request] = clf.requests(["my returns"])
    assert "A. billing\nB. delivery\nC. other\nD. returns\n" in request.messages[0][1]
    assert request.choices == (" A", " B", " C", " D", "A", "B", "C", "D")
    e = math.exp(3)
    np.testing.assert_allclose(
        clf.predict_proba(["my returns"]), [[1, 1, 1, e]] / np.array(3 + e)
    )
    assert clf.label_scores(["x"]).sum() == pytest.approx(4 * math.log(0.225))


def test_lone_letters_of_top_k_answers_are_read():
    """A letter that is a whole answer counts, though a letter may begin a sentence."""
    exact, shown = (classifier(backend=Chooser(shown=s)) for s in (False, True))
    np.testing.assert_allclose(
        exact.label_scores(["delivery"]), shown.label_scores(["delivery"])
    )


@pytest.mark.parametrize("codes", ["letters", "numbers"])
@pytest.mark.parametrize("n_classes", [2, 26, 27, 77, 100])
def test_up_to_a_hundred_classes_have_codes_of_their_own(codes, n_classes):
    """No two classes share one, and the right one is found again."""
    names = [f"intent {number:03}" for number in range(n_classes)]
    clf = LogprobClassifier(
        Chooser(), verbalizer=codes, classes=names, calibrator=None, cache=None
    ).fit()
    assert clf.predict(names[-3:]).tolist() == names[-3:]
    [view] = Verbalizer(codes=codes).views(names)
    assert len({spelling for (spelling,) in view.spellings}) == n_classes


letters = st.fixed_dictionaries({c: st.floats(-3, 3) for c in "ABCD"})


@given(letters)
def test_all_rotations_take_out_what_letters_are_worth(bias):
    """Four orders of four options: each label has been each letter once."""
    X = ["billing", "other returns", "none"]
    biased = classifier(permutations=4, backend=Chooser(letters=bias)).predict_proba(X)
    np.testing.assert_allclose(biased, classifier().predict_proba(X), atol=1e-9)


@given(st.integers(2, 30), st.integers(1, 40))
def test_each_order_is_a_rotation_with_every_code_once(n_classes, permutations):
    """The first is the order of the classes, and no two are the same."""
    forms = [(f"label{k}",) for k in range(n_classes)]
    views = coded_views(forms, [""] * n_classes, "letters", permutations)
    assert len(views) == len({view.listed for view in views})
    assert len(views) == min(permutations, n_classes)
    for view in views:
        told = dict(LINE.findall(view.listed[0]))
        for (code,), (form,) in zip(view.spellings, forms, strict=True):
            assert told[code] == form
        assert list(told) == list(dict(LINE.findall(views[0].listed[0])))
    told = dict(LINE.findall(views[0].listed[0]))
    assert list(told.values()) == [form for (form,) in forms]


def test_a_row_is_asked_once_for_each_order():
    """Requests, usage, and the row that an error names."""
    clf = classifier(permutations=2)
    assert len(clf.requests(["a", "b", "c"])) == 6
    clf.predict(["a", "b", "c"])
    assert clf.usage_.requests == 6
    with pytest.raises(RefusedError, match="row 1 of X"):
        clf.predict(["a", "taboo"])
    clf = classifier(permutations=2, on_error="nan")
    with pytest.warns(FailedRowsWarning, match=r"1 of 2 rows of X .*: 1\."):
        assert np.isnan(clf.predict_proba(["a", "taboo"])).any(axis=1).tolist() == [0, 1]


def test_descriptions_stand_behind_their_labels():
    """What a label means is told where it is listed."""
    verbalizer = Verbalizer(codes="letters", descriptions={"other": "none of these"})
    [view] = verbalizer.views(CLASSES)
    assert "C. other: none of these\nD." in view.listed[0]


def test_demonstrations_answer_with_the_code():
    """In each order with that of its label."""
    template = PromptTemplate(
        "{labels}\nText: {text}\nOption:", demonstrations=[("My money!", "billing")]
    )
    requests = classifier(permutations=2, prompt=template).requests(["x"])
    shown = [request.messages[0][1] for request in requests]
    assert [re.findall(r"money!\nOption: (\w)", text) for text in shown] == [["A"], ["C"]]


def test_a_prompt_that_does_not_list_the_options_is_refused():
    """The model could not know what the letters mean."""
    with pytest.raises(PromptError, match=r"put \{labels\} into it"):
        classifier(prompt="Text: {text}\nLabel:").requests(["x"])


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"codes": "roman"}, "'codes' .* Got 'roman'"),
        ({"permutations": 2}, "'permutations' .* needs codes"),
        ({"codes": "letters", "permutations": 0}, "'permutations' .* Got 0"),
    ],
)
def test_wrong_codes_are_refused(params, says):
    """Before anything is asked."""
    clf = LogprobClassifier(verbalizer=Verbalizer(**params), classes=CLASSES)
    with pytest.raises(ValueError, match=says):
        clf.fit()
