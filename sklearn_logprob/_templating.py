"""From the `prompt` parameter of a classifier to a template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sklearn_logprob._styles import OPTIONS, STYLES, write_style
from sklearn_logprob.ensembles import PromptEnsemble
from sklearn_logprob.prompts import PromptTemplate

__all__ = ["make_template"]


def make_template(
    prompt: Any,
    columns: Sequence[str],
    *,
    coded: bool = False,
    question: str | None = None,
) -> PromptTemplate | PromptEnsemble:
    """Turn the `prompt` parameter of a classifier into a template.

    Parameters
    ----------
    prompt : str, PromptTemplate, PromptEnsemble or None
        Text, or the name of a style. None is the style "instruction": the labels, the
        row, and "Label:".
    columns : sequence of str
        Names of the columns of X; ``["text"]`` for texts.
    coded : bool, default=False
        Whether ``{labels}`` lists options, a line each.
    question : str or None, default=None
        What None builds instead, with ``<row>`` where the values of X come.

    Returns
    -------
    template : PromptTemplate or PromptEnsemble
        The template; an object that has a method `render` is returned as it is. Of an
        ensemble, a new one with all members made so.

    Raises
    ------
    TypeError
        If `prompt` is anything else.

    Examples
    --------
    >>> from sklearn_logprob._templating import make_template
    >>> print(make_template(None, ["title", "year"]).template)
    Classify the text as one of: {labels}.
    <BLANKLINE>
    title: {title}
    year: {year}
    Label:
    """
    if isinstance(prompt, PromptEnsemble):
        prompt.check()
        made = [
            make_template(each, columns, coded=coded, question=question)
            for each in prompt.templates
        ]
        return PromptEnsemble(made, combine=prompt.combine)
    if prompt is None:
        style = OPTIONS if coded else STYLES["instruction"]
        return PromptTemplate(write_style(question or style, columns))
    if isinstance(prompt, str):
        text = write_style(STYLES[prompt], columns) if prompt in STYLES else prompt
        return PromptTemplate(text)
    if hasattr(prompt, "render") and not isinstance(prompt, type):
        return cast(PromptTemplate, prompt)
    raise TypeError(
        "The 'prompt' parameter of LogprobClassifier must be a str, a PromptTemplate, "
        f"a PromptEnsemble or None. Got {prompt!r} instead."
    )
