"""Which tokens go into one pass: lines that begin alike share what they begin with.

A line is a prompt with one way that labels may go on. In sorted order, lines that share
a beginning are neighbours, so a run of them is a trie: each of its tokens is evaluated
once, for all the lines that it belongs to. The demonstrations that all prompts begin
with, a prompt that several labels follow and a word that several labels begin with need
no rules of their own: they are beginnings that lines share.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "Line", "lay_out", "runs", "shared"]

Tokens = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Line:
    """Tokens to evaluate one after the other.

    Parameters
    ----------
    tokens : ndarray of int32
        The whole line, from the start of the prompt.
    row : Any
        Whom it belongs to; nothing here looks at it.
    reads : dict of int to Any
        Positions after which the next token's distribution is wanted, and what for. At
        least one.
    more : int
        How many tokens may be added behind it later.
    """

    tokens: Tokens
    row: Any
    reads: dict[int, Any]
    more: int = 0


@dataclass(frozen=True, eq=False)
class Layout:
    """One pass over a run of lines: an entry for each token that must be evaluated.

    Parameters
    ----------
    tokens, positions : ndarray of int32 of shape (n_entries,)
        What to evaluate, and where it stands in its line.
    first, lines : ndarray of int32 of shape (n_entries,)
        The first line of the run that the entry belongs to, and how many of them do;
        they are neighbours.
    reads : list of (int, int, int), sorted
        An entry, and the line and position that it is read for.
    begins : list of int
        For each line, the position from which on its tokens are entries of its own.
    kept : list of int
        For each line, how much of it was in memory before.
    """

    tokens: Tokens
    positions: Tokens
    first: Tokens
    lines: Tokens
    reads: list[tuple[int, int, int]]
    begins: list[int]
    kept: list[int]


def runs(
    lines: Iterable[Line], *, batch: int, room: int, most: int
) -> Iterator[list[Line]]:
    """Sort lines and cut them into runs, each for one pass.

    Parameters
    ----------
    lines : iterable of Line
        In any order.
    batch : int
        Tokens that one pass evaluates well; a line that is longer fills several.
    room : int
        Tokens that the model's memory holds.
    most : int
        Lines that it tells apart.

    Yields
    ------
    run : list of Line
        Neighbours in sorted order.
    """
    run: list[Line] = []
    fresh = held = limit = 0
    before = np.empty(0, np.int32)
    # big-endian bytes are in the order of the tokens
    for line in sorted(lines, key=lambda line: line.tokens.astype(">i4").tobytes()):
        new = len(line.tokens) - shared(before, line.tokens)
        full = fresh + new > limit or held + new + line.more > room or len(run) == most
        if run and full:
            yield run
            run = []
        if not run:
            fresh, held = 0, len(line.tokens) - new
            limit = batch * max(1, -(-new // batch))
        run.append(line)
        fresh += new
        held += new + line.more
        before = line.tokens
    if run:
        yield run


def lay_out(run: Sequence[Line], before: Tokens, most_kept: int) -> Layout:
    """Find what a run needs evaluated, after a line that is still in memory.

    Parameters
    ----------
    run : sequence of Line
        Sorted.
    before : ndarray of int32
        The tokens in memory.
    most_kept : int
        How many of them may be used at most.

    Returns
    -------
    layout : Layout
        Entries in an order in which each comes after its line's earlier ones.
    """
    tokens = [line.tokens for line in run]
    # what is read must be evaluated, although it may be in memory
    usable = min(most_kept, *(min(line.reads) for line in run))
    begins = [min(usable, shared(before, tokens[0]))]
    begins += [shared(one, other) for one, other in itertools.pairwise(tokens)]
    kept = np.minimum.accumulate(begins).tolist()
    n_entries = sum(map(len, tokens)) - sum(begins)
    positions, first = np.empty((2, n_entries), np.int32)
    lines = np.ones(n_entries, np.int32)
    owner = np.empty(max(map(len, tokens)), np.intp)  # entry at each position, so far
    reads, start = [], 0
    for index, (line, begin) in enumerate(zip(run, begins, strict=True)):
        end = start + len(line.tokens) - begin
        lines[owner[kept[index] : begin]] += 1
        owner[begin : len(line.tokens)] = range(start, end)
        positions[start:end] = range(begin, len(line.tokens))
        first[start:end] = index
        reads += [(int(owner[position]), index, position) for position in line.reads]
        start = end
    entries = np.concatenate(
        [line[begin:] for line, begin in zip(tokens, begins, strict=True)]
    )
    return Layout(entries, positions, first, lines, sorted(reads), begins, kept)


def shared(one: Tokens, other: Tokens) -> int:
    """Length of the beginning that two lines have in common."""
    length = min(len(one), len(other))
    differ = one[:length] != other[:length]
    return int(differ.argmax()) if differ.any() else length
