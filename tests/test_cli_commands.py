"""The commands, with a model that is known and a server that counts what is sent."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import ChatServer, Http, chat_completion, refuse
from sklearn.metrics import accuracy_score, log_loss, precision_score, roc_auc_score

from sklearn_logprob import Cache, FewLabelsWarning, LogprobClassifier
from sklearn_logprob.backends import BACKENDS
from sklearn_logprob.backends._presets import PRESETS
from sklearn_logprob.cli import FAILED, INTERRUPTED, _show_warning, main
from sklearn_logprob.cli._rows import Texts
from sklearn_logprob.cli._tables import Table

N = 60
FIT = ["--text", "review", "--seed", "1", "--threshold", "f1", "--readout", "labels"]
AS_FIT = {"threshold": "f1", "random_state": 1, "readout": "labels"}


def answers(prompt):
    """Say " high" with a probability that rises with the number in the prompt."""
    p = 1 / (1 + math.exp(3 - float(re.findall(r"\d+\.\d+", prompt)[-1])))
    return [
        sorted([(" high", math.log(p)), (" low", math.log1p(-p))], key=lambda t: -t[1])
    ]


def well(body):
    """Reply as ever."""
    positions = answers(body["messages"][-1]["content"])
    return Http(json.dumps(chat_completion(body, positions)).encode())


@pytest.fixture(scope="module")
def one_server():
    with ChatServer(answers) as server:
        yield server


@pytest.fixture(autouse=True)
def server(one_server, monkeypatch):
    """Serve as `answers` says, and count from nothing."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_BASE_URL", one_server.url)
    one_server.answers = answers
    one_server.calls.clear()
    one_server.script.clear()
    return one_server


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """Write sixty labelled rows; every tenth repeats the text before it."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("tables") / "reviews.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "review", "label"])
        for i in range(N):
            value = (i - (i % 10 == 9)) / 10
            label = "high" if value + rng.normal() > 3 else "low"
            rows.writerow([f"{i:03}", f'so "good", {value:.2f}\nof six', label])
    return path


@pytest.fixture(scope="module")
def model(one_server, reviews):
    """Fit in Python, as `test_fit_saves_what_python_fits` compares."""
    path = reviews.with_name("model.json")
    X, y = rows_of(reviews)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("OPENAI_BASE_URL", one_server.url)
        clf = LogprobClassifier("openai:test", cache=None, **AS_FIT)
        clf.fit(Texts(X, "review"), y).to_json(path)
    return path


def run(*arguments):
    """Run in this process; give the exit code."""
    try:
        main([*map(str, arguments)])
    except SystemExit as stop:
        return stop.code
    return 0


def failure(capsys, *arguments, code=FAILED):
    """Run what must fail, and give the one line that it says."""
    capsys.readouterr()
    assert run(*arguments) == code
    said = capsys.readouterr().err
    [line] = said.splitlines()
    assert line.startswith("sklearn-logprob: error: ")
    return line


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def rows_of(path):
    rows = read_csv(path)
    return [row["review"] for row in rows], [row["label"] for row in rows]


# ------------------------------------------------------------------ the main path


def test_fit_saves_what_python_fits(server, reviews, tmp_path, capsys):
    """The same probabilities, and what it prints is what it learnt."""
    path = tmp_path / "model.json"
    main(["fit", str(reviews), "--backend", "openai:test", "--output", str(path), *FIT])
    printed = capsys.readouterr().out
    X, y = rows_of(reviews)
    clf = LogprobClassifier("openai:test", **AS_FIT).fit(X, y)
    loaded = LogprobClassifier.from_json(path)
    assert np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    assert loaded.threshold_ == clf.threshold_
    n_distinct = len(set(X))
    assert f"{n_distinct} requests sent, 0 in the cache" in printed
    assert len(server.calls) == n_distinct
    assert f"threshold of 'low': {clf.threshold_:.3f}" in printed
    assert str(clf.report_) in printed


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_predict_adds_columns_and_changes_none(model, reviews, tmp_path, ending):
    """Rows in their order, whatever the batches; each distinct text is asked once."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    output = tmp_path / f"out.{ending}"
    main(["predict", str(model), str(reviews), "--output", str(output),
          "--batch-size", "7"])  # fmt: skip
    rows = [row for batch in Table.of(str(output), None).batches(9) for row in batch]
    X, y = rows_of(reviews)
    clf = LogprobClassifier.from_json(model)
    P = clf.predict_proba(X)
    assert [row["id"] for row in rows] == [f"{i:03}" for i in range(N)]
    assert [row["review"] for row in rows] == X
    assert [row["label"] for row in rows] == y
    assert [row["prediction"] for row in rows] == clf.predict(X).tolist()
    for k, label in enumerate(clf.classes_):
        assert [float(row[f"probability_{label}"]) for row in rows] == P[:, k].tolist()


