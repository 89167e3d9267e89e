"""The files of a cache: whose they are, whether they are sound, and where damage goes."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import DBNAME, MODE_RAW

__all__ = [
    "claim",
    "close_database",
    "is_damage",
    "is_read_only",
    "make_private",
    "open_database",
    "set_aside",
]

SIDES = ("-wal", "-shm")
COLUMNS = "SELECT key, raw, mode, tag, value FROM Cache LIMIT 1"
OTHER_TABLES = ("no such column", "no such table", "has no column")


def make_private(directory: str) -> None:
    """Create a folder and its missing parents for its owner only.

    Parameters
    ----------
    directory : str
        One that is there is left as it is.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_logprob._cache_files import make_private
    >>> with TemporaryDirectory() as folder:
    ...     make_private(f"{folder}/a/b")
    ...     print(oct(os.stat(f"{folder}/a").st_mode)[-3:])
    700
    """
    path = Path(directory)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def claim(path: Path) -> None:
    """Create a database and its folder, or see that they are this user's own.

    Parameters
    ----------
    path : Path
        The database.

    Raises
    ------
    ValueError
        If it or its folder is a symbolic link or belongs to somebody else, who could put
        answers into it, or have another file overwritten.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_logprob._cache_files import claim
    >>> with TemporaryDirectory() as folder:
    ...     claim(Path(folder, "cache.db"))
    ...     Path(folder, "cache.db").exists()
    True
    """
    make_private(str(path.parent))
    user = os.geteuid() if hasattr(os, "geteuid") else None
    for each in (path.parent, path):
        try:
            status = os.lstat(each)
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(status.st_mode):
            wrong = "is a symbolic link: name what it points to"
        elif user is not None and status.st_uid != user:
            wrong = f"belongs to user {status.st_uid}, not to you: name another folder"
        else:
            continue
        raise ValueError(f"The cache {str(each)!r} {wrong} with cache=.")
    path.touch(mode=0o600)  # SQLite gives its side files the same mode


# One handle for each folder and process, however many clones name the folder; it has a
# connection for each thread. The process is part of the key because no connection of
# SQLite may be used after a fork; the inode tells another file of the same name.
_databases: dict[tuple[str, int, int], Any] = {}


def open_database(directory: str) -> Any:
    """Open the folder's database, once in each process.

    Parameters
    ----------
    directory : str
        Its folder, which is created where it is missing.

    Returns
    -------
    database : diskcache.Cache
        It keeps texts under texts, and throws none out.

    Raises
    ------
    ValueError
        If the folder or the database is not this user's own.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_logprob._cache_files import close_database, open_database
    >>> with TemporaryDirectory() as folder:
    ...     print(len(open_database(folder)))
    ...     close_database(folder)
    0
    """
    path = Path(directory, DBNAME)
    if path.exists() and (opened := _databases.get(_key(directory, path))) is not None:
        return opened
    claim(path)
    # without culling, the size limit never throws an answer out
    try:
        opened = diskcache.Cache(
            directory, disk=_TextDisk, eviction_policy="none", cull_limit=0
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise sqlite3.DatabaseError(f"its settings are damaged: {error}") from error
    opened.close()
    # another thread may have been first: a second handle's connection none would close
    return _databases.setdefault(_key(directory, path), opened)


def _key(directory: str, path: Path) -> tuple[str, int, int]:
    return directory, os.getpid(), path.stat().st_ino


def close_database(directory: str) -> None:
    """Close this thread's connection; the next use opens another.

    Parameters
    ----------
    directory : str
        The folder.

    Examples
    --------
    >>> from sklearn_logprob._cache_files import close_database
    >>> close_database("never opened")
    """
    here = directory, os.getpid()
    for key, opened in list(_databases.items()):
        if key[:2] == here:
            opened.close()


def is_read_only(path: Path) -> bool:
    """Tell whether a database is there that cannot be written.

    Parameters
    ----------
    path : Path
        The database.

    Returns
    -------
    read_only : bool
        False where there is none yet.

    Examples
    --------
    >>> from pathlib import Path
    >>> from sklearn_logprob._cache_files import is_read_only
    >>> is_read_only(Path("no such file"))
    False
    """
    places = path, path.parent
    return path.exists() and not all(os.access(place, os.W_OK) for place in places)


def is_damage(error: Exception) -> bool:
    """Tell a file that is no sound database of ours from one that cannot be reached.

    Parameters
    ----------
    error : Exception
        What SQLite raised.

    Returns
    -------
    damaged : bool
        Whether the file should be looked at, and perhaps set aside.

    Examples
    --------
    >>> import sqlite3
    >>> from sklearn_logprob._cache_files import is_damage
    >>> is_damage(sqlite3.DatabaseError("file is not a database"))
    True
    >>> is_damage(sqlite3.OperationalError("database or disk is full"))
    False
    """
    # subclasses mean something else; a damaged name in a message may be no text
    if type(error) in (sqlite3.DatabaseError, UnicodeDecodeError):
        return True
    return isinstance(error, sqlite3.OperationalError) and any(
        text in str(error) for text in OTHER_TABLES
    )


def set_aside(path: Path) -> Path | None:
    """Give a damaged database another name, so that a new one takes its place.

    Parameters
    ----------
    path : Path
        The database. No other process may do the same meanwhile.

    Returns
    -------
    aside : Path or None
        Where it is now. None where it is sound after all: another process was first.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_logprob._cache_files import set_aside
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "cache.db")
    ...     _ = path.write_text("This is no database, but quite a long text. " * 9)
    ...     set_aside(path).name[:17], path.exists()
    ('cache.db.damaged-', False)
    """
    if _is_sound(path):
        return None
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}x")
    for side in SIDES:
        if Path(f"{path}{side}").exists():
            os.replace(f"{path}{side}", f"{aside}{side}")
    os.replace(path, aside)
    return aside


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as found:
            found.text_factory = bytes
            found.execute(COLUMNS).fetchall()
            return bool(found.execute("PRAGMA quick_check(1)").fetchone()[0] == b"ok")
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return False


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
