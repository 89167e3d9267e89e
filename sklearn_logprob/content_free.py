"""Inputs without content: what the labels score there is the model's own preference.

``LogprobClassifier(content_free=...)`` asks about them in `fit`, and subtracts the
logarithm of their mean label probabilities from the scores of every row. What to ask is
said by an object with a method ``asked(template, rows, random_state)``; those here differ
in nothing else. A sequence of texts is the short form of `FixedInputs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state

from sklearn_logprob._errors import BackendError, PromptError
from sklearn_logprob._fields import columns_used, fill, read_fields
from sklearn_logprob._inputs import Rows
from sklearn_logprob._types import Floats, Message

__all__ = [
    "DomainPrompt",
    "DomainWords",
    "FixedInputs",
    "make_content_free",
    "mean_log_proba",
]

Asked: TypeAlias = tuple[Any, Rows]  # a template, and the rows to fill it with


class FixedInputs(BaseEstimator):
    """Texts without content, put into every field: contextual calibration.

    Parameters
    ----------
    texts : sequence of str, default=("N/A", "[MASK]", "")
        The inputs; none asks nothing.

    References
    ----------
    Zhao et al., "Calibrate Before Use: Improving Few-Shot Performance of Language
    Models", ICML 2021.

    Examples
    --------
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob.content_free import FixedInputs
    >>> _, rows = FixedInputs(("N/A", "")).asked(None, Rows(("title", "body"), []))
    >>> rows.values
    [('N/A', 'N/A'), ('', '')]
    """

    def __init__(self, texts: Sequence[str] = ("N/A", "[MASK]", "")) -> None:
        self.texts = texts

    def asked(self, template: Any, rows: Rows, random_state: Any = None) -> Asked:
        """Say what to ask.

        Parameters
        ----------
        template : PromptTemplate
            That of the classifier.
        rows : Rows
            The rows of `fit`; of these, the columns count.
        random_state : int, RandomState or None, default=None
            Not used.

        Returns
        -------
        template : PromptTemplate
            The same.
        rows : Rows
            One for each text.
        """
        values = [(text,) * len(rows.columns) for text in self.texts]
        return template, replace(rows, values=values)


class DomainWords(BaseEstimator):
    """Random words of the texts themselves: domain calibration.

    Each text is as long as those of `fit` on average, and made of words drawn from them,
    frequent ones more often. In a table every column has its own words and length.

    Parameters
    ----------
    n : int, default=20
        How many such texts; the model is asked once for each.

    Notes
    -----
    The words are drawn with the `random_state` of the classifier. For None they are
    always the same, so that a second `fit` asks nothing new; other rows, as in the
    folds of a cross-validation, give other texts.

    References
    ----------
    Fei et al., "Mitigating Label Biases for In-context Learning", ACL 2023,
    arXiv:2305.19148.

    Examples
    --------
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob.content_free import DomainWords
    >>> rows = Rows(("text",), [("so so",), ("so so so so",)])
    >>> DomainWords(n=2).asked(None, rows)[1].values
    [('so so so',), ('so so so',)]
    """

    def __init__(self, n: int = 20) -> None:
        self.n = n

    def _check(self) -> None:
        if not isinstance(self.n, Integral) or self.n < 1:
            raise ValueError(
                "The 'n' parameter of DomainWords must be a positive int. "
                f"Got {self.n!r} instead."
            )

    def asked(self, template: Any, rows: Rows, random_state: Any = None) -> Asked:
        """Say what to ask.

        Parameters
        ----------
        template : PromptTemplate
            That of the classifier.
        rows : Rows
            The rows of `fit`, whose words are used.
        random_state : int, RandomState or None, default=None
            Draws the words.

        Returns
        -------
        template : PromptTemplate
            The same.
        rows : Rows
            Texts of drawn words, `n` of them.

        Raises
        ------
        ValueError
            Without rows.
        """
        if not len(rows):
            raise ValueError(
                "content_free=DomainWords() takes words from X, and fit got no X: give "
                "texts, or inputs such as content_free=('N/A', '')."
            )
        random = check_random_state(0 if random_state is None else random_state)
        columns = zip(*rows.values, strict=True)
        drawn = [_random_texts(texts, self.n, random) for texts in columns]
        return template, replace(rows, values=list(zip(*drawn, strict=True)))


class DomainPrompt(BaseEstimator):
    """A prompt of its own without the row: pointwise mutual information.

    Scores become ``log p(label | prompt) - log p(label | domain prompt)``: how much more
    probable the row makes the label than the domain alone does.

    Parameters
    ----------
    prompt : str or sequence of (role, content)
        A raw prompt, or the messages of a chat, such as the end of the classifier's
        prompt, ``"Sentiment:"``. ``{labels}`` lists the labels, and ``{label}`` is the
        one asked about with ``multilabel="per_label"``; there are no other fields.

    References
    ----------
    Holtzman et al., "Surface Form Competition: Why the Highest Probability Answer Isn't
    Always Right", EMNLP 2021 (domain conditional PMI).

    Examples
    --------
    >>> from sklearn_logprob._inputs import Rows
    >>> from sklearn_logprob.content_free import DomainPrompt
    >>> template, rows = DomainPrompt("Sentiment:").asked(None, Rows(("text",), []))
    >>> template.render(rows, ["bad", "good"])
    [(('prompt', 'Sentiment:'),)]
    """

    def __init__(self, prompt: str | Sequence[tuple[str, str]]) -> None:
        self.prompt = prompt

    def asked(self, template: Any, rows: Rows, random_state: Any = None) -> Asked:
        """Say what to ask.

        Parameters
        ----------
        template : PromptTemplate
            Not used.
        rows : Rows
            The rows of `fit`; of these, the columns count.
        random_state : int, RandomState or None, default=None
            Not used.

        Returns
        -------
        template : object
            One that renders the domain prompt.
        rows : Rows
            One empty row.
        """
        empty = ("",) * len(rows.columns)
        return RowlessTemplate(self.prompt, rows.columns), replace(rows, values=[empty])


class RowlessTemplate:
    """Messages without the columns of X; the label asked about may be in them."""

    def __init__(self, prompt: Any, columns: Sequence[str]) -> None:
        raw = isinstance(prompt, str)
        self.messages: Sequence[Message] = [("prompt", prompt)] if raw else prompt
        self.columns = frozenset(columns)

    def render(
        self,
        rows: Rows,
        labels: Sequence[str],
        answers: Mapping[str, str] = MappingProxyType({}),
    ) -> list[tuple[Message, ...]]:
        """Fill in the labels, as `PromptTemplate.render` does."""
        contents = [
            (role, read_fields(text, rows, labels)) for role, text in self.messages
        ]
        used = {rows.columns[i] for i in columns_used(*(parts for _, parts in contents))}
        if used & self.columns:
            raise PromptError(
                "The prompt of DomainPrompt stands without the row: leave "
                f"{{{min(used & self.columns)}}} out of it."
            )
        return [
            tuple((role, fill(parts, values)) for role, parts in contents)
            for values in rows.values
        ]


def make_content_free(content_free: Any) -> Any:
    """Turn the `content_free` parameter of a classifier into an object.

    Parameters
    ----------
    content_free : sequence of str, or object
        Texts, or what has a method `asked` such as `DomainWords`.

    Returns
    -------
    content_free : object
        `FixedInputs` of the texts, or a clone of the object.

    Raises
    ------
    ValueError
        If it is neither, or has a parameter out of range.

    Examples
    --------
    >>> from sklearn_logprob.content_free import make_content_free
    >>> make_content_free(["N/A"])
    FixedInputs(texts=('N/A',))
    """
    if hasattr(content_free, "asked") and not isinstance(content_free, type):
        made = clone(content_free)
        if hasattr(made, "_check"):
            made._check()
        return made
    listed = isinstance(content_free, (Sequence, np.ndarray))
    texts = tuple(content_free) if listed and not isinstance(content_free, str) else (0,)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(
            "The 'content_free' parameter of LogprobClassifier must be a sequence of "
            "texts such as ('N/A', ''), DomainWords() or DomainPrompt('Sentiment:'). "
            f"Got {content_free!r} instead."
        )
    return FixedInputs(texts)


def mean_log_proba(S: Floats) -> Floats:
    """Give what to subtract: the log of the mean label probabilities.

    Parameters
    ----------
    S : ndarray of shape (n, ..., n_classes)
        Label log scores (natural log) of the inputs without content; NaN in rows that
        got no answer.

    Returns
    -------
    log_proba : ndarray of shape (..., n_classes)
        An input whose label probabilities are the mean becomes uniform by subtracting it.

    Raises
    ------
    BackendError
        If no input got an answer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_logprob.content_free import mean_log_proba
    >>> np.exp(mean_log_proba(np.log([[0.4, 0.1], [0.2, 0.2]]))).round(2)
    array([0.65, 0.35])
    """
    answered = S[~np.isnan(S).reshape(len(S), -1).any(axis=1)]
    if not len(answered):
        raise BackendError(
            "No input of content_free= got an answer: see the warning above, and choose "
            "other inputs."
        )
    return np.asarray(np.log(softmax(answered, axis=-1).mean(axis=0)))


def _random_texts(texts: Sequence[str], n: int, random: Any) -> list[str]:
    """Draw texts of average length from the words of all texts."""
    lengths = np.array([len(text.split()) for text in texts])
    ends = lengths.cumsum()
    length = int(np.ceil(lengths.mean() - 0.5))
    drawn = random.randint(max(1, ends[-1]), size=(n, length))
    owner = np.searchsorted(ends, drawn, side="right")
    within = drawn - (ends - lengths)[owner]
    return [
        " ".join(texts[i].split()[j] for i, j in zip(row, places, strict=True))
        for row, places in zip(owner, within, strict=True)
    ]