@pytest.mark.slow
def test_a_pipe_in_and_a_pipe_out(model, reviews):
    """As a process of its own, with nothing but rows on standard output."""
    lines = [json.dumps(row) for row in read_csv(reviews)[:5]]
    command = [sys.executable, "-m", "sklearn_logprob", "predict", str(model), "-",
               "--format", "jsonl"]  # fmt: skip
    done = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=True
    )
    out = [json.loads(line) for line in done.stdout.splitlines()]
    X = [row["review"] for row in out]
    clf = LogprobClassifier.from_json(model)
    assert [row["prediction"] for row in out] == clf.predict(X).tolist()
    assert done.stderr == ""


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_traceback(model, reviews):
    """As with ``| head``."""
    command = f"{sys.executable} -m sklearn_logprob predict {model} {reviews} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.slow
def test_interrupting_is_130_and_keeps_the_answers(model, server):
    """With rows still to come through a pipe; the next run sends none of the first."""
    command = [sys.executable, "-m", "sklearn_logprob", "predict", str(model), "-",
               "--batch-size", "2"]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    rows = "review\nnew 9.10\nnew 9.20\n"
    process.stdin.write(rows)
    process.stdin.flush()
    assert [process.stdout.readline()[:6] for _ in range(3)] == [
        "review",
        "new 9.",
        "new 9.",
    ]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert re.fullmatch(r"sklearn-logprob: interrupted\. .*\n", said)
    assert len(server.calls) == 2
    clf = LogprobClassifier.from_json(model).set_params(cache="auto")
    assert clf.predict_proba(["new 9.10", "new 9.20"]).shape == (2, 2)
    assert len(server.calls) == 2


def test_a_run_that_failed_goes_on_where_it_was(model, server, tmp_path, capsys):
    """No request twice, no row lost or doubled, and no half of a file under its name."""
    table, output = tmp_path / "new.csv", tmp_path / "out.csv"
    texts = [f"new {i / 10:.2f}" for i in range(30)]
    table.write_text("review\n" + "\n".join(texts))
    arguments = ["predict", model, table, "--output", output, "--batch-size", "4",
                 "--backend-option", "max_concurrency=1"]  # fmt: skip
    server.script = [well] * 10 + [refuse(401)]
    assert "401" in failure(capsys, *arguments)
    assert not output.exists() and len(server.calls) == 11
    assert run(*arguments) == 0
    assert [row["review"] for row in read_csv(output)] == texts
    assert not Path(f"{output}.part").exists()
    assert len(server.calls) == 11 + 20


def test_dry_run_sends_nothing_and_counts_exactly(
    model, server, reviews, tmp_path, capsys
):
    """What it counts is what is sent then; nothing is written."""
    output, price = tmp_path / "out.csv", "price=[1,1,1]"
    new = tmp_path / "new.csv"
    new.write_text("review\n" + "\n".join(f"new {i % 7}.00" for i in range(20)))
    for command in (
        ["predict", model, new, "--output", output, "--batch-size", "30"],
        ["evaluate", model, reviews],
        ["explore", model, reviews, "--output", tmp_path / "page.html"],
        ["thresholds", model, reviews],
        ["fit", reviews, "--backend", "openai:other", "--output", output, *FIT],
    ):
        server.calls.clear()
        capsys.readouterr()
        main([*map(str, command), "--dry-run", "--backend-option", price])
        told = capsys.readouterr().out
        assert not output.exists() and server.calls == []
        main([*map(str, command), "--backend-option", price])
        rows, sent = map(int, re.match(r"(\d+) rows: (\d+) requests", told).groups())
        assert sent == len(server.calls)
        assert rows == (20 if command[0] == "predict" else N)
        dollars = float(re.search(r"\$(\d+\.\d+)", told)[1])
        assert dollars < 0.01
        output.unlink(missing_ok=True)


