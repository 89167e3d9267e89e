"""What a text says: the classes that it has named, and those that it may yet name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, TypeAlias

__all__ = ["AnswerReader", "Claim"]

DECORATION = " \t\r\n\"'“”‘’«»*_`#>([{<-–—:•▁Ġ"  # may stand before a label in an answer

Classes: TypeAlias = frozenset[int]

NONE: Classes = frozenset()

Claim: TypeAlias = Literal["sure", "open", "weak"]
"""How far a text belongs to the classes that it says or may say: to a single one; to
one or the other of them; or so little is written that most answers that begin so are no
label. A newline may stand before any label, and " I" opens many sentences besides the
label "insult": possible, but no reason to credit the label."""


class AnswerReader:
    """Reads texts; remembers what each may begin."""

    def __init__(self, spellings: Sequence[Sequence[str]]) -> None:
        self.n_classes = len(spellings)
        owned = [(form, k) for k, forms in enumerate(spellings) for form in forms]
        self._alike: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for form, k in owned:
            self._alike[form[0]].append((form, k))
        # A label may itself begin with a dash or a quote: then it is no decoration.
        self._decoration = "".join(c for c in DECORATION if c not in self._alike)
        self._alike[""] = owned
        self.owner = {prefix + form: k for form, k in owned for prefix in ("", " ")}
        self._matches: dict[str, tuple[Classes, Classes]] = {}

    def match(self, text: str) -> tuple[Classes, Classes]:
        """Which classes an answer that begins so has said, and which it may yet say."""
        found = self._matches.get(text)
        if found is None:
            begun = text.lstrip(self._decoration)
            alike = self._alike.get(begun[:1])
            found = _match(begun, alike) if alike else (NONE, NONE)
            self._matches[text] = found
        return found

    def claim(self, text: str, held: int | None) -> tuple[Claim, Classes]:
        """Whose a text is, after a beginning that already says the class `held`."""
        said, may_say = self.match(text)
        claims = said | may_say
        if held is not None and claims <= {held}:
            return "sure", frozenset({held})
        if not claims:
            return "weak", NONE
        weak = self._is_weak(text)
        if len(claims) == 1 and not (may_say and weak):
            return "sure", claims
        return "weak" if weak else "open", claims

    def _is_weak(self, text: str) -> bool:
        begun = text.lstrip(self._decoration)
        return not begun or (len(begun) == 1 and begun.isascii() and begun.isalpha())


def _match(begun: str, forms: Sequence[tuple[str, int]]) -> tuple[Classes, Classes]:
    said = {form: k for form, k in forms if _says(begun, form)}
    # "New York" is not also the label "New"
    longest = frozenset({said[max(said, key=len)]}) if said else NONE
    return longest, frozenset(k for form, k in forms if form.startswith(begun)) - longest


def _says(begun: str, form: str) -> bool:
    """Whether the text is the form, alone or before something that ends a word."""
    return begun.startswith(form) and not begun[len(form) : len(form) + 1].isalnum()
