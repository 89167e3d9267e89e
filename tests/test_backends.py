"""One suite over every backend: form for all, content against what is known."""

from __future__ import annotations

import math
import pickle
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from anthropic_server import MessagesServer, constant
from decision_server import DecisionServer
from fake_llama_server import FakeLlamaServer
from servers import LIMITS, ChatServer
from sklearn.base import clone
from test_gemini import GeminiServer
from test_ollama import OllamaServer
from token_server import FakeSGLang, FakeVLLM

from sklearn_logprob import (
    AnthropicBackend,
    FakeBackend,
    GeminiBackend,
    GeminiDecisionsBackend,
    LlamaCppBackend,
    LlamaServerBackend,
    LogprobClassifier,
    LogprobsUnavailableError,
    OllamaBackend,
    OpenAIBackend,
    OpenAIDecisionsBackend,
    Request,
    SamplingBackend,
    SGLangBackend,
    SystemOneBackend,
    TransformersBackend,
    VerbalisedBackend,
    VLLMBackend,
)
from sklearn_logprob.backends import BACKENDS, make_backend
from sklearn_logprob.backends._presets import PRESETS
from sklearn_logprob.collect import backend_key, request_keys

PROMPT = "Review: {}\nSentiment:"
CHOICES = (" negative", " positive", "Negative", "Positive")
OPTIONS = (("negative", ""), ("positive", "they liked it"))

# Constructor parameters that change no answer, only how it is come by.
NO_ANSWER = LIMITS | {
    "batch_size",
    "device",
    "access_token_env",
    "host",
    "keep_alive",
    "mode",
    "n_ctx",
    "n_threads",
    "api_key_env",
    "max_concurrency",
    "max_retries",
    "timeout",
}


@contextmanager
def chat_server():
    """An openai backend over a real server on loopback."""
    with ChatServer() as server:
        yield OpenAIBackend("some-model", base_url=server.url, max_retries=0)


@contextmanager
def decision_server(backend):
    """A decision backend over a real server on loopback."""
    with DecisionServer() as server:
        yield backend("some-model", base_url=server.url, max_retries=0)


@contextmanager
def ollama_server():
    """An ollama backend over a real server on loopback."""
    with OllamaServer() as server:
        server.digests |= {"some-model:latest": "d4", "another:latest": "d5"}
        yield OllamaBackend("some-model", host=server.url, max_retries=0)


@contextmanager
def gemini_server():
    """A gemini backend over a real server on loopback."""
    with GeminiServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMINI_API_KEY", "made-up")
        yield GeminiBackend(base_url=server.url, max_retries=0)


@contextmanager
def messages_server(backend, says=constant):
    """A text backend, or one around it, over a real server on loopback."""
    with MessagesServer(says) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_API_KEY", "made-up")
        patch.setenv("ANTHROPIC_BASE_URL", server.url)
        yield backend


def in_words(text, times):
    """Say how probable the options are."""
    return '{"negative": 0.3, "positive": 0.7}'


@contextmanager
def llama_server():
    """A llama-server backend over a toy model on loopback."""
    with FakeLlamaServer() as server:
        yield LlamaServerBackend(server.url, max_retries=0)


@contextmanager
def token_server(backend, kind):
    """A vllm or sglang backend over a toy model on loopback."""
    with kind(adapter="another") as server:
        yield backend(base_url=server.url, max_retries=0)


@pytest.fixture
def another(backend):
    """Another server, with another model, where the identity is asked for."""
    kinds = {VLLMBackend: FakeVLLM, SGLangBackend: FakeSGLang}
    with kinds.get(type(backend), FakeLlamaServer)() as server:
        server.model = server.model_path = "/models/another.gguf"
        yield server.url


@contextmanager
def tiny_transformers():
    """A transformers backend with a tiny random model in a folder."""
    pytest.importorskip("torch")
    from test_transformers import save_tiny_llama

    with TemporaryDirectory() as folder:
        (Path(folder) / "other.gguf").write_bytes(b"GGUF other weights")
        model = save_tiny_llama(folder)
        yield TransformersBackend(model, device="cpu", dtype="float32")


@contextmanager
def just(backend):
    """A backend that needs no surroundings."""
    yield backend


