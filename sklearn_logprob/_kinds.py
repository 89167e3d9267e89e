"""What an attribute that was learnt may be: its type, its size and its range.

Sizes are named, and a name means the same number wherever it stands: ``K`` classes, ``F``
features and ``T`` templates in everything that belongs to one question, names in lower
case in one object.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = [
    "Kind", "Sizes", "a", "any_number", "class_codes", "count", "each", "every_class",
    "maybe", "number", "numbers", "one_of", "texts", "threshold", "vocabulary",
]  # fmt: skip

Sizes: TypeAlias = dict[str, int]

LARGEST = 1e100  # so that no product or sum of a few of them overflows
CLASSES = "K"


class Kind(NamedTuple):
    """What a value may be.

    Parameters
    ----------
    told : str
        In words, after "must be".
    fits : callable
        From a value and the sizes known so far, which it may add to.
    optional : bool, default=False
        Whether the attribute may be None, or absent.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob._kinds import numbers
    >>> square, sizes = numbers("K", "K"), {"K": 2}
    >>> square.fits(np.eye(2), sizes), square.fits(np.eye(3), sizes)
    (True, False)
    """

    told: str
    fits: Callable[[Any, Sizes], bool]
    optional: bool = False


def numbers(*shape: str, low: float = -LARGEST, high: float = LARGEST) -> Kind:
    """Say: an array of finite numbers, of named sizes and within limits."""

    def fits(value: Any, sizes: Sizes) -> bool:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
            return False
        inside = bool(((value >= low) & (value <= high)).all())
        return inside and _agree(shape, value.shape, sizes)

    return Kind(f"finite numbers of shape ({', '.join(shape)})", fits)


def _agree(names: tuple[str, ...], shape: tuple[int, ...], sizes: Sizes) -> bool:
    pairs = zip(names, shape, strict=False)
    return len(names) == len(shape) and all(sizes.setdefault(k, n) == n for k, n in pairs)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def number(low: float = -LARGEST, high: float = LARGEST) -> Kind:
    """Say: a number within limits."""
    told = "a finite number" if high == LARGEST else f"a number from {low:g} to {high:g}"
    return Kind(told, lambda value, _: _is_number(value) and low <= value <= high)


def count(low: int = 0, high: float = LARGEST) -> Kind:
    """Say: an integer within limits."""
    return Kind(
        f"an integer of at least {low}",
        lambda v, _: isinstance(v, Integral) and _is_number(v) and low <= int(v) <= high,
    )


any_number = Kind("a number", lambda value, _: _is_number(value))


def texts(size: str) -> Kind:
    """Say: a named number of texts."""

    def fits(value: Any, sizes: Sizes) -> bool:
        listed = isinstance(value, list | tuple | np.ndarray) and np.ndim(value) == 1
        right = listed and all(isinstance(one, str) for one in value)
        return right and _agree((size,), (len(value),), sizes)

    return Kind("texts", fits)


def one_of(*known: Any) -> Kind:
    """Say: one of some values."""
    told = " or ".join(map(repr, known))
    return Kind(told, lambda value, _: type(value) in (bool, str) and value in known)


def a(method: str, *names: str) -> Kind:
    """Say: an object with a method, or the name of one."""

    def fits(value: Any, sizes: Sizes) -> bool:
        named = isinstance(value, str) and value in names
        return named or callable(getattr(value, method, None))

    return Kind(f"an object with {method}", fits)


def each(kind: Kind, size: str) -> Kind:
    """Say: a list of a named length, of one kind of value."""

    def fits(value: Any, sizes: Sizes) -> bool:
        right = isinstance(value, list) and _agree((size,), (len(value),), sizes)
        return right and all(kind.fits(one, sizes) for one in value)

    return Kind(f"a list of length {size}, each {kind.told}", fits)


def maybe(kind: Kind) -> Kind:
    """Say: the same, or None, or absent."""
    return Kind(
        f"{kind.told}, or None", lambda v, sizes: v is None or kind.fits(v, sizes), True
    )


def _is_codes(value: Any, sizes: Sizes) -> bool:
    whole = isinstance(value, np.ndarray) and value.dtype.kind == "i" and value.ndim == 1
    known = range(sizes.setdefault(CLASSES, len(value))) if whole else ()
    return whole and len(np.unique(value)) == len(value) > 0 and set(value) <= set(known)


def _is_threshold(value: Any, sizes: Sizes) -> bool:
    if _is_number(value):
        return bool(np.isfinite(value)) and sizes.setdefault(CLASSES, 2) == 2
    positive = numbers(CLASSES, low=np.finfo(float).tiny)
    return positive.fits(value, sizes)


def _is_vocabulary(value: Any, sizes: Sizes) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(token, str) for token in value)
        and all(type(column) is int for column in value.values())
        and list(value.values()) == list(range(len(value)))
        and _agree(("F",), (len(value),), sizes)
    )


def _is_order(value: Any, sizes: Sizes) -> bool:
    return _is_codes(value, sizes) and len(value) == sizes[CLASSES]


class_codes = Kind("different codes of classes", _is_codes)
every_class = Kind("the code of every class, once", _is_order)
threshold = Kind("a number for two classes, else one for each class", _is_threshold)
vocabulary = Kind("texts, numbered from 0", _is_vocabulary)
