"""How much the cache holds, and throwing some of it away."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from diskcache.core import DBNAME

from sklearn_logprob.cache import CONNECTION, Cache

__all__ = ["n_bytes", "throw_away"]


def n_bytes(cache: Cache) -> int:
    """Give the room that a cache takes.

    Parameters
    ----------
    cache : Cache
        Any.

    Returns
    -------
    n_bytes : int
        Of all files in its folder; 0 where there is none.

    Examples
    --------
    >>> from sklearn_logprob import Cache
    >>> from sklearn_logprob._upkeep import n_bytes
    >>> n_bytes(Cache("/no/such/folder"))
    0
    """
    files = Path(cache.directory).glob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def throw_away(cache: Cache, before: float) -> int:
    """Remove the answers that came before a moment, and give the room back.

    Parameters
    ----------
    cache : Cache
        Any.
    before : float
        Seconds since 1970; ``math.inf`` for all.

    Returns
    -------
    n_removed : int
        How many these were.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_logprob import Answer, Cache
    >>> from sklearn_logprob._upkeep import throw_away
    >>> with TemporaryDirectory() as folder:
    ...     cache = Cache(folder)
    ...     cache.set("key", Answer())
    ...     print(throw_away(cache, 0.0), throw_away(cache, float("inf")), len(cache))
    ...     cache.close()
    0 1 0
    """
    path = Path(cache.directory, DBNAME)
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, **CONNECTION)) as connection:
        delete = "DELETE FROM Cache WHERE store_time < ?"
        n_removed: int = connection.execute(delete, (before,)).rowcount
        connection.execute("VACUUM")
    return n_removed
