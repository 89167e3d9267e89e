"""Whether a parameter of a template is what it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any

__all__ = ["check_template"]

ROLES = ("system", "user", "assistant")
SHOTS = ("balanced", "random", "nearest")


def check_template(template: Any) -> None:
    """Refuse a template with a wrong parameter.

    Parameters
    ----------
    template : PromptTemplate
        Any.

    Raises
    ------
    TypeError
        If a parameter is not what it should be.

    Examples
    --------
    >>> from sklearn_logprob import PromptTemplate
    >>> from sklearn_logprob._checks import check_template
    >>> check_template(PromptTemplate("{text}"))  # nothing to say
    """
    system, prefix = template.system, template.answer_prefix
    chains, n_tokens = template.n_chains, template.max_tokens
    _require(isinstance(prefix, str), "answer_prefix", "a str", prefix)
    written = n_tokens is None or (_is_count(n_tokens) and bool(prefix.strip()))
    _require(
        written,
        "max_tokens",
        "None, or an integer of at least 1 together with an answer_prefix after "
        "which the label is read",
        n_tokens,
    )
    _require(
        template.n_shots == 0 or _is_count(template.n_shots),
        "n_shots",
        "an integer of at least 0",
        template.n_shots,
    )
    _require(template.shots in SHOTS, "shots", f"one of {SHOTS}", template.shots)
    _require(
        _is_count(chains) and (chains == 1 or n_tokens is not None),
        "n_chains",
        "an integer of at least 1, and 1 without max_tokens",
        chains,
    )
    _require(isinstance(system, str | None), "system", "a str or None", system)
    content: Any = template.template
    chat = _is_pairs(content, str) and all(role in ROLES for role, _ in content)
    _require(
        isinstance(content, str) or chat,
        "template",
        "a str or a sequence of (role, content) messages with the roles 'system', "
        "'user' and 'assistant'",
        content,
    )
    _require(
        _is_pairs(template.demonstrations, str | Mapping),
        "demonstrations",
        "a sequence of (input, answer), the input a str or a mapping from field to "
        "value, the answer a str",
        template.demonstrations,
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_pairs(value: object, first: type | UnionType) -> bool:
    return isinstance(value, Sequence) and all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], first)
        and isinstance(pair[1], str)
        for pair in value
    )


def _require(good: bool, name: str, wanted: str, got: object) -> None:
    if not good:
        raise TypeError(
            f"The {name!r} parameter of PromptTemplate must be {wanted}. "
            f"Got {got!r} instead."
        )
