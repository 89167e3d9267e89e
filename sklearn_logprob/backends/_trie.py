"""Label continuations as a trie of tokens, so that a shared beginning is asked once.

The probability of a label is the product of its tokens' probabilities, each given the
prompt and the tokens before it. Labels that begin alike share those factors; and where
one label *is* the beginning of another (``New`` and ``New York``), the shorter one means
"it begins so and does not go on to be the longer one". The labels are then disjoint
events, and their probabilities sum to at most one without a terminator token, which a
completion prompt rarely has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp, inf, log, log1p

import numpy as np
from numpy.typing import NDArray

__all__ = ["TokenTrie", "continuation"]

Path = tuple[int, ...]


def continuation(
    prompt: Sequence[int], joint: Sequence[int], alone: Sequence[int]
) -> Path:
    """Give the tokens of a label as they follow the prompt.

    Prompt and label are split together, for the boundary may matter; where that would
    merge them into one token, the label is split alone.

    Parameters
    ----------
    prompt, joint, alone : sequence of int
        Tokens of the prompt, of prompt and label in one text, and of the label.

    Returns
    -------
    tokens : tuple of int
        What comes after the prompt's tokens.

    Examples
    --------
    >>> from sklearn_logprob.backends._trie import continuation
    >>> continuation([1, 2], [1, 2, 7], [8]), continuation([1, 2], [1, 9], [8])
    ((7,), (8,))
    """
    begins = list(joint[: len(prompt)]) == list(prompt) and len(joint) > len(prompt)
    return tuple(joint[len(prompt) :] if begins else alone)


class TokenTrie:
    """Token sequences of the labels, merged where they begin alike.

    Parameters
    ----------
    sequences : sequence of tuple of int
        Token ids of each label, none empty. Equal sequences are one event, whose
        probability they share equally.

    Attributes
    ----------
    inner : list of tuple of int
        Beginnings after which a next-token distribution is needed, shortest first;
        the first is the empty one, which the prompt itself answers.
    children : dict of tuple of int to list of int
        After each of `inner`, the tokens whose log-probability is needed.

    Examples
    --------
    >>> trie = TokenTrie([(5,), (5, 7), (6, 7)])
    >>> trie.inner
    [(), (5,), (6,)]
    """

    def __init__(self, sequences: Sequence[Path]) -> None:
        self.sequences = list(sequences)
        links = {(s[:i], s[i]) for s in self.sequences for i in range(len(s))}
        self.children: dict[Path, list[int]] = {}
        for path, token in sorted(links, key=lambda link: (len(link[0]), *link)):
            self.children.setdefault(path, []).append(token)
        self.inner = list(self.children)
        self._times = Counter(self.sequences)
        self._steps = {s: [(s[:i], s[i]) for i in range(len(s))] for s in self._times}
        # each label's longer labels that have no other label in between
        self._extensions: dict[Path, list[Path]] = {s: [] for s in self._times}
        for longer in self._times:
            beginnings = (longer[:i] for i in range(len(longer) - 1, 0, -1))
            nearest = next((b for b in beginnings if b in self._times), None)
            if nearest is not None:
                self._extensions[nearest].append(longer)

    def log_probs(
        self, after: Mapping[Path, NDArray[np.floating] | Mapping[int, float]]
    ) -> list[float]:
        """Log-probability of each sequence as a disjoint event.

        Parameters
        ----------
        after : mapping of tuple of int to ndarray of shape (n_vocabulary,) or mapping
            Next-token log-probabilities (natural log) after each of `inner`, by token;
            those of `children` suffice.

        Returns
        -------
        log_probs : list of float
            In the order of the sequences; they log-sum to at most 0.
        """
        path_log_prob = {
            s: sum(float(after[path][token]) for path, token in steps)
            for s, steps in self._steps.items()
        }
        own = {
            s: _log_difference(log_prob, [path_log_prob[e] for e in self._extensions[s]])
            - log(self._times[s])
            for s, log_prob in path_log_prob.items()
        }
        return [own[s] for s in self.sequences]


def _log_difference(whole: float, parts: Sequence[float]) -> float:
    """``log(exp(whole) - sum(exp(parts)))``; -inf where rounding leaves nothing."""
    taken = sum(exp(part - whole) for part in parts)
    return whole + log1p(-taken) if taken < 1 else -inf
