"""The demo: real reviews, the table it prints, the pictures it writes."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from PIL import Image

from sklearn_logprob.cli import main
from sklearn_logprob.demo import TEMPLATES

PICTURES = ["precision_recall.png", "roc.png", "thresholds.png"]


def demo(capsys, *arguments):
    """Run the demo in this process and give what it prints."""
    main(["demo", *map(str, arguments)])
    return capsys.readouterr().out


def rows(printed, title):
    """Give the numbers of each row of a printed table, the best one as "best" too."""
    lines = printed.split(title)[1].splitlines()[2 : 2 + len(TEMPLATES)]
    found = {}
    for line, name in zip(lines, TEMPLATES, strict=True):
        assert line.startswith(name)
        found[name] = [float(number) for number in re.findall(r"\d+\.\d+", line)]
        if line.endswith("<- best"):
            found["best"] = found[name]
    return found


def test_demo_with_the_fake_model(tmp_path, capsys):
    """It runs through on real reviews; the second run sends nothing."""
    arguments = ("--backend", "fake", "--output", tmp_path / "pictures")
    first = demo(capsys, *arguments)
    assert f"requests sent: {500 * len(TEMPLATES)};" in first
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == PICTURES
    second = demo(capsys, *arguments)
    assert "requests sent: 0;" in second
    assert rows(second, "test reviews") == rows(first, "test reviews")


@pytest.mark.local
@pytest.mark.slow
def test_demo_with_the_embedded_model(tmp_path, capsys):
    """What the README promises: ranking, decisions, probabilities on held-out data."""
    pytest.importorskip("llama_cpp")
    printed = demo(capsys, "--output", tmp_path)
    tested = rows(printed, "300 test reviews")
    # Another CPU's kernels round 4-bit weights differently; what is promised has room.
    for name, least in (("best", 0.78), ("two, run on", 0.75)):
        auc, _, raw_loss, raw_brier, accuracy, loss, brier = tested[name]
        assert auc >= 0.85 and accuracy >= least and loss <= 0.48
        assert loss < raw_loss and brier < raw_brier
    _, raw_accuracy, raw_loss, _, accuracy, _, _ = tested["two, run on"]
    assert raw_accuracy < 0.68 and raw_loss > 0.55 and accuracy > raw_accuracy + 0.1
    for name in PICTURES:
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 500 and len(picture.getcolors(1 << 20)) > 5
    assert "requests sent: 0;" in demo(capsys, "--output", tmp_path)


@pytest.mark.parametrize(
    "command", [["-m", "sklearn_logprob"], ["-m", "sklearn_logprob.cli"]]
)
def test_help_and_errors_on_the_command_line(command, tmp_path):
    """Without a traceback: usage, and one line that names the fix."""
    if command[1].endswith("cli"):
        command = ["-c", "from sklearn_logprob.cli import main; main()"]

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *command, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    assert "demo" in run("--help").stdout
    failed = run("demo", "--backend", "olama", "--output", str(tmp_path))
    assert failed.returncode == 1
    assert "The 'backend' parameter" in failed.stderr
    assert "Traceback" not in failed.stderr
