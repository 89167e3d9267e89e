"""From rows of X to messages: a template, its fields, and its worked examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import Any, TypeAlias

from sklearn.base import BaseEstimator

from sklearn_logprob._checks import check_template
from sklearn_logprob._errors import PromptError
from sklearn_logprob._fields import Parts, columns_used, fill, fill_each, read_fields
from sklearn_logprob._inputs import Rows, cell_text
from sklearn_logprob._styles import STYLES, write_style
from sklearn_logprob._types import Message, Role

__all__ = ["PromptTemplate"]

_Given: TypeAlias = str | Mapping[str, object]


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
        Beginning of the answer, taken literally. With `max_tokens`, what the model
        writes itself before the label, such as ``"Answer:"``; say so in the prompt.
    max_tokens : int, default=None
        Lets the model write this many tokens first (chain of thought). The label is
        read after the last `answer_prefix` in what it wrote. None: the label is the
        first thing that it says.
    n_chains : int, default=1
        How many such texts it writes. One is the likeliest; several are drawn at
        temperature 1, and the probabilities read after each are averaged [1]_, not
        the labels that they would vote for.

    n_shots : int, default=0
        How many rows of `fit` become demonstrations, besides those given. They are not
        asked about, and enter neither calibration nor the choice of a threshold. In
        cross-validation each fold has its own, and so asks anew.
    shots : {"balanced", "random", "nearest"}, default="balanced"
        Which rows: the classes in turns, any, or for each row the most similar ones (by
        TF-IDF) of a half that is set apart for it, the most similar one last.

    References
    ----------
    .. [1] X. Wang et al. "Self-Consistency Improves Chain of Thought Reasoning in
       Language Models". ICLR 2023 (which counts votes; the mean of the probabilities
       has less variance).

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
        max_tokens: int | None = None,
        n_chains: int = 1,
        n_shots: int = 0,
        shots: str = "balanced",
    ) -> None:
        self.template = template
        self.system = system
        self.demonstrations = demonstrations
        self.answer_prefix = answer_prefix
        self.max_tokens = max_tokens
        self.n_chains = n_chains
        self.n_shots = n_shots
        self.shots = shots

    @classmethod
    def from_style(
        cls, name: str, columns: Sequence[str] = ("text",), **params: Any
    ) -> PromptTemplate:
        r"""Make a template in a named wording, as ``LogprobClassifier(prompt=name)``.

        Parameters
        ----------
        name : str
            "plain", "instruction", "question", "reasoned", "json", "role", "task",
            "constrained" or "natural".
        columns : sequence of str, default=("text",)
            Names of the columns of X.
        **params : dict
            Other parameters of the template, such as `system` or `n_shots`.

        Returns
        -------
        template : PromptTemplate
            With a field for each column, and ``{labels}``.

        Raises
        ------
        ValueError
            If there is no style of that name.

        Examples
        --------
        >>> from sklearn_logprob import PromptTemplate
        >>> PromptTemplate.from_style("task").template
        'Task: give a text one label.\nLabels: {labels}\n\nText: {text}\nAssigned label:'
        """
        if name not in STYLES:
            raise ValueError(
                "The 'name' parameter of PromptTemplate.from_style must be "
                f"{', '.join(map(repr, STYLES))}. Got {name!r} instead."
            )
        return cls(write_style(STYLES[name], columns), **params)

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
        messages = self._compile(Rows(tuple(columns), []), (), {})
        used = columns_used(*(parts for _, parts in messages))
        return tuple(columns[position] for position in used)

    def render(
        self,
        rows: Rows,
        labels: Sequence[str],
        answers: Mapping[str, str] = MappingProxyType({}),
    ) -> list[tuple[Message, ...]]:
        """Fill the template with each row.

        Parameters
        ----------
        rows : Rows
            X as text. Values are put in as they are: braces in them mean nothing.
        labels : sequence of str
            What ``{labels}`` lists.
        answers : mapping of str to str, default={}
            What demonstrations answer in place of these words, such as codes.

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
            [(role, text) for text in fill_each(parts, rows)]
            if columns_used(parts)
            else repeat((role, fill(parts, ())))
            for role, parts in self._compile(rows, labels, answers)
        ]
        return list(zip(*contents, strict=False))  # some repeat without end

    def _compile(
        self, rows: Rows, labels: Sequence[str], answers: Mapping[str, str]
    ) -> list[tuple[Role, Parts]]:
        """Read the template once; only the values of the rows are left open."""
        check_template(self)
        contents = [
            (role, read_fields(text, rows, labels)) for role, text in self._messages()
        ]
        begun: Parts = ()
        if contents and contents[-1][0] == "assistant":
            begun = contents.pop()[1]
        opening: Parts = (*begun, self.answer_prefix)
        # What the model is to write itself is not written for it.
        begun = opening if self.max_tokens is None else begun
        asking = [
            place
            for place, (role, parts) in enumerate(contents)
            if role != "system" and columns_used(parts)
        ]
        if not asking:
            raise PromptError(
                "The prompt has no field for the values of X, so every row would get "
                f"the same prompt; add {_braced(rows.columns, ' or ')}, or name a "
                f"style: {', '.join(map(repr, STYLES))}."
            )
        before, question = contents[: asking[0]], contents[asking[0] :]
        asked = columns_used(*(parts for _, parts in question), opening)
        shots = [
            (
                _demonstrated(given, f"Demonstration {number}", rows, asked),
                answers.get(answer, answer),
            )
            for number, (given, answer) in enumerate(self.demonstrations)
        ]
        if question[0][0] == "prompt":
            parts = (*question[0][1], *opening)
            solved = [_answered(fill(parts, row), answer) for row, answer in shots]
            shots_text = "".join(f"{text}\n\n" for text in solved)
            return [("prompt", (shots_text, *question[0][1], *begun))]
        for row, answer in shots:
            before += [(role, (fill(parts, row),)) for role, parts in question]
            solution = _answered(fill(opening, row), answer).strip()
            before.append(("assistant", (solution,)))
        if any(part != "" for part in begun):  # 0 is the first column
            question.append(("assistant", begun))
        return [*before, *question]

    def _messages(self) -> Sequence[tuple[Role, str]]:
        messages: Any = self.template
        if isinstance(messages, str):
            messages = [("prompt" if self.system is None else "user", messages)]
        return messages if self.system is None else [("system", self.system), *messages]


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
    missing = [rows.columns[c] for c in asked if c not in values]
    if missing:
        raise PromptError(
            f"{place} has no value for {_braced(missing, ', ')}. Give it as a mapping "
            "from each field of the prompt to its value."
        )
    return values


def _answered(text: str, answer: str) -> str:
    apart = not text or text[-1].isspace() or answer[:1].isspace()
    return f"{text}{'' if apart else ' '}{answer}"


def _braced(names: Iterable[str], joiner: str) -> str:
    return joiner.join(f"{{{name}}}" for name in names)