def test_max_cost_ends_the_run(model, server, tmp_path, capsys):
    """Before it is crossed; a bar shows what was spent until then."""
    table = tmp_path / "new.csv"
    table.write_text("review\n" + "\n".join(f"new {i / 10:.2f}" for i in range(40)))
    line = failure(
        capsys, "predict", model, table, "--output", tmp_path / "out.csv",
        "--max-cost", "0.05", "--backend-option", "price=[100,100,100]",
        "--backend-option", "max_concurrency=1",
    )  # fmt: skip
    assert "max_cost=0.05 would be crossed" in line
    assert 1 < len(server.calls) < 40


def test_the_bar_shows_rows_rate_cost_and_time(model, server, tmp_path, capsys):
    """On stderr, where it is asked for; and never where it is not."""
    table = tmp_path / "new.csv"
    table.write_text("review\n" + "\n".join(f"new {i / 10:.2f}" for i in range(10)))
    arguments = ["predict", model, table, "--backend-option", "price=[9,9,9]"]
    main([*map(str, arguments), "--progress", "always"])
    shown = capsys.readouterr().err
    assert re.search(r"10/10 \[\d\d:\d\d<\d\d:\d\d, .*row/s, \$0\.\d{4}\]", shown)
    main([*map(str, arguments), "--progress", "never"])
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------ judging


def test_evaluate_agrees_with_scikit_learn(model, reviews, capsys):
    """As a table and as JSON; and it says that fit has seen the rows."""
    X, y = rows_of(reviews)
    clf = LogprobClassifier.from_json(model)
    labels, P = clf.predict(X), clf.predict_proba(X)
    capsys.readouterr()
    main(["evaluate", str(model), str(reviews), "--label", "label", "--json"])
    told = json.loads(capsys.readouterr().out)
    expected = {
        "accuracy": accuracy_score(y, labels),
        "log_loss": log_loss(y, P, labels=clf.classes_),
        "roc_auc": roc_auc_score(np.array(y) == clf.classes_[1], P[:, 1]),
    }
    for name, value in expected.items():
        found = told["scores"][name]
        assert found["value"] == pytest.approx(value, rel=1e-9)
        assert found["low"] <= value <= found["high"]
    assert np.trace(told["confusion"]) == accuracy_score(y, labels) * N
    assert told["rows"] == N
    main(["evaluate", str(model), str(reviews)])
    assert f"accuracy            {expected['accuracy']:.3f}" in capsys.readouterr().out


def test_thresholds_are_what_they_say(model, reviews, tmp_path, capsys):
    """The curve has every threshold; those that are shown keep what was asked."""
    X, y = rows_of(reviews)
    clf = LogprobClassifier.from_json(model)
    p, truth = clf.predict_proba(X)[:, 0], np.array(y) == "high"
    output = tmp_path / "curve.csv"
    capsys.readouterr()
    main(["thresholds", str(model), str(reviews), "--pos-label", "high", "--precision",
          "0.8", "--cost-fn", "5", "--output", str(output)])  # fmt: skip
    printed = capsys.readouterr().out
    numbers = [float(n) for n in re.search(r"precision >= 0.8(.*)", printed)[1].split()]
    at = p[np.abs(p - numbers[0]) < 0.0006].min()
    precision = precision_score(truth, p >= at)
    assert precision >= 0.8 and f"{precision:.3f}" == f"{numbers[1]:.3f}"
    now = [float(n) for n in re.search(r"now(.*)", printed)[1].split()]
    decided = clf.predict(X) == "high"
    assert now[0] == pytest.approx(1 - clf.threshold_, abs=0.001)
    assert now[1] == pytest.approx(precision_score(truth, decided), abs=0.0006)
    wrong = 5 * (truth & ~decided).mean() + (~truth & decided).mean()
    assert now[5] == pytest.approx(wrong, abs=0.0006)
    curve = read_csv(output)
    assert [float(row["threshold"]) for row in curve[:-1]] == sorted(set(p))
    cheapest = min(curve, key=lambda row: float(row["cost"]))
    assert f"{float(cheapest['cost']):.3f}" in re.search("least cost.*", printed)[0]
    told = failure(capsys, "thresholds", model, reviews, "--precision", "1.01")
    assert "No threshold has a precision of 1.01" in told


