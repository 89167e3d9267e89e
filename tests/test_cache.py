"""The cache keeps every answer exactly, and trusts nothing that it finds."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import sqlite3
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import Parallel, delayed

from sklearn_logprob import Answer, CacheWarning, TokenLogprobs, TokenUsage
from sklearn_logprob._answer_json import decode, encode
from sklearn_logprob.cache import Cache, resolve_cache

ANSWER = Answer(
    positions=(TokenLogprobs(" é", -0.5, ((" é", -0.5), ("\n", -9999.0))),),
    choices=((" bad", -math.inf), (" good", -0.1)),
)

pairs = st.tuples(st.text(st.characters()), st.floats())
answers = st.builds(
    Answer,
    positions=st.lists(
        st.builds(
            lambda pair, top: TokenLogprobs(*pair, tuple(top)), pairs, st.lists(pairs)
        )
    ).map(tuple),
    choices=st.lists(pairs).map(tuple),
    draws=st.lists(st.tuples(st.text(st.characters()), st.integers(0))).map(tuple),
)


@pytest.fixture
def cache(cache_home: Path) -> Cache:
    return Cache(cache_home)


def in_database(cache: Cache, statement: str, *values: object) -> None:
    """Change the file behind the cache's back."""
    connection = sqlite3.connect(os.path.join(cache.directory, "cache.db"))
    with connection:
        connection.execute(statement, values)
    connection.close()


@settings(max_examples=100, deadline=None)
@given(answers)
def test_any_answer_survives_as_ascii_json(answer):
    """Every answer comes back exactly, whatever its characters and floats."""
    text = encode(answer)
    assert text.isascii()
    assert repr(decode(text)) == repr(answer)  # repr, because nan != nan


def in_first_format(answer):
    """Write an answer as releases before the second format did."""
    positions = [(at.token, at.logprob, at.top) for at in answer.positions]
    return json.dumps((positions, answer.choices, (60, 1, 30), answer.draws))


@settings(max_examples=100, deadline=None)
@given(answers)
def test_answers_in_the_first_format_are_read(answer):
    """What was paid for before is not asked for again."""
    assert repr(decode(in_first_format(answer))) == repr(answer)


def test_it_is_compact():
    """Of 20 tokens with 17 digits each, two thirds of what the first format took."""
    top = tuple((f" {i}", -1 / (i + 3)) for i in range(20))
    answer = Answer((TokenLogprobs(*top[0], top),), usage=TokenUsage(60, 1, 30))
    text = encode(answer)
    assert len(text) < len(in_first_format(answer)) * 2 / 3
    assert decode(text) == replace(answer, usage=TokenUsage())  # it costs nothing again


def test_a_whole_number_is_a_logprob():
    """A log-probability written as an int comes back as a float, not as a miss."""
    answer = decode(encode(Answer(choices=((" good", 0),))))
    assert answer == Answer(choices=((" good", 0.0),))
    assert isinstance(answer.choices[0][1], float)


def test_set_get_and_len(cache):
    """What was set is what is got, what was not is None, and equal keys overwrite."""
    assert cache.get("a") is None
    cache.set("a", Answer())
    cache.set("a", ANSWER)
    cache.set("b", Answer())
    assert (cache.get("a"), cache.get("b"), len(cache)) == (ANSWER, Answer(), 2)


def test_answers_outlive_the_handle(cache, cache_home):
    """A closed cache opens again by itself and still has its answers."""
    cache.set("a", ANSWER)
    cache.close()
    cache.close()
    assert Cache(str(cache_home)).get("a") == ANSWER


def test_a_deleted_folder_comes_back_empty(cache):
    """Who deletes the folder while a process runs gets a new, empty cache."""
    cache.set("a", ANSWER)
    cache.close()
    shutil.rmtree(cache.directory)
    assert cache.get("a") is None
    cache.set("a", ANSWER)
    assert cache.get("a") == ANSWER


def test_nothing_is_evicted(cache):
    """Neither the size nor the number of answers ever throws one out."""
    large = Answer(choices=tuple((str(i) * 50, -1.0) for i in range(2_000)))
    for key in range(50):
        cache.set(str(key), large)
    assert len(cache) == 50
    assert all(cache.get(str(key)) == large for key in range(50))
    folders = [p for p in Path(cache.directory).iterdir() if p.is_dir()]
    assert not folders  # all in the one database


