"""Whether a parameter of a template is what it should be."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType

__all__ = ["is_count", "is_pairs", "require"]


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_pairs(value: object, first: type | UnionType) -> bool:
    return isinstance(value, Sequence) and all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], first)
        and isinstance(pair[1], str)
        for pair in value
    )


def require(good: bool, name: str, wanted: str, got: object) -> None:
    if not good:
        raise TypeError(
            f"The {name!r} parameter of PromptTemplate must be {wanted}. "
            f"Got {got!r} instead."
        )