def test_predict_can_use_another_threshold(model, reviews, tmp_path):
    """The probability of the positive class decides, and nothing else changes."""
    output = tmp_path / "out.csv"
    main(["predict", str(model), str(reviews), "--threshold", "0.9", "--output",
          str(output)])  # fmt: skip
    for row in read_csv(output):
        positive = float(row["probability_low"]) >= 0.9
        assert row["prediction"] == ("low" if positive else "high")


def test_explore_and_stability_write_what_they_say(
    server, model, reviews, tmp_path, capsys
):
    """A page with every row; a table with a row for each text in each wording."""
    page, table = tmp_path / "page.html", tmp_path / "frame.csv"
    main(["explore", str(model), str(reviews), "--output", str(page)])
    assert "<script" in page.read_text() and "of six" in page.read_text()
    ask = ["stability", str(reviews), "--text", "review", "--backend", "openai:test"]
    ask += ["--style", "plain", "--style", "question", "--label-style", "given"]
    server.calls.clear()
    capsys.readouterr()
    main([*ask, "--dry-run"])
    told = capsys.readouterr().out
    assert server.calls == []
    main([*ask, "--output", str(table)])
    assert f"{N} rows: {len(server.calls)} requests to send" in told
    frame = read_csv(table)
    assert len(frame) == 2 * N
    assert {row["style"] for row in frame} == {"plain", "question"}


def test_several_columns_and_classes(tmp_path, capsys):
    """A template fills in columns by name; three classes are judged one by one."""
    path, table = tmp_path / "model.json", tmp_path / "table.jsonl"
    rows = [
        {"title": f"No. {i}", "year": i, "label": i % 3, "tags": [i]}
        for i in range(1, 31)
    ]
    table.write_text("\n".join(map(json.dumps, rows)))
    fit = ["fit", str(table), "--text", "title", "--text", "year", "--output", str(path)]
    main(
        [*fit, "--prompt", "{title}, {year}:", "--backend", "fake", "--readout", "labels"]
    )
    main(["evaluate", str(path), str(table), "--json"])
    told = json.loads(capsys.readouterr().out.partition(f"wrote {path}\n")[2])
    assert told["classes"] == ["0", "1", "2"] and told["seen_in_fit"] == 30
    assert "--pos-label" in failure(capsys, "thresholds", path, table)
    main(["thresholds", str(path), str(table), "--pos-label", "2"])
    assert "predict '2'" in capsys.readouterr().out
    output = tmp_path / "out.jsonl"
    main(["predict", str(path), str(table), "--output", str(output), "--limit", "7"])
    out = [json.loads(line) for line in output.read_text().splitlines()]
    assert [{name: row[name] for name in rows[0]} for row in out] == rows[:7]
    X = pd.DataFrame(rows)[["title", "year"]].astype(str)[:7]
    P = LogprobClassifier.from_json(path).predict_proba(X)
    assert [[row[f"probability_{k}"] for k in range(3)] for row in out] == P.tolist()


def test_zero_shot_needs_no_rows(server, tmp_path, capsys):
    """Classes are enough; words stand for them."""
    path = tmp_path / "zero.json"
    main(["fit", "--class", "good", "--class", "bad", "--word", "good=high", "--word",
          "bad=low", "--backend", "openai:test", "--output", str(path)])  # fmt: skip
    assert server.calls == []
    clf = LogprobClassifier.from_json(path)
    assert clf.predict(["value 9.00", "value 0.00"]).tolist() == ["good", "bad"]


# ------------------------------------------------------------------ what is wrong


