"""Write docs/api.md from the docstrings; with --check, fail where it is stale."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from numpydoc.docscrape import NumpyDocString

import sklearn_logprob
from sklearn_logprob import backends, datasets, metrics, plots, priors, stability

PAGE = Path(__file__).with_name("api.md")
GROUPS = {
    "The classifier": "LogprobClassifier",
    "Prompts and labels": "PromptTemplate PromptEnsemble Verbalizer "
    "SuggestedLabel SuggestedLabels",
    "Calibration": "AffineCalibration BatchCalibration SigmoidCalibration "
    "IsotonicCalibration BetaCalibration VennAbersCalibration NoCalibration "
    "make_calibrator calibrated_proba cross_val_proba",
    "Inputs without content": "FixedInputs DomainWords DomainPrompt",
    "Read-out": "TokenReadout cross_val_readout",
    "Thresholds": "BestMetric FixedThreshold PrecisionAtLeast RecallAtLeast LeastCost "
    "threshold_curve ThresholdDisplay OperatingPointPage",
    "Reject option and prediction sets": "ChowRule RiskAtMost LeastAmbiguousSets",
    "Reports": "Report LabelReports make_report expected_calibration_error "
    "debiased_calibration_error calibration_noise_floor skill mutual_information "
    "flip_rate",
    "Experiments": "stability summarize sensitivity rank_agreement StabilityDisplay "
    "soft_against_hard SoftHardDisplay OtherTokensDisplay",
    "Class frequencies": "match_prior change_prior em_prior AdaptedCalibration",
    "Backends": "LlamaCppBackend TransformersBackend LlamaServerBackend "
    "VLLMBackend SGLangBackend OpenAIBackend OllamaBackend "
    "GeminiBackend AnthropicBackend SamplingBackend VerbalisedBackend "
    "OpenAIDecisionsBackend SystemOneBackend GeminiDecisionsBackend "
    "FakeBackend make_backend Backend",
    "Requests and answers": "Request Answer TokenLogprobs TokenUsage Usage Cache",
    "Data sets": "fetch_rotten_tomatoes make_topic_texts",
    "Errors and warnings": " ".join(
        name for name in sklearn_logprob.__all__ if name.endswith(("Error", "Warning"))
    ),
}


def groups() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the title of each group, and its members under their full names."""
    homes = (sklearn_logprob, plots, backends, datasets, metrics, priors, stability)
    for title, names in GROUPS.items():
        found = [
            (next(home for home in homes if name in home.__all__), name)
            for name in names.split()
        ]
        yield title, {f"{h.__name__}.{name}": getattr(h, name) for h, name in found}


def page() -> str:
    lines = ["# API reference", "", "Written by `make_api.py` from the docstrings."]
    for title, members in groups():
        lines += ["", f"## {title}", ""]
        for name, thing in members.items():
            lines += entry(name, thing, "###")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def entry(full_name: str, thing: Any, level: str) -> Iterator[str]:
    """Give the lines about a class, a function or a method."""
    name = full_name.rpartition(".")[2]
    code = f"```text\n{full_name}{signature(thing)}\n```"
    yield from (f"{level} {name}", "", code, "")
    doc = NumpyDocString(inspect.getdoc(thing) or "")
    yield from (markdown(doc["Summary"]), "", markdown(doc["Extended Summary"]), "")
    for section in ("Parameters", "Attributes", "Returns", "Yields", "Raises"):
        yield from (f"**{section}**", "") if doc[section] else ()
        for field, kind, text in doc[section]:
            what = f"`{field}` ({kind})" if field else f"`{kind}`"
            yield f"- {what}: {markdown(text)}".replace("\n", "\n  ")
        yield ""
    for section in ("Notes", "References"):
        yield from (f"**{section}**", "") if doc[section] else ()
        yield from (markdown(doc[section]), "")
    if doc["Examples"]:
        yield from ("**Example**", "", "```text", *doc["Examples"], "```", "")
    classes = thing.__mro__ if inspect.isclass(thing) else ()
    ours = [cls for cls in classes if cls.__module__.startswith("sklearn_logprob")]
    for method, value in (item for cls in ours for item in vars(cls).items()):
        inner = getattr(value, "__func__", value)
        if method[0] != "_" and isinstance(inner, FunctionType | property):
            yield from entry(f"{name}.{method}", inner, "####")


def signature(thing: Any) -> str:
    """Give parameters and defaults; what they are is said below."""
    own = not inspect.isclass(thing) or "__init__" in vars(thing)
    if isinstance(thing, property) or not own or getattr(thing, "_is_protocol", False):
        return ""
    found = inspect.signature(thing)
    plain = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    text = str(found.replace(parameters=plain, return_annotation=found.empty))
    return re.sub(r"^\((self|cls)(, )?", "(", text).replace("<factory>", "TokenUsage()")


def markdown(lines: list[str]) -> str:
    """Turn the little reStructuredText of docstrings into Markdown."""
    text = re.sub(r"``([^`]+)``", r"`\1`", "\n".join(lines)).replace("]_", "]")
    text = re.sub(r"^\.\. \[(\d)\] ", r"- [\1] ", text, flags=re.M)
    return re.sub(r"^(\w+) : (.+)$", r"- `\1`: \2", text, flags=re.M)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/api.md is stale: run python docs/make_api.py")
