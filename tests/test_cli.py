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


def row(printed, name):
    """The numbers of the row of the printed tables that begins so."""
    [line] = re.findall(rf"^ *{name} +(.*)$", printed, re.MULTILINE)
    return [float(number) for number in re.findall(r"\d+\.\d+", line)]


def test_demo_with_the_fake_model(tmp_path, capsys):
    """It runs through on real reviews; the second run sends nothing."""
    arguments = ("--backend", "fake", "--output", tmp_path / "pictures")
    first = demo(capsys, *arguments)
    assert "900 requests sent" in first
    assert all(len(row(first, name)) == 6 for name in TEMPLATES)
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == PICTURES
    second = demo(capsys, *arguments)
    assert "\n0 requests sent" in second
    assert row(second, "log loss") == row(first, "log loss")


@pytest.mark.local
@pytest.mark.slow
def test_demo_with_the_embedded_model(tmp_path, capsys):
    """What the README promises: ranking, decisions, probabilities on held-out data."""
    pytest.importorskip("llama_cpp")
    printed = demo(capsys, "--output", tmp_path)
    (_, auc), (raw_accuracy, accuracy) = row(printed, "ROC AUC"), row(printed, "accuracy")
    (raw_loss, loss), (raw_brier, brier) = (
        row(printed, "log loss"),
        row(printed, "Brier score"),
    )
    assert auc >= 0.85 and accuracy >= 0.78 and loss <= 0.48
    assert accuracy >= raw_accuracy and loss < raw_loss and brier < raw_brier
    for name in PICTURES:
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 500 and len(picture.getcolors(1 << 20)) > 5
    assert "\n0 requests sent" in demo(capsys, "--output", tmp_path)


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