WRONG = """
fit {reviews} --text text | no column 'text'; there are 'id', 'review', 'label'
fit {reviews} --text review --label y | no column 'y'
fit {semicolons} | Say which with --text. Cells must be separated by ','
fit {reviews} --text review --label id | has another class in every row
fit {one} --text review | holds the class 'low' only
fit {blank} --text review | no text in 1 rows, 2
fit {unlabelled} --text review | no class in column 'label' in 1 rows, 1
fit {empty} | is empty
fit nowhere.csv | nowhere.csv: No such file
fit table.xlsx | does not end in
fit | needs a table with labelled rows, or --class
fit {reviews} --text review --backend olama:x | 'backend' parameter
fit {reviews} --text review --threshold f2 | 'threshold' parameter
fit {reviews} --text review --confidence 0.9 | --confidence goes with
fit {reviews} --text review --word low | --word must be NAME=VALUE
fit {reviews} --text review --prompt {{other}} | other
fit {reviews} --text review --output no/where.json | is not there
fit {reviews} --text review --backend-option speed=9 | OpenAIBackend has the parameters
predict nowhere.json {reviews} | there is no such file
predict {reviews} {reviews} | Expecting value
predict {model} {reviews} --text text | no column 'text'
predict {model} {taken} | has a column 'prediction' already
predict {model} {reviews} --output {reviews} | is the input
predict {model} {blank} | no text in 1 rows, 2
predict {model} {reviews} --threshold 2 | must be a probability
predict {model} {reviews} --backend-option model=gpt | was fitted to
evaluate {model} {strange} | 'middling' too
explore {model} {reviews} --output no/page.html | is not there
cache clear | add --yes
cache prune | --older-than
"""


@pytest.mark.parametrize("wrong", WRONG.strip().splitlines())
def test_what_is_wrong_is_said_before_anything_is_asked(
    wrong, model, server, tmp_path, capsys
):
    """In one line that names the fix, with exit code 1."""
    head = "review,label\nnew 1.00,low\nnew 2.00,{}\n{},low\n"
    files = {
        "one": head.format("low", "new 3.00"),
        "blank": head.format("high", ""),
        "unlabelled": head.format("", "new 3.00"),
        "strange": head.format("middling", "new 3.00"),
        "empty": "",
        "semicolons": "text;label\nnew 1.00;low\n",
        "taken": "review,prediction\nnew 1.00,low\n",
    }
    paths = {name: tmp_path / f"{name}.csv" for name in files}
    for name, content in files.items():
        paths[name].write_text(content)
    paths |= {"model": model, "reviews": model.with_name("reviews.csv")}
    arguments, _, told = wrong.partition(" | ")
    given = [argument.format(**paths) for argument in arguments.split()]
    if given[0] == "fit" and "--backend" not in given:
        given += ["--backend", "openai:test"]
    assert told in failure(capsys, *given)
    assert server.calls == []


def test_the_model_s_own_errors_are_one_line(server, reviews, tmp_path, capsys):
    """And the rows that it refuses are named as rows of the table."""
    fit = ["fit", reviews, "--backend", "openai:test", "--output", tmp_path / "m.json"]
    server.script = [refuse(401, "Incorrect API key provided")]
    assert "401" in failure(capsys, *fit, *FIT, "--backend-option", "max_retries=0")


def test_rows_that_fail_are_blank(model, server, tmp_path, capsys):
    """With --on-error nan: neither class nor probability, and the others as ever."""
    table, output = tmp_path / "new.jsonl", tmp_path / "out.jsonl"
    texts = ["new 1.00", None, "new 2.00", "", "new 3.00", 4.25]
    table.write_text("\n".join(json.dumps({"review": text}) for text in texts))
    filtered = refuse(400, "filtered", code="content_filter")
    server.script = [filtered]
    run_it = ["predict", model, table, "--output", output, "--batch-size", "3",
              "--backend-option", "max_concurrency=1"]  # fmt: skip
    told = failure(capsys, *run_it)
    assert "no text in 2 rows, 1, 3" in told
    assert run(*run_it, "--on-error", "nan") == 0
    warned = capsys.readouterr().err
    assert "warning: X is the rows 0 to 2 of" in warned and "with a text" in warned
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["review"] for row in rows] == texts
    blank = [row["prediction"] is None for row in rows]
    assert blank == [True, True, False, True, False, False]
    assert blank == [row["probability_high"] is None for row in rows]
    table.write_text('{"review": "new 8.00"}')
    server.script = [filtered]
    assert "X is the rows 0 to 0 of" in failure(capsys, *run_it)


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"]])
def test_help_imports_nothing_that_it_does_not_need(arguments):
    """Not even numpy: ``python -X importtime -m sklearn_logprob --help``."""
    code = f"""
import runpy, sys
sys.argv = ["sklearn-logprob", *{arguments}]
try:
    runpy.run_module("sklearn_logprob", run_name="__main__")
finally:
    print(sorted(sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "usage: sklearn-logprob" in done.stdout
    loaded = set(eval(done.stderr))
    own = {name for name in loaded if name.startswith("sklearn_logprob")}
    needed = ("", "._errors", ".cli", ".cli._options", ".cli._parser")
    assert own == {f"sklearn_logprob{name}" for name in needed}
    assert {"numpy", "scipy", "sklearn", "openai", "tqdm", "requests"} & loaded == set()


def test_only_warnings_for_users_are_told(capsys):
    """Whatever filters the packages set that a command imports, as scikit-learn does."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _show_warning
        warnings.warn("an old name", DeprecationWarning, stacklevel=1)
        warnings.warn("few rows", FewLabelsWarning, stacklevel=1)
    assert capsys.readouterr().err == "sklearn-logprob: warning: few rows\n"