CASES = {
    "fake": lambda: just(FakeBackend({"fine": {"positive": 2.0}})),
    "fake-shown": lambda: just(FakeBackend(exact=False)),
    "openai": chat_server,
    "ollama": ollama_server,
    "gemini": gemini_server,
    "llama-server": llama_server,
    "vllm": lambda: token_server(VLLMBackend, FakeVLLM),
    "sglang": lambda: token_server(SGLangBackend, FakeSGLang),
    "transformers": tiny_transformers,
    "openai-decisions": lambda: decision_server(OpenAIDecisionsBackend),
    "systemone": lambda: decision_server(SystemOneBackend),
    "gemini-decisions": lambda: decision_server(GeminiDecisionsBackend),
    "anthropic": lambda: messages_server(AnthropicBackend()),
    "sampling": lambda: messages_server(SamplingBackend("anthropic", n_samples=3)),
    "verbalised": lambda: messages_server(VerbalisedBackend("anthropic"), in_words),
    "llama-cpp": lambda: just(LlamaCppBackend(n_ctx=512)),
}


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.local if name == "llama-cpp" else ())
        for name in CASES
    ]
)
def backend(request):
    """Every backend in turn."""
    if request.param == "llama-cpp":
        pytest.importorskip("llama_cpp")
    with CASES[request.param]() as backend:
        yield backend


def ask(backend, texts, **params):
    """Answers by the position of their request."""
    if getattr(backend, "decides", False):
        params["options"] = OPTIONS
    if not backend.max_top_logprobs:
        params["top_logprobs"] = 0
    choices = CHOICES if backend.scores_choices else ()
    requests = [
        Request((("prompt", PROMPT.format(text)),), choices, **params) for text in texts
    ]
    answers = dict(backend.answer(requests))
    assert sorted(answers) == list(range(len(texts)))
    return [answers[i] for i in range(len(texts))]


def writes(backend):
    """Whether the backend generates texts without log-probabilities, once or often."""
    return not backend.max_top_logprobs and not getattr(backend, "decides", False)


def first_tokens(answer):
    """The tokens that were generated, or the texts."""
    return [position.token for position in answer.positions] or answer.draws


