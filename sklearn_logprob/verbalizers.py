"""Classes to words: which surface forms stand for which class.

A surface form counts in the spellings that a model may choose for it: as given, in lower
case and with a capital, each with and without a leading space. Their probabilities are
summed, never averaged: they are disjoint events that mean the same class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_logprob._views import CODES, View, coded_views, plain_view

__all__ = ["Verbalizer", "make_verbalizer"]

OTHERS = ("normalise", "class")


class Verbalizer(BaseEstimator):
    """Surface forms of each class.

    Parameters
    ----------
    forms : mapping of class to str or sequence of str, default=None
        The words that stand for each class; the first is the one shown to the model
        where the prompt lists the labels. None: the text of the class itself.
    pool_case : bool, default=True
        Whether a form also counts in lower case and with a capital. Forms of two
        classes that differ in case only (``US`` and ``us``) are never pooled.
    descriptions : mapping of class to str, default=None
        What each class means, where the labels are shown one by one: with `codes`, to
        decision endpoints, and to ``"verbalised:"``. Not every class needs one.
    codes : {"letters", "numbers"} or None, default=None
        Lets the prompt list the labels as options, ``{labels}``, and the model answer
        with a letter or number: for many labels, and for long ones. More than 26
        letters are pairs. Decision endpoints are shown the labels themselves.
    permutations : int, default=1
        With `codes`, in how many rotated orders to ask about each row. The label log
        scores are averaged, which takes out part of what models prefer by place and
        letter; the rest is the same for all rows, and calibration learns it.
    other : {"normalise", "class"}, default="normalise"
        What becomes of the probability that the model gives to no label. "normalise"
        leaves it out: the labels share all. "class" makes it a class, `other_class`,
        whose log score is that of 1 less the sum of the labels.
    none_option : str, default=None
        A label for what none of the labels fits, such as "none of the above". It is the
        first surface form of `other_class`, and comes last where the prompt lists the
        labels. With ``other="class"`` it counts among all that is no label.
    other_class : label, default="other"
        Name of the class that `other` or `none_option` adds: a number where the classes
        are numbers. y may hold it, or not. Without a form in `forms`, or `none_option`,
        the prompt does not list it.

    References
    ----------
    .. [1] T. Schick, H. Schütze. "Exploiting Cloze Questions for Few Shot Text
       Classification and Natural Language Inference". EACL 2021.
    .. [2] A. Holtzman et al. "Surface Form Competition: Why the Highest Probability
       Answer Isn't Always Right". EMNLP 2021.

    Examples
    --------
    >>> from sklearn_logprob import Verbalizer
    >>> verbalizer = Verbalizer({0: "negative", 1: ["positive", "good"]})
    >>> verbalizer.resolve([0, 1])
    {0: ('negative',), 1: ('positive', 'good')}
    >>> verbalizer.spellings([0, 1])[0]
    ('negative', 'Negative')
    """

    def __init__(
        self,
        forms: Mapping[Any, str | Sequence[str]] | None = None,
        *,
        pool_case: bool = True,
        descriptions: Mapping[Any, str] | None = None,
        codes: str | None = None,
        permutations: int = 1,
        other: str = "normalise",
        none_option: str | None = None,
        other_class: Any = "other",
    ) -> None:
        self.forms = forms
        self.pool_case = pool_case
        self.descriptions = descriptions
        self.codes = codes
        self.permutations = permutations
        self.other = other
        self.none_option = none_option
        self.other_class = other_class

    @property
    def added(self) -> tuple[Any, ...]:
        """Classes there are besides those of y: `other_class`, or none.

        Raises
        ------
        ValueError
            If `other` or `none_option` is wrong.
        """
        if self.other not in OTHERS:
            raise ValueError(
                "The 'other' parameter of Verbalizer must be 'normalise' or 'class'. "
                f"Got {self.other!r} instead."
            )
        option = self.none_option
        if option is not None and not (isinstance(option, str) and option.strip()):
            raise ValueError(
                "The 'none_option' parameter of Verbalizer must be None or a text such "
                f"as 'none of the above'. Got {option!r} instead."
            )
        absent = self.other == "normalise" and option is None
        return () if absent else (self.other_class,)

    def resolve(self, classes: Sequence[Hashable]) -> dict[Any, tuple[str, ...]]:
        """Give the surface forms of every class, checked.

        Parameters
        ----------
        classes : sequence
            The classes, in the order of the columns.

        Returns
        -------
        forms : dict of class to tuple of str
            In the order of `classes`.

        Raises
        ------
        ValueError
            If a class has no surface form, or two classes have the same.
        """
        given = self.forms
        if given is None:
            given = {label: str(label) for label in classes}
        given = {**given, **{label: self._added_forms(label) for label in self.added}}
        resolved = {label: _forms_of(label, given) for label in classes}
        owner: dict[str, Any] = {}
        for label, forms in resolved.items():
            for form in forms:
                if owner.setdefault(form, label) != label:
                    raise ValueError(
                        f"The verbalizer gives the surface form {form!r} to two classes, "
                        f"{owner[form]!r} and {label!r}: choose different words."
                    )
        return resolved

    def views(self, classes: Sequence[Hashable]) -> list[View]:
        """Give the ways in which the labels are shown.

        Parameters
        ----------
        classes : sequence
            The classes, in the order of the columns.

        Returns
        -------
        views : list of View
            One, or as many as `permutations` with codes.

        Raises
        ------
        ValueError
            If `codes` or `permutations` is wrong, or there are more classes than codes.
        """
        forms = list(self.resolve(classes).values())
        last = next((k for k, label in enumerate(classes) if label in self.added), None)
        if last is not None and not self._lists_other():
            forms[last] = ()  # a word for demonstrations; the prompt does not list it
        limits = {None: 1, "letters": 26**2, "numbers": 10**6}
        if self.codes not in limits:
            raise ValueError(
                "The 'codes' parameter of Verbalizer must be None, 'letters' or "
                f"'numbers'. Got {self.codes!r} instead."
            )
        if not isinstance(self.permutations, int) or self.permutations < 1:
            raise ValueError(
                "The 'permutations' parameter of Verbalizer must be an integer of at "
                f"least 1. Got {self.permutations!r} instead."
            )
        if self.codes is None:
            if self.permutations > 1:
                raise ValueError(
                    "The 'permutations' parameter of Verbalizer needs codes='letters' or "
                    "'numbers': it rotates the options that they stand for."
                )
            return [plain_view(forms, self.spellings(classes), last)]
        if len(forms) > limits[self.codes]:
            raise ValueError(
                f"There are {len(forms)} classes and {limits[self.codes]} "
                f"{self.codes}: use codes='numbers'."
            )
        described = self.described(classes)
        views = coded_views(forms, described, self.codes, self.permutations, last)
        return [replace(v, spellings=self._counted(classes, v.spellings)) for v in views]

    def described(self, classes: Sequence[Hashable]) -> list[str]:
        """Give the description of every class.

        Parameters
        ----------
        classes : sequence
            The classes, in the order of the columns.

        Returns
        -------
        descriptions : list of str
            Empty where there is none.

        Raises
        ------
        ValueError
            If something is described that is no class.
        """
        given = self.descriptions or {}
        unknown = [_plain(label) for label in given if label not in classes]
        if unknown:
            raise ValueError(
                "The 'descriptions' parameter of Verbalizer must be about the classes "
                f"{[_plain(label) for label in classes]}. Got {unknown} as well."
            )
        return [str(given.get(label, "")) for label in classes]

    def spellings(self, classes: Sequence[Hashable]) -> list[tuple[str, ...]]:
        """List what counts for every class, without the leading space.

        Parameters
        ----------
        classes : sequence
            The classes, in the order of the columns.

        Returns
        -------
        spellings : list of tuple of str
            One tuple a class; no spelling stands in two. Nothing for the class of all
            that is no label.
        """
        resolved = self._counted(classes, self.resolve(classes).values())
        pooled = [
            {form.casefold() for form in forms} if self.pool_case else set()
            for forms in resolved
        ]
        clashes = {
            form for form, n in Counter(f for p in pooled for f in p).items() if n > 1
        }
        return [
            tuple(
                dict.fromkeys(
                    spelling
                    for form in forms
                    for spelling in (
                        _spellings_of(form)
                        if self.pool_case and form.casefold() not in clashes
                        else (form,)
                    )
                )
            )
            for forms in resolved
        ]

    def _lists_other(self) -> bool:
        return self.none_option is not None or self.other_class in (self.forms or {})

    def _added_forms(self, label: Any) -> tuple[str, ...]:
        """Give the option and the forms of the class that is added, or its own name."""
        option = () if self.none_option is None else (self.none_option,)
        return (*option, *_texts_of(label, self.forms or {})) or (str(label),)

    def _counted(
        self, classes: Sequence[Hashable], forms: Iterable[tuple[str, ...]]
    ) -> tuple[tuple[str, ...], ...]:
        """Take the forms from the class of all that is no label."""
        rest = self.added if self.other == "class" else ()
        pairs = zip(classes, forms, strict=True)
        return tuple(() if label in rest else several for label, several in pairs)


def make_verbalizer(verbalizer: Any) -> Verbalizer:
    """Turn the estimator's parameter into a `Verbalizer`.

    Parameters
    ----------
    verbalizer : mapping, Verbalizer, {"letters", "numbers"} or None
        A mapping is the `forms` of a new one; None names each class by its text, and
        "letters" and "numbers" are its `codes`.

    Returns
    -------
    verbalizer : Verbalizer
        A new object, or the one that was given.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> from sklearn_logprob.verbalizers import make_verbalizer
    >>> make_verbalizer({0: "bad", 1: "good"}).resolve([0, 1])
    {0: ('bad',), 1: ('good',)}
    """
    if verbalizer is None or isinstance(verbalizer, Mapping):
        return Verbalizer(verbalizer)
    if verbalizer in CODES:
        return Verbalizer(codes=verbalizer)
    if isinstance(verbalizer, Verbalizer):
        return verbalizer
    raise TypeError(
        "The 'verbalizer' parameter of LogprobClassifier must be None, 'letters', "
        "'numbers', a mapping of class to surface form(s) such as {'pos': ['positive', "
        f"'good']}}, or a Verbalizer. Got {verbalizer!r} instead."
    )


def _forms_of(label: Any, given: Mapping[Any, str | Sequence[str]]) -> tuple[str, ...]:
    cleaned = tuple(dict.fromkeys(form.strip() for form in _texts_of(label, given)))
    if not cleaned or not all(cleaned):
        raise ValueError(
            f"The class {_plain(label)!r} has no surface form: give it at least one "
            f"word, verbalizer={{..., {_plain(label)!r}: 'word'}}. The verbalizer knows "
            f"{[_plain(known) for known in given]}."
        )
    return cleaned


def _texts_of(label: Any, given: Mapping[Any, Any]) -> tuple[str, ...]:
    forms = given.get(label, ())
    several = isinstance(forms, Iterable) and not isinstance(forms, str)
    texts = tuple(forms) if several else (forms,)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(
            "The 'verbalizer' parameter of LogprobClassifier must map classes to texts. "
            f"Got {{{_plain(label)!r}: {forms!r}}} instead."
        )
    return texts


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def _spellings_of(form: str) -> tuple[str, ...]:
    return form, form.lower(), form[:1].upper() + form[1:]