def test_wrong_arguments_are_2(capsys):
    """As everywhere; usage goes to stderr."""
    for arguments in (
        [], ["fti"], ["fit", "--no-such"], ["cache", "burn"], ["fit", "--limit", "0"],
        ["predict", "model", "table", "--batch-size", "-1"],
    ):  # fmt: skip
        assert run(*arguments) == 2
        assert "usage: sklearn-logprob" in capsys.readouterr().err


TOKENS = """
fit predict evaluate thresholds explore stability cache path size prune - a.csv a.jsonl
a.parquet m.json --text --label --threshold precision>=0.9 nan -1 1e400 --limit 0 --format
csv jsonl --word a=b = --class --dry-run --output out.csv --older-than --backend fake
openai:x --backend-option max_cost=x --no-cache
"""


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tokens=st.lists(st.sampled_from(TOKENS.split()) | st.text(max_size=5), max_size=8),
    content=st.binary(),
)
def test_no_arguments_are_a_traceback(tokens, content, tmp_path, capsys, monkeypatch):
    """Whatever they are, and whatever is in the files: done, failed or refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    for name in ("a.csv", "a.jsonl", "a.parquet", "m.json"):
        Path(name).write_bytes(content)
    assert run(*tokens) in (0, 1, 2)


# ------------------------------------------------------------------ the rest


def test_the_cache_is_shown_and_shrunk(model, reviews, cache_home, capsys):
    """Old answers go, new ones stay; all go only when told twice."""
    main(["predict", str(model), str(reviews)])
    n = len(Cache(cache_home))
    assert n == len(set(rows_of(reviews)[0]))

    def said(*arguments):
        capsys.readouterr()
        main(["cache", *arguments])
        return capsys.readouterr().out

    assert said("path") == f"{cache_home}\n"
    assert re.fullmatch(rf"{n} answers, \d+\.\d MB, {cache_home}\n", said("size"))
    assert said("prune", "--older-than", "1") == f"0 answers removed, {n} left\n"
    assert said("prune", "--older-than", "0") == f"{n} answers removed, 0 left\n"
    assert said("clear", "--yes") == "0 answers removed, 0 left\n"
    assert said("size", "--cache", str(cache_home / "none")).startswith("0 answers, 0.0")
    assert not (cache_home / "none").exists()


def test_backends_lists_all_and_asks_one(server, capsys, monkeypatch):
    """Each with what it gives; a probe asks, and fails as any other command."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    main(["backends"])
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0].partition(":")[0]: line for line in lines[1:-2]}
    assert listed.keys() == {*BACKENDS, *PRESETS}
    assert "exact" in listed["fake"] and "installed" in listed["fake"]
    assert "top 20" in listed["openai"] and "reachable" in listed["openai"]
    assert "none: sampling:NAME" in listed["groq"]
    server.answers = lambda prompt: [[(" Yes", math.log(0.6)), (" no", math.log(0.2))]]
    main(["backends", "--probe", "openai:test"])
    said = capsys.readouterr().out
    assert "yes has 0.750 and no has 0.250" in said and "80.0%" in said
    server.script = [refuse(404, "no such model")] * 6
    assert "404" in failure(capsys, "backends", "--probe", "openai:gone")
