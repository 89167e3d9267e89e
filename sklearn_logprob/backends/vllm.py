"""vLLM: exact scores of whole labels over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn_logprob.backends._token_backend import TokenBackend
from sklearn_logprob.backends._token_server import TokenServer
from sklearn_logprob.backends._vllm_wire import VLLMServer

__all__ = ["VLLMBackend"]


class VLLMBackend(TokenBackend):
    """A model behind vLLM, asked through its own endpoints.

    It scores label sequences exactly, which the chat endpoint that `OpenAIBackend` asks
    cannot: here tokens go out and come back as numbers, and a token that is not among the
    likeliest is asked for by name.

    Parameters
    ----------
    model : str, default=None
        Name of the model as the server lists it, LoRA adapters included. None is the
        first on its list.
    base_url : str, default="http://localhost:8000/v1"
        Where the server is, with ``/v1`` or without.
    api_key_env : str, default=None
        Name of the environment variable that holds the key, for a server started with
        ``--api-key``. It is read when asking, and stored nowhere.
    exact : bool, default=True
        Whether whole labels are scored, which needs vLLM 0.26. False reads the likeliest
        tokens only, as an older server can.
    max_top_logprobs : int, default=20
        The most alternatives at a position. The server refuses more than its
        ``--max-logprobs``, which is 20 unless set.
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
    A row takes one request for the likeliest tokens, one more if the labels' first tokens
    are not all among them, and one for each longer beginning of a label; beyond 128
    tokens at one place, one for each 128. How labels are split after the prompt is asked
    once for all prompts that end in the same two tokens: end the template in fixed text.

    Scores are right whatever the server's defaults are: log-probabilities before sampling
    (``raw_logprobs``) depend on none. A server started with
    ``--logprobs-mode processed_logprobs`` gives the same, for no bias, penalty, filter or
    grammar is sent, and temperature 0, which divides nothing. Logits instead of
    log-probabilities are refused where their probabilities add up to more than 1.

    The values of a prompt differ in the last digits with what the server evaluates beside
    it, unless it runs with ``VLLM_BATCH_INVARIANT=1``.

    References
    ----------
    .. [1] vLLM, "OpenAI-compatible server",
       https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html

    Examples
    --------
    >>> from sklearn_logprob.backends.vllm import VLLMBackend
    >>> VLLMBackend("Qwen/Qwen3-8B", base_url="http://gpu-box:8000")
    VLLMBackend(base_url='http://gpu-box:8000', model='Qwen/Qwen3-8B')
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str = "http://localhost:8000/v1",
        api_key_env: str | None = None,
        exact: bool = True,
        max_top_logprobs: int = 20,
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
        return VLLMServer(url, self.model, key, template, self.timeout, self.max_retries)
