"""From rows of X to messages: a template, its fields, and its worked examples.

A span in braces is a field where it names a column of X or looks like a name; any other
brace is plain text, so that JSON can be written as it is. Doubled braces make a field
plain text: ``{{text}}`` reads ``{text}``; ``{{{text}}}`` is the value within braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from types import UnionType
from typing import Any, TypeAlias, cast

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import PromptError
from sklearn_logprob._inputs import Rows, cell_text
from sklearn_logprob._types import Message, Role

__all__ = ["PromptTemplate", "make_template"]

_Parts: TypeAlias = tuple[str | int, ...]
"""Text in order: a str stands for itself, an int for the value of that column."""

_Content: TypeAlias = tuple[Role, _Parts]
_Given: TypeAlias = str | Mapping[str, object]

_ROLES = ("system", "user", "assistant")
_PLAIN = r"[^{}\n]+"
_LOOKS_LIKE_A_FIELD = re.compile(r"[^\W\d]\w*(?: +\w+)*").fullmatch


class PromptTemplate(BaseEstimator):  # type: ignore[misc, unused-ignore]
    r"""How a row of X is put to a model.

    A plain text becomes one raw prompt for the model to continue. With `system`, or
    where the template is a sequence of messages, it becomes a chat.

    Parameters
    ----------
    template : str or sequence of (role, content), default="{text}"
        Text with named fields, or chat messages with the roles ``"system"``,
        ``"user"`` and ``"assistant"``. ``{name}`` is the value of that column of X,
        ``{text}`` that of the only one, ``{labels}`` the labels joined by ", ". Write
        ``{{name}}`` for the braces themselves. A last message of the assistant is the
        beginning of the answer.
    system : str or None, default=None
        System message. It may use fields too.
    demonstrations : sequence of (input, answer), default=()
        Worked examples that come before each question. The input is a text, which
        fills the only field, or a mapping from field to value; the answer is a text.
        Messages before the first one that depends on the row are not repeated.
    answer_prefix : str, default=""
        Beginning of the answer, taken literally.

    Examples
    --------
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob.prompts import PromptTemplate
    >>> template = PromptTemplate(
    ...     "Review: {text}\nMood:", demonstrations=[("Superb.", "good")]
    ... )
    >>> rows = Rows(("text",), [("I fell asleep.",)])
    >>> print(template.render(rows, ["bad", "good"])[0][0][1])
    Review: Superb.
    Mood: good
    <BLANKLINE>
    Review: I fell asleep.
    Mood:
    """

    def __init__(
        self,
        template: str | Sequence[tuple[str, str]] = "{text}",
        *,
        system: str | None = None,
        demonstrations: Sequence[tuple[_Given, str]] = (),
        answer_prefix: str = "",
    ) -> None:
        self.template = template
        self.system = system
        self.demonstrations = demonstrations
        self.answer_prefix = answer_prefix

    def fields(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Give the columns whose values enter the prompt.

        Parameters
        ----------
        columns : sequence of str
            Names of the columns of X; ``["text"]`` for texts.

        Returns
        -------
        fields : tuple of str
            The columns in the order of their first use.

        Raises
        ------
        PromptError
            If the template does not fit the columns.

        Examples
        --------
        >>> from sklearn_logprob.prompts import PromptTemplate
        >>> PromptTemplate("{title}: {body}").fields(["date", "body", "title"])
        ('title', 'body')
        """
        messages = self._compile(Rows(tuple(columns), []), ())
        used = dict.fromkeys(c for _, parts in messages for c in _used(parts))
        return tuple(columns[position] for position in used)

    def render(self, rows: Rows, labels: Sequence[str]) -> list[tuple[Message, ...]]:
        """Fill the template with each row.

        Parameters
        ----------
        rows : Rows
            X as text. Values are put in as they are: braces in them mean nothing.
        labels : sequence of str
            What ``{labels}`` lists.

        Returns
        -------
        prompts : list of tuple of (role, content)
            The messages of each row; one with the role ``"prompt"`` for a raw prompt.

        Raises
        ------
        PromptError
            If the template does not fit the columns, or has no field.
        TypeError, ValueError
            If a parameter of this object is wrong.

        Examples
        --------
        >>> from sklearn_logprob._inputs import Rows
        >>> from sklearn_logprob.prompts import PromptTemplate
        >>> template = PromptTemplate("{text}", system="Answer with {labels}.")
        >>> template.render(Rows(("text",), [("Fine.",)]), ["bad", "good"])
        [(('system', 'Answer with bad, good.'), ('user', 'Fine.'))]
        """
        contents: list[Iterable[Message]] = [
            [(role, _fill(parts, row)) for row in rows.values]
            if _used(parts)
            else repeat((role, _fill(parts, ())))
            for role, parts in self._compile(rows, labels)
        ]
        return list(zip(*contents, strict=False))

    def _compile(self, rows: Rows, labels: Sequence[str]) -> list[_Content]:
        """Read the template once; only the values of the rows are left open."""
        contents = [
            (role, _read(text, rows, labels)) for role, text in self._messages()
        ]
        opening: _Parts = (self.answer_prefix,)
        if contents and contents[-1][0] == "assistant":
            opening = (*contents.pop()[1], *opening)
        asking = [role != "system" and bool(_used(parts)) for role, parts in contents]
        if not any(asking):
            raise PromptError(
                "The prompt has no field for the values of X, so every row would get "
                f"the same prompt; add {_braced(rows.columns, ' or ')}."
            )
        before = contents[: asking.index(True)]
        question = contents[asking.index(True) :]
        asked = [
            c for parts in (*(p for _, p in question), opening) for c in _used(parts)
        ]
        shots = [
            (_demonstrated(given, f"Demonstration {number}", rows, asked), answer)
            for number, (given, answer) in enumerate(self._checked_demonstrations())
        ]
        if question[0][0] == "prompt":
            parts = (*question[0][1], *opening)
            solved = [_answered(_fill(parts, row), answer) for row, answer in shots]
            return [("prompt", ("".join(f"{text}\n\n" for text in solved), *parts))]
        for row, answer in shots:
            before += [(role, (_fill(parts, row),)) for role, parts in question]
            solution = _answered(_fill(opening, row), answer).strip()
            before.append(("assistant", (solution,)))
        ending: list[_Content] = [("assistant", opening)] if any(opening) else []
        return [*before, *question, *ending]

    def _messages(self) -> Sequence[tuple[Role, str]]:
        template, system, prefix = self.template, self.system, self.answer_prefix
        _require(isinstance(prefix, str), "answer_prefix", "a str", prefix)
        _require(isinstance(system, str | None), "system", "a str or None", system)
        if isinstance(template, str):
            if system is None:
                return [("prompt", template)]
            return [("system", system), ("user", template)]
        _require(
            _is_pairs(template, str) and all(role in _ROLES for role, _ in template),
            "template",
            "a str or a sequence of (role, content) messages with the roles 'system', "
            "'user' and 'assistant'",
            template,
        )
        messages = cast(Sequence[tuple[Role, str]], template)
        return messages if system is None else [("system", system), *messages]

    def _checked_demonstrations(self) -> Sequence[tuple[_Given, str]]:
        _require(
            _is_pairs(self.demonstrations, str | Mapping),
            "demonstrations",
            "a sequence of (input, answer), the input a str or a mapping from field to "
            "value, the answer a str",
            self.demonstrations,
        )
        return self.demonstrations


