"""Lines that begin alike: each token evaluated once, for all lines that it belongs to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_logprob.backends._llama_plan import NOTHING, Line, lay_out, runs

texts = st.lists(st.integers(0, 2), min_size=1, max_size=9)


@st.composite
def lines_of(draw):
    """Lines of few different tokens, so that many begin alike."""
    lines = []
    for text in draw(st.lists(texts, min_size=1, max_size=12)):
        reads = draw(st.sets(st.integers(0, len(text) - 1), min_size=1))
        more = draw(st.integers(0, 3))
        tokens = np.array(text, np.int32)
        lines.append(Line(tokens, len(lines), dict.fromkeys(reads), more))
    return lines


def cells(run):
    """Tokens that a run has in memory, by brute force: its different beginnings."""
    begun = {
        tuple(line.tokens[:i]) for line in run for i in range(1, len(line.tokens) + 1)
    }
    return len(begun)


@given(lines_of(), st.integers(1, 20), st.integers(9, 40), st.integers(1, 5))
def test_runs_fit(lines, batch, room, most):
    """Every line is in one run; none holds more than it may; all are sorted."""
    room = max(room, *(len(line.tokens) + line.more for line in lines))
    found = list(runs(lines, batch=batch, room=room, most=most))
    rows = [line.row for run in found for line in run]
    assert sorted(rows) == sorted(line.row for line in lines)
    tokens = [line.tokens.tolist() for run in found for line in run]
    assert tokens == sorted(tokens)
    for run in found:
        assert len(run) <= most
        assert cells(run) + sum(line.more for line in run) <= room


def test_a_run_fills_a_batch():
    """Ten lines of 30 tokens behind 40 in common are cut where 256 are full."""
    start = [0] * 40
    lines = [
        Line(np.array([*start, *[i] * 30], np.int32), i, {69: None}) for i in range(1, 11)
    ]
    assert [len(run) for run in runs(lines, batch=256, room=999, most=99)] == [7, 3]


@pytest.mark.parametrize("token", [0, 255, 65_535, 70_000])
def test_sorting_is_by_token(token):
    """Numbers of more than a byte are in their order too."""
    lines = [Line(np.array([t], np.int32), t, {0: None}) for t in (token + 1, token)]
    [run] = runs(lines, batch=9, room=9, most=9)
    assert [line.row for line in run] == [token, token + 1]


@given(lines_of(), texts, st.integers(0, 9))
def test_every_line_is_there_once(lines, before, most_kept):
    """What was in memory and a line's entries, in their order, are the line."""
    [run] = runs(lines, batch=999, room=999, most=999)
    before = np.array(before, np.int32)
    layout = lay_out(run, before, most_kept)
    for index, line in enumerate(run):
        own = (layout.first <= index) & (index < layout.first + layout.lines)
        kept = layout.kept[index]
        assert kept <= min(most_kept, *line.reads)
        together = [*before[:kept], *layout.tokens[own]]
        assert together == line.tokens.tolist()
        assert layout.positions[own].tolist() == list(range(kept, len(line.tokens)))
    reads = {
        (index, position) for index, line in enumerate(run) for position in line.reads
    }
    assert {(index, position) for _, index, position in layout.reads} == reads
    for entry, index, position in layout.reads:
        assert layout.positions[entry] == position
        assert layout.first[entry] <= index < layout.first[entry] + layout.lines[entry]


@given(lines_of())
def test_nothing_is_evaluated_twice(lines):
    """There are as many entries as different beginnings."""
    [run] = runs(lines, batch=999, room=999, most=999)
    layout = lay_out(run, NOTHING, 0)
    assert len(layout.tokens) == cells(run)
