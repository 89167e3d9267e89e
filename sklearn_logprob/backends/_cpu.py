"""What a process may use of the CPU that it runs on."""

from __future__ import annotations

import functools
from pathlib import Path

import joblib

__all__ = ["cpu_has", "physical_cores"]


@functools.cache
def physical_cores() -> int:
    """Count the cores that affinity, container and machine leave to this process.

    A second thread on a core computes nothing more: both would wait for one unit.
    """
    return int(joblib.cpu_count(only_physical_cores=True))


def cpu_has(flag: str) -> bool:
    """Whether the CPU can do something, as far as Linux tells."""
    return flag in _flags()


@functools.cache
def _flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.split())
