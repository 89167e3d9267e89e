"""Answers on disk: what was once asked is not asked again, and nothing is unpickled."""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import diskcache
from diskcache.core import DBNAME, MODE_RAW
from platformdirs import user_cache_dir

from sklearn_logprob._answer_json import decode, encode
from sklearn_logprob._cache_files import (
    close_database,
    is_damage,
    is_read_only,
    make_private,
    open_database,
    set_aside,
)
from sklearn_logprob._errors import CacheWarning
from sklearn_logprob._garbage import no_garbage
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

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
CONNECTION: dict[str, Any] = {"timeout": 60, "isolation_level": None}
READ = "SELECT tag, value FROM Cache WHERE key = ? AND raw = 1 AND mode = ?"

Done = TypeVar("Done")


class Cache:
    """Answers on disk, shared by every process and thread that names the same folder.

    Nothing is ever thrown out. A value is JSON text in an SQLite database, written in
    one transaction, so that a killed process loses nothing that was stored. Neither
    prompts nor keys of a model's provider are stored, only a hash of the request and
    the tokens that came back; what others put into the folder is never executed. What
    was read once is remembered in this process, up to 512 MB over all folders, for as
    long as the folder still holds it.

    What goes wrong with the files ends no work: a `CacheWarning` says it. A value that
    is damaged counts as missing, a damaged database is set aside under another name, and
    where nothing can be written (a full disk, a folder that is read-only) answers are
    given and not kept.

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
        return self._guarded(lambda: len(open_database(self.directory)), 0)

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
        with no_garbage():
            return self._guarded(lambda: self._get_many(keys), [None] * len(keys))

    def _get_many(self, keys: Sequence[str]) -> list[Answer | None]:
        path = self._path
        sealed = is_read_only(path) or not self._opens()
        uri = f"{path.as_uri()}?{'immutable=1' if sealed else 'mode=rw'}"
        with closing(sqlite3.connect(uri, uri=True, **CONNECTION)) as connection:
            connection.text_factory = bytes  # whatever others have put there
            connection.executescript("BEGIN;" if sealed else f"{STATE}BEGIN;")
            [number] = connection.execute("SELECT number FROM State").fetchone()
            state = number, path.stat().st_ino
            answers = MEMORY.find(state, keys)
            read, damaged = [], 0
            for place in [p for p, answer in enumerate(answers) if answer is None]:
                text = _read(connection, keys[place])
                answers[place] = answer = decode(text) if text else None
                if answer is not None:
                    read.append((keys[place], answer, 2 * len(text or "") // 3))  # packed
                elif text is not None:
                    damaged += 1
        MEMORY.keep(state, read)
        if damaged:
            self._say(
                f"{damaged} answers in {self.directory!r} are damaged, or from a later "
                "version. They count as missing, and are asked for again."
            )
        return answers

    def _opens(self) -> bool:
        """Open or create the database; False on a full disk, where it can be read."""
        try:
            open_database(self.directory)
        except sqlite3.OperationalError as error:
            if is_damage(error) or not self._path.stat().st_size:
                raise
            return False
        return True

    def set(self, key: str, answer: Answer) -> None:
        """Store an answer, in place of an older one with the same key.

        Parameters
        ----------
        key : str
            What to store it under.
        answer : Answer
            The answer.
        """
        text = encode(answer)
        self._guarded(lambda: self._set(key, text), None)

    def _set(self, key: str, text: str) -> None:
        while True:
            database = open_database(self.directory)
            try:
                # with retry=True it tries for ever where nothing can be written
                database.set(key, text, tag=_checksum(key, text.encode()))
            except diskcache.Timeout:  # it says no more
                self._say_why()
            else:
                return

    def _say_why(self) -> None:
        """Raise what is wrong with writing, unless others just take long."""
        uri = f"{self._path.as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, **CONNECTION)) as connection:
            connection.execute("BEGIN IMMEDIATE")

    @property
    def _path(self) -> Path:
        return Path(self.directory, DBNAME)

    def _guarded(self, work: Callable[[], Done], otherwise: Done) -> Done:
        """Do something with the files; where that fails, say so and go on."""
        try:
            try:
                return work()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                self.close()  # it may be in the middle of something
                if not is_damage(error):
                    raise
                self._set_aside(error)
                return work()
        except (sqlite3.DatabaseError, UnicodeDecodeError, OSError) as error:
            self.close()
            self._say(
                f"The cache {self.directory!r} cannot be used: {error}. Work goes on, "
                "but answers are not kept, and would be asked for again: mend it, or "
                "name another folder with cache=."
            )
            return otherwise

    def _set_aside(self, error: Exception) -> None:
        with self.lock("aside"):
            aside = set_aside(self._path)
        if aside is not None:
            self._say(
                f"The cache {self.directory!r} is damaged, or of another version: "
                f"{error}. It is kept as {aside.name!r}, and a new one is begun."
            )

    def _say(self, text: str) -> None:
        warnings.warn(text, CacheWarning, stacklevel=4)

    def lock(self, name: str) -> AbstractContextManager[Any]:
        """Make a lock that holds among all threads and processes using this folder.

        Parameters
        ----------
        name : str
            Part of a file name; equal names exclude each other.

        Returns
        -------
        lock : filelock.FileLock
            A context manager. The operating system frees it when its process dies. Where
            no file can be written, it holds nothing.
        """
        from filelock import FileLock  # noqa: PLC0415 -- slow to import

        path = os.path.join(self.directory, f"{name}.lock")
        try:
            make_private(self.directory)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o600))
        except OSError:  # looking up or storing an answer says what is wrong
            return nullcontext()
        return FileLock(path, mode=0o600)

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        close_database(self.directory)


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


def _read(connection: sqlite3.Connection, key: str) -> str | None:
    """Read one text: None where there is none, "" where it is not what was stored."""
    row = connection.execute(READ, (key, MODE_RAW)).fetchone()
    if row is None:
        return None
    checksum, text = row
    if not isinstance(text, bytes):  # planted
        return ""
    known = checksum is None or checksum == _checksum(key, text)  # None: an older release
    return str(text, "ascii", "replace") if known else ""


def _checksum(key: str, text: bytes) -> int:
    """Sum up an answer and what it answers, so that none is taken for another."""
    return crc32(text, crc32(key.encode()))