def make_template(prompt: Any, columns: Sequence[str]) -> PromptTemplate:
    """Turn the `prompt` parameter of a classifier into a template.

    Parameters
    ----------
    prompt : str, PromptTemplate or None
        None builds a plain prompt: the labels, the row, and "Label:".
    columns : sequence of str
        Names of the columns of X; ``["text"]`` for texts.

    Returns
    -------
    template : PromptTemplate
        The template; an object that has a method `render` is returned as it is.

    Raises
    ------
    TypeError
        If `prompt` is anything else.

    Examples
    --------
    >>> from sklearn_logprob.prompts import make_template
    >>> print(make_template(None, ["title", "year"]).template)
    Classify the text as one of: {labels}.
    <BLANKLINE>
    title: {title}
    year: {year}
    Label:
    """
    if prompt is None:
        lines = [
            # the caption is one line without braces, whatever the column is called
            f"{' '.join(re.sub('[{}]', ' ', name).split())}: {{{name}}}"
            for name in columns
        ]
        row = "Text: {text}" if tuple(columns) == ("text",) else "\n".join(lines)
        prompt = f"Classify the text as one of: {{labels}}.\n\n{row}\nLabel:"
    if isinstance(prompt, str):
        return PromptTemplate(prompt)
    if hasattr(prompt, "render"):
        return cast(PromptTemplate, prompt)
    raise TypeError(
        "The 'prompt' parameter of LogprobClassifier must be a str, a PromptTemplate "
        f"or None. Got {prompt!r} instead."
    )


