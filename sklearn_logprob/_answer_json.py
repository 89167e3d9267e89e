"""Answers as JSON: what scoring reads, and no more.

``{"v":2,"p":[[0,[" good"," bad"],"…"]],"c":[[" bad"," good"],"…"],"d":[["good",3]]}``
holds the positions, the choices and the draws; ``"b"`` is the build. Alternatives and
choices are a list of texts, and their log-probabilities as 64-bit floats in base64:
exact, half as long as decimal digits, and read without parsing them. A position begins
with the place of the chosen token among the alternatives, or else with the token and its
log-probability. What an answer cost is not kept, as it costs nothing again.
"""

from __future__ import annotations

import json
import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import Any

from sklearn_logprob._pairs import Pair, Pairs
from sklearn_logprob._types import Answer, TokenLogprobs

__all__ = ["decode", "encode"]

FORMAT = 2
DAMAGED = AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error

_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


def encode(answer: Answer) -> str:
    """Write an answer.

    Parameters
    ----------
    answer : Answer
        Its `usage` is left out.

    Returns
    -------
    text : str
        JSON in ASCII.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob._answer_json import encode
    >>> encode(Answer(draws=(("good", 3),)))
    '{"v":2,"d":[["good",3]]}'
    """
    content: dict[str, Any] = {"v": FORMAT}
    if answer.positions:
        content["p"] = [_position_row(position) for position in answer.positions]
    if answer.choices:
        content["c"] = _row(answer.choices)
    if answer.draws:
        content["d"] = answer.draws
    if answer.build:
        content["b"] = answer.build
    return _encode(content)


def decode(text: str) -> Answer | None:
    """Read what `encode` wrote, now or in the first format.

    Parameters
    ----------
    text : str
        JSON.

    Returns
    -------
    answer : Answer or None
        The answer; None for anything else.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob._answer_json import decode, encode
    >>> answer = Answer(choices=((" bad", -2.4), (" good", -0.1)))
    >>> decode(encode(answer)) == answer, decode("{}")
    (True, None)
    """
    try:
        content = _decode(text)
        if isinstance(content, list):
            content = _from_first_format(content)
        if content["v"] != FORMAT:
            return None
        return Answer(
            tuple([_position(*row) for row in content.get("p", ())]),
            _pairs(*content["c"]) if "c" in content else (),
            draws=tuple([_draw(*row) for row in content.get("d", ())]),
            build=_text(content.get("b", "")),
        )
    except DAMAGED:
        return None


def _position_row(position: TokenLogprobs) -> list[Any]:
    chosen, top = (position.token, position.logprob), tuple(position.top)
    said = top.index(chosen) if chosen in top else chosen
    return [said, *_row(position.top)]


def _row(pairs: Sequence[Pair]) -> list[Any]:
    packed = Pairs.of(pairs)
    return [packed.texts, b2a_base64(packed.values, newline=False).decode()]


def _position(said: Any, texts: list[str], values: str) -> TokenLogprobs:
    top = _pairs(texts, values)
    if isinstance(said, int):
        [logprob] = struct.unpack_from("<d", top.values, 8 * said)
        return TokenLogprobs(texts[said], logprob, top)
    return TokenLogprobs(*_checked(*said), top)


def _pairs(texts: list[str], values: str) -> Pairs:
    return Pairs(texts, a2b_base64(values))


def _checked(token: Any, logprob: Any) -> Pair:
    if isinstance(token, str) and isinstance(logprob, int | float):
        return token, float(logprob)
    raise TypeError(token, logprob)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(value)


def _draw(text: Any, times: Any) -> tuple[str, int]:
    if isinstance(text, str) and isinstance(times, int):
        return text, times
    raise TypeError(text, times)


def _from_first_format(content: list[Any]) -> dict[str, Any]:
    """Turn lists of pairs, with what the answer cost, into the second format."""
    positions, choices, tokens, draws = content
    _, _, _ = map(int.__index__, tokens)
    found: dict[str, Any] = {"v": FORMAT, "d": draws}
    found["p"] = [[(token, value), *_row(top)] for token, value, top in positions]
    if choices:
        found["c"] = _row(choices)
    return found
