"""Tables in and out: what goes through unchanged, and what garbage is told of."""

from __future__ import annotations

import csv
import io
import json
from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sklearn_logprob.cli._tables import Table
from sklearn_logprob.cli._writing import writing

FILES = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"))
NAMES = st.lists(CELLS.filter(str.strip), min_size=1, max_size=4, unique=True)


def read(path, form=None, size=3, limit=None):
    return list(chain.from_iterable(Table.of(str(path), form).batches(size, limit)))


def write(path, records, size=3, **kwargs):
    with writing(Table.of(str(path), None), **kwargs) as put:
        for start in range(0, len(records), size):
            put(records[start : start + size])


def assert_read_or_told(path):
    told = None
    try:
        assert read(path)
    except ValueError as error:
        told = str(error)
    assert told is None or told.startswith(str(path))


@st.composite
def tables(draw, cells=CELLS):
    names = draw(NAMES)
    # a line that is empty altogether is no row
    row = st.lists(cells, min_size=len(names), max_size=len(names)).filter(any)
    rows = draw(st.lists(row, min_size=1, max_size=8))
    return [dict(zip(names, cells, strict=True)) for cells in rows]


@FILES
@given(records=tables(), ending=st.sampled_from(["csv", "tsv", "jsonl"]))
def test_what_was_written_is_read(records, ending, tmp_path):
    """Every text comes back as it was, in order, whatever quotes and lines it holds."""
    path = tmp_path / f"table.{ending}"
    write(path, records)
    assert read(path) == records
    assert not path.with_name(f"{path.name}.part").exists()


@FILES
@given(records=tables(st.text(st.characters(exclude_categories=["Cs"]))))
def test_parquet_comes_back_too(records, tmp_path):
    """With the types of the columns."""
    pytest.importorskip("pyarrow")
    path = tmp_path / "table.parquet"
    write(path, [{**record, "%n": i / 2} for i, record in enumerate(records)])
    assert read(path) == [{**record, "%n": i / 2} for i, record in enumerate(records)]
    assert read(path, size=100, limit=1) == read(path)[:1]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@FILES
@given(garbage=st.binary(max_size=200))
def test_garbage_is_an_error_of_one_sentence(garbage, ending, tmp_path):
    """Or, by luck, a table; never any other exception."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"garbage.{ending}"
    path.write_bytes(garbage)
    assert_read_or_told(path)


@FILES
@given(data=st.data())
def test_damaged_tables_are_told_of(data, tmp_path):
    """A byte of a good file is changed, or its end is cut off."""
    pytest.importorskip("pyarrow")
    ending = data.draw(st.sampled_from(["csv", "jsonl", "parquet"]))
    path = tmp_path / f"good.{ending}"
    write(path, [{"text": f'said "{i}"', "n": i} for i in range(20)])
    whole = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[place] = data.draw(st.integers(0, 255))
    else:
        del whole[place:]
    path.write_bytes(whole)
    assert_read_or_told(path)


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text,label\n", "has no rows"),
        ("a.jsonl", b"\n\n", "has no rows"),
        ("a.csv", b"text,label\nfine\n", "1 cells in line 2 and 2 columns"),
        ("a.csv", b"text;label\nso, so;bad\n", "2 cells .* They are separated by ','"),
        ("a.csv", b'text\n"never closed\nfine\n', "is no CSV in line 3"),
        ("a.csv", b"text,text\na,b\n", "two columns named 'text'"),
        ("a.csv", "text\nsch\u00f6n\n".encode("latin1"), "not UTF-8"),
        ("a.jsonl", b'{"text": "fine"}\n[1]\n', "no object in line 2"),
        ("a.jsonl", b'{"text": "fine"\n', "no JSON in line 1"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "no JSON in line 1"),
        ("a.jsonl", b"[" * 100_000, "no JSON in line 1"),
        ("a.xlsx", b"PK", "does not end in .csv"),
    ],
)
def test_what_is_wrong_is_said(name, content, told, tmp_path):
    """With the file, the line, and what to do."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=told):
        read(path)


def test_parquet_needs_pyarrow_and_says_so(tmp_path, monkeypatch):
    """By the name of the extra."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImportError, match=r"sklearn-logprob\[tables\]"):
        read(tmp_path / "a.parquet")


def test_cells_that_look_like_nothing_are_texts(tmp_path):
    """NA, null and 007 stay what they are; so does a byte order mark's column."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext,n\nNA,007\n\nnull,1.50\n")
    assert read(path) == [{"text": "NA", "n": "007"}, {"text": "null", "n": "1.50"}]


def test_rows_of_different_shape(tmp_path):
    """JSON lines take any columns; CSV those of the first batch, and says so."""
    records = [{"text": "a", "more": {"n": None}}, {"text": "b"}, {"new": 1}]
    write(tmp_path / "a.jsonl", records)
    assert read(tmp_path / "a.jsonl") == records
    write(tmp_path / "a.csv", records[:2])
    assert read(tmp_path / "a.csv")[0] == {"text": "a", "more": '{"n": null}'}
    with pytest.raises(ValueError, match="later row has the column 'new'"):
        write(tmp_path / "b.csv", records, size=2)
    assert not (tmp_path / "b.csv").exists()


def test_parquet_keeps_the_types_of_its_input(tmp_path):
    """And a column that begins with nothing can still hold texts or numbers."""
    pa = pytest.importorskip("pyarrow")
    like = pa.schema([("day", pa.date32())])
    records = [{"day": None, "p": None}, {"day": __import__("datetime").date(2026, 1, 2),
                                          "p": 0.5}]  # fmt: skip
    path = tmp_path / "a.parquet"
    write(path, records, size=1, like=like, floats=["p"])
    assert read(path) == records
    assert Table.of(str(path), None).schema().field("p").type == pa.float64()


def test_long_cells_and_pipes(tmp_path, monkeypatch, capsys):
    """A megabyte in a cell; standard input in bytes, standard output in text."""
    long = "x" * 1_000_000
    raw = io.StringIO()
    csv.writer(raw).writerows([["text"], [long], ["two\nlines"]])
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO(raw.getvalue().encode()))
    )
    records = list(chain.from_iterable(Table.of("-", None).batches(1)))
    assert records == [{"text": long}, {"text": "two\nlines"}]
    with writing(Table.of("-", "jsonl")) as put:
        put([{"text": "sch\u00f6n"}])
    assert json.loads(capsys.readouterr().out) == {"text": "sch\u00f6n"}
    with pytest.raises(ValueError, match="cannot go through a pipe"):
        Table.of("-", "parquet")
