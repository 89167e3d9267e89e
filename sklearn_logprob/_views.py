"""How the labels are shown to the model: by their words, or as lettered options.

With codes the prompt lists the options and the model names one. A code is short, so that
it is among the likeliest tokens however long the label is; but models favour some codes
and some places in the list. As the order is the same for every row, a calibrator learns
that as a bias of each class; averaging over rotated orders takes it out before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase

__all__ = ["CODES", "View", "coded_views", "plain_view"]

CODES = ("letters", "numbers")


@dataclass(frozen=True)
class View:
    """One way of showing the labels.

    Parameters
    ----------
    listed : tuple of str
        What ``{labels}`` lists in the prompt.
    spellings : tuple of tuple of str
        What counts for each class in an answer.
    answers : mapping of str to str, default={}
        What demonstrations answer in place of a label's own words.

    Examples
    --------
    >>> from sklearn_logprob._views import plain_view
    >>> plain_view([("bad", "poor"), ("good",)], [("bad",), ("good",)]).listed
    ('bad', 'good')
    """

    listed: tuple[str, ...]
    spellings: tuple[tuple[str, ...], ...]
    answers: Mapping[str, str] = field(default_factory=dict)


def plain_view(
    forms: Sequence[Sequence[str]], spellings: Sequence[Sequence[str]]
) -> View:
    """Show the labels by their words.

    Parameters
    ----------
    forms : sequence of sequence of str
        Surface forms of each class; the first is shown.
    spellings : sequence of sequence of str
        What counts for each class.

    Returns
    -------
    view : View
        The only one.

    Examples
    --------
    >>> from sklearn_logprob._views import plain_view
    >>> plain_view([("bad",), ("good",)], [("bad", "Bad"), ("good",)]).spellings
    (('bad', 'Bad'), ('good',))
    """
    return View(tuple(form[0] for form in forms), tuple(map(tuple, spellings)))


def coded_views(
    forms: Sequence[Sequence[str]],
    descriptions: Sequence[str],
    codes: str,
    permutations: int,
) -> list[View]:
    """Show the labels as options with codes, in one or more rotated orders.

    Parameters
    ----------
    forms : sequence of sequence of str
        Surface forms of each class; the first is shown behind its code.
    descriptions : sequence of str
        What each class means, or "".
    codes : {"letters", "numbers"}
        A, B, …, or 1, 2, …. More than 26 letters become AA, AB, …, ZZ.
    permutations : int
        How many orders, spread evenly over the rotations.

    Returns
    -------
    views : list of View
        One for each order; the first is that of the classes.

    References
    ----------
    .. [1] J. Robinson, D. Wingate. "Leveraging Large Language Models for Multiple
       Choice Question Answering". ICLR 2023.
    .. [2] C. Zheng et al. "Large Language Models Are Not Robust Multiple Choice
       Selectors". ICLR 2024.

    Examples
    --------
    >>> from sklearn_logprob._views import coded_views
    >>> one, other = coded_views([("bad",), ("good",)], ["", ""], "letters", 2)
    >>> print(other.listed[0])
    A. good
    B. bad
    >>> one.spellings, other.spellings
    ((('A',), ('B',)), (('B',), ('A',)))
    """
    n_classes = len(forms)
    symbols = _symbols(codes, n_classes)
    names = [
        f"{form[0]}: {said}" if said else form[0]
        for form, said in zip(forms, descriptions, strict=True)
    ]
    views = []
    for turn in range(min(permutations, n_classes)):
        first = turn * n_classes // min(permutations, n_classes)
        order = [(first + place) % n_classes for place in range(n_classes)]
        own = dict(zip(order, symbols, strict=True))
        lines = [f"{own[k]}. {names[k]}" for k in order]
        answers = {form: own[k] for k, several in enumerate(forms) for form in several}
        spellings = tuple((own[k],) for k in range(n_classes))
        views.append(View(("\n".join(lines),), spellings, answers))
    return views


def _symbols(codes: str, n: int) -> list[str]:
    if codes == "numbers":
        return [str(number) for number in range(1, n + 1)]
    if n <= len(ascii_uppercase):
        return list(ascii_uppercase[:n])
    pairs = [a + b for a in ascii_uppercase for b in ascii_uppercase]
    return pairs[:n]
