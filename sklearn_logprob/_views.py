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
        What counts for each class in an answer; nothing for the class of all that is no
        label.
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
    forms: Sequence[Sequence[str]],
    spellings: Sequence[Sequence[str]],
    last: int | None = None,
) -> View:
    """Show the labels by their words.

    Parameters
    ----------
    forms : sequence of sequence of str
        Surface forms of each class; the first is shown, a class without any is not.
    spellings : sequence of sequence of str
        What counts for each class.
    last : int, default=None
        The class to show after all others.

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
    listed = tuple(forms[k][0] for k in _in_order(forms, last))
    return View(listed, tuple(map(tuple, spellings)))


def coded_views(
    forms: Sequence[Sequence[str]],
    descriptions: Sequence[str],
    codes: str,
    permutations: int,
    last: int | None = None,
) -> list[View]:
    """Show the labels as options with codes, in one or more rotated orders.

    Parameters
    ----------
    forms : sequence of sequence of str
        Surface forms of each class; the first is shown behind its code. A class without
        any is not shown.
    descriptions : sequence of str
        What each class means, or "".
    codes : {"letters", "numbers"}
        A, B, …, or 1, 2, …. More than 26 letters become AA, AB, …, ZZ.
    permutations : int
        How many orders, spread evenly over the rotations.
    last : int, default=None
        The class to show after all others, in every order.

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
    listed = _in_order(forms, last)
    symbols = _symbols(codes, len(listed))
    names = {
        k: f"{forms[k][0]}: {descriptions[k]}" if descriptions[k] else forms[k][0]
        for k in listed
    }
    turning = [k for k in listed if k != last]
    n_turns = max(1, min(permutations, len(turning)))
    views = []
    for turn in range(n_turns):
        first = turn * len(turning) // n_turns
        order = [*turning[first:], *turning[:first], *listed[len(turning) :]]
        own = dict(zip(order, symbols, strict=True))
        lines = [f"{own[k]}. {names[k]}" for k in order]
        answers = {form: own[k] for k in listed for form in forms[k]}
        spellings = tuple((own[k],) if k in own else () for k in range(len(forms)))
        views.append(View(("\n".join(lines),), spellings, answers))
    return views


def _in_order(forms: Sequence[Sequence[str]], last: int | None) -> list[int]:
    """Give the classes that are shown, in the order of the columns but for the last."""
    listed = [k for k, several in enumerate(forms) if several and k != last]
    return [*listed, last] if last is not None and forms[last] else listed


def _symbols(codes: str, n: int) -> list[str]:
    if codes == "numbers":
        return [str(number) for number in range(1, n + 1)]
    if n <= len(ascii_uppercase):
        return list(ascii_uppercase[:n])
    pairs = [a + b for a in ascii_uppercase for b in ascii_uppercase]
    return pairs[:n]
