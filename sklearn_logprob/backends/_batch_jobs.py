"""Batch jobs that were begun, on disk: another process finds them and waits for them."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from platformdirs import user_cache_dir

__all__ = ["Job", "JobFolder"]


@dataclass(frozen=True)
class Job:
    """A job, and which requests it answers.

    Parameters
    ----------
    ids : list of str
        The ``custom_id`` of each of its requests that nobody has had an answer to.
    id : str, default=""
        The provider's name of the job; "" if the process died before it was told.
    token : str
        Our own name of it, which the provider keeps.
    at : float
        When it was begun, in seconds since 1970.

    Examples
    --------
    >>> from sklearn_logprob.backends._batch_jobs import Job
    >>> Job(["a", "b"], id="batch_1").ids
    ['a', 'b']
    """

    ids: list[str]
    id: str = ""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: float = field(default_factory=time.time)


class JobFolder:
    """The jobs of one account: a small JSON file each, readable by their owner only.

    Names of requests are hashes: neither prompts nor keys are in it.

    Parameters
    ----------
    whose : sequence of str
        Server and key, of which only a hash is kept.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_logprob.backends._batch_jobs import Job, JobFolder
    >>> folder = JobFolder(["http://localhost/v1", "key"])
    >>> os.path.basename(folder.path), len(folder.prefix)
    ('batches', 17)
    """

    def __init__(self, whose: Sequence[str]) -> None:
        self.path = os.environ.get("SKLEARN_LOGPROB_BATCHES") or os.path.join(
            user_cache_dir("sklearn-logprob"), "batches"
        )
        self.prefix = sha256("\n".join(whose).encode()).hexdigest()[:16] + "-"

    def __iter__(self) -> Iterator[Job]:
        """Give the jobs that have not been heard of to the end."""
        for path in sorted(Path(self.path).glob(f"{self.prefix}*.json")):
            try:
                job = Job(**json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):  # somebody else's, or gone
                continue
            if self._file(job) == path and isinstance(job.ids, list):
                yield job

    def keep(self, job: Job) -> None:
        """Write a job down, in place of what was written of it before.

        Parameters
        ----------
        job : Job
            Which one.
        """
        path = self._file(job)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with open(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
        ) as file:
            json.dump(asdict(job), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def settle(self, job: Job, ids: set[str]) -> None:
        """Forget requests whose outcome was taken, and a job of which none are left.

        Parameters
        ----------
        job : Job
            Which one.
        ids : set of str
            Its requests that have been heard of.
        """
        left = [name for name in job.ids if name not in ids]
        if left:
            self.keep(replace(job, ids=left))
        else:
            self._file(job).unlink(missing_ok=True)

    def _file(self, job: Job) -> Path:
        return Path(self.path, f"{self.prefix}{job.token}.json")
