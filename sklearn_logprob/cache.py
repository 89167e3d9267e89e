"""Answers on disk: what was once asked is not asked again, and nothing is unpickled."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import DBNAME, MODE_RAW
from filelock import FileLock
from platformdirs import user_cache_dir

from sklearn_logprob._answer_json import decode, encode
from sklearn_logprob._memory import MEMORY
from sklearn_logprob._types import Answer

__all__ = ["Cache", "resolve_cache"]

# One number, other than in any other database. It changes when an answer is removed or
# replaced, whoever does so, but not when one is added: what this process remembers of a
# folder holds for as long as the number stays.
STATE = """
CREATE TABLE IF NOT EXISTS State AS SELECT random() AS number;
CREATE TRIGGER IF NOT EXISTS State_delete AFTER DELETE ON Cache
BEGIN UPDATE State SET number = random(); END;
CREATE TRIGGER IF NOT EXISTS State_update AFTER UPDATE OF key, raw, mode, value ON Cache
BEGIN UPDATE State SET number = random(); END;
"""

CONNECTION: dict[str, Any] = {"timeout": 60, "isolation_level": None}
READ = "SELECT value FROM Cache WHERE key = ? AND raw = 1 AND mode = ?"


class Cache:
    """Answers on disk, shared by every process and thread that names the same folder.

    Nothing is ever thrown out. A value is JSON text in an SQLite database, written in
    one transaction, so that a killed process loses nothing that was stored. Neither
    prompts nor keys of a model's provider are stored, only a hash of the request and
    the tokens that came back; what others put into the folder is never executed. What
    was read once is remembered in this process, up to 512 MB over all folders, for as
    long as the folder still holds it.

    Parameters
    ----------
    directory : str or path-like, default=None
        Where to keep the answers. None means the environment variable
        ``SKLEARN_LOGPROB_CACHE`` or else the user's cache folder. It is created on
        first use, readable by its owner only.

    Attributes
    ----------
    directory : str
        The absolute path of that folder. A pickled cache holds nothing else.

    Notes
    -----
    An empty cache has the length 0 and is therefore false: ask ``cache is None``.

    References
    ----------
    CVE-2025-69872: diskcache unpickles what it finds in its database.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob.cache import Cache
    >>> with TemporaryDirectory() as folder:
    ...     cache = Cache(folder)
    ...     cache.set("key", Answer(choices=((" bad", -2.4), (" good", -0.1))))
    ...     print(cache.get("key").choices, cache.get("another"), len(cache))
    ...     cache.close()
    ((' bad', -2.4), (' good', -0.1)) None 1
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        if directory is None:
            directory = os.environ.get("SKLEARN_LOGPROB_CACHE") or os.path.join(
                user_cache_dir("sklearn-logprob"), "answers"
            )
        # diskcache expands the same way; the folder we create must be the one it uses
        expanded = os.path.expandvars(os.path.expanduser(directory))
        self.directory = os.path.abspath(expanded)

    def __repr__(self) -> str:
        return f"Cache({self.directory!r})"

    def __len__(self) -> int:
        return len(_database(self.directory))

    def get(self, key: str) -> Answer | None:
        """Look an answer up.

        Parameters
        ----------
        key : str
            What it was stored under.

        Returns
        -------
        answer : Answer or None
            The answer; None where there is none, or the stored text is damaged.
        """
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[str]) -> list[Answer | None]:
        """Look many answers up, which takes a small part of the time of one by one.

        Parameters
        ----------
        keys : sequence of str
            What they were stored under.

        Returns
        -------
        answers : list of Answer or None
            One a key; None where there is none, or the stored text is damaged.
        """
        _database(self.directory)  # perhaps there is none yet
        path = Path(self.directory, DBNAME)
        uri = f"{path.as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, **CONNECTION)) as connection:
            connection.text_factory = bytes  # whatever others have put there
            connection.executescript(f"{STATE}BEGIN;")
            [number] = connection.execute("SELECT number FROM State").fetchone()
            state = number, path.stat().st_ino
            answers = MEMORY.find(state, keys)
            read = []
            for place in [p for p, answer in enumerate(answers) if answer is None]:
                text = _read(connection, keys[place])
                answers[place] = answer = decode(text)
                if answer is not None:
                    read.append((keys[place], answer, 2 * len(text) // 3))  # packed
        MEMORY.keep(state, read)
        return answers

    def set(self, key: str, answer: Answer) -> None:
        """Store an answer, in place of an older one with the same key.

        Parameters
        ----------
        key : str
            What to store it under.
        answer : Answer
            The answer.
        """
        _database(self.directory).set(key, encode(answer), retry=True)

    def lock(self, name: str) -> FileLock:
        """Make a lock that holds among all threads and processes using this folder.

        Parameters
        ----------
        name : str
            Part of a file name; equal names exclude each other.

        Returns
        -------
        lock : filelock.FileLock
            A context manager. The operating system frees it when its process dies.
        """
        _make_private(self.directory)
        return FileLock(os.path.join(self.directory, f"{name}.lock"))

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        database = _databases.get((self.directory, os.getpid()))
        if database is not None:
            database.close()


def resolve_cache(cache: Any) -> Cache | None:
    """Turn the parameter of a classifier into a cache.

    Parameters
    ----------
    cache : "auto", None, str, path-like or Cache
        "auto" is the default folder, None no cache, a text or path a folder.

    Returns
    -------
    cache : Cache or None
        The cache; None for none.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> from sklearn_logprob.cache import resolve_cache
    >>> resolve_cache("/tmp/answers")
    Cache('/tmp/answers')
    """
    if cache is None or isinstance(cache, Cache):
        return cache
    if isinstance(cache, str | os.PathLike):
        return Cache(None if cache == "auto" else cache)
    raise TypeError(
        "The 'cache' parameter of LogprobClassifier must be 'auto', None, a folder or "
        f"a Cache. Got {cache!r} instead."
    )


# One handle for each folder and process, however many clones name the folder; it has a
# connection for each thread. The process is part of the key because no connection of
# SQLite may be used after a fork.
_databases: dict[tuple[str, int], Any] = {}


def _database(directory: str) -> Any:
    """Open the folder's database, once in each process."""
    key = directory, os.getpid()
    path = Path(directory, DBNAME)
    if not path.exists():  # perhaps the user has deleted it
        _databases.pop(key, None)
    if key in _databases:
        return _databases[key]
    _make_private(directory)
    path.touch(mode=0o600)  # SQLite gives its side files the same mode
    # without culling, the size limit never throws an answer out
    opened = diskcache.Cache(
        directory, disk=_TextDisk, eviction_policy="none", cull_limit=0
    )
    opened.close()  # another thread may be first to register its own
    return _databases.setdefault(key, opened)


def _read(connection: sqlite3.Connection, key: str) -> str:
    """Read one text; "" where there is none, but perhaps something that was planted."""
    row = connection.execute(READ, (key, MODE_RAW)).fetchone()
    return str(row[0], "ascii", "replace") if row and isinstance(row[0], bytes) else ""


def _make_private(directory: str) -> None:
    """Create a folder and its missing parents for its owner only."""
    path = Path(directory)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


class _TextDisk(diskcache.Disk):
    """Texts under texts, all inside the database: no pickles, no other files."""

    def put(self, key: str) -> tuple[str, bool]:
        return key, True

    def get(self, key: Any, raw: bool) -> Any:
        return key

    def store(
        self, value: str, read: bool, key: Any = None
    ) -> tuple[int, int, None, str]:
        return 0, MODE_RAW, None, value

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        return value if mode == MODE_RAW else None

    def remove(self, file_path: str) -> None:
        """Keep every file: a file name in the database is not ours."""
