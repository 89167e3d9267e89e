"""One answer at a time, token by token: the definition that fast reading is held to."""

from __future__ import annotations

from math import exp, isfinite

import numpy as np

DECORATION = " \t\r\n\"'“”‘’«»*_`#>([{<-–—:•▁Ġ"


def slow_scores(answer, spellings):
    """Point, lower and upper of each label's probability."""
    reader = SlowReader(spellings)
    return reader.exact(answer) if answer.choices else reader.followed(answer)


class SlowReader:
    """Reads single answers."""

    def __init__(self, spellings):
        self.spellings = spellings
        self.n_classes = len(spellings)
        firsts = {form[0] for forms in spellings for form in forms}
        self.decoration = "".join(c for c in DECORATION if c not in firsts)

    def exact(self, answer):
        total = np.zeros(self.n_classes)
        for choice, log_prob in answer.choices:
            [k] = [k for k, s in enumerate(self.spellings) if choice.lstrip(" ") in s]
            total[k] += exp(log_prob)
        total = np.maximum(total, 1e-38) / max(1.0, total.sum())
        return total, total, total

    def followed(self, answer):
        self.sure, self.shared, self.possible = np.zeros((3, self.n_classes))
        self.walk(answer.positions, "", 1.0, None)
        first = shown(answer.positions[0]) if answer.positions else []
        floor = min((p for _, p in first), default=1.0)
        left = max(1.0 - sum(p for _, p in first), 1e-9)
        point = self.sure + self.shared
        unseen = point <= 0
        point[unseen] = min(floor, left / max(1, unseen.sum()))
        point /= max(1.0, point.sum())
        upper = np.minimum(np.maximum(self.sure + self.possible, point), 1.0)
        return point, np.minimum(self.sure, point), upper

    def walk(self, positions, written, reach, held):
        if not positions:
            return
        alternatives = shown(positions[0])
        hidden = reach * max(0.0, 1.0 - sum(p for _, p in alternatives))
        for k in self.match(written)[1]:
            self.possible[k] += hidden
        if held is not None:
            self.shared[held] += hidden
            self.possible[held] += hidden
        followed = False
        for token, p in alternatives:
            text = written + token
            said, may_say = self.match(text)
            claims = said | may_say
            if held is not None and not claims - {held}:
                self.sure[held] += reach * p
            elif len(claims) == 1 and not (may_say and self.is_weak(text)):
                self.sure[next(iter(claims))] += reach * p
            elif (
                claims and token == positions[0].token and positions[1:] and not followed
            ):
                followed = True
                self.walk(positions[1:], text, reach * p, next(iter(said), None))
            else:
                for k in claims:
                    self.possible[k] += reach * p
                    if not self.is_weak(text):
                        self.shared[k] += reach * p / len(claims)

    def is_weak(self, text):
        begun = text.lstrip(self.decoration)
        return not begun or (len(begun) == 1 and begun.isascii() and begun.isalpha())

    def match(self, text):
        begun = text.lstrip(self.decoration)
        lengths = [
            max((len(form) for form in forms if says(begun, form)), default=0)
            for forms in self.spellings
        ]
        said = {k for k, n in enumerate(lengths) if n and n == max(lengths)}
        may_say = {
            k
            for k, forms in enumerate(self.spellings)
            if k not in said and any(form.startswith(begun) for form in forms)
        }
        return said, may_say


def shown(position):
    known = [(t, lp) for t, lp in position.top if isfinite(lp) and lp > -9990]
    raw = [(t, exp(min(lp, 0.0))) for t, lp in known]
    excess = max(1.0, sum(p for _, p in raw))
    return [(token, p / excess) for token, p in raw]


def says(begun, form):
    return begun.startswith(form) and not begun[len(form) : len(form) + 1].isalnum()
