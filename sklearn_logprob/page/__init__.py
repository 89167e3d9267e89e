"""The page on which an operating point is chosen by eye: one HTML file, offline."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["OperatingPointPage"]

SCRIPTS = ("numbers.js", "charts.js", "main.js")


class OperatingPointPage:
    """Precision, recall, cost and coverage as thresholds move, in one HTML file.

    `LogprobClassifier.explore` makes it. It opens offline in any browser, and shows
    itself at the end of a notebook cell. Nothing in it is loaded from elsewhere, and its
    content security policy lets nothing be; texts are data in it and never markup.

    Parameters
    ----------
    data : mapping
        What the page shows: numbers, texts and strings, ready for JSON.

    Attributes
    ----------
    html : str
        The whole page.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> backend = FakeBackend({"great": {"good": 2.0}}, labels=("bad", "good"))
    >>> X, y = ["great", "dull", "great fun", "so dull"], ["good", "bad"] * 2
    >>> page = LogprobClassifier(backend).fit(X, y).explore(X, y)
    >>> page
    <OperatingPointPage of 4 rows: save(path) writes it>
    >>> "so dull" in page.html
    True
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    @cached_property
    def html(self) -> str:
        """The whole page."""
        parts = {
            "style": _asset("page.css"),
            "script": "\n".join(map(_asset, SCRIPTS)),
            "data": _inert(self.data),
        }
        parts["policy"] = (
            f"default-src 'none'; script-src {_digest(parts['script'])}; "
            f"style-src {_digest(parts['style'])}; base-uri 'none'; form-action 'none'"
        )
        # in one pass, so that a text that looks like a place holder stays as it is
        return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], _asset("page.html"))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, at once or not at all.

        Parameters
        ----------
        path : str or path
            The file, which is replaced if it is there.

        Returns
        -------
        path : Path
            The same.
        """
        target = Path(path)
        part = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            part.write_bytes(self.html.encode())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame that can reach nothing around it."""
        return (
            '<iframe title="Operating point" sandbox="allow-scripts" '
            'allow="clipboard-write" width="100%" height="900" style="border: 0" '
            f'srcdoc="{html.escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        n_rows = len(self.data["y"])
        return f"<OperatingPointPage of {n_rows} rows: save(path) writes it>"


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _inert(data: Mapping[str, Any]) -> str:
    """Write JSON that no HTML parser takes for markup: it never has a ``<``."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c")


def _digest(source: str) -> str:
    """Name a script or style by its content, the only one that the policy lets run."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