def _read(text: str, rows: Rows, labels: Sequence[str]) -> _Parts:
    """Split a template at its fields."""
    positions = rows.positions
    # A column may be named "Price\n(EUR)" or "a{b}", which no general pattern can read.
    odd = [name for name in positions if not re.fullmatch(_PLAIN, name)]
    longest_first = sorted(map(re.escape, odd), key=len, reverse=True)
    exact = "|".join(longest_first) if odd else "(?!)"
    span = rf"(\{{)({exact})(\}})|(\{{+)({_PLAIN})(\}}+)"
    parts: list[str | int] = []
    end = 0
    for found in re.finditer(span, text):
        group = 2 if found[5] is None else 5
        opened, name, closed = found.group(group - 1, group, group + 1)
        if not (name in positions or name == "labels" or _LOOKS_LIKE_A_FIELD(name)):
            continue
        depth = min(len(opened), len(closed))
        literal = depth // 2
        parts += [
            text[end : found.start(group) - depth] + "{" * literal,
            _field(name, rows, labels) if depth % 2 else name,
            "}" * literal,
        ]
        end = found.end(group) + depth
    return (*parts, text[end:])


def _field(name: str, rows: Rows, labels: Sequence[str]) -> str | int:
    position = rows.positions.get(name)
    if name == "labels":
        if position is None:
            return ", ".join(labels)
        raise PromptError(
            "The prompt asks for {labels}, which is both the list of labels and a "
            "column of X. Rename the column."
        )
    if position is None:
        raise PromptError(
            f"The prompt asks for {{{name}}}, but {rows}. If the braces are meant as "
            f"text, double them: {{{{{name}}}}}."
        )
    return position


def _demonstrated(
    given: _Given, place: str, rows: Rows, asked: Sequence[int]
) -> dict[int, str]:
    """Give the values that a demonstration puts in place of a row's."""
    if isinstance(given, str):
        values = dict.fromkeys(asked[:1], given)
    else:
        values = {
            rows.positions[name]: cell_text(value, f"{place}, field {name!r}")
            for name, value in given.items()
            if name in rows.positions
        }
    missing = [rows.columns[c] for c in dict.fromkeys(asked) if c not in values]
    if missing:
        raise PromptError(
            f"{place} has no value for {_braced(missing, ', ')}. Give it as a mapping "
            "from each field of the prompt to its value."
        )
    return values


def _used(parts: _Parts) -> list[int]:
    return [part for part in parts if isinstance(part, int)]


def _fill(parts: _Parts, row: Sequence[str] | Mapping[int, str]) -> str:
    return "".join([part if isinstance(part, str) else row[part] for part in parts])


def _answered(text: str, answer: str) -> str:
    apart = not text or text[-1].isspace() or answer[:1].isspace()
    return text + answer if apart else f"{text} {answer}"


def _braced(names: Iterable[str], joiner: str) -> str:
    return joiner.join(f"{{{name}}}" for name in names)


def _is_pairs(value: object, first: type | UnionType) -> bool:
    return isinstance(value, Sequence) and all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], first)
        and isinstance(pair[1], str)
        for pair in value
    )


def _require(good: bool, name: str, wanted: str, got: object) -> None:
    if not good:
        raise TypeError(
            f"The {name!r} parameter of PromptTemplate must be {wanted}. "
            f"Got {got!r} instead."
        )
