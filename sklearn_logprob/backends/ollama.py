"""Models that Ollama runs, asked in its own format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from sklearn_logprob._errors import (
    BackendError,
    LogprobError,
    LogprobsUnavailableError,
    PromptTooLongError,
)
from sklearn_logprob._types import Answer, Outcome, Request
from sklearn_logprob.backends._http import HttpError, call_json
from sklearn_logprob.backends._ollama_wire import (
    ask_body,
    full_name,
    read_reply,
    reasoned,
    server_url,
)
from sklearn_logprob.backends._openai_wire import Reply
from sklearn_logprob.backends._overlap import overlap
from sklearn_logprob.backends._params import check_common

__all__ = ["OllamaBackend"]

SHOWN_OF_DIGEST = 12  # as `ollama list` shows
OLDEST = (0, 12, 11)  # the first version that returns log-probabilities

# Ollama shows nothing of a token without text (an end of the answer, a part of a
# character). Its values are those before sampling, so they stay the same when it is
# made to draw a token that has text: a quotation mark, which opens a JSON string.
WITH_TEXT = {"type": "string"}


class OllamaBackend(BaseEstimator):
    """A model that an Ollama server runs.

    A raw prompt is continued exactly as it is written. Chat messages are put into the
    model's own template, and a trailing assistant message is the beginning of the
    answer. A prompt that is longer than the context is refused, not cut.

    Parameters
    ----------
    model : str, default="llama3.2"
        Name of the model, as ``ollama list`` shows it. ``:latest`` may be left out.
    host : str, default=None
        Where the server is, such as ``"http://localhost:11434"``; scheme and port may
        be left out. None is the environment variable ``OLLAMA_HOST``, or else this
        machine.
    keep_alive : str or int, default=None
        How long the model stays loaded, such as ``"30m"`` or seconds. None leaves that
        to the server, which unloads it after five minutes unless told otherwise.
    options : dict, default=None
        Further options of the model, such as ``{"num_ctx": 8192}``. They win over those
        that are sent anyway.
    max_top_logprobs : int, default=20
        The most alternatives at a position; Ollama allows 20.
    max_concurrency : int, default=2
        The most requests at the same time. A server evaluates as many as its
        environment variable ``OLLAMA_NUM_PARALLEL`` says, one by default; a second one
        is then ready when the first is done.
    max_retries : int, default=5
        How often to ask again after a server error or a lost connection.
    timeout : float, default=300.0
        Seconds to wait for one answer. The first one waits for the weights to load.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.
    scores_choices : bool
        False: the server cannot score given text.

    Notes
    -----
    A name is not a model: pulling it again may bring other weights. The identity holds
    the digest that the server gives for the name, so looking up stored answers needs a
    running server, and no new weights are taken for the old ones.

    References
    ----------
    .. [1] Ollama, "API", https://github.com/ollama/ollama/blob/main/docs/api.md

    Examples
    --------
    >>> from sklearn_logprob.backends.ollama import OllamaBackend
    >>> OllamaBackend("qwen3:4b", options={"num_ctx": 8192})
    OllamaBackend(model='qwen3:4b', options={'num_ctx': 8192})
    """

    answer_params: ClassVar[tuple[str, ...]] = ("model", "options", "max_top_logprobs")
    scores_choices: bool = False

    def __init__(
        self,
        model: str = "llama3.2",
        *,
        host: str | None = None,
        keep_alive: str | int | None = None,
        options: Mapping[str, Any] | None = None,
        max_top_logprobs: int = 20,
        max_concurrency: int = 2,
        max_retries: int = 5,
        timeout: float = 300.0,
    ) -> None:
        self.model = model
        self.host = host
        self.keep_alive = keep_alive
        self.options = options
        self.max_top_logprobs = max_top_logprobs
        self.max_concurrency = max_concurrency
        self.max_retries = max_retries
        self.timeout = timeout

    def answer_identity(self) -> dict[str, Any]:
        """Give what an answer depends on besides the request.

        The server is asked each time, as a model may be pulled again at any time.

        Returns
        -------
        identity : dict
            The full name and the digest of the model, and `answer_params`; not the
            server, as the same weights elsewhere answer the same.

        Raises
        ------
        BackendError
            If the server does not run, or does not have the model.
        """
        name, digests = full_name(self.model), self._digests()
        if name not in digests:
            raise BackendError(
                f"{self._who()} has no model {self.model!r}: run "
                f"`ollama pull {self.model}`, or name one that `ollama list` shows."
            )
        return {
            "model": name,
            "digest": digests[name],
            "options": dict(self.options or {}),
            "max_top_logprobs": self.max_top_logprobs,
        }

    def check(self, requests: Sequence[Request]) -> None:
        """Find what is wrong without asking the model.

        Parameters
        ----------
        requests : sequence of Request
            What is going to be asked.

        Raises
        ------
        ValueError
            A parameter has a wrong value.
        """
        server_url(self.host)
        check_common(self)

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Ask, a few requests at a time.

        Parameters
        ----------
        requests : sequence of Request
            What to ask.

        Returns
        -------
        outcomes : iterator of (int, Answer or RowError)
            Each with its position in `requests`, as they arrive.

        Raises
        ------
        BackendError
            The first failure that is not a row's own.
        """
        self.check(requests)
        if not requests:
            return iter(())
        digest = self._digests().get(full_name(self.model))
        build = str(digest or "")[:SHOWN_OF_DIGEST]
        return overlap(partial(self._ask, build), requests, self.max_concurrency)

    def _ask(self, build: str, index: int, request: Request) -> Answer:
        path, body = ask_body(
            request,
            model=self.model,
            top_logprobs=self.max_top_logprobs,
            options=self.options or {},
            keep_alive=self.keep_alive,
        )
        reply = self._post(index, path, body)
        if not request.top_logprobs:
            return Answer(usage=reply.usage, draws=((reply.text, 1),), build=build)
        if not (reply.positions or reply.text):
            options = {**body["options"], "num_predict": 1}
            again = {**body, "format": WITH_TEXT, "options": options}
            reply = self._post(index, path, again)
        shown = reply.positions and reply.positions[0].top
        if not shown or (request.top_logprobs > 1 and reply.placeholders):
            raise LogprobsUnavailableError(
                f"{self.model!r} on {self._who()} answered without log-probabilities "
                f"(done_reason: {reply.finish_reason}). {self._why_missing()}"
            )
        return Answer(reply.positions, usage=reply.usage, build=build)

    def _digests(self) -> dict[str, Any]:
        """Ask which models there are."""
        listed = self._call("tags").get("models") or ()
        return {str(m.get("name")).casefold(): m.get("digest") for m in listed}

    def _post(self, index: int, path: str, body: Mapping[str, Any]) -> Reply:
        failure: LogprobError
        try:
            content = self._call(path, body)
        except HttpError as error:
            failure = self._explain(error, index)
        else:
            reply = read_reply(content)
            if reply is not None and not reasoned(content):
                return reply
            failure = (
                BackendError(
                    f"{self._who()} did not answer in Ollama's format: check host=."
                )
                if reply is None
                else LogprobsUnavailableError(
                    f"{self.model!r} reasoned before it answered, although it was told "
                    "not to (think: false): its first tokens are not the answer. Use a "
                    "model that answers at once."
                )
            )
        raise failure

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            return call_json(
                f"{server_url(self.host)}/api/{path}",
                body,
                who=self._who(),
                timeout=self.timeout,
                max_retries=self.max_retries,
            )
        except HttpError:
            raise
        except BackendError as error:
            failure = BackendError(
                f"{error} `ollama serve` starts it; host= or the environment variable "
                "OLLAMA_HOST says where it is."
            )
        raise failure

    def _explain(self, error: HttpError, index: int) -> LogprobError:
        """Say what a refusal means and what mends it."""
        said = error.said.lower()
        if "context" in said and ("exceed" in said or "longer" in said):
            return PromptTooLongError(
                f"The prompt of {{row}} is too long. {error} Shorten the text, or give "
                "the model more context, such as options={'num_ctx': 16384}.",
                index,
            )
        if error.status == 404:
            return BackendError(f"{error} `ollama pull {self.model}` gets the model.")
        if "logprob" in said:
            return LogprobsUnavailableError(f"{error} Lower max_top_logprobs=.")
        return error

    def _why_missing(self) -> str:
        version = str(self._call("version").get("version"))
        numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
        if numbers < OLDEST:
            return (
                f"Ollama {version} ignores that they are asked for: update Ollama to "
                "0.12.11 or newer."
            )
        if self.model.endswith("cloud"):
            return (
                "Ollama's cloud models do not return them: use a model that runs on "
                "your machine."
            )
        return (
            "Ollama shows none where the first token has no text: the answer ends at "
            "once, begins with a part of a character, or with hidden reasoning (gpt-oss "
            "cannot be told not to). Change the prompt, or use another model."
        )

    def _who(self) -> str:
        return f"Ollama at {server_url(self.host)}"
