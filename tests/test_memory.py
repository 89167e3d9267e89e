"""What a process remembers is bounded, read once, and never older than the folder."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import GridSearchCV

from sklearn_logprob import (
    Answer,
    CacheWarning,
    FakeBackend,
    LogprobClassifier,
    TokenLogprobs,
)
from sklearn_logprob._answer_json import decode, encode
from sklearn_logprob._memory import ENTRY, LIMIT, MEMORY, Memory
from sklearn_logprob.cache import Cache


def answer(name="good", n=20):
    top = tuple((f"{name} {i}", -1.0 - i) for i in range(n))
    return Answer((TokenLogprobs(*top[0], top),))


@pytest.fixture(autouse=True)
def empty():
    MEMORY.clear()
    yield
    MEMORY.clear()


@pytest.fixture
def cache(cache_home):
    return Cache(cache_home)


@pytest.fixture
def reads(monkeypatch):
    """Count, by key, what SQLite is asked for: every value that any connection reads."""
    counts = Counter()
    connect = sqlite3.connect

    def traced(*args, **options):
        connection = connect(*args, **options)
        connection.set_trace_callback(note)
        return connection

    def note(statement):
        if re.match(r"SELECT [\w, ]*\bvalue FROM Cache", statement):
            counts[re.search(r"key = '(\w+)'", statement)[1]] += 1

    monkeypatch.setattr("sqlite3.connect", traced)
    return counts


def behind(cache, statement, *values):
    """Change the database behind the cache's back."""
    connection = sqlite3.connect(os.path.join(cache.directory, "cache.db"))
    with connection:
        connection.execute(statement, values)
    connection.close()


# ------------------------------------------------------------------ Memory


def test_it_finds_what_it_keeps():
    """Under the same key and the same state of the folder, and nothing else."""
    memory = Memory()
    one, other = answer("one"), answer("other")
    memory.keep("state", [("a", one, 10), ("b", other, 10)])
    assert memory.find("state", ["b", "x", "a", "a"]) == [other, None, one, one]
    assert memory.find("another state", ["a", "b"]) == [None, None]
    memory.keep("another state", [("a", other, 10)])
    assert memory.find("another state", ["a"]) == [other]
    assert memory.find("state", ["a", "b"]) == [None, other]
    memory.clear()
    assert memory.find("state", ["b"]) == [None] and memory.size == 0


@pytest.mark.parametrize("content", [0, 100, 10_000])
def test_it_is_bounded(content):
    """However much is kept, never more than the limit, and most of it."""
    limit = 20 * (ENTRY + content)
    memory = Memory(limit)
    for i in range(1_000):
        memory.keep("state", [(str(i % 300), Answer(), content)])
        assert memory.size <= limit
    kept = [a for a in memory.find("state", list(map(str, range(300)))) if a is not None]
    assert memory.size == len(kept) * (ENTRY + content)
    assert memory.size >= 0.8 * limit


def test_an_answer_that_is_larger_than_all_is_not_kept():
    """It leaves no room for itself, and the next one finds an empty memory."""
    memory = Memory(2 * ENTRY)
    memory.keep("state", [("a", Answer(), 10 * ENTRY)])
    assert memory.find("state", ["a"]) == [None] and memory.size == 0
    memory.keep("state", [("b", Answer(), 0)])
    assert memory.find("state", ["b"]) == [Answer()]


def test_turns_over_more_rows_than_fit_still_find_many():
    """Where the oldest went first, reading in turns would never find anything."""
    memory = Memory(100 * ENTRY)
    keys = [str(i) for i in range(150)]
    hits = 0
    for _ in range(20):
        for key in keys:
            found = memory.find("state", [key])[0]
            hits += found is not None
            if found is None:
                memory.keep("state", [(key, Answer(), 0)])
    assert hits / (20 * len(keys)) > 0.25


