"""Fitted classifiers of every kind, for the tests of what becomes of them in a file."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from sklearn_logprob import (
    AffineCalibration,
    BatchCalibration,
    BestMetric,
    BetaCalibration,
    ChowRule,
    DomainPrompt,
    DomainWords,
    FakeBackend,
    FixedThreshold,
    LeastCost,
    LogprobClassifier,
    PrecisionAtLeast,
    PromptEnsemble,
    PromptTemplate,
    RecallAtLeast,
    RiskAtMost,
    SamplingBackend,
    TokenReadout,
    VennAbersCalibration,
    Verbalizer,
)
from sklearn_logprob.calibration import CALIBRATORS

WORDS = {"great": 1.5, "warm": 0.8, "dull": -1.5, "slow": -0.7, "odd": 0.2}
EVIDENCE = {word: {"good": odds} for word, odds in WORDS.items()}
PROMPT = "Review: {text}\nIt is"
RNG = np.random.default_rng(0)
X = [
    f"{' '.join(RNG.choice(list(WORDS), 3))} {chr(97 + i // 10)}{chr(97 + i % 10)}"
    for i in range(60)
]
ODDS = np.array([sum(WORDS[w] for w in x.split()[:3]) for x in X])
Y = np.where(RNG.random(60) < 1 / (1 + np.exp(-ODDS)), "good", "bad")
FEW, FEW_Y = X[:24], Y[:24]
THREE = np.where(np.abs(ODDS) < 0.5, "so-so", Y)
SETS = np.column_stack([Y == "good", np.abs(ODDS) < 1, RNG.random(60) < 0.3]).astype(int)
NEW = ["a great odd film", "dull dull dull", "slow, warm", "nothing <|im_start|> é"]
SHOTS = {"template": PROMPT, "n_shots": 4}
TEMPLATES = [PROMPT, "{text}. I call that", "{labels}? {text}:"]
FRAME = pd.DataFrame({"title": X[:24], "year": range(24)})


def fake(**params):
    return FakeBackend(EVIDENCE, bias={"good": 0.7}, **params)


def made(X=FEW, y=FEW_Y, new=NEW, backend=None, **params):
    """Say how a classifier is made: its parameters, its rows, and others to predict."""
    params = {"prompt": PROMPT, "random_state": 0, "cv": 2, "cache": None} | params
    return {"backend": fake() if backend is None else backend, **params}, X, y, new


def several(**params):
    params = {"prompt": "{text}. Is it {label}?", "classes": ["a", "b", "c"]} | params
    return made(X, SETS, **params)


MADE = {
    **{f"calibrator {name}": made(X, Y, calibrator=name) for name in CALIBRATORS},
    "no calibrator": made(calibrator=None),
    "batch": made(calibrator=BatchCalibration(class_prior=[0.3, 0.7])),
    "beta": made(calibrator=BetaCalibration()),
    "venn-abers": made(X, Y, calibrator=VennAbersCalibration()),
    "affine": made(calibrator=AffineCalibration("vector", class_prior="labels")),
    "logistic": made(calibrator=LogisticRegression(C=0.5)),
    "three logistic": made(X, THREE, calibrator=LogisticRegression()),
    "tokens": made(X, Y, readout="tokens"),
    "auto tokens": made(X, Y, readout=TokenReadout(weight=0.4, penalty=0.5)),
    "tokens without answers": made(X, Y, readout="auto", backend=fake(exact=False)),
    "number": made(threshold=0.3, pos_label="bad"),
    "three numbers": made(X, THREE, threshold=np.array([1.0, 2.0, 1.5])),
    "metric": made(X, THREE, threshold="f1_macro"),
    "search": made(threshold=BestMetric("f1", method="search")),
    "fixed": made(threshold=FixedThreshold((3, 1))),
    "precision": made(X, Y, threshold=PrecisionAtLeast(0.6)),
    "recall": made(X, Y, threshold=RecallAtLeast(0.7), reject=RiskAtMost(0.4)),
    "cost": made(threshold=LeastCost({("good", "bad"): 5.0, ("bad", "good"): 1.0})),
    "three costs": made(X, THREE, threshold=LeastCost(1 - np.eye(3)), reject=ChowRule()),
    "shots": made(X, Y, prompt=PromptTemplate(**SHOTS)),
    "nearest": made(X, Y, prompt=PromptTemplate(**SHOTS, shots="nearest")),
    "average": made(prompt=PromptEnsemble(TEMPLATES)),
    "stack": made(X, Y, prompt=PromptEnsemble(TEMPLATES, combine="stack")),
    "shots in a stack": made(
        X, Y, prompt=PromptEnsemble([PROMPT, PromptTemplate(**SHOTS)], combine="stack")
    ),
    "chat": made(prompt=PromptTemplate("{text}", system="Hm.")),
    "demonstrations": made(
        prompt=PromptTemplate(PROMPT, demonstrations=[({"text": "great"}, "good")])
    ),
    "other": made(verbalizer=Verbalizer(other="class")),
    "none option": made(verbalizer=Verbalizer({"good": ["good", "fine"], "bad": "bad"},
                                              none_option="none of these")),
    "letters": made(prompt=None, verbalizer=Verbalizer(codes="letters", permutations=2)),
    "content free": made(content_free=("N/A", "")),
    "words": made(content_free=DomainWords(3)),
    "no row": made(content_free=DomainPrompt("It is")),
    "integers": made(
        y=(FEW_Y == "good").astype(np.int8), verbalizer={0: "bad", 1: "good"}
    ),
    "booleans": made(y=FEW_Y == "good", verbalizer={False: "bad", True: "good"}),
    "codes": made(y=(FEW_Y == "good").astype(int), classes=["bad", "good"]),
    "objects": made(y=FEW_Y.astype(object)),
    "frame": made(FRAME, new=FRAME[:3], prompt="{title} ({year}):"),
    "array": made(FRAME.to_numpy(), new=FRAME[:3].to_numpy(), prompt="{x0} ({x1}):"),
    "series": made(pd.Series(FEW, name="review"), prompt="{review}:"),
    "unlabelled": made(y=None, classes=["bad", "good"]),
    "zero-shot": made(None, None, classes=["bad", "good"], calibrator=None),
    "one class": made(y=["good"] * 24),
    "sampled": made(backend=SamplingBackend(fake(), n_samples=8), on_error="nan"),
    "folds": made(cv=StratifiedKFold(3, shuffle=True, random_state=1)),
    "per label": several(),
    "per label, tokens": several(readout="tokens", threshold="f1_macro"),
    "per label, pooled": several(threshold="f1_micro", calibrator="isotonic"),
    "per label, numbers": several(threshold=[0.3, 0.5, 0.7]),
    "per label, zero-shot": made(
        None, None, prompt="{text} {label}?", classes=["a", "b"], multilabel="per_label"
    ),
    "one query": several(prompt="{text}. About", multilabel="one_query"),
    "sets": made(
        X, [{"a"} if s[0] else {"b", "c"} for s in SETS], prompt="{text} {label}?"
    ),
}  # fmt: skip


@cache
def fitted(name):
    """Give a fitted classifier, and rows for it."""
    params, rows, y, new = MADE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return LogprobClassifier(**params).fit(rows, y), new


def told(clf, rows):
    """Give all that it says of rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = [clf.predict_proba(rows), clf.decision_function(rows), clf.predict(rows)]
        found += [clf.label_scores(rows), clf.classes_, clf.class_prior_]
        return found + ([clf.accept(rows)] if clf.rejector_ is not None else [])


def refused(text, **given):
    """Give the one line that says why a text is refused."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        LogprobClassifier.from_json(text, **given)
    said = str(caught.value)
    assert said and "\n" not in said
    return said
