"""The classes whose objects a saved classifier may hold, and what each has learnt.

A class takes part with a row of `PARTS`. Parameters are those of its constructor, found
under the same names; attributes that `fit` sets are listed with their `Kind`. An object
is made by calling the constructor, and its attributes are held against their kinds. A
file names a class by its key in the table, never by a path: what is not in the table is
neither saved nor loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from inspect import signature
from typing import Any, NamedTuple

import sklearn

from sklearn_logprob._json_values import decode, encode, entries
from sklearn_logprob._kinds import (
    Kind,
    Sizes,
    a,
    any_number,
    class_codes,
    count,
    each,
    maybe,
    number,
    numbers,
    one_of,
    texts,
    threshold,
    vocabulary,
)
from sklearn_logprob.backends import BACKENDS

__all__ = ["PARTS", "Part", "decode_part", "encode_part", "hold"]


class Part(NamedTuple):
    """A class that takes part.

    Parameters
    ----------
    module : str
        Where it is imported from.
    learnt : mapping of str to Kind
        Attributes that `fit` sets.
    given : mapping of str to Kind
        What parameters must be, where a prediction goes by them.
    """

    module: str
    learnt: Mapping[str, Kind] = {}
    given: Mapping[str, Kind] = {}

    def load(self, name: str) -> Any:
        """Import the class."""
        return getattr(import_module(self.module), name)


OURS = "sklearn_logprob"
SIMPLE = f"{OURS}._calibrators"

EACH_CLASS = numbers("K")
CALIBRATOR = {"classes_": class_codes, "n_features_in_": count(1)}
AROUND = {"classes_": class_codes, "calibrator_": a("predict_proba")}
CUT = {"threshold_": threshold}
CHOSEN = {**CUT, "precision_": number(0, 1), "recall_": number(0, 1)}
SHARE = numbers("K", low=0, high=1)
LIMITED = count(1, 10_000)  # what each row is multiplied by

PARTS: dict[str, Part] = {
    "PromptTemplate": Part(f"{OURS}.prompts", given={"n_chains": LIMITED}),
    "PromptEnsemble": Part(f"{OURS}.ensembles"),
    "NearestShots": Part(
        f"{OURS}._shots", given={"n_shots": count(1), "answers": texts("n")}
    ),
    "Rows": Part(
        f"{OURS}._inputs",
        given={
            "columns": texts("c"),
            "values": each(texts("c"), "n"),
            "aliases": texts("a"),
        },
    ),
    "Verbalizer": Part(f"{OURS}.verbalizers", given={"permutations": LIMITED}),
    "FixedInputs": Part(f"{OURS}.content_free"),
    "DomainWords": Part(f"{OURS}.content_free"),
    "DomainPrompt": Part(f"{OURS}.content_free"),
    "Cache": Part(f"{OURS}.cache"),
    "KFold": Part("sklearn.model_selection"),
    "StratifiedKFold": Part("sklearn.model_selection"),
    "NoCalibration": Part(SIMPLE, CALIBRATOR),
    "BatchCalibration": Part(SIMPLE, {**CALIBRATOR, "center_": EACH_CLASS}),
    "SigmoidCalibration": Part(
        SIMPLE, {**CALIBRATOR, "slope_": EACH_CLASS, "intercept_": EACH_CLASS}
    ),
    "IsotonicCalibration": Part(
        SIMPLE, {**CALIBRATOR, "curves_": each(a("transform"), "K")}
    ),
    "IsotonicRegression": Part(
        "sklearn.isotonic",
        {
            "increasing_": one_of(True, False),
            "X_min_": number(),
            "X_max_": number(),
            "X_thresholds_": numbers("m"),
            "y_thresholds_": numbers("m", low=1e-3, high=1),
        },
    ),
    "AffineCalibration": Part(
        f"{OURS}._affine",
        {
            **CALIBRATOR,
            "center_": EACH_CLASS,
            "scale_": number(),
            "temperature_": number(),
            "matrix_": numbers("K", "K"),
            "bias_": EACH_CLASS,
            "n_iter_": count(),
        },
    ),
    "BetaCalibration": Part(
        f"{OURS}._beta",
        {**CALIBRATOR, "a_": EACH_CLASS, "b_": EACH_CLASS, "c_": EACH_CLASS},
    ),
    "VennAbersCalibration": Part(
        f"{OURS}._venn_abers",
        {
            **CALIBRATOR,
            "lower_": each(a("__call__"), "K"),
            "upper_": each(a("__call__"), "K"),
        },
    ),
    "Steps": Part(
        f"{OURS}._venn_abers",
        given={
            "jumps": numbers("m"),
            "values": numbers("n", low=0, high=1),
            "side": one_of("left", "right"),
        },
    ),
    "LogisticRegression": Part(
        "sklearn.linear_model",
        {
            "classes_": class_codes,
            "n_features_in_": count(1),
            "coef_": numbers("c", "K"),
            "intercept_": numbers("c"),
            "n_iter_": numbers("i"),
        },
    ),
    "AdaptedCalibration": Part(
        f"{OURS}._adapted",
        {"calibrator_": a("predict_proba")},
        {"train_prior": SHARE, "class_prior": SHARE},
    ),
    "RareLabelCalibration": Part(f"{OURS}._rare_labels", AROUND),
    "ReadoutCalibration": Part(
        f"{OURS}._reading_out",
        {"classes_": class_codes, "readout_": a("fit_predict_proba")},
    ),
    "TokenReadout": Part(
        f"{OURS}.readout",
        {
            **AROUND,
            "weight_": number(0),
            "gain_": any_number,
            "gain_error_": any_number,
            "coef_": maybe(numbers("F", "K")),
            "intercept_": maybe(EACH_CLASS),
        },
    ),
    "StackedCalibration": Part(f"{OURS}._stacking", {**AROUND, "weights_": numbers("T")}),
    "TokenFeatures": Part(
        f"{OURS}._features", {"vocabulary_": vocabulary}, {"per_row": LIMITED}
    ),
    "FixedThreshold": Part(f"{OURS}.thresholds", CUT),
    "BestMetric": Part(f"{OURS}.thresholds", {**CUT, "value_": any_number}),
    "PrecisionAtLeast": Part(f"{OURS}.operating_points", CHOSEN),
    "RecallAtLeast": Part(f"{OURS}.operating_points", CHOSEN),
    "LeastCost": Part(
        f"{OURS}.costs",
        {"threshold_": maybe(number()), "cost_matrix_": numbers("K", "K")},
    ),
    "ChowRule": Part(f"{OURS}.rejection", {"confidence_": any_number}),
    "RiskAtMost": Part(
        f"{OURS}.rejection",
        {"confidence_": any_number, "coverage_": number(0, 1), "risk_": any_number},
    ),
    **{name: Part(f"{OURS}.backends.{module}") for module, name, _ in BACKENDS.values()},
}


def encode_part(value: Any, where: str) -> Any:
    """Turn an object into what the json module writes, with what it has learnt.

    Parameters
    ----------
    value : object
        Of a class in `PARTS`.
    where : str
        Where it is, for messages.

    Returns
    -------
    raw : dict
        Its class, parameters, and learnt attributes.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> from sklearn_logprob import ChowRule
    >>> from sklearn_logprob._saved_parts import encode_part
    >>> encode_part(ChowRule(0.2), "reject")
    {'object': {'class': 'ChowRule', 'params': {'cost': 0.2}, 'learnt': {}}}
    """
    name = type(value).__name__
    part = PARTS.get(name)
    if part is None or part.load(name) is not type(value):
        raise ValueError(
            f"{where} is {_named(value)}, and only numbers, texts, arrays and this "
            "package's own objects can be saved as JSON. Use pickle or joblib instead."
        )
    found = vars(value) if hasattr(value, "__dict__") else {}
    params = {p: getattr(value, p) for p in signature(type(value)).parameters}
    learnt = {n: found[n] for n in part.learnt if n in found}
    return {
        "object": {
            "class": name,
            "params": _encode_each(params, where),
            "learnt": _encode_each(learnt, where),
        }
    }


def _encode_each(named: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {n: encode(v, f"{where}.{n}", encode_part) for n, v in named.items()}


def decode_part(raw: Any, where: str, sizes: Sizes) -> Any:
    """Turn what the json module read into an object.

    Parameters
    ----------
    raw : object
        What the mark "object" holds.
    where : str
        Where it is, for messages.
    sizes : dict of str to int
        Sizes that are known; those that it tells are added.

    Returns
    -------
    value : object
        As it was.

    Raises
    ------
    ValueError
        If its class is not in `PARTS`, or something in it is not what it must be.

    Examples
    --------
    >>> from sklearn_logprob import ChowRule
    >>> from sklearn_logprob._saved_parts import decode_part, encode_part
    >>> decode_part(encode_part(ChowRule(0.2), "reject")["object"], "reject", {})
    ChowRule(cost=0.2)
    """
    told = entries(raw, ("class", "params", "learnt"), where)
    name = told["class"]
    part = PARTS.get(name) if isinstance(name, str) else None
    if part is None:
        raise ValueError(f"{where} has an unknown class.")
    cls = part.load(name)
    read = partial(decode_part, sizes=sizes)
    several = {}
    for entry, known in (("params", signature(cls).parameters), ("learnt", part.learnt)):
        if not isinstance(told[entry], dict) or not set(told[entry]) <= set(known):
            raise ValueError(f"{where} has {entry} that {name} does not have.")
        named = told[entry].items()
        several[entry] = {n: decode(v, f"{where}.{n}", read) for n, v in named}
    params, learnt = several["params"], several["learnt"]
    own = {size: n for size, n in sizes.items() if size.isupper()}
    hold(params, part.given, where, own)
    if learnt:
        hold(learnt, part.learnt, where, own)
    sizes.update({size: n for size, n in own.items() if size.isupper()})
    made = cls(**params)
    if learnt and part.module.startswith(OURS):
        vars(made).update(learnt)
    elif learnt:  # as scikit-learn unpickles them, with what it makes of attributes
        made.__setstate__({**learnt, "_sklearn_version": sklearn.__version__})
    return made


def hold(
    values: Mapping[str, Any], kinds: Mapping[str, Kind], where: str, sizes: Sizes
) -> None:
    """Hold values against their kinds.

    Parameters
    ----------
    values : mapping of str to object
        What was read.
    kinds : mapping of str to Kind
        What it must be.
    where : str
        Where they are, for messages.
    sizes : dict of str to int
        Sizes that are known; those that the values tell are added.

    Raises
    ------
    ValueError
        If one does not fit, or is absent.

    Examples
    --------
    >>> from sklearn_logprob._kinds import count
    >>> from sklearn_logprob._saved_parts import hold
    >>> hold({"n": 3}, {"n": count(1)}, "here", {})  # nothing to say
    """
    for name, kind in kinds.items():
        known = name in values
        if not (kind.fits(values[name], sizes) if known else kind.optional):
            raise ValueError(f"{where}.{name} must be {kind.told}.")


def _named(value: Any) -> str:
    """Name a function or the class of an object, whose repr might hold anything."""
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    cls = type(value)
    return f"of the class {cls.__module__}.{cls.__qualname__}"
