"""Texts with log-probabilities, packed: what the memory of a process is full of.

A tuple of 200 pairs takes some 25 kB and 200 lookups to read; packed it takes 2.4 kB, and
numpy reads many at once. Texts repeat, for they are tokens and labels: each is kept once
in a process, and stands in the packed form as its number.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pair", "Pairs", "distinct", "join", "number_of", "text_of"]

Pair: TypeAlias = tuple[str, float]
Ints: TypeAlias = NDArray[np.intp]


class _Numbers(dict[str, int]):
    """Text → number; a new text gets the next one. Threads need no lock for it."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self._next = count()

    def __missing__(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"A text is expected, got {text!r}.")
        number = next(self._next)
        self.texts[number] = text  # before anyone can see the number
        return self.setdefault(text, number)


_NUMBERS = _Numbers()


class Pairs(Sequence[Pair]):
    """A tuple of (text, log-probability) in little memory, equal to that tuple.

    Parameters
    ----------
    texts : iterable of str
        Tokens or labels.
    values : bytes
        As many 64-bit floats, little-endian: log-probabilities (natural log).

    Attributes
    ----------
    numbers : bytes
        The texts, as 32-bit numbers that hold in this process only.
    values : bytes
        The same as the parameter.

    Raises
    ------
    ValueError
        If there are more texts than values, or the reverse.
    TypeError
        If something else than texts is among the texts.

    Examples
    --------
    >>> from sklearn_logprob._pairs import Pairs
    >>> pairs = Pairs.of(((" good", -0.1), (" bad", -2.4)))
    >>> pairs[1], len(pairs), pairs == ((" good", -0.1), (" bad", -2.4))
    ((' bad', -2.4), 2, True)
    """

    __slots__ = ("numbers", "values")

    def __init__(self, texts: Iterable[str], values: bytes) -> None:
        numbers = array("i", map(_NUMBERS.__getitem__, texts))
        if 8 * len(numbers) != len(values):
            raise ValueError(f"{len(numbers)} texts, and {len(values)} bytes of values.")
        self.numbers = numbers.tobytes()
        self.values = values

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Pairs:
        """Pack pairs, unless they are.

        Parameters
        ----------
        pairs : sequence of (str, float)
            Texts and log-probabilities.

        Returns
        -------
        packed : Pairs
            Equal to them.
        """
        if isinstance(pairs, cls):
            return pairs
        values = [value for _, value in pairs]
        packed = struct.pack(f"<{len(values)}d", *values)
        return cls([text for text, _ in pairs], packed)

    @property
    def texts(self) -> list[str]:
        """The texts alone."""
        texts = _NUMBERS.texts
        return [texts[number] for number in memoryview(self.numbers).cast("i")]

    def __len__(self) -> int:
        return len(self.values) // 8

    def __iter__(self) -> Iterator[Pair]:
        return zip(self.texts, struct.unpack(f"<{len(self)}d", self.values), strict=True)

    @overload
    def __getitem__(self, place: int) -> Pair: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Pair, ...]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return tuple(self)[place]
        place = range(len(self))[place]
        number = memoryview(self.numbers).cast("i")[place]
        return _NUMBERS.texts[number], struct.unpack_from("<d", self.values, 8 * place)[0]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Pairs | tuple):
            return tuple(self) == tuple(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Pairs, (self.texts, self.values)  # another process has other numbers


def number_of(text: str) -> int:
    """Give the number that stands for a text in this process.

    Parameters
    ----------
    text : str
        A token or a label.

    Returns
    -------
    number : int
        The same for equal texts, and for no others.

    Examples
    --------
    >>> from sklearn_logprob._pairs import number_of
    >>> number_of(" good") == number_of(" good") != number_of("good")
    True
    """
    return _NUMBERS[text]


def text_of(number: int) -> str:
    """Give the text that a number stands for.

    Parameters
    ----------
    number : int
        What `number_of` gave.

    Returns
    -------
    text : str
        The text.

    Examples
    --------
    >>> from sklearn_logprob._pairs import number_of, text_of
    >>> text_of(number_of(" good"))
    ' good'
    """
    return _NUMBERS.texts[number]


def join(
    several: Sequence[Sequence[Pair]],
) -> tuple[NDArray[np.int32], NDArray[np.float64], Ints]:
    """Lay many pairs in a row.

    Parameters
    ----------
    several : sequence of sequence of (str, float)
        Such as the alternatives of many answers.

    Returns
    -------
    numbers, values : ndarray of shape (n_pairs,)
        Texts as numbers, and log-probabilities (natural log).
    owners : ndarray of shape (n_pairs,)
        The position in `several` that each came from.

    Examples
    --------
    >>> from sklearn_logprob._pairs import join
    >>> _, values, owners = join([[("a", -1.0)], [], [("a", -2.0), ("b", -3.0)]])
    >>> values, owners
    (array([-1., -2., -3.]), array([0, 2, 2]))
    """
    packed = [Pairs.of(pairs) for pairs in several]
    numbers = np.frombuffer(b"".join([p.numbers for p in packed]), np.int32)
    values = np.frombuffer(b"".join([p.values for p in packed]), "<f8")
    lengths = [len(p.values) // 8 for p in packed]
    return numbers, values, np.repeat(np.arange(len(packed)), lengths)


def distinct(numbers: NDArray[np.int32]) -> tuple[list[str], Ints]:
    """List the different texts, as `numpy.unique` does, in linear time.

    Parameters
    ----------
    numbers : ndarray of shape (n_pairs,)
        What `join` gave.

    Returns
    -------
    texts : list of str
        Each text once.
    places : ndarray of shape (n_pairs,)
        Where each number's text stands in that list.

    Examples
    --------
    >>> from sklearn_logprob._pairs import distinct, join
    >>> numbers, _, _ = join([[("b", -1.0), ("a", -2.0), ("b", -3.0)]])
    >>> texts, places = distinct(numbers)
    >>> [texts[place] for place in places]
    ['b', 'a', 'b']
    """
    size = int(numbers.max(initial=-1)) + 1
    there = np.zeros(size, dtype=bool)
    there[numbers] = True
    found = np.flatnonzero(there)
    places = np.zeros(size, dtype=np.intp)
    places[found] = np.arange(len(found))
    return [text_of(number) for number in found.tolist()], places[numbers]
