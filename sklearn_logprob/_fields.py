"""The grammar of a template's fields.

A span in braces is a field where it names a column of X or looks like a name. A span
with which `str.format` would do more than put a value in (a position, an attribute, an
item, a conversion, a format) is refused, as nothing of that is done here. Any other
brace is plain text, so that JSON can be written as it is. Doubled braces make a field
plain text: ``{{text}}`` reads ``{text}``; ``{{{text}}}`` is the value within braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TypeAlias

from sklearn_logprob._errors import PromptError
from sklearn_logprob._inputs import Rows

__all__ = ["Parts", "columns_used", "fill", "fill_each", "read_fields"]

Parts: TypeAlias = tuple[str | int, ...]
"""Text in order: a str stands for itself, an int for the value of that column."""

_PLAIN = r"[^{}\n]+"
_LOOKS_LIKE_A_FIELD = re.compile(r"[^\W\d]\w*(?: +\w+)*").fullmatch
_DOES_MORE = re.compile(r"\d+|\w+(?:\.\w|\[|!\w).*").fullmatch


def read_fields(text: str, rows: Rows, labels: Sequence[str]) -> Parts:
    """Split a template at its fields.

    Parameters
    ----------
    text : str
        The template.
    rows : Rows
        Names the columns; its values are not looked at.
    labels : sequence of str
        What ``{labels}`` lists.

    Returns
    -------
    parts : tuple of str and int
        Text, and the numbers of the columns whose values come between.

    Raises
    ------
    PromptError
        If a field is no column or not a plain name, or ``{labels}`` is a column.

    Examples
    --------
    >>> from sklearn_logprob._fields import read_fields
    >>> from sklearn_logprob._inputs import Rows
    >>> read_fields("Title: {title}.", Rows(("title", "body"), []), ["bad", "good"])
    ('Title: ', 0, '', '.')
    """
    names = rows.positions
    # A column may be named "Price\n(EUR)" or "a{b}", which no general pattern can read.
    odd = [re.escape(name) for name in names if not re.fullmatch(_PLAIN, name)]
    exact = "|".join(sorted(odd, key=len, reverse=True)) if odd else "(?!)"
    span = rf"(\{{)({exact})(\}})|(\{{+)({_PLAIN})(\}}+)"
    parts: list[str | int] = []
    end = 0
    for found in re.finditer(span, text):
        opened, name, closed = (g for g in found.groups() if g is not None)
        known = name.partition(":")[0] in names or name in (*names, "labels")
        if not (known or _LOOKS_LIKE_A_FIELD(name) or _DOES_MORE(name)):
            continue
        depth = min(len(opened), len(closed))
        literal = depth // 2
        parts += [
            text[end : found.start() + len(opened) - depth] + "{" * literal,
            _value_of(name, rows, labels) if depth % 2 else name,
            "}" * literal,
        ]
        end = found.end() - len(closed) + depth
    return (*parts, text[end:])


def _value_of(name: str, rows: Rows, labels: Sequence[str]) -> str | int:
    position = rows.positions.get(name)
    if name == "labels":
        if position is None:
            return ", ".join(labels)
        raise PromptError(
            "The prompt asks for {labels}, which is both the list of labels and a "
            "column of X. Rename the column."
        )
    if position is None and not _LOOKS_LIKE_A_FIELD(name):
        raise PromptError(
            f"The prompt has {{{name}}}, but a field is the plain name of a column, such "
            f"as {{{next(iter(rows.positions))}}}: no position, attribute, item, "
            "conversion or format. Prepare the value in X. If the braces are meant as "
            f"text, double them: {{{{{name}}}}}."
        )
    if position is None:
        raise PromptError(
            f"The prompt asks for {{{name}}}, but {rows}. If the braces are meant as "
            f"text, double them: {{{{{name}}}}}."
        )
    return position


def columns_used(*texts: Parts) -> list[int]:
    """List the columns that enter texts.

    Parameters
    ----------
    *texts : tuple of str and int
        What `read_fields` gave.

    Returns
    -------
    columns : list of int
        In the order of their first use, each once.

    Examples
    --------
    >>> from sklearn_logprob._fields import columns_used
    >>> columns_used(("Title: ", 2), (2, " by ", 0))
    [2, 0]
    """
    parts = (part for text in texts for part in text if isinstance(part, int))
    return list(dict.fromkeys(parts))


def fill(parts: Parts, row: Sequence[str] | Mapping[int, str]) -> str:
    """Put the values of a row into a text.

    Parameters
    ----------
    parts : tuple of str and int
        What `read_fields` gave.
    row : sequence of str, or mapping of int to str
        Values by the number of their column.

    Returns
    -------
    text : str
        The text, without fields.

    Examples
    --------
    >>> from sklearn_logprob._fields import fill
    >>> fill(("Title: ", 1, "."), ("2024", "Dune"))
    'Title: Dune.'
    """
    return "".join([part if isinstance(part, str) else row[part] for part in parts])


def fill_each(parts: Parts, rows: Rows) -> Iterator[str]:
    """Put the values of each row into a text, all of it in C.

    Parameters
    ----------
    parts : tuple of str and int
        What `read_fields` gave, with a column among them.
    rows : Rows
        The values.

    Returns
    -------
    texts : iterator of str
        What `fill` gives for each row.

    Examples
    --------
    >>> from sklearn_logprob._fields import fill_each
    >>> from sklearn_logprob._inputs import Rows
    >>> list(fill_each(("100% ", 0, "."), Rows(("text",), [("good",), ("bad",)])))
    ['100% good.', '100% bad.']
    """
    columns = [part for part in parts if isinstance(part, int)]
    texts = ["%s" if isinstance(p, int) else p.replace("%", "%%") for p in parts]
    return map("".join(texts).__mod__, map(itemgetter(*columns), rows.values))
