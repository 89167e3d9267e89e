"""Build the documentation: python -m sphinx -W --keep-going docs docs/_build/html.

The Markdown pages are written to be read where the repository is, too. So their links
lead to files that are there, and what Sphinx wants besides is added here: the order of
the pages, which is that of the links in index.md; an API page for each public name; and
rendered examples in the place of their scripts.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "examples")]

import make_api  # noqa: E402

import sklearn_logprob  # noqa: E402

# The examples neither read nor fill the user's cache; removed when Python ends.
ANSWERS = TemporaryDirectory()
os.environ["SKLEARN_LOGPROB_CACHE"] = ANSWERS.name

for client in ("httpx", "httpx2"):  # which tell of every request of the last example
    logging.getLogger(client).setLevel(logging.WARNING)

project = "sklearn-logprob"
author = "the authors of sklearn-logprob"
version = release = sklearn_logprob.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
root_doc = "index"
default_role = "literal"  # of names in single backticks in docstrings
myst_heading_anchors = 4
# blocks of what is not quite Python, such as one with "…" in it, need no colours
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"sklearn-logprob {release}"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = False
smartquotes = False  # "auto" is code, in quotes or not

autodoc_default_options = {
    "members": True,
    "inherited-members": True,
    "member-order": "bysource",
}
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "ignore_pattern": "recorded|small_server",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": (),
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "image_srcset": ["2x"],
}


def setup(app):
    app.connect("builder-inited", write_api_pages)
    app.connect("source-read", complete)
    app.connect("autodoc-skip-member", skip)


def write_api_pages(app):
    """Write a page for each public name, with what autodoc makes of it."""
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    for _, members in make_api.groups():
        for name, thing in members.items():
            short = name.rpartition(".")[2]
            kind = "class" if inspect.isclass(thing) else "function"
            text = f"{short}\n{'=' * len(short)}\n\n.. auto{kind}:: {name}\n"
            page = folder / f"{short}.rst"
            if not page.exists() or page.read_text(encoding="utf-8") != text:
                page.write_text(text, encoding="utf-8")


def complete(app, name, source):
    """Add to a page's text what only Sphinx understands."""
    if name == "api":
        source[0] = "\n".join(api_index())
    source[0] = re.sub(r"\]\(examples/(\w+)\.py", r"](auto_examples/\1.rst", source[0])
    source[0] = re.sub(r"\[([^]]+)\]\(\.\./[^)]+\)", r"\1", source[0])  # has no page
    gallery = "auto_examples/index.rst"
    source[0] = source[0].replace("](examples/GALLERY_HEADER.rst", f"]({gallery}")
    if name == "index":
        pages = re.findall(r"\]\(([\w/]+)\.(?:md|rst)\)", source[0])
        source[0] += "\n".join(["", *toctree(pages)])


def api_index():
    yield "# API reference"
    for title, members in make_api.groups():
        yield from ("", f"## {title}", "")
        for name, thing in members.items():
            short = name.rpartition(".")[2]
            summary = (inspect.getdoc(thing) or "").partition("\n\n")[0]
            summary = re.sub(r"``?([^`]+)``?", r"`\1`", " ".join(summary.split()))
            yield f"- [`{short}`](api/{short}.rst): {summary}"
        yield from toctree(f"api/{name.rpartition('.')[2]}" for name in members)


def skip(*event):
    """Leave out what others wrote, as scikit-learn did for every estimator."""
    thing = event[3]
    ours = (getattr(thing, "__module__", None) or "").startswith("sklearn_logprob")
    return True if inspect.isroutine(thing) and not ours else None


def toctree(pages):
    yield from ("", "```{toctree}", ":hidden:", "", *pages, "```")