@pytest.mark.parametrize("n", [1, 20, 200])
def test_the_bytes_are_counted_fairly(n):
    """What Python says that it allocates is within a factor of two of what is counted."""
    texts = [encode(answer(str(i % 7), n)) for i in range(500)]
    keys = [f"{i:064}" for i in range(500)]
    [decode(text) for text in texts]  # the tokens themselves are kept once
    memory = Memory()
    tracemalloc.start()
    memory.keep(
        "state",
        [
            (key, decode(text), 2 * len(text) // 3)
            for key, text in zip(keys, texts, strict=True)
        ],
    )
    del keys
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    taken += 500 * 113  # the keys
    assert 1 / 2 < memory.size / taken < 2


def test_threads_keep_count():
    """The bytes counted are those of what is there, whoever kept and threw out."""
    memory = Memory(50 * ENTRY)

    def work(name):
        for i in range(300):
            memory.keep(name, [(str(i % 80), Answer(), i)])
            memory.find(name, [str(i % 80)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, "abcdefgh"))
    sizes = [size for _, _, size in memory._kept.values()]
    assert memory.size == sum(sizes) <= 50 * ENTRY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_another_thread_writes(cache):
    """The child does not wait for a thread that it does not have, and reads anew."""
    cache.set("a", answer())
    cache.get("a")
    with MEMORY._lock:
        pid = os.fork()
        if not pid:
            found = MEMORY.size == 0 and cache.get("a") == answer() and MEMORY.size > 0
            os._exit(0 if found else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert MEMORY.size > 0


# ------------------------------------------------------------------ of a folder


def test_each_answer_is_read_once(cache, reads):
    """Looked up again, one by one or together, by any object: no further read."""
    keys = ["a", "b", "c"]
    for key in keys:
        cache.set(key, answer(key))
    for _ in range(3):
        found = Cache(cache.directory).get_many([*keys, "none"])
        assert found == [*map(answer, keys), None]
        assert cache.get("b") == answer("b")
        cache.close()
    assert {key: reads[key] for key in keys} == dict.fromkeys(keys, 1)


def test_what_others_add_throws_nothing_out(cache, reads):
    """Answers may arrive from anywhere while others are remembered."""
    cache.set("a", answer())
    cache.get("a")
    cache.set("b", answer())
    code = (
        "import sys; from sklearn_logprob import Answer, Cache; "
        "Cache(sys.argv[1]).set('c', Answer())"
    )
    subprocess.run([sys.executable, "-c", code, cache.directory], check=True)
    assert cache.get_many("abc") == [answer(), answer(), Answer()]
    assert reads["a"] == 1


CHANGES = {
    "one removed": "DELETE FROM Cache WHERE key = 'a'",
    "all removed": "DELETE FROM Cache",
    "replaced": "UPDATE Cache SET value = '[]' WHERE key = 'a'",
    "renamed": "UPDATE Cache SET key = 'x' WHERE key = 'a'",
    "a pickle": "UPDATE Cache SET mode = 4 WHERE key = 'a'",
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_in_the_database_is_read_again(cache, name):
    """Whoever removes or changes an answer, with whatever tool: it is a miss at once."""
    cache.set("a", answer())
    cache.set("b", answer())
    assert cache.get("a") == answer()
    behind(cache, CHANGES[name])
    said = pytest.warns(CacheWarning) if name == "replaced" else nullcontext()
    with said:
        assert cache.get("a") is None
    cache.set("a", answer("new"))
    assert cache.get("a") == answer("new")


def test_a_cleared_cache_is_empty(cache):
    """So with diskcache's own method, in another process."""
    cache.set("a", answer())
    assert cache.get("a") == answer()
    code = "import diskcache, sys; diskcache.Cache(sys.argv[1]).clear()"
    subprocess.run([sys.executable, "-c", code, cache.directory], check=True)
    assert cache.get("a") is None


def test_another_folder_in_its_place(cache, tmp_path):
    """Deleted, moved away, exchanged: what is there now counts."""
    place, other, parent = Path(cache.directory), tmp_path / "other", tmp_path / "link"
    cache.set("a", answer("one"))
    Cache(other).set("a", answer("two"))
    parent.symlink_to(tmp_path)
    linked = Cache(parent / place.name)
    assert (cache.get("a"), linked.get("a")) == (answer("one"), answer("one"))
    for each in (cache, linked, Cache(other)):
        each.close()
    place.rename(tmp_path / "away")
    other.rename(place)
    assert (cache.get("a"), linked.get("a")) == (answer("two"), answer("two"))
    linked.close()
    shutil.rmtree(place)
    assert cache.get("a") is None
    cache.close()
    shutil.rmtree(place)
    (tmp_path / "away").rename(place)
    assert cache.get("a") == answer("one")
    cache.close()
    shutil.rmtree(place)
    Path(place).mkdir()
    assert cache.get("a") is None


def test_the_same_key_in_two_folders(cache, tmp_path):
    """Each folder has its own answer, however often they take turns."""
    other = Cache(tmp_path / "other")
    cache.set("a", answer("one"))
    other.set("a", answer("two"))
    for _ in range(3):
        assert (cache.get("a"), other.get("a")) == (answer("one"), answer("two"))
    other.close()


def test_a_database_from_before(cache):
    """One that knows nothing of states, with answers in the first format, is read."""
    cache.set("a", answer())
    cache.close()
    for statement in (
        "DROP TRIGGER IF EXISTS State_delete",
        "DROP TRIGGER IF EXISTS State_update",
        "DROP TABLE IF EXISTS State",
    ):
        behind(cache, statement)
    old = '[[[" a",-0.1,[[" a",-0.1],[" b",-9999.0]]]],[],[60,1,0],[]]'
    behind(cache, "UPDATE Cache SET tag = NULL, value = ?", old)
    top = ((" a", -0.1), (" b", -9999.0))
    assert cache.get("a") == Answer((TokenLogprobs(" a", -0.1, top),))
    behind(cache, "DELETE FROM Cache")
    assert cache.get("a") is None


def test_reading_waits_for_no_writer(cache):
    """While another process writes, what is there can be read."""
    cache.set("a", answer())
    cache.get("a")
    cache.close()
    writer = sqlite3.connect(
        os.path.join(cache.directory, "cache.db"), isolation_level=None
    )
    writer.execute("BEGIN IMMEDIATE")
    MEMORY.clear()
    thread = threading.Thread(target=cache.get_many, args=(["a", "b"],), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    writer.execute("ROLLBACK")
    writer.close()


def look_up(cache, keys):
    found = [cache.get_many(keys) for _ in range(5)]
    cache.close()
    return all(several == [answer(key) for key in keys] for several in found)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("backend", ["multiprocessing", "threading"])
def test_workers_that_share_a_folder(cache, backend):
    """Threads share what they read, processes read for themselves; all read the same."""
    keys = [f"key{i}" for i in range(50)]
    for key in keys:
        cache.set(key, answer(key))
    cache.get_many(keys[:20])
    work = delayed(look_up)
    assert all(Parallel(n_jobs=2, backend=backend)(work(cache, keys) for _ in range(4)))


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_grid_search_reads_the_disk_once(cache_home, reads, n_jobs):
    """Folds, candidates and threads together: each answer at most once."""
    words = ["great", "dull", "fine", "poor"]
    texts = [f"{words[i % 4]} film number {i}" for i in range(40)]
    y = [("good", "bad")[i % 2] for i in range(40)]
    backend = FakeBackend({"great": {"good": 2.0}, "dull": {"bad": 2.0}})
    clf = LogprobClassifier(backend, prompt="Review: {text}\nIt was", verbose=False)
    clf.fit(texts, y)
    reads.clear()
    grid = {"calibrator": ["auto", "temperature", None], "threshold": [None, "f1"]}
    with parallel_config("threading"):
        GridSearchCV(clf, grid, cv=3, n_jobs=n_jobs).fit(texts, y)
    assert len(reads) == len(texts)
    if n_jobs is None:
        assert set(reads.values()) == {1}
    else:  # threads that start at once may both find the memory empty
        assert max(reads.values()) <= n_jobs
    again = clf.fit(texts, y)
    assert again.usage_.requests == 0 and again.usage_.cache_hits == len(texts)


def test_the_memory_of_a_process_is_bounded():
    """The one that caches share has the documented limit."""
    assert MEMORY.limit == LIMIT == 512 * 2**20
