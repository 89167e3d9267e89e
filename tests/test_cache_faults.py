"""A cache that is damaged, full, read-only or somebody else's: said, and never wrong."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

from sklearn_logprob import Answer, CacheWarning, Request, Usage
from sklearn_logprob._cache_files import SIDES, open_database
from sklearn_logprob.cache import Cache
from sklearn_logprob.collect import collect

KEYS = [f"{number:064}" for number in range(200)]
NOBODY = 65534


def answer(text):
    return Answer(choices=tuple((f"{text} {k}", -1.0 - k) for k in range(10)))


class Echo(BaseEstimator):
    """Answers with the prompt, and counts."""

    answer_params = ()
    scores_choices = True
    max_top_logprobs = 20
    sent = 0

    def answer_identity(self):
        return {}

    def answer(self, requests):
        for index, request in enumerate(requests):
            type(self).sent += 1
            yield index, answer(request.messages[0][1])


def run(cache, n=200):
    """Ask n questions, and give how many were sent; every row has its own answer."""
    before = Echo.sent
    requests = [Request((("prompt", str(i)),)) for i in range(n)]
    got = collect(Echo(), requests, cache, usage=Usage())
    assert got == [answer(str(i)) for i in range(n)]
    return Echo.sent - before


@pytest.fixture
def filled(cache_home):
    """A cache with 200 answers, closed."""
    cache = Cache(cache_home)
    for key in KEYS:
        cache.set(key, answer(key))
    cache.get("")  # also what it knows of its state
    cache.close()
    return cache


def database(cache):
    return Path(cache.directory, "cache.db")


def overwrite(path, place, content):
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)


def later_schema(path):
    path.unlink()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE Cache (name TEXT, answer TEXT)")
        connection.execute("CREATE TABLE Settings (key TEXT, value TEXT)")
    connection.close()


def no_text(path):
    """Damage the schema, so that the name in SQLite's message is no text."""
    content = path.read_bytes().replace(b"tableCache", b"tableC\xdd\xffhe")
    path.write_bytes(content.replace(b"TABLE Cache", b"TABLE C\xdd\xff("))


DAMAGE = {
    "a name that is no text": no_text,
    "no database": lambda path: path.write_bytes(b"These are my notes. " * 500),
    "header": lambda path: overwrite(path, 0, bytes(100)),
    "truncated": lambda path: os.truncate(path, 3 * 4096 + 100),
    "pages": lambda path: overwrite(path, 4096, b"\xa5" * (path.stat().st_size - 4096)),
    "of another version": later_schema,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_database_is_set_aside(filled, name):
    """It is said, kept under another name, and a new one takes its place."""
    DAMAGE[name](database(filled))
    damaged = database(filled).read_bytes()
    with pytest.warns(CacheWarning, match="damaged, or of another version.*kept as"):
        assert run(filled) == 200
    assert run(filled) == 0
    kept = Path(filled.directory).glob("cache.db.damaged-*")
    [aside] = (path for path in kept if not path.name.endswith(SIDES))
    assert name == "of another version" or aside.read_bytes() == damaged
    assert filled.get_many(KEYS) == [None] * 200


@pytest.mark.parametrize("seed", range(9))
def test_whatever_bytes_change_no_answer_is_wrong(filled, seed):
    """Flipped, zeroed or cut anywhere: what is found is what was stored, or a miss."""
    rng, path = random.Random(seed), database(filled)
    size = path.stat().st_size
    if seed % 3 == 0:
        os.truncate(path, rng.randrange(size))
    for _ in range(1 + 10 * (seed % 4)):
        place = rng.randrange(path.stat().st_size + 1)
        overwrite(path, place, rng.randbytes(rng.choice([1, 1, 8, 512])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        found = filled.get_many(KEYS)
        assert all(f in (None, answer(key)) for f, key in zip(found, KEYS, strict=True))
        for key in KEYS:
            filled.set(key, answer(key))
        again = filled.get_many(KEYS)
        assert all(f in (None, answer(key)) for f, key in zip(again, KEYS, strict=True))
        run(filled)


def test_a_database_that_was_exchanged_meanwhile_is_noticed(filled):
    """Another process set it aside: this one goes on with the new one."""
    assert filled.get(KEYS[0]) is not None
    place = Path(filled.directory)
    for name in ("cache.db", "cache.db-wal", "cache.db-shm"):
        if (place / name).exists():
            (place / name).rename(place / f"away-{name}")
    other = Cache(place / "other")
    other.set("a", answer("new"))
    other.close()
    (place / "other" / "cache.db").rename(place / "cache.db")
    assert filled.get("a") == answer("new")
    filled.set("b", answer("kept"))
    filled.close()
    assert Cache(place).get("b") == answer("kept")


@contextmanager
def full_disk(n_bytes):
    """Let no file of this process grow beyond a size: a write fails half-way."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_no_answer(cache_home):
    """All rows are answered, it is said, and what was stored before is there."""
    cache = Cache(cache_home)
    assert run(cache, 20) == 20
    with full_disk(150_000), pytest.warns(CacheWarning, match="cannot be used.*mend"):
        assert run(cache) == 180
    stored = 200 - run(cache)
    assert 20 <= stored < 200
    assert run(cache) == 0


@contextmanager
def somebody():
    """Be no superuser, for whom nothing is read-only."""
    if os.geteuid():
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def public():
    """A folder that any user can reach."""
    folder = Path(tempfile.mkdtemp())
    if not os.geteuid():
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="needs Unix users")
def test_a_read_only_cache_is_read(public):
    """What is in it costs nothing; what is not is answered, and not kept: it is said."""
    cache = Cache(public)
    with somebody():
        assert run(cache, 50) == 50
        cache.close()
        (public / "cache.db").chmod(0o400)
        public.chmod(0o500)
        before = sorted(public.iterdir())
        assert run(cache, 50) == 0
        with pytest.warns(CacheWarning, match="cannot be used: .*another folder"):
            assert run(cache, 60) == 10
        cache.close()
        assert sorted(public.iterdir()) == before


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs Unix users")
def test_links_and_foreign_owners_are_refused(tmp_path, filled):
    """Somebody else could put answers there, or have another file overwritten."""
    link = tmp_path / "link"
    link.symlink_to(filled.directory)
    with pytest.raises(ValueError, match="symbolic link: name what it points to"):
        Cache(link).get("a")
    other = tmp_path / "folder"
    other.mkdir()
    (other / "cache.db").symlink_to(database(filled))
    with pytest.raises(ValueError, match=r"cache\.db' is a symbolic link"):
        Cache(other).set("a", answer("a"))
    precious = tmp_path / "precious"
    (other / "name.lock").symlink_to(precious)
    with Cache(other).lock("name"):
        assert not precious.exists()
    if not os.geteuid():
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        shutil.copy(database(filled), foreign)
        os.chown(foreign / "cache.db", NOBODY, NOBODY)
        with pytest.raises(ValueError, match=f"belongs to user {NOBODY}, not to you"):
            Cache(foreign).get("a")


def test_threads_that_open_at_once_share_one_handle(tmp_path):
    """A second handle's connection would stay open: close() knows one."""
    start = threading.Barrier(8)

    def opened(_):
        start.wait()
        return open_database(str(tmp_path / "answers"))

    with ThreadPoolExecutor(8) as pool:
        assert len({id(handle) for handle in pool.map(opened, range(8))}) == 1
