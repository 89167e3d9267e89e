"""What was learnt after the answers, saved and made again."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from sklearn_logprob._errors import UnreadableAnswerError
from sklearn_logprob._heads import Head
from sklearn_logprob._json_values import decode, encode, entries
from sklearn_logprob._kinds import a, every_class, maybe, numbers
from sklearn_logprob._label_heads import LabelHeads
from sklearn_logprob._labels import Labels
from sklearn_logprob._parts import TemplateFeatures
from sklearn_logprob._resampling import Score
from sklearn_logprob._saved_parts import decode_part, encode_part, hold
from sklearn_logprob.readout import TokenReadout
from sklearn_logprob.report import Report

__all__ = ["head_content", "make_heads", "try_head"]

SHARE = numbers("K", low=0, high=1)
TEMPLATES = "templates"  # in place of features that follow from the prompt
HEAD = {
    "order": every_class,
    "class_prior": SHARE,
    "learnt_prior": SHARE,
    "calibrator": a("predict_proba"),
    "selector": maybe(a("fit")),
    "rejector": maybe(a("accept")),
    "true_proba": maybe(numbers("n", low=0, high=1)),
    "features": maybe(a("transform", TEMPLATES)),
}
CONTENT = (*HEAD, "report")

LOST = UnreadableAnswerError("No answer.", 0)
FAR = 50.0  # natural log: further apart than the scores of most rows


def head_content(head: Head, where: str) -> dict[str, Any]:
    """Give all that is to be saved of a head.

    Parameters
    ----------
    head : Head
        A fitted one.
    where : str
        Where it is, for messages.

    Returns
    -------
    content : dict
        What the json module writes. What only `fit` needs is not in it.
    """
    decisions, features = head.decisions, head.features
    values = {
        "order": decisions.order,
        "class_prior": head.class_prior,
        "learnt_prior": head.learnt_prior,
        "calibrator": head.calibrator,
        "selector": decisions.selector,
        "rejector": decisions.rejector,
        "true_proba": decisions.true_proba,
        "features": TEMPLATES if isinstance(features, TemplateFeatures) else features,
        "report": None if head.report is None else _report_content(head.report),
    }
    return {n: encode(v, f"{where}.{n}", encode_part) for n, v in values.items()}


def _report_content(report: Report) -> dict[str, Any]:
    state = {n: v for n, v in vars(report).items() if n != "_judge"}
    if "scores" in state:
        state["scores"] = {
            row: {name: tuple(map(float, score)) for name, score in named.items()}
            for row, named in state["scores"].items()
        }
    return state


def make_heads(raw: Any, pooled: Any, clf: Any, labels: Labels) -> Head | LabelHeads:
    """Make a head, or one for each of several labels.

    Parameters
    ----------
    raw : object
        A list of what `head_content` gave.
    pooled : selector or None
        What chose one threshold for all labels.
    clf : LogprobClassifier
        With its parameters, and with a scorer.
    labels : Labels
        The classes.

    Returns
    -------
    head : Head or LabelHeads
        Fitted.

    Raises
    ------
    ValueError
        If something in it is not what it must be.
    """
    n_heads = len(labels.names) if labels.several else 1
    if not isinstance(raw, list) or len(raw) != n_heads:
        raise ValueError(f"heads must be a list of length {n_heads}.")
    n_classes = 2 if labels.several else len(labels.classes)
    heads = [_head(one, f"heads[{i}]", n_classes, clf) for i, one in enumerate(raw)]
    if not labels.several:
        return heads[0]
    several = LabelHeads(labels.names, heads, pooled)
    several.per_row = clf._scorer.per_row
    return several


def _head(raw: Any, where: str, n_classes: int, clf: Any) -> Head:
    sizes = {"K": n_classes}
    read = partial(decode_part, sizes=sizes)
    content = entries(raw, CONTENT, where)
    values = {n: decode(v, f"{where}.{n}", read) for n, v in content.items()}
    hold(values, HEAD, where, sizes)
    head = Head(
        values["order"],
        values["class_prior"],
        values["calibrator"],
        TokenReadout(),  # `fit` makes another one, from the parameters
        selector=values["selector"],
        rejector=values["rejector"],
        cv=clf.cv,
        random_state=clf.random_state,
    )
    head.learnt_prior = values["learnt_prior"]
    head.features = values["features"]
    if head.features == TEMPLATES:
        head.features = clf._scorer.features
    head.report = None if values["report"] is None else _report(values["report"], where)
    head.decisions.true_proba = values["true_proba"]
    if hasattr(head.selector, "threshold_"):
        head.decisions.threshold = head.selector.threshold_
    return head


def _report(state: Any, where: str) -> Report:
    fits = (
        isinstance(state, dict)
        and set(state) - {"scores"} == {"n_samples", "confidence", "_n_resamples"}
        and type(state["n_samples"]) is int
        and type(state["confidence"]) is float
    )
    scores = state.get("scores", {}) if fits else None
    if not isinstance(scores, dict) or not all(map(_are_scores, scores.values())):
        raise ValueError(f"{where}.report must hold scores with their intervals.")
    if scores:
        state["scores"] = {
            row: {name: Score(*score) for name, score in named.items()}
            for row, named in scores.items()
        }
    report: Report = Report.__new__(Report)
    vars(report).update(state, _judge=None)
    return report


def _are_scores(named: Any) -> bool:
    return isinstance(named, dict) and all(
        isinstance(score, tuple) and list(map(type, score)) == [float] * 3
        for score in named.values()
    )


def try_head(clf: Any, head: Head | LabelHeads) -> None:
    """See whether probabilities and decisions can be computed.

    Parameters
    ----------
    clf : LogprobClassifier
        With a scorer, and what is known of labels without content.
    head : Head or LabelHeads
        What it is about to go by.

    Raises
    ------
    ValueError
        If probabilities are not finite, or of another shape. For sizes that do not go
        together numpy raises other errors.
    """
    n_classes, scorer = head.n_classes, clf._scorer
    scores = np.vstack([np.zeros(n_classes), -FAR * (1 - np.eye(n_classes)[[0, -1]])])
    if isinstance(head, LabelHeads):
        scores = np.repeat(scores[:, None], len(head.heads), axis=1)
    for raw in (scores[:1], scores):  # what fits one number of rows may not fit another
        outcomes = [LOST] * (len(raw) * scorer.per_row * scorer.n_questions)
        S = clf._debias(raw)
        P = head.proba(S, outcomes)
        if not P.shape == S.shape == raw.shape:
            raise ValueError("heads do not go together with the classes.")
        if not np.isfinite(P).all():
            raise ValueError("heads give probabilities that are not finite.")
        head.named(head.decide(P), clf.classes_)
        if head.rejector is not None:
            head.accept(P)
