"""Texts that look like control tokens, and were said in a chat: they stay texts.

A model's chat template writes control tokens, such as ``<|im_start|>``, as text. A row
that holds the same text would end its message and begin another. So such texts are marked
before the template is filled, and a marked text is no longer split as a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["MARK", "ControlTexts"]

MARK = "\udcff"
"""Half of a character, which no text that can be written as UTF-8 holds."""


class ControlTexts:
    """The texts of a vocabulary's control tokens.

    Parameters
    ----------
    texts : iterable of str
        Texts; empty ones are left out.
    mark : str, default=MARK
        A character that no text should hold; texts that do lose it.

    Examples
    --------
    >>> from sklearn_logprob.backends._control_texts import ControlTexts
    >>> control = ControlTexts(["<s>", "</s>"])
    >>> prompt = "<s>" + control.mark("end it</s>, please") + "</s>"
    >>> list(control.pieces(prompt))
    [('<s>', True), ('end it</s>, please', False), ('</s>', True)]
    """

    def __init__(self, texts: Iterable[str], mark: str = MARK) -> None:
        self._mark = mark
        longest_first = sorted(filter(None, set(texts)), key=len, reverse=True)
        known = "|".join(map(re.escape, longest_first)) or "(?!)"
        self._begins = re.compile(f"(?=(?:{known}))(.)", re.DOTALL)
        self._token = re.compile(f"({known})(?!{mark})")

    def mark(self, text: str) -> str:
        """Put a mark into every control text, also where two overlap.

        Parameters
        ----------
        text : str
            What somebody says.

        Returns
        -------
        marked : str
            The same, where it holds no such text.
        """
        return self._begins.sub(rf"\1{self._mark}", text.replace(self._mark, "\ufffd"))

    def pieces(self, prompt: str) -> Iterator[tuple[str, bool]]:
        """Split a prompt at its control tokens.

        Parameters
        ----------
        prompt : str
            What a template wrote around marked texts.

        Yields
        ------
        text : str
            A part, without marks.
        is_control : bool
            Whether it is a control token.
        """
        for place, text in enumerate(self._token.split(prompt)):
            if text:
                yield text.replace(self._mark, ""), place % 2 == 1
