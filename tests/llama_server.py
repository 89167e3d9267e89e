"""A real llama.cpp HTTP server on loopback, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["served"]

SERVE = """
import sys
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 2048
params.n_parallel = 1
params.warmup = False
params.cpuparams.n_threads = 1
params.verbosity = -1
# the defaults cut unlikely tokens off; in Anthropic's format no request can change min_p
params.sampling.temp, params.sampling.top_k = 1.0, 0
params.sampling.top_p, params.sampling.min_p = 1.0, 0.0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()  # until the test session ends
"""


@contextmanager
def served(weights: Path) -> Iterator[str]:
    """Run a server and give its URL: its threads and memory end with its process."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(weights)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "the server did not start"
            yield address
        finally:
            process.kill()
