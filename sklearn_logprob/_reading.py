"""Reading one answer: which class each returned token belongs to.

A token counts for a class when it begins exactly one class's surface form. A token that
begins several is followed along the generated path. One class may have no surface form:
it stands for everything that is no label, and gets what the others leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, isfinite

import numpy as np

from sklearn_logprob._types import Answer, Floats, TokenLogprobs

__all__ = ["AnswerReader"]

SENTINEL = -9990.0  # -9999 (OpenAI, vLLM) and -3.4e38 (llama.cpp) mean "below top-k"
TINIEST = 1e-9  # probability of a censored label when top-k shows (almost) everything
UNDERFLOW = 1e-38  # of an exact score: where the model's float32 softmax ends
ROUNDING = 1e-6  # of what exact scores leave to 1: sums of float32 numbers are no closer
DECORATION = " \t\r\n\"'“”‘’«»*_`#>([{<-–—:•▁Ġ"  # may stand before a label in an answer


class AnswerReader:
    """Reads single answers; remembers what each text may begin."""

    def __init__(self, spellings: Sequence[Sequence[str]]) -> None:
        self.spellings = spellings
        self.n_classes = len(spellings)
        self.rest = next((k for k, forms in enumerate(spellings) if not forms), None)
        firsts = {form[0] for forms in spellings for form in forms}
        # A label may itself begin with a dash or a quote: then it is no decoration.
        self.decoration = "".join(c for c in DECORATION if c not in firsts)
        self.owner = {
            prefix + form: k
            for k, forms in enumerate(spellings)
            for form in forms
            for prefix in ("", " ")
        }
        self._matches: dict[str, tuple[frozenset[int], frozenset[int]]] = {}

    def exact(self, answer: Answer) -> tuple[Floats, Floats, Floats]:
        """Sum exact scores over the spellings of each class."""
        total = np.zeros(self.n_classes)
        for choice, log_prob in answer.choices:
            total[self.owner[choice]] += exp(log_prob)
        total = self._with_rest(np.maximum(total, UNDERFLOW))
        return total, total, total

    def followed(self, answer: Answer) -> tuple[Floats, Floats, Floats]:
        """Read the alternatives along the generated path: point, lower, upper."""
        read = _Reading(
            np.zeros(self.n_classes), np.zeros(self.n_classes), np.zeros(self.n_classes)
        )
        self._walk(answer.positions, "", 1.0, None, read)
        first = _shown(answer.positions[0]) if answer.positions else []
        floor = min((p for _, p in first), default=1.0)
        left = max(1.0 - sum(p for _, p in first), TINIEST)
        point = read.sure + read.shared
        unseen = point <= 0
        point[unseen] = min(floor, left / max(1, unseen.sum()))
        point = self._with_rest(point)
        upper = np.minimum(np.maximum(read.sure + read.possible, point), 1.0)
        if self.rest is not None:
            labelled = np.delete(read.sure, self.rest).sum()
            upper[self.rest] = max(1.0 - labelled, point[self.rest])
        return point, np.minimum(read.sure, point), upper

    def _with_rest(self, total: Floats) -> Floats:
        """Give the class without surface forms what the others leave of 1."""
        if self.rest is not None:
            total[self.rest] = 0.0
            total[self.rest] = max(1.0 - total.sum(), ROUNDING)
        return np.asarray(total / max(1.0, total.sum()))

    def _walk(
        self,
        positions: Sequence[TokenLogprobs],
        written: str,
        reach: float,
        held: int | None,
        read: _Reading,
    ) -> None:
        """Credit one position's alternatives, and follow the chosen one if need be.

        `reach` is the probability of having `written` what stands before; `held` the
        class that it already says, while it may still become a longer label.
        """
        if not positions:
            return
        shown = _shown(positions[0])
        for k in self.match(written)[1]:
            read.possible[k] += reach * max(0.0, 1.0 - sum(p for _, p in shown))
        if held is not None:
            hidden = reach * max(0.0, 1.0 - sum(p for _, p in shown))
            read.shared[held] += hidden
            read.possible[held] += hidden
        followed = False
        for token, p in shown:
            text = written + token
            said, may_say = self.match(text)
            claims = said | may_say
            if held is not None and not claims - {held}:
                read.sure[held] += reach * p
            elif self._settled(text, said, may_say):
                read.sure[next(iter(claims))] += reach * p
            elif (
                claims and token == positions[0].token and positions[1:] and not followed
            ):
                followed = True
                next_held = next(iter(said), None)
                self._walk(positions[1:], text, reach * p, next_held, read)
            elif claims:
                for k in claims:
                    read.possible[k] += reach * p
                    if not self._is_weak(text):
                        read.shared[k] += reach * p / len(claims)
            elif self.rest is not None:
                read.sure[self.rest] += reach * p

    def _settled(self, text: str, said: frozenset[int], may_say: frozenset[int]) -> bool:
        """Whether the text belongs to exactly one class."""
        return len(said | may_say) == 1 and not (may_say and self._is_weak(text))

    def _is_weak(self, text: str) -> bool:
        """Whether so little is written that most answers that begin so are no label.

        A newline may stand before any label, and " I" opens many sentences besides the
        label "insult": possible, but no reason to credit the label.
        """
        begun = text.lstrip(self.decoration)
        return not begun or (len(begun) == 1 and begun.isascii() and begun.isalpha())

    def match(self, text: str) -> tuple[frozenset[int], frozenset[int]]:
        """Which classes an answer that begins so has said, and which it may yet say."""
        found = self._matches.get(text)
        if found is None:
            begun = text.lstrip(self.decoration)
            said = _longest(
                max((len(form) for form in forms if _says(begun, form)), default=0)
                for forms in self.spellings
            )
            may_say = frozenset(
                k
                for k, forms in enumerate(self.spellings)
                if k not in said and any(form.startswith(begun) for form in forms)
            )
            found = self._matches[text] = (said, may_say)
        return found


@dataclass(slots=True)
class _Reading:
    """Probability by class while an answer is read."""

    sure: Floats  # certainly this class
    shared: Floats  # its part of what may be one of several
    possible: Floats  # everything beyond `sure` that it may be


def _shown(position: TokenLogprobs) -> list[tuple[str, float]]:
    """Alternatives as probabilities, sentinels left out; coarse APIs may exceed 1."""
    shown = [(t, exp(min(lp, 0.0))) for t, lp in position.top if _is_number(lp)]
    excess = max(1.0, sum(p for _, p in shown))
    return [(token, p / excess) for token, p in shown]


def _is_number(log_prob: float) -> bool:
    return isfinite(log_prob) and log_prob > SENTINEL


def _says(begun: str, form: str) -> bool:
    """Whether the text is the form, alone or before something that ends a word."""
    return begun.startswith(form) and not begun[len(form) : len(form) + 1].isalnum()


def _longest(lengths: Iterable[int]) -> frozenset[int]:
    """Which classes have said the most: "New York" is not also the label "New"."""
    said = list(lengths)
    return frozenset(k for k, n in enumerate(said) if n and n == max(said))
