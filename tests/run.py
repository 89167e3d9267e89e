"""Set up everything and check everything: linters, types, tests, oldest and newest.

    python3 tests/run.py            all of it, about twenty minutes the first time
    python3 tests/run.py tests/test_scoring.py -x    one environment, pytest's arguments

Needs Python 3.10 or newer, gcc, cmake and PyPI; installs into .venv-test*. As root on
Debian it also installs Chromium, without which the tests of the page are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OLDEST = [
    "scikit-learn==1.6.1",
    "numpy==1.26.4",
    "scipy==1.11.4",
    "joblib==1.4.0",
    "openai==2.0.0",
    "filelock==3.12.4",
    "platformdirs==4.0.0",
    "requests==2.31.0",
    "threadpoolctl==3.1.0",
    "tqdm==4.66.6",
    "pandas==2.2.3",
    "polars==1.9.0",
    "pytest==8.0.0",  # newer ones warn of what scikit-learn 1.6 hands to parametrize
]
# The newest PyTorch brings gigabytes for GPUs; this version may be there without them.
TORCH = "torch==2.13.0"
# Every version that is installed on Python 3.11, on Linux. To renew it (pip install uv):
#   echo torch==2.13.0 | uv pip compile pyproject.toml --extra dev -c - --upgrade \
#       --python-version 3.11 --no-emit-package pip -o tests/locked-3.11.txt
LOCK = "tests/locked-3.11.txt"
# Without multimodal input, which this package has no use for, the compilation is shorter.
BUILD = {
    "CMAKE_ARGS": "-DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF",
    "CMAKE_BUILD_PARALLEL_LEVEL": "2",
}


def main() -> None:
    """Run the checks, stopping at the first that fails."""
    os.chdir(ROOT)
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    say("installing; compiling llama-cpp-python takes about four minutes")
    install_browser()
    if sys.argv[1:]:
        python = everything()
        run(python, "-m", "pytest", *sys.argv[1:])
        return
    with ThreadPoolExecutor() as pool:
        beside = pool.submit(other_pythons)  # needs one core, and no compiler
        this_python()
        beside.result()


def this_python() -> None:
    """Check everything with everything installed."""
    python = everything()
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "ruff", "format", "--check", ".")
    run(python, "-m", "mypy")
    run(python, "-m", "sphinx", "-qW", "--keep-going", "docs", "docs/_build/html")
    audit(python)
    say("all tests, with the embedded model")
    run(python, "-m", "pytest")


def everything() -> str:
    """Make the environment of this Python, with locked versions where they are for it."""
    locked = ["-c", LOCK] if sys.version_info[:2] == (3, 11) else []
    return environment(".venv-test", sys.executable, ".[dev]", TORCH, *locked, **BUILD)


def other_pythons() -> None:
    """Run the tests on the oldest and newest that is supported, one after the other."""
    for version, pins in {"3.10": OLDEST, "3.13": []}.items():
        interpreter = find(version)
        label = "oldest" if pins else "newest"
        if interpreter is None:
            say(f"Python {version} is not on this machine")
            interpreter = sys.executable
        say(f"{label} dependencies, without the compiled extra, on {interpreter}")
        other = environment(f".venv-test-{label}", interpreter, ".[test]", *pins)
        tests = [other, "-m", "pytest", "-q", "-m", "not local and not slow", "tests"]
        run(*tests, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def audit(python: str) -> None:
    """Look the locked versions up in PyPI's list of known weaknesses, if it is there.

    CVE-2025-69872 is accepted: diskcache unpickles what it finds, and our storage class
    knows texts only (`tests/test_cache.py` plants a pickle).
    """
    command = [python, "-m", "pip_audit", "-r", LOCK, "--no-deps", "--disable-pip"]
    command += ["--ignore-vuln", "CVE-2025-69872", "--progress-spinner", "off"]
    command += ["-f", "json"]
    say(" ".join(command[1:]))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout or "{}").get("dependencies", [])
    known = [each for each in told if "vulns" in each]  # else it is "not found on PyPI"
    weak = [each for each in known if each["vulns"]]
    if weak:
        sys.exit(f"failed: pip-audit knows of {json.dumps(weak, indent=1)}")
    said = f"{len(known)} of {len(told)} packages of {LOCK} looked up"
    if known:
        say(f"{said}, no weakness known")
        return
    why = "this network does not have PyPI's JSON pages" if told else done.stderr[-300:]
    say(f"SKIPPED: pip-audit: {said}: {why.strip()}")


def environment(folder: str, interpreter: str, *packages: str, **variables: str) -> str:
    """Make a virtual environment with these packages, and give its interpreter."""
    python = ROOT / folder / "bin" / "python"
    if not python.exists():
        run(interpreter, "-m", "venv", "--clear", folder)
    editable = ["-e", packages[0], *packages[1:]]
    run(
        str(python),
        "-m",
        "pip",
        "install",
        "-q",
        *editable,
        env={**os.environ, **variables},
    )
    return str(python)


def install_browser() -> None:
    """Install Debian's Chromium where that is allowed; without it its tests skip."""
    if shutil.which("chromium") or not shutil.which("apt-get") or os.geteuid():
        return
    for command in ("update", "install -y --no-install-recommends chromium"):
        apt = ["apt-get", "-qq", *command.split()]
        subprocess.run(apt, capture_output=True, check=False)


def find(version: str) -> str | None:
    """Look for an interpreter that really runs: a shim may be there without one."""
    pyenv = Path.home() / ".pyenv" / "versions"
    known = sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")))
    for candidate in (shutil.which(f"python{version}"), *known):
        if (
            candidate
            and not subprocess.run(
                [candidate, "--version"], capture_output=True, check=False
            ).returncode
        ):
            return candidate
    return None


def run(*command: str, **options: Any) -> None:
    """Run a command and show it; its failure ends everything."""
    said = " ".join(command).replace(f"{ROOT}/", "")
    say(said)
    done = subprocess.run(command, **options, text=True, check=False)
    if done.stdout:  # what runs beside other things is shown when it has ended
        say(f"{said}:\n{done.stdout}")
    if done.returncode:
        sys.exit(f"failed: {said}")


def say(text: str) -> None:
    """Tell what happens next, and when."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


if __name__ == "__main__":
    main()
