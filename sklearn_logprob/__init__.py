"""Any language model as a calibrated, tunable scikit-learn classifier."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from sklearn_logprob._adapted import AdaptedCalibration
    from sklearn_logprob._errors import (
        BackendError,
        CacheWarning,
        ExposedKeyWarning,
        FailedRowsWarning,
        FewLabelsWarning,
        LimitReachedError,
        LogprobError,
        LogprobsUnavailableError,
        LowLabelMassWarning,
        MissingKeyError,
        ModelChangedWarning,
        OperatingPointError,
        PromptError,
        PromptTooLongError,
        RefusedError,
        RowError,
        SingleClassWarning,
        UninformativeModelWarning,
        UnnamedLabelsWarning,
        UnreadableAnswerError,
        UnsupportedRequestError,
    )
    from sklearn_logprob._types import (
        Answer,
        Backend,
        Request,
        TokenLogprobs,
        TokenUsage,
        Usage,
    )
    from sklearn_logprob.backends.anthropic import AnthropicBackend
    from sklearn_logprob.backends.fake import FakeBackend
    from sklearn_logprob.backends.gemini import GeminiBackend
    from sklearn_logprob.backends.gemini_decisions import GeminiDecisionsBackend
    from sklearn_logprob.backends.llama_cpp import LlamaCppBackend
    from sklearn_logprob.backends.llama_server import LlamaServerBackend
    from sklearn_logprob.backends.ollama import OllamaBackend
    from sklearn_logprob.backends.openai import OpenAIBackend
    from sklearn_logprob.backends.openai_decisions import OpenAIDecisionsBackend
    from sklearn_logprob.backends.sampling import SamplingBackend
    from sklearn_logprob.backends.sglang import SGLangBackend
    from sklearn_logprob.backends.systemone import SystemOneBackend
    from sklearn_logprob.backends.transformers import TransformersBackend
    from sklearn_logprob.backends.verbalised import VerbalisedBackend
    from sklearn_logprob.backends.vllm import VLLMBackend
    from sklearn_logprob.cache import Cache
    from sklearn_logprob.calibration import (
        AffineCalibration,
        BatchCalibration,
        BetaCalibration,
        IsotonicCalibration,
        NoCalibration,
        SigmoidCalibration,
        VennAbersCalibration,
        calibrated_proba,
        cross_val_proba,
        make_calibrator,
    )
    from sklearn_logprob.classifier import LogprobClassifier
    from sklearn_logprob.content_free import DomainPrompt, DomainWords, FixedInputs
    from sklearn_logprob.costs import LeastCost
    from sklearn_logprob.curves import threshold_curve
    from sklearn_logprob.ensembles import PromptEnsemble
    from sklearn_logprob.label_reports import LabelReports
    from sklearn_logprob.operating_points import PrecisionAtLeast, RecallAtLeast
    from sklearn_logprob.page import OperatingPointPage
    from sklearn_logprob.prediction_sets import LeastAmbiguousSets
    from sklearn_logprob.prompts import PromptTemplate
    from sklearn_logprob.readout import TokenReadout, cross_val_readout
    from sklearn_logprob.rejection import ChowRule, RiskAtMost
    from sklearn_logprob.report import Report, make_report
    from sklearn_logprob.soft_hard import soft_against_hard
    from sklearn_logprob.suggestions import SuggestedLabel, SuggestedLabels
    from sklearn_logprob.thresholds import BestMetric, FixedThreshold
    from sklearn_logprob.verbalizers import Verbalizer

__all__ = [
    "AdaptedCalibration",
    "AffineCalibration",
    "Answer",
    "AnthropicBackend",
    "Backend",
    "BackendError",
    "BatchCalibration",
    "BestMetric",
    "BetaCalibration",
    "Cache",
    "CacheWarning",
    "ChowRule",
    "DomainPrompt",
    "DomainWords",
    "ExposedKeyWarning",
    "FailedRowsWarning",
    "FakeBackend",
    "FewLabelsWarning",
    "FixedInputs",
    "FixedThreshold",
    "GeminiBackend",
    "GeminiDecisionsBackend",
    "IsotonicCalibration",
    "LabelReports",
    "LeastAmbiguousSets",
    "LeastCost",
    "LimitReachedError",
    "LlamaCppBackend",
    "LlamaServerBackend",
    "LogprobClassifier",
    "LogprobError",
    "LogprobsUnavailableError",
    "LowLabelMassWarning",
    "MissingKeyError",
    "ModelChangedWarning",
    "NoCalibration",
    "OllamaBackend",
    "OpenAIBackend",
    "OpenAIDecisionsBackend",
    "OperatingPointError",
    "OperatingPointPage",
    "PrecisionAtLeast",
    "PromptEnsemble",
    "PromptError",
    "PromptTemplate",
    "PromptTooLongError",
    "RecallAtLeast",
    "RefusedError",
    "Report",
    "Request",
    "RiskAtMost",
    "RowError",
    "SGLangBackend",
    "SamplingBackend",
    "SigmoidCalibration",
    "SingleClassWarning",
    "SuggestedLabel",
    "SuggestedLabels",
    "SystemOneBackend",
    "TokenLogprobs",
    "TokenReadout",
    "TokenUsage",
    "TransformersBackend",
    "UninformativeModelWarning",
    "UnnamedLabelsWarning",
    "UnreadableAnswerError",
    "UnsupportedRequestError",
    "Usage",
    "VLLMBackend",
    "VennAbersCalibration",
    "VerbalisedBackend",
    "Verbalizer",
    "calibrated_proba",
    "cross_val_proba",
    "cross_val_readout",
    "make_calibrator",
    "make_report",
    "soft_against_hard",
    "threshold_curve",
]

__version__ = _version("sklearn-logprob")

_HOMES = {
    "_adapted": "AdaptedCalibration",
    "_errors": (
        "BackendError CacheWarning ExposedKeyWarning FailedRowsWarning "
        "FewLabelsWarning LimitReachedError LogprobError LogprobsUnavailableError "
        "LowLabelMassWarning MissingKeyError ModelChangedWarning OperatingPointError "
        "PromptError PromptTooLongError RefusedError RowError SingleClassWarning "
        "UninformativeModelWarning UnnamedLabelsWarning UnreadableAnswerError "
        "UnsupportedRequestError"
    ),
    "_types": "Answer Backend Request TokenLogprobs TokenUsage Usage",
    "backends.anthropic": "AnthropicBackend",
    "backends.fake": "FakeBackend",
    "backends.gemini": "GeminiBackend",
    "backends.gemini_decisions": "GeminiDecisionsBackend",
    "backends.llama_cpp": "LlamaCppBackend",
    "backends.llama_server": "LlamaServerBackend",
    "backends.ollama": "OllamaBackend",
    "backends.openai": "OpenAIBackend",
    "backends.openai_decisions": "OpenAIDecisionsBackend",
    "backends.sampling": "SamplingBackend",
    "backends.sglang": "SGLangBackend",
    "backends.systemone": "SystemOneBackend",
    "backends.transformers": "TransformersBackend",
    "backends.verbalised": "VerbalisedBackend",
    "backends.vllm": "VLLMBackend",
    "cache": "Cache",
    "calibration": (
        "AffineCalibration BatchCalibration BetaCalibration IsotonicCalibration "
        "NoCalibration SigmoidCalibration VennAbersCalibration calibrated_proba "
        "cross_val_proba make_calibrator"
    ),
    "classifier": "LogprobClassifier",
    "content_free": "DomainPrompt DomainWords FixedInputs",
    "costs": "LeastCost",
    "curves": "threshold_curve",
    "ensembles": "PromptEnsemble",
    "label_reports": "LabelReports",
    "operating_points": "PrecisionAtLeast RecallAtLeast",
    "page": "OperatingPointPage",
    "prediction_sets": "LeastAmbiguousSets",
    "prompts": "PromptTemplate",
    "readout": "TokenReadout cross_val_readout",
    "rejection": "ChowRule RiskAtMost",
    "report": "Report make_report",
    "soft_hard": "soft_against_hard",
    "suggestions": "SuggestedLabel SuggestedLabels",
    "thresholds": "BestMetric FixedThreshold",
    "verbalizers": "Verbalizer",
}

_MODULES = (
    "backends calibration content_free costs curves datasets metrics operating_points "
    "plots prediction_sets priors prompts readout rejection report scoring soft_hard "
    "stability suggestions thresholds verbalizers"
)

if not TYPE_CHECKING:  # who checks types would find any name here

    def __getattr__(name: str) -> _Any:
        """Import a public name on first use: scikit-learn and backends take a second."""
        for module, names in _HOMES.items():
            if name in names.split():
                found = getattr(_import_module(f"{__name__}.{module}"), name)
                globals()[name] = found
                return found
        if name in _MODULES.split():  # sklearn_logprob.metrics, without an import of it
            return _import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_MODULES.split()})