def test_new_folders_are_private(tmp_path):
    """Folders that the cache creates are 0700, existing ones stay as they are."""
    tmp_path.chmod(0o755)
    cache = Cache(tmp_path / "a" / "b")
    cache.set("a", ANSWER)
    modes = {p: stat.S_IMODE((tmp_path / p).stat().st_mode) for p in (".", "a", "a/b")}
    cache.close()
    assert modes == {".": 0o755, "a": 0o700, "a/b": 0o700}


def test_the_database_is_private_in_a_public_folder(tmp_path):
    """In a folder that others can read, the answers still cannot be."""
    tmp_path.chmod(0o755)
    cache = Cache(tmp_path)
    cache.set("a", ANSWER)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.glob("cache.db*")}
    cache.close()
    assert modes == {0o600}


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("in_file", [False, True], ids=["in the row", "in a file"])
def test_a_planted_pickle_is_a_miss_and_runs_nothing(cache, tmp_path, in_file):
    """A pickled row that someone put into the database is never loaded."""
    exploded = tmp_path / "exploded"
    payload = pickle.dumps(Bomb(exploded))
    cache.set("a", ANSWER)
    file = Path(cache.directory, "x.val")
    file.write_bytes(payload)
    in_database(
        cache,
        "UPDATE Cache SET mode = 4, value = ?, filename = ?",
        None if in_file else payload,
        "x.val" if in_file else None,
    )
    assert cache.get("a") is None
    assert not exploded.exists()
    pickle.loads(payload)
    assert exploded.exists()  # the payload does work


def test_a_planted_file_name_deletes_nothing(cache, tmp_path):
    """Replacing a row never removes the file that the row names."""
    precious = tmp_path / "precious"
    precious.touch()
    cache.set("a", ANSWER)
    in_database(cache, "UPDATE Cache SET mode = 3, filename = '../precious'")
    assert cache.get("a") is None
    cache.set("a", ANSWER)
    assert precious.exists()
    assert cache.get("a") == ANSWER


