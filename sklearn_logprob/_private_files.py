"""Text files that their owner alone reads and writes."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import mkstemp
from typing import Any

__all__ = ["check_folder", "read_own", "write_own"]


def write_own(path: Any, text: str) -> None:
    """Write a file that its owner alone can read, all of it or nothing.

    Parameters
    ----------
    path : str or path-like
        Where; a file that is there is replaced.
    text : str
        What.

    Raises
    ------
    ValueError
        If there is a symbolic link.
    FileNotFoundError
        If the folder is not there.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_logprob._private_files import read_own, write_own
    >>> with TemporaryDirectory() as folder:
    ...     write_own(Path(folder, "a.json"), "[]")
    ...     print(read_own(Path(folder, "a.json")))
    []
    """
    path = Path(path)
    if path.is_symlink():
        raise ValueError(f"{str(path)!r} is a symbolic link: name the file itself.")
    check_folder(path)
    # made with mode 0600, and in the same folder, so that it can take the other's place
    descriptor, made = mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise


def check_folder(path: Any) -> None:
    """Refuse a file that could not be written: it is a folder, or has none.

    Parameters
    ----------
    path : str or path-like
        What is to be written.

    Raises
    ------
    FileNotFoundError
        If its folder is not there.
    IsADirectoryError
        If it is a folder.

    Examples
    --------
    >>> from sklearn_logprob._private_files import check_folder
    >>> check_folder("in_this_folder.json")
    """
    if Path(path).is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: name a file in it.")
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(
            f"The folder of {str(path)!r} is not there: make it, or give another path."
        )


def read_own(path: Any) -> str:
    """Read a file, unless somebody else may have put it there.

    Parameters
    ----------
    path : str or path-like
        Which.

    Returns
    -------
    text : str
        What is in it.

    Raises
    ------
    ValueError
        If it is a symbolic link, belongs to another user, or holds no text.
    """
    path = Path(path)
    trust = "If you trust it, give its text: from_json(Path(...).read_text())."
    if path.is_symlink():
        raise ValueError(f"{str(path)!r} is a symbolic link. {trust}")
    with path.open(encoding="utf-8") as file:
        owner = os.fstat(file.fileno()).st_uid
        if hasattr(os, "getuid") and owner not in (0, os.getuid()):
            raise ValueError(f"{str(path)!r} belongs to another user. {trust}")
        try:
            return str(file.read())
        except UnicodeDecodeError:
            raise ValueError(f"{str(path)!r} does not hold text.") from None
