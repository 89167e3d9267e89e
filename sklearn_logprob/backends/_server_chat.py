"""Chats that a llama-server splits: control tokens come from its template alone.

The server reads control tokens in a chat wherever they stand. So they are marked in what
is said, before the server's template is filled. Where a mark comes back, the prompt is
split here at the template's own tokens, which go out as numbers, and what is between them
as text in which the server reads none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from sklearn_logprob.backends._control_texts import ControlTexts

if TYPE_CHECKING:
    from sklearn_logprob._types import Message

__all__ = ["ChatSplitter", "Part"]

Part: TypeAlias = str | int
"""A text that is to be split, or a token."""

NONCHARACTER = "\ufdd0"
"""A mark that JSON can carry; Unicode keeps it for use within a program."""


class ChatSplitter:
    """What a server's vocabulary says about the texts of a chat.

    Parameters
    ----------
    pieces : sequence of object
        The text of each token of the vocabulary; something else where it is none.
    tokenize : callable
        From texts in parts, and whether control tokens are read, to the tokens of each;
        what begins every text is before the first.

    Examples
    --------
    >>> from sklearn_logprob.backends._server_chat import ChatSplitter
    >>> def tokenize(texts, *, control):
    ...     return [[0] if control and text == ["<s>"] else [1, 2] for text in texts]
    >>> chat = ChatSplitter(["<s>", "<", "s>"], tokenize)
    >>> messages = chat.mark([("user", "What is <s>?")])
    >>> chat.parts("<s>" + messages[0][1])
    [0, 'What is <s>?']
    >>> chat.parts("<s>What?") is None  # nothing is marked
    True
    """

    def __init__(
        self,
        pieces: Sequence[object],
        tokenize: Callable[..., Sequence[Sequence[int]]],
    ) -> None:
        def read(pairs: list[tuple[int, str]], *, control: bool) -> list[bool]:
            """Tell which texts are read as the token that they are of."""
            found = tokenize([[""], *([text] for _, text in pairs)], control=control)
            return [[*f] == [t] for (t, _), f in zip(pairs, found[1:], strict=True)]

        texts = [(t, text) for t, text in enumerate(pieces) if isinstance(text, str)]
        plain = read(texts, control=False)
        odd = [pair for pair, is_plain in zip(texts, plain, strict=True) if not is_plain]
        control = read(odd, control=True)
        self._tokens = {x: t for (t, x), flag in zip(odd, control, strict=True) if flag}
        self._texts = ControlTexts(self._tokens, NONCHARACTER)

    def mark(self, messages: Sequence[Message]) -> list[Message]:
        """Mark what looks like a control token.

        Parameters
        ----------
        messages : sequence of (str, str)
            Roles, and what is said.

        Returns
        -------
        marked : list of (str, str)
            For the template.
        """
        return [(role, self._texts.mark(text)) for role, text in messages]

    def parts(self, prompt: str) -> list[Part] | None:
        """Split a prompt at the control tokens of its template.

        Parameters
        ----------
        prompt : str
            What the template made of marked messages.

        Returns
        -------
        parts : list of (str or int) or None
            Texts in which no control tokens are to be read, and tokens; ends with a
            text. None where nothing is marked, so that the server can split it.
        """
        if NONCHARACTER not in prompt:
            return None
        pieces = self._texts.pieces(prompt)
        parts: list[Part] = [self._tokens[t] if flag else t for t, flag in pieces]
        return parts if isinstance(parts[-1], str) else [*parts, ""]
