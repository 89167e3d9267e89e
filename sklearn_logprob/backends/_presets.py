"""Services that speak OpenAI's chat format: where they are, and what is special there.

A preset is no class: ``"mistral:MODEL"`` makes an `OpenAIBackend` with these parameters,
each of which can be given by hand as well.
"""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = ["PRESETS", "Preset", "wants_key"]


class Preset(NamedTuple):
    """One service.

    Parameters
    ----------
    base_url : str
        Its address; ``$NAME`` is filled in from the environment.
    api_key_env : str
        The environment variable that holds the key.
    max_top_logprobs : int, default=20
        The most alternatives that it returns; 0 if it has no log-probabilities.
    extra_body : dict or None, default=None
        Fields that it wants besides OpenAI's.

    Examples
    --------
    >>> from sklearn_logprob.backends._presets import PRESETS
    >>> PRESETS["fireworks"].max_top_logprobs
    5
    """

    base_url: str
    api_key_env: str
    max_top_logprobs: int = 20
    extra_body: dict[str, Any] | None = None

    def params(self) -> dict[str, Any]:
        """Give the parameters for `OpenAIBackend`.

        Returns
        -------
        params : dict
            By name.

        Raises
        ------
        ValueError
            If the address needs an environment variable that is not set.
        """
        url = os.path.expandvars(self.base_url)
        missing = re.findall(r"\$(\w+)", url)
        if missing:
            raise ValueError(
                f"The environment variable {missing[0]!r} is part of the address "
                f"{self.base_url!r}: set it, or give "
                "OpenAIBackend(model, base_url=...)."
            )
        return {**self._asdict(), "base_url": url}


PRESETS = {
    "azure": Preset("$AZURE_OPENAI_ENDPOINT/openai/v1", "AZURE_OPENAI_API_KEY"),
    # only models that were imported, and OpenAI's, return log-probabilities
    "bedrock": Preset(
        "https://bedrock-runtime.$AWS_REGION.amazonaws.com/openai/v1",
        "AWS_BEARER_TOKEN_BEDROCK",
    ),
    "cerebras": Preset("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    # its V4 models reason unless told not to
    "deepseek": Preset(
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        extra_body={"thinking": {"type": "disabled"}},
    ),
    "fireworks": Preset(
        "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", max_top_logprobs=5
    ),
    # it knows the fields and refuses them for every model
    "groq": Preset("https://api.groq.com/openai/v1", "GROQ_API_KEY", max_top_logprobs=0),
    # its chat endpoint ignores them
    "lmstudio": Preset("http://localhost:1234/v1", "LMSTUDIO_API_KEY", 0),
    "mistral": Preset("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    # else it asks providers that drop what they do not support
    "openrouter": Preset(
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        extra_body={"provider": {"require_parameters": True}},
    ),
    # it takes a number where OpenAI takes true
    "together": Preset(
        "https://api.together.xyz/v1", "TOGETHER_API_KEY", extra_body={"logprobs": 20}
    ),
    "xai": Preset("https://api.x.ai/v1", "XAI_API_KEY", max_top_logprobs=8),
}
"""Name → service."""

_HOSTS = {urlsplit(preset.base_url).hostname for preset in PRESETS.values()}


def wants_key(url: str) -> bool:
    """Tell whether nobody is answered at a service without a key.

    Parameters
    ----------
    url : str
        Where requests go.

    Returns
    -------
    wants_key : bool
        Whether it is one of the table's, on another machine.

    Examples
    --------
    >>> from sklearn_logprob.backends._presets import wants_key
    >>> wants_key("https://api.mistral.ai/v1"), wants_key("http://localhost:1234/v1")
    (True, False)
    """
    parts = urlsplit(url)
    hosted = parts.hostname in _HOSTS or f".{parts.hostname}".endswith(".amazonaws.com")
    return hosted and parts.scheme == "https"
