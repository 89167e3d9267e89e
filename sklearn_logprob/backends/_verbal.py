"""Probabilities that a model puts into words: the question, and reading the answer."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_logprob._types import Floats, Message

__all__ = ["INSTRUCTION", "LEAST", "ask_in_words", "read_words", "tokens_needed"]

INSTRUCTION = """\
Instead of choosing one label, give the probability of each of these labels:
{labels}

Answer with one JSON object and nothing else. Its keys are the labels, as they are \
written above, and its values are numbers between 0 and 1 that sum to 1."""

LEAST = 0.01
"""The smallest probability that a model's word is taken for; 1 minus it the largest."""

PER_LABEL = 16  # tokens of a number, quotes and the like
AROUND = 64  # tokens of a code fence and a few words

MOST_OBJECTS = 100  # at the end of a text; more in each other are nonsense

_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*")


def ask_in_words(
    messages: Sequence[Message], options: Sequence[tuple[str, str]], instruction: str
) -> tuple[Message, ...]:
    r"""Add the question for probabilities to the last message.

    Parameters
    ----------
    messages : sequence of (role, content)
        What is asked otherwise; the last is the user's, or a raw prompt.
    options : sequence of (str, str)
        Labels and their descriptions.
    instruction : str
        With ``{labels}`` where the labels go.

    Returns
    -------
    messages : tuple of (role, content)
        With the instruction at the end.

    Examples
    --------
    >>> from sklearn_logprob.backends._verbal import ask_in_words
    >>> options = (("bad", ""), ("good", "at least three stars"))
    >>> [(_, content)] = ask_in_words([("user", "Fine.")], options, "Which?\n{labels}")
    >>> print(content)
    Fine.
    <BLANKLINE>
    Which?
    - bad
    - good: at least three stars
    """
    shown = "\n".join(
        f"- {form}: {description}" if description else f"- {form}"
        for form, description in options
    )
    role, content = messages[-1]
    asked = f"{content}\n\n{instruction.replace('{labels}', shown)}"
    return (*messages[:-1], (role, asked))


def tokens_needed(options: Sequence[tuple[str, str]]) -> int:
    """Say how many tokens an answer may take.

    Parameters
    ----------
    options : sequence of (str, str)
        Labels and their descriptions.

    Returns
    -------
    n_tokens : int
        Generous: no text has more tokens than bytes.

    Examples
    --------
    >>> from sklearn_logprob.backends._verbal import tokens_needed
    >>> tokens_needed((("bad", ""), ("good", "")))
    103
    """
    return AROUND + sum(PER_LABEL + len(form.encode()) for form, _ in options)


def read_words(text: str, forms: Sequence[str]) -> list[Floats]:
    """Read the probabilities out of what a model wrote.

    Parameters
    ----------
    text : str
        A JSON object, perhaps with other text around it. Where there are several, the
        last that names a label counts.
    forms : sequence of str
        The labels.

    Returns
    -------
    read : list of ndarray of shape (n_forms,)
        The probabilities; empty if nothing could be read. At least `LEAST` before they
        are divided by their sum; exactly that for a label that is missing. Numbers above
        1 are taken as shares of the sum.

    Examples
    --------
    >>> from sklearn_logprob.backends._verbal import read_words
    >>> read_words('Well: {"good": "90%", "bad": "10%"}', ["bad", "good"])
    [array([0.1, 0.9])]
    >>> read_words("It is good.", ["bad", "good"])
    []
    """
    found = [named for said in _objects(text) if (named := _values(said, forms))]
    read = []
    for named in found[-1:]:
        scale = sum(named.values()) if max(named.values()) > 1 else 1.0
        given = np.array([named.get(form, 0.0) / scale for form in forms])
        clipped = np.clip(given, LEAST, 1 - LEAST)
        read.append(clipped / clipped.sum())
    return read


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """Find JSON objects, also within others and within text."""
    decoder = json.JSONDecoder()
    starts = [match.start() for match in re.finditer(r"\{", text)]
    for start in starts[-MOST_OBJECTS:]:
        try:
            yield decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            continue


def _values(said: Mapping[str, Any], forms: Sequence[str]) -> dict[str, float]:
    """Give the numbers of those labels that an object names."""
    folded: dict[str, list[str]] = {}
    for form in forms:
        folded.setdefault(form.strip().casefold(), []).append(form)
    values = {}
    for key, value in said.items():
        meant = [key] if key in forms else folded.get(key.strip().casefold(), [])
        number = _number(value)
        if len(meant) == 1 and number is not None:
            values[meant[0]] = number
    return values


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        written = _NUMBER.fullmatch(value)
        if written is None:
            return None
        value = float(written[1]) / (100 if written[2] else 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= sys.float_info.max else None