@pytest.mark.parametrize(
    "value",
    [
        "",
        "[",
        "{}",
        "null",
        "[]",
        '["","",[0,0,0]]',
        "[[],[],[0,0],[]]",
        '[[],[],["a",0,0],[]]',
        '[[[" a",-0.1]],[],[0,0,0],[]]',
        "[[[null,-0.1,[]]],[],[0,0,0],[]]",
        '[[],[[" a","b"]],[0,0,0],[]]',
        '[[],[[" a"]],[0,0,0]]',
        "[" * 100_000,
        '{"v":2,"c":[["a"],"AAAA"]}',
        '{"v":2,"c":[["a",1],"AAAAAAAAAAAAAAAAAAAAAA=="]}',
        '{"v":2,"c":[["a"],"?"]}',
        '{"v":2,"p":7}',
        '{"v":2,"p":[[5,[],""]]}',
        '{"v":2,"p":[[[1,2],[],""]]}',
        '{"v":2,"d":[["a","b"]]}',
        '{"v":3}',
        b"\x80\x04",
        7,
        None,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_damaged_value_is_a_miss(cache, value):
    """A value that is not an answer is a miss, and can be stored anew."""
    cache.set("a", ANSWER)
    in_database(cache, "UPDATE Cache SET tag = NULL, value = ?", value)
    with pytest.warns(CacheWarning, match="1 answers .* damaged, or from a later"):
        assert cache.get("a") is None
    cache.set("a", ANSWER)
    assert cache.get("a") == ANSWER


def test_a_text_that_is_no_unicode_is_a_miss(cache):
    """Bytes that SQLite calls a text, and Python could not read as one."""
    cache.set("a", ANSWER)
    in_database(cache, "UPDATE Cache SET value = CAST(x'ff22' AS TEXT)")
    with pytest.warns(CacheWarning):
        assert cache.get("a") is None


def test_an_answer_with_another_number_in_it_is_a_miss(cache):
    """What is sound JSON and not what was stored is told by its checksum."""
    cache.set("a", ANSWER)
    other = encode(replace(ANSWER, choices=((" bad", -0.1), (" good", -math.inf))))
    in_database(cache, "UPDATE Cache SET value = ?", other)
    with pytest.warns(CacheWarning):
        assert cache.get("a") is None


def test_an_answer_on_another_row_is_a_miss(cache):
    """The checksum holds the key: two answers that changed places are both missed."""
    cache.set("a", ANSWER)
    cache.set("b", Answer())
    in_database(cache, "UPDATE Cache SET key = 'c' WHERE key = 'a'")
    in_database(cache, "UPDATE Cache SET key = 'a' WHERE key = 'b'")
    in_database(cache, "UPDATE Cache SET key = 'b' WHERE key = 'c'")
    with pytest.warns(CacheWarning, match="2 answers"):
        assert cache.get_many(["a", "b"]) == [None, None]


def test_answers_of_releases_without_checksums_are_read(cache):
    """What was paid for before is not asked for again."""
    cache.set("a", ANSWER)
    in_database(cache, "UPDATE Cache SET tag = NULL")
    assert cache.get("a") == ANSWER


def test_many_are_looked_up_at_once(cache):
    """In the order of the keys, each as often as it is asked for."""
    assert cache.get_many([]) == []
    cache.set("a", ANSWER)
    cache.set("b", Answer())
    found = cache.get_many(["b", "none", "a", "b"])
    assert found == [Answer(), None, ANSWER, Answer()]


def test_a_pickle_holds_the_folder_alone(cache):
    """A pickled open cache is small, and its copy sees the same answers."""
    cache.set("a", ANSWER)
    pickled = pickle.dumps(cache)
    assert vars(cache) == {"directory": cache.directory}
    assert len(pickled) < 100 + len(cache.directory)
    assert pickle.loads(pickled).get("a") == ANSWER


def look_up_and_store(cache, name):
    seen = cache.get("old")
    cache.set(name, Answer(choices=((name, -1.0),)))
    cache.close()
    return seen


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of the fork
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_other_workers_share_it(cache, backend):
    """Spawned and forked processes and threads read and write the same answers."""
    cache.set("old", ANSWER)
    work = delayed(look_up_and_store)
    seen = Parallel(n_jobs=2, backend=backend)(work(cache, name) for name in "ab")
    assert seen == [ANSWER, ANSWER]
    assert [cache.get(name).choices[0][0] for name in "ab"] == ["a", "b"]


def test_the_lock_excludes_other_threads(cache):
    """While one holder has the lock another waits; other names are free."""
    order = []

    def wait():
        with Cache(cache.directory).lock("name"):
            order.append("second")

    with cache.lock("name"), cache.lock("another name"):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_the_folder_from_the_environment(monkeypatch, tmp_path, cache_home):
    """No folder means SKLEARN_LOGPROB_CACHE, or else one in the user's caches."""
    assert Cache().directory == str(cache_home)
    monkeypatch.delenv("SKLEARN_LOGPROB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = Path(Cache().directory)
    assert folder.parts[-2:] == ("sklearn-logprob", "answers")
    assert not folder.exists()  # created on first use


def test_folders_are_expanded_and_absolute(monkeypatch, tmp_path):
    """~ and $VARIABLE are expanded, a relative folder stays put after chdir."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text in ("~/x", "$HOME/x", "x", "./y/../x"):
        assert Cache(text).directory == str(tmp_path / "x")
    assert repr(Cache("x")) == f"Cache({str(tmp_path / 'x')!r})"


def test_resolve_cache(cache, tmp_path, monkeypatch):
    """The text "auto" is the default folder, never a folder called auto."""
    monkeypatch.chdir(tmp_path)
    assert resolve_cache("auto").directory == Cache().directory
    assert resolve_cache(None) is None
    assert resolve_cache(cache) is cache
    assert resolve_cache("x").directory == str(tmp_path / "x")
    assert resolve_cache(tmp_path).directory == str(tmp_path)


@pytest.mark.parametrize("wrong", [3, True, b"x", {}])
def test_resolve_cache_refuses_the_rest(wrong):
    """Anything else is a TypeError that lists what is possible."""
    with pytest.raises(TypeError, match=r"'auto', None, a folder or a Cache\. Got"):
        resolve_cache(wrong)
