"""How keys travel: encrypted, in a header, to the server that was named."""

from __future__ import annotations

import warnings

import pytest

from sklearn_logprob import (
    AnthropicBackend,
    ExposedKeyWarning,
    GeminiBackend,
    GeminiDecisionsBackend,
    LlamaServerBackend,
    OllamaBackend,
    OpenAIBackend,
    OpenAIDecisionsBackend,
    SGLangBackend,
    SystemOneBackend,
    VLLMBackend,
)
from sklearn_logprob.backends._params import check_common

KEY = "marker-key-0815"
BACKENDS = [
    AnthropicBackend, GeminiBackend, GeminiDecisionsBackend, LlamaServerBackend,
    OpenAIBackend, OpenAIDecisionsBackend, SGLangBackend, SystemOneBackend, VLLMBackend,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)


@pytest.mark.parametrize("cls", BACKENDS)
def test_a_key_in_clear_text_is_said(cls):
    """Plain HTTP to another machine, with a key: the variable is named, not the key."""
    backend = cls(base_url="http://gpu.example:8000/v1", api_key_env="MY_KEY")
    with pytest.warns(ExposedKeyWarning, match=r"'MY_KEY' goes to gpu\.example") as said:
        check_common(backend)
    assert KEY not in str(said[0].message)


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://gpu.example/v1", "MY_KEY"),
        ("http://localhost:8000/v1", "MY_KEY"),
        ("http://my.localhost/v1", "MY_KEY"),
        ("http://127.1.2.3:8000/v1", "MY_KEY"),
        ("http://[::1]:8000/v1", "MY_KEY"),
        ("http://gpu.example/v1", "NO_SUCH_KEY"),
    ],
)
def test_nothing_is_said_where_nobody_listens(url, variable):
    """With TLS, on this machine, or without a key."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_common(OpenAIBackend(base_url=url, api_key_env=variable))


@pytest.mark.parametrize("host", ["10.0.0.5", "192.168.1.2", "localhost.example"])
def test_a_private_network_is_another_machine(host):
    """So is a name that only begins like this one."""
    with pytest.warns(ExposedKeyWarning):
        check_common(OpenAIBackend(base_url=f"http://{host}/v1", api_key_env="MY_KEY"))


@pytest.mark.parametrize("cls", [*BACKENDS, OllamaBackend])
def test_a_password_in_the_address_is_refused(cls):
    """It would be in reprs, parameters and messages; the message does not show it."""
    url = f"https://me:{KEY}@gpu.example/v1"
    backend = cls(host=url) if cls is OllamaBackend else cls(base_url=url)
    with pytest.raises(ValueError, match=r"without|password") as caught:
        backend.check([])
    assert KEY not in str(caught.value)