def test_every_request_gets_its_own_answer(backend):
    """One answer a request, whatever the company it comes in."""
    texts = ["fine", "dull and long", "fine", "great"]
    together = ask(backend, texts)
    alone = [ask(backend, [text])[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert first_tokens(one) == first_tokens(other)
        for (_, p), (_, q) in zip(one.choices, other.choices, strict=True):
            assert p == pytest.approx(q, abs=0.05)  # 16-bit weights round by company
    assert ask(backend, []) == []


def test_answers_are_well_formed(backend):
    """Log-probabilities: finite, at most 0, sorted, as many as asked, summing to one."""
    for answer in ask(backend, ["fine", "dull"], top_logprobs=5):
        n_tokens = 1 if backend.max_top_logprobs else 0
        assert len(answer.positions) == n_tokens
        for position in answer.positions:
            values = [value for _, value in position.top]
            assert len(values) <= 5 and values == sorted(values, reverse=True)
            assert all(math.isfinite(v) and v <= 1e-6 for v in values)
            assert sum(map(math.exp, values)) <= 1 + 1e-4
            assert position.token in dict(position.top)
        named = [choice for choice, _ in answer.choices]
        if getattr(backend, "decides", False):
            assert named == [form for form, _ in OPTIONS]
        else:
            assert named == list(CHOICES if backend.scores_choices else ())
        assert sum(math.exp(value) for _, value in answer.choices) <= 1 + 1e-4
        assert answer.usage.prompt_tokens > 0
        assert bool(answer.draws) == writes(backend)
        if backend.max_top_logprobs:
            assert answer.usage.completion_tokens == n_tokens


def test_texts_without_log_probabilities(backend):
    """Asked for none, a backend gives the text it generated, once."""
    if getattr(backend, "decides", False):
        pytest.skip("a decision has no text")
    request = Request((("prompt", PROMPT.format("fine")),), max_tokens=3, top_logprobs=0)
    [(_, answer)] = backend.answer([request])
    [(text, times)] = answer.draws
    assert text and times == getattr(backend, "n_samples", 1)
    assert answer.positions == () and answer.choices == ()


def test_draws_are_numbered(backend):
    """A draw is a request of its own, and the same number gives the same answer."""
    if getattr(backend, "decides", False):
        pytest.skip("a decision has no text")
    message = (("prompt", PROMPT.format("fine")),)
    n_top = 0 if writes(backend) else 20
    requests = [
        Request(message, max_tokens=2, top_logprobs=n_top, draw=draw)
        for draw in (1, 2, 1)
    ]
    answers = dict(backend.answer(requests))
    assert first_tokens(answers[0]) == first_tokens(answers[2]) != ()
    assert len(set(request_keys(backend, requests))) == 2


def test_clones_and_pickles_answer_the_same(backend):
    """Neither weights nor clients are on the object."""
    [expected] = ask(backend, ["fine"])
    for copy in (clone(backend), pickle.loads(pickle.dumps(backend))):
        [answer] = ask(copy, ["fine"])
        assert first_tokens(answer) == first_tokens(expected)
        assert backend_key(copy) == backend_key(backend)
    assert len(pickle.dumps(backend)) < 1000


def test_parameters_that_change_answers_are_in_the_identity(backend, tmp_path, another):
    """Each parameter enters the cache key, or is on the list of those that need not."""
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF other weights")
    if "weights" in backend.get_params():  # on any CPU, and files that are no model
        backend.set_params(weights="as-is")
    changed = {
        "evidence": {"x": {"y": 1.0}},
        "bias": {"y": 1.0},
        "temperature": 9.0,
        "label_mass": 0.1,
        "labels": ("a", "b"),
        "exact": not backend.scores_choices,
        "model": "another",
        "base_url": another,
        "reasoning_effort": "low",
        "api_version": "2024-10-21",
        "chat_template_kwargs": {"a": 1},
        "dtype": "bfloat16",
        "gguf_file": "other.gguf",
        "revision": "v2",
        "extra_body": {"a": 1},
        "max_top_logprobs": 5,
        "model_path": other,
        "weights": "f16",
        "instructions": "Another question?",
        "path": "/other",
        "options": {"num_ctx": 512},
        "thinking_budget": 128,
        "thinking": None,
        "thinking_tokens": 9,
        "backend": "fake",
        "n_samples": 4,
        "min_samples": 2,
        "adaptive": False,
        "n_elicitations": 2,
        "instruction": "Of {labels}?",
    }
    assert set(backend.answer_params) <= set(backend.get_params())
    for name in set(backend.get_params()) - NO_ANSWER:
        assert name in backend.answer_params
        different = clone(backend).set_params(**{name: changed[name]})
        assert backend_key(different) != backend_key(backend), name


@pytest.mark.parametrize("name", BACKENDS)
def test_names_make_backends(name):
    """The short form gives the class with its defaults, the colon its model."""
    backend = make_backend(name)
    assert type(backend).__name__ == BACKENDS[name][1]
    parameter = BACKENDS[name][2]
    if parameter:
        assert make_backend(f"{name}:some:model").get_params()[parameter] == "some:model"
    else:
        with pytest.raises(ValueError, match="The 'backend' parameter"):
            make_backend(f"{name}:x")


def test_a_class_is_no_backend():
    """It has a method answer, but its brackets were forgotten."""
    with pytest.raises(TypeError, match=r"'backend' parameter .* must be a name"):
        make_backend(FakeBackend)


@pytest.mark.parametrize("name", PRESETS)
def test_services_are_presets_of_the_openai_backend(name, monkeypatch):
    """Address, key's variable, limit and extra fields, as if given by hand."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    backend = make_backend(f"{name}:some/model:1")
    assert type(backend) is OpenAIBackend
    assert backend.model == "some/model:1"
    assert backend.api_key_env == PRESETS[name].api_key_env
    assert "$" not in backend.base_url
    assert clone(backend).answer_identity() == backend.answer_identity()
    with pytest.raises(ValueError, match=f"'{name}:MODEL'"):
        make_backend(name)


def test_an_address_with_a_variable_that_is_not_set_is_refused(monkeypatch):
    """The message names it."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    with pytest.raises(ValueError, match="'AWS_REGION' is part of the address"):
        make_backend("bedrock:gpt-oss")


def test_what_is_special_about_a_service_is_sent(monkeypatch):
    """Fields that OpenAI does not have, and no more alternatives than it allows."""
    with ChatServer() as server:
        for name in ("openrouter", "fireworks"):
            backend = make_backend(f"{name}:m").set_params(base_url=server.url)
            list(backend.answer([Request((("user", "Hi"),))]))
    first, second = (call.body for call in server.calls)
    assert first["provider"] == {"require_parameters": True}
    assert second["top_logprobs"] == 5


@pytest.mark.parametrize("name", ["groq", "lmstudio"])
def test_services_without_log_probabilities_say_what_to_use(name):
    """Before any call: the error names the wrapper."""
    clf = LogprobClassifier(f"{name}:m", classes=["a", "b"])
    with pytest.raises(LogprobsUnavailableError, match="'sampling:NAME:MODEL'"):
        clf.requests(["x"])
