"""The tests of what outsiders write, steered by coverage, for as long as one likes.

    pip install atheris            # Linux and macOS, for some versions of Python
    python tests/fuzz.py 60        # seconds for each target; names of targets may follow

A target is a property of the test suite. Hypothesis turns atheris' bytes into its
arguments, so that both search the same space; what is found here belongs into the test
as an ``@example``. Inputs that reach new lines are kept between runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

WHOLE = {
    "bodies": ("test_fuzz", "test_bodies_that_are_no_json"),
    "verbalised": ("test_fuzz", "test_what_a_model_writes_is_read_or_not"),
    "answers": ("test_fuzz", "test_stored_answers_are_read_or_missed"),
    "verbalizers": ("test_fuzz", "test_labels_have_words_of_their_own_or_are_refused"),
    "templates": ("test_prompts", "test_a_template_is_filled_or_refused"),
    "saved": ("test_saving_fuzz", "test_a_changed_file_is_refused_or_works"),
    "saved-texts": ("test_saving_fuzz", "test_random_texts_are_refused"),
    "control": ("test_control_texts", "test_nothing_that_is_said_is_a_control_token"),
}
FORMATS = {
    "reply": (
        "test_replies_are_read_or_refused",
        "openai together gemini ollama anthropic",
    ),
    "part": (
        "test_parts_are_read_or_refused",
        "llama-server llama-server-model vllm sglang "
        "anthropic-job anthropic-jobs google-job google-jobs",
    ),
    "decisions": ("test_decisions_are_read_or_refused", "openai systemone gemini"),
}
TABLES = "csv", "tsv", "jsonl", "parquet"
TARGETS = [
    *WHOLE,
    *(f"{kind}-{one}" for kind, (_, all_) in FORMATS.items() for one in all_.split()),
    *(f"table-{t}" for t in TABLES),
]


def find(target: str) -> Callable[[bytes], Any]:
    """Give what tries the arguments that some bytes stand for."""
    from hypothesis import given
    from hypothesis import strategies as st

    kind, _, which = target.partition("-")
    if target in WHOLE:
        module, name = WHOLE[target]
        test = getattr(import_module(module), name)
    elif kind in FORMATS:
        name, _ = FORMATS[kind]
        read = getattr(import_module("test_fuzz"), name).hypothesis.inner_test
        test = given(data=st.data())(lambda data: read(which, data))
    else:
        module = import_module("test_cli_tables")
        told = module.test_garbage_is_an_error_of_one_sentence.hypothesis.inner_test
        folder = Path(tempfile.mkdtemp())
        garbage = st.binary(max_size=500)
        test = given(garbage=garbage)(lambda garbage: told(garbage, which, folder))
    return test.hypothesis.fuzz_one_input  # type: ignore[no-any-return]


def fuzz(target: str, seconds: int) -> None:
    """Run one target; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["sklearn_logprob"]):
        try_bytes = find(target)
    corpus = Path(user_cache_dir("sklearn-logprob"), "fuzz", target)
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", "-timeout=20", "-max_len=4096"]
    options += ["-print_final_stats=1", f"-artifact_prefix={corpus}-"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], try_bytes)
    atheris.Fuzz()


def main() -> None:
    """Run targets one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seconds", type=int)
    parser.add_argument("targets", nargs="*", help=", ".join(TARGETS))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        fuzz(given.targets[0], given.seconds)
    failed = []
    for target in given.targets or TARGETS:
        command = [sys.executable, __file__, str(given.seconds), target, "--here"]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        lines = [line for line in run.stderr.splitlines() if line.startswith("stat::")]
        print(f"{target}: {lines[0].split()[-1] if lines else '?'} inputs", flush=True)
        if run.returncode:
            print(run.stdout[-4000:], run.stderr[-4000:], sep="\n")
            failed.append(target)
    sys.exit(f"Failed: {', '.join(failed)}." if failed else 0)


if __name__ == "__main__":
    main()
