"""The documentation runs, is complete and up to date, and its links lead somewhere.

Blocks marked ``python`` run in order, in one namespace a file, with warnings as errors.
``python warns X`` must warn with class X; ``python no-run`` is left out. A block marked
``output`` right after one holds exactly what that prints.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

import sklearn_logprob
from sklearn_logprob import (
    LogprobClassifier,
    datasets,
    metrics,
    plots,
    priors,
    stability,
)

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
NAMES = [path.name for path in PAGES]
LEAST_BLOCKS = 15

FENCED = re.compile(
    r"^```python *([^\n]*)\n(.*?)^```$(?:\n\n```output\n(.*?)^```$)?", re.M | re.S
)


class Block(NamedTuple):
    """Some code of a page, padded so that errors name the line of the page."""

    info: str
    code: str
    output: str | None


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = [
        Block(m[1], "\n" * text.count("\n", 0, m.start(2)) + m[2], m[3])
        for m in FENCED.finditer(text)
    ]
    assert len(found) == len(re.findall("^```python", text, re.M))
    assert all(re.fullmatch(r"|no-run|warns \w+", block.info) for block in found)
    return [block for block in found if block.info != "no-run"]


def prose(path: Path) -> str:
    """Give the text of a page without its code blocks."""
    return re.sub(
        r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S
    )


def anchors(path: Path) -> set[str]:
    """Give the link targets that the headings of a page make."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_blocks_run_and_print_what_the_page_says(path, tmp_path, monkeypatch):
    """In an empty folder, without network, key or display."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(path):
        warns = block.info.removeprefix("warns ")
        expected = (
            pytest.warns(getattr(sklearn_logprob, warns)) if warns else nullcontext()
        )
        printed = StringIO()
        with expected, redirect_stdout(printed):
            exec(compile(block.code, str(path), "exec"), namespace)
        if block.output is not None:
            assert printed.getvalue() == block.output


def test_there_are_blocks_to_run():
    """The tests above would pass if the blocks were not recognised."""
    found = [block for path in PAGES for block in blocks(path)]
    assert len(found) > LEAST_BLOCKS
    assert sum(block.output is not None for block in found) > LEAST_BLOCKS // 2


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_resolve(path):
    """Inside the project, to a file, and to a heading of it where they name one."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?://|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_api_page_is_up_to_date():
    """It is what the docstrings say now."""
    command = [sys.executable, str(DOCS / "make_api.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_help_of_every_command_is_in_the_docs():
    """Word for word."""
    command = [sys.executable, str(DOCS / "make_help.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_in_the_api_page():
    """With a heading of its own."""
    modules = (datasets, metrics, plots, priors, stability)
    elsewhere = {name for module in modules for name in module.__all__}
    elsewhere = {*elsewhere - {"VARIED"}, "make_backend"}
    titles = re.findall(r"^### (\w+)$", (DOCS / "api.md").read_text(), re.M)
    assert sorted(titles) == sorted({*sklearn_logprob.__all__, *elsewhere})


def test_every_parameter_of_the_classifier_is_explained():
    """In a page that people read, not in the reference only."""
    pages = [ROOT / "README.md", DOCS / "quickstart.md", DOCS / "concepts.md"]
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    parameters = list(inspect.signature(LogprobClassifier).parameters)
    unsaid = [p for p in parameters if not re.search(rf"`{p}[`=]|\b{p}=", text)]
    assert unsaid == []


def test_every_page_is_reachable():
    """The index names all others."""
    linked = set(re.findall(r"\]\((\w+\.md)\)", (DOCS / "index.md").read_text()))
    assert linked == {path.name for path in DOCS.glob("*.md")} - {"index.md"}


def test_every_error_and_warning_is_explained():
    """Among the limits: why it comes, and what helps."""
    text = (DOCS / "limits.md").read_text(encoding="utf-8")
    ours = [n for n in sklearn_logprob.__all__ if n.endswith(("Error", "Warning"))]
    assert [name for name in ours if f"| `{name}` |" not in text] == ["LogprobError"]


@pytest.mark.slow
def test_tables_of_the_pictures_are_in_the_pages():
    """Whoever draws the pictures again is told where a page differs."""
    command = [sys.executable, str(DOCS / "make_pictures.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_examples_say_what_one_sees():
    """At their end, and each is in the order of its number."""
    examples = sorted((DOCS / "examples").glob("plot_*.py"))
    texts = [path.read_text(encoding="utf-8") for path in examples]
    assert [path.name[5] for path in examples] == list("123456789")
    assert all("# **What one sees.**" in text for text in texts)
