"""Where answers come from: one file a wire format.

A backend is named by a string, ``"openai:gpt-4.1-mini"``, or given as an object, whose
parameters a grid search can reach (``clf__backend__model``).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from sklearn_logprob._types import Backend
from sklearn_logprob.backends._presets import PRESETS

__all__ = ["BACKENDS", "make_backend"]

BACKENDS = {
    "anthropic": ("anthropic", "AnthropicBackend", "model"),
    "fake": ("fake", "FakeBackend", None),
    "gemini": ("gemini", "GeminiBackend", "model"),
    "gemini-decisions": ("gemini_decisions", "GeminiDecisionsBackend", "model"),
    "llama-cpp": ("llama_cpp", "LlamaCppBackend", "model_path"),
    "llama-server": ("llama_server", "LlamaServerBackend", "base_url"),
    "ollama": ("ollama", "OllamaBackend", "model"),
    "openai": ("openai", "OpenAIBackend", "model"),
    "openai-decisions": ("openai_decisions", "OpenAIDecisionsBackend", "model"),
    "sampling": ("sampling", "SamplingBackend", "backend"),
    "sglang": ("sglang", "SGLangBackend", "model"),
    "systemone": ("systemone", "SystemOneBackend", "model"),
    "transformers": ("transformers", "TransformersBackend", "model"),
    "verbalised": ("verbalised", "VerbalisedBackend", "backend"),
    "vllm": ("vllm", "VLLMBackend", "model"),
}
"""Name → module, class, and the parameter that the text after the colon sets.

Besides these, the names of `PRESETS` make an `OpenAIBackend` for a service.
"""


def make_backend(backend: Any) -> Backend:
    """Turn the estimator's parameter into a backend.

    Parameters
    ----------
    backend : str or Backend
        ``"name"``, ``"name:model"`` or an object.

    Returns
    -------
    backend : Backend
        A new object for a name; the object itself otherwise.

    Raises
    ------
    ValueError
        For an unknown name, or a service without a model.
    TypeError
        For an object that is no backend.

    Examples
    --------
    >>> from sklearn_logprob.backends import make_backend
    >>> make_backend("openai:gpt-5.1")
    OpenAIBackend(model='gpt-5.1')
    """
    if isinstance(backend, str):
        name, _, model = backend.partition(":")
        if name in BACKENDS and (not model or BACKENDS[name][2]):
            module, class_name, parameter = BACKENDS[name]
            cls = getattr(import_module(f"{__name__}.{module}"), class_name)
            made = cls(**{parameter: model}) if parameter and model else cls()
            return cast(Backend, made)
        if name in PRESETS and model:
            openai = import_module(f"{__name__}.openai")
            return cast(Backend, openai.OpenAIBackend(model, **PRESETS[name].params()))
        names = [f"{n}:{p.upper()}" if p else n for n, (_, _, p) in BACKENDS.items()]
        names += [f"{n}:MODEL" for n in PRESETS]
        raise ValueError(
            "The 'backend' parameter of LogprobClassifier must be 'llama-cpp', "
            f"{', '.join(map(repr, names))} or a backend object. Got {backend!r} instead."
        )
    if isinstance(backend, type) or not callable(getattr(backend, "answer", None)):
        raise TypeError(
            "The 'backend' parameter of LogprobClassifier must be a name such as "
            "'openai:gpt-4.1-mini' or a backend object with an answer method, such as "
            f"OpenAIBackend('gpt-4.1-mini'). Got {backend!r} instead."
        )
    return cast(Backend, backend)
