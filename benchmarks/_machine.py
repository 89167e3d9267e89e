"""The machine that a benchmark ran on, and whether it had it to itself."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

QUIET = 1.0  # load above which times are those of other work as well


def cpu_model() -> str:
    """Name the processor, as Linux does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return named[0] if named else platform.machine()


def describe(*packages: str) -> list[str]:
    """Say where this runs, with which packages, and what else does."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return [
        f"cpu: {cpu_model()}, {cores} cores; Python {platform.python_version()}",
        versions,
        f"load at the start: {os.getloadavg()[0]:.2f}",
    ]


def is_busy() -> bool:
    """Whether something else runs as well."""
    return os.getloadavg()[0] > QUIET
