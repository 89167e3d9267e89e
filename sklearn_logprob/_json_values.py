"""Values as JSON and back: exact, and nothing but values.

JSON has no tuples, arrays or infinities, and its keys are texts. So every object in the
text has one entry, a mark that says how to read what it holds: ``{"tuple": [1, 2]}``.
Nothing can be taken for a value of another kind, and what has no mark is refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from math import isfinite, prod
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode", "encode", "entries", "parse"]

Other: TypeAlias = Callable[[Any, str], Any]
"""What becomes of a value that is not one of these, or of the JSON of it."""

MOST_CHARACTERS = 2**28
LARGEST_INT = 2**64
WIDEST = 2**26  # characters in an array of texts

DTYPES = re.compile(r"\|O|\|b1|[|<>][iu][1248]|[<>]f[248]|[<>]U\d{1,5}")
HELD: dict[str, set[type]] = {
    "b": {bool},
    "i": {int},
    "u": {int},
    "f": {int, float},
    "U": {str},
}
ODD_FLOATS = ("nan", "inf", "-inf")


def encode(value: Any, where: str, other: Other) -> Any:
    """Turn a value into what the json module writes.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, path, list, tuple, mapping or array.
    where : str
        Where it is, for messages.
    other : callable
        Gives the same for any other value, or raises.

    Returns
    -------
    raw : object
        Of None, bool, int, float, str, list and dict alone.

    Examples
    --------
    >>> from sklearn_logprob._json_values import encode
    >>> encode((1, float("inf")), "here", repr)
    {'tuple': [1, {'float': 'inf'}]}
    """
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int and abs(value) < LARGEST_INT:
        return value
    if type(value) is float:
        return value if isfinite(value) else {"float": repr(value)}
    if type(value) is list:
        return [encode(v, f"{where}[{i}]", other) for i, v in enumerate(value)]
    mark, held = _marked(value, where, other)
    return {mark: held} if mark else other(value, where)


def _marked(value: Any, where: str, other: Other) -> tuple[str, Any]:
    """Give the mark of a value, or "", and what it holds."""
    if type(value) is tuple:
        return "tuple", encode(list(value), where, other)
    if isinstance(value, Mapping):
        keys = [encode(k, f"a key of {where}", other) for k in value]
        held = [encode(v, f"{where}[{k!r}]", other) for k, v in value.items()]
        return "dict", [[k, v] for k, v in zip(keys, held, strict=True)]
    if isinstance(value, os.PathLike):
        return "path", os.fspath(value)
    if isinstance(value, np.ndarray | np.generic) and DTYPES.fullmatch(value.dtype.str):
        flat = encode(np.asarray(value).ravel().tolist(), where, other)
        told = {"dtype": value.dtype.str, "shape": list(value.shape), "values": flat}
        return "array" if isinstance(value, np.ndarray) else "scalar", told
    return "", None


def decode(raw: Any, where: str, other: Other) -> Any:
    """Turn what the json module read into the value.

    Parameters
    ----------
    raw : object
        What `encode` gave, or anything else.
    where : str
        Where it is, for messages.
    other : callable
        What reads the entry of the mark "object".

    Returns
    -------
    value : object
        As it was.

    Raises
    ------
    ValueError
        If `encode` cannot have given it.

    Examples
    --------
    >>> from sklearn_logprob._json_values import decode
    >>> decode({"tuple": [1, {"float": "inf"}]}, "here", repr)
    (1, inf)
    """
    if raw is None or isinstance(raw, bool | str):
        return raw
    if isinstance(raw, int | float):
        if not (isfinite(raw) and (isinstance(raw, float) or abs(raw) < LARGEST_INT)):
            _refuse(f"{where} holds a number that is too large")
        return raw
    if isinstance(raw, list):
        return [decode(r, f"{where}[{i}]", other) for i, r in enumerate(raw)]
    if isinstance(raw, dict) and len(raw) == 1:
        ((mark, held),) = raw.items()
        if mark == "object":
            return other(held, where)
        if mark in MARKS and isinstance(held, MARKS[mark][0]):
            return MARKS[mark][1](held, where, other)
    _refuse(f"{where} is no value that to_json writes")


def _float(held: str, where: str, other: Other) -> float:
    if held not in ODD_FLOATS:
        _refuse(f"{where} is no value that to_json writes")
    return float(held)


def _path(held: str, where: str, other: Other) -> Path:
    return Path(held)


def _tuple(held: list[Any], where: str, other: Other) -> tuple[Any, ...]:
    return tuple(decode(held, where, other))


def _dict(held: list[Any], where: str, other: Other) -> dict[Any, Any]:
    pairs = decode(held, where, other)
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        _refuse(f"{where} must hold pairs of a key and a value")
    try:
        found = dict(pairs)
    except TypeError:
        _refuse(f"{where} has a key that cannot be one")
    if len(found) < len(pairs):
        _refuse(f"{where} has a key twice")
    return found


def _array(held: dict[str, Any], where: str, other: Other) -> NDArray[Any]:
    told = entries(held, ("dtype", "shape", "values"), where)
    name, shape, raw = told["dtype"], told["shape"], told["values"]
    if not isinstance(name, str) or not DTYPES.fullmatch(name):
        _refuse(f"{where} has an unknown dtype")
    sizes = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not sizes or not isinstance(raw, list) or prod(shape) != len(raw):
        _refuse(f"{where} has another number of values than its shape says")
    values = decode(raw, where, other)
    dtype: Any = np.dtype(name)
    if dtype.kind == "O":
        array = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):
            array[i] = value
    else:
        if not _fit(values, dtype):
            _refuse(f"{where} has values that its dtype cannot hold")
        array = np.array(values, dtype=dtype)
    return np.asarray(array.reshape(shape))


def _fit(values: list[Any], dtype: Any) -> bool:
    """Whether an array of this dtype would hold just these values."""
    if not set(map(type, values)) <= HELD[dtype.kind]:
        return False
    if dtype.kind == "U":
        width = dtype.itemsize // 4
        return len(values) * width <= WIDEST and all(len(v) <= width for v in values)
    if dtype.kind == "b":
        return True
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    exact = float if dtype.kind == "f" else int
    low, high = exact(limits.min), exact(limits.max)
    return all(not isfinite(v) or low <= v <= high for v in values)


def _scalar(held: dict[str, Any], where: str, other: Other) -> Any:
    array = _array(held, where, other)
    if array.shape:
        _refuse(f"{where} must be a single value")
    return array[()]


MARKS: dict[str, tuple[type, Callable[[Any, str, Other], Any]]] = {
    "float": (str, _float),
    "path": (str, _path),
    "tuple": (list, _tuple),
    "dict": (list, _dict),
    "array": (dict, _array),
    "scalar": (dict, _scalar),
}


def entries(raw: Any, names: tuple[str, ...], where: str) -> dict[str, Any]:
    """Hold a JSON object against the names that its entries must have.

    Parameters
    ----------
    raw : object
        What the json module read.
    names : tuple of str
        All of them, and no others.
    where : str
        Where it is, for messages.

    Returns
    -------
    entries : dict
        The same.

    Raises
    ------
    ValueError
        If it is something else.

    Examples
    --------
    >>> from sklearn_logprob._json_values import entries
    >>> entries({"a": 1}, ("a",), "here")
    {'a': 1}
    """
    if not isinstance(raw, dict) or set(raw) != set(names):
        _refuse(f"{where} must have the entries {', '.join(names)} and no others")
    return raw


def parse(text: str) -> Any:
    """Read JSON as the standard has it: no NaN, and no name twice in an object.

    Parameters
    ----------
    text : str
        JSON.

    Returns
    -------
    raw : object
        What it says.

    Raises
    ------
    ValueError
        If it is no JSON, too long, or too deep.

    Examples
    --------
    >>> from sklearn_logprob._json_values import parse
    >>> parse('{"a": [1]}')
    {'a': [1]}
    """
    if len(text) > MOST_CHARACTERS:
        _refuse(f"the text has more than {MOST_CHARACTERS} characters")
    try:
        return json.loads(text, parse_constant=_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        _refuse(f"the text is no JSON, or not all of it: {error}")
    except RecursionError:
        _refuse("the text is nested too deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse("an object has a name twice")
    return found


def _constant(name: str) -> NoReturn:
    _refuse(f"{name} is no JSON")


def _refuse(why: str) -> NoReturn:
    raise ValueError(f"{why}.")
