"""Named wordings of one question, and of its labels: what a prompt says by chance.

They ask the same thing in ways that people write it, for experiments on how much the
wording matters. None is better in general.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

__all__ = ["LABEL_STYLES", "OPTIONS", "STYLES", "write_style"]

ROW = "<row>"

STYLES: Mapping[str, str] = MappingProxyType(
    {
        "plain": "<row>\nChoose from: {labels}\nLabel:",
        "instruction": "Classify the text as one of: {labels}.\n\n<row>\nLabel:",
        "question": "Which label fits this text best? Choose from: {labels}.\n\n<row>\n"
        "Label:",
        "reasoned": "Read the text below and work out which of these labels it deserves: "
        "{labels}.\n\n<row>\n\nAll things considered, the most fitting label is:",
        "json": "Classify the text as one of: {labels}.\n\n<row>\n\nReply in JSON:\n"
        '{{"label": "',
        "role": "You are an expert who classifies texts. Your labels are: {labels}.\n\n"
        "<row>\nYour label:",
        "task": "Task: give a text one label.\nLabels: {labels}\n\n<row>\n"
        "Assigned label:",
        "constrained": "Reply with exactly one label from [{labels}] and nothing else."
        "\n\n<row>\nSelected label:",
        "natural": "Here is something that I have just read.\n\n<row>\n\nWould you call "
        "it {labels}? I would call it",
    }
)
"""Name → text of a prompt, in which ``<row>`` stands for the columns of X."""

OPTIONS = "Which option fits the text?\n{labels}\n\n<row>\nOption:"
"""The prompt for labels that are answered by a code."""

LABEL_STYLES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "lower": str.lower,
        "given": str,
        "verbose": "a text of the kind {}".format,
    }
)
"""Name → how a label's word is written."""


def write_style(text: str, columns: Sequence[str]) -> str:
    r"""Put the columns of X into a style.

    Parameters
    ----------
    text : str
        One of `STYLES`, or `OPTIONS`.
    columns : sequence of str
        Names of the columns of X; ``["text"]`` for texts.

    Returns
    -------
    template : str
        With a field for each column.

    Examples
    --------
    >>> from sklearn_logprob._styles import STYLES, write_style
    >>> write_style(STYLES["plain"], ["title", "year"])
    'title: {title}\nyear: {year}\nChoose from: {labels}\nLabel:'
    """
    # a caption is one line without braces, whatever the column is called
    captions = [" ".join(re.sub("[{}]", " ", name).split()) for name in columns]
    lines = map("{}: {{{}}}".format, captions, columns)
    row = "Text: {text}" if tuple(columns) == ("text",) else "\n".join(lines)
    return text.replace(ROW, row)
