"""``sklearn-logprob cache``: where answers are kept, and how many."""

from __future__ import annotations

import math
import time
from argparse import Namespace
from pathlib import Path

from sklearn_logprob._upkeep import n_bytes, throw_away
from sklearn_logprob.cache import Cache

__all__ = ["run"]

DAY = 24 * 60 * 60


def run(arguments: Namespace) -> None:
    """Show or shrink the cache.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    cache = Cache(arguments.cache)
    if arguments.action == "path":
        print(cache.directory)
        return
    there = Path(cache.directory).is_dir()
    n_answers = len(cache) if there else 0
    if arguments.action == "size":
        print(f"{n_answers} answers, {n_bytes(cache) / 1e6:.1f} MB, {cache.directory}")
        return
    if arguments.action == "prune" and arguments.older_than is None:
        raise ValueError("prune needs --older-than DAYS: how old is too old.")
    if arguments.action == "clear" and not arguments.yes:
        raise ValueError(
            f"clear throws away {n_answers} answers, which may have cost money: add "
            "--yes."
        )
    before = math.inf
    if arguments.action == "prune":
        before = time.time() - DAY * arguments.older_than
    n_removed = throw_away(cache, before)
    print(f"{n_removed} answers removed, {n_answers - n_removed} left")
