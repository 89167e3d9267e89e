"""SGLang: exact scores of whole labels over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn_logprob.backends._sglang_wire import SGLangServer
from sklearn_logprob.backends._token_backend import TokenBackend
from sklearn_logprob.backends._token_server import TokenServer

__all__ = ["SGLangBackend"]


class SGLangBackend(TokenBackend):
    """A model behind SGLang, asked in its native format.

    It scores label sequences exactly, which the chat endpoint that `OpenAIBackend` asks
    cannot: here tokens go out and come back as numbers, and those that labels begin with
    are asked for by name.

    Parameters
    ----------
    model : str, default=None
        Name of the model as the server lists it, LoRA adapters included. None is the
        first on its list.
    base_url : str, default="http://localhost:30000"
        Where the server is, with ``/v1`` or without.
    api_key_env : str, default=None
        Name of the environment variable that holds the key, for a server started with
        ``--api-key``. It is read when asking, and stored nowhere.
    exact : bool, default=True
        Whether whole labels are scored. False reads the likeliest tokens only.
    max_top_logprobs : int, default=200
        The most alternatives at a position; the server has no limit.
    chat_template_kwargs : dict, default=None
        What the chat template is told. None is ``{"enable_thinking": False}``, which
        templates without such a switch ignore.
    max_concurrency : int, default=16
        The most requests at the same time. The server evaluates them together.
    max_retries : int, default=5
        How often to ask again after a server's fault or a lost connection.
    timeout : float, default=300.0
        Seconds to wait for one answer.

    Attributes
    ----------
    answer_params : tuple of str
        Parameters that change an answer.

    Notes
    -----
    A row takes one request, and one more for each longer beginning of a label. How labels
    are split after the prompt is asked once for all prompts that end in the same two
    tokens: end the template in fixed text.

    SGLang's log-probabilities are those after temperature, bias and grammar. None of them
    is sent: temperature 0 picks the likeliest token and divides nothing there. Answers
    that are drawn have temperature 1; their seed counts only where the server runs with
    ``--enable-deterministic-inference``.

    Chat messages need SGLang 0.5.12 or later, raw prompts 0.5.6.

    References
    ----------
    .. [1] SGLang, "SGLang native APIs",
       https://docs.sglang.ai/basic_usage/native_api.html

    Examples
    --------
    >>> from sklearn_logprob.backends.sglang import SGLangBackend
    >>> SGLangBackend(base_url="http://gpu-box:30000", max_concurrency=64)
    SGLangBackend(base_url='http://gpu-box:30000', max_concurrency=64)
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str = "http://localhost:30000",
        api_key_env: str | None = None,
        exact: bool = True,
        max_top_logprobs: int = 200,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        max_concurrency: int = 16,
        max_retries: int = 5,
        timeout: float = 300.0,
    ) -> None:
        self.model = model
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.exact = exact
        self.max_top_logprobs = max_top_logprobs
        self.chat_template_kwargs = chat_template_kwargs
        self.max_concurrency = max_concurrency
        self.max_retries = max_retries
        self.timeout = timeout

    def _connect(self, url: str, key: str, template: str) -> TokenServer:
        return SGLangServer(
            url, self.model, key, template, self.timeout, self.max_retries
        )
