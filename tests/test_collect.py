"""Each distinct request is sent once, whatever happens in between."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator

from sklearn_logprob import (
    Answer,
    BackendError,
    PromptTooLongError,
    Request,
    TokenUsage,
    Usage,
)
from sklearn_logprob._spreading import CHUNK
from sklearn_logprob.cache import Cache
from sklearn_logprob.collect import backend_key, collect, request_key


class Echo(BaseEstimator):
    """Answers every prompt with its own text, and logs in a file what it was sent."""

    answer_params = ("model",)
    scores_choices = True
    max_top_logprobs = 20

    def __init__(self, log, model="m", fail_at=None, error=None, delay=0.0):
        self.log = log
        self.model = model
        self.fail_at = fail_at
        self.error = error
        self.delay = delay

    def answer_identity(self):
        return {"model": self.model}

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        for index in reversed(range(len(requests))):  # as they arrive: not in order
            text = requests[index].messages[0][1]
            if text == self.fail_at:
                if self.error is None:
                    return
                raise self.error(index)
            with open(self.log, "a") as log:
                log.write(f"{text}\n")
            time.sleep(self.delay)
            yield index, echo(text)

    def sent(self) -> Counter[str]:
        path = Path(self.log)
        return Counter(path.read_text().split() if path.exists() else [])


class Checking(Echo):
    """Refuses some prompts before it answers any."""

    def check(self, requests):
        with open(f"{self.log}.check", "a") as log:
            log.write(f"{len(requests)}\n")
        failures = []
        for index, request in enumerate(requests):
            if request.messages[0][1] == self.fail_at:
                failures.append(
                    PromptTooLongError("The prompt of {row} is too long.", index)
                )
        return failures


def echo(text: str) -> Answer:
    return Answer(choices=((text, -1.0),), usage=TokenUsage(3, 1, 2))


def ask(text: object) -> Request:
    return Request((("prompt", str(text)),))


def run(backend, texts, cache, **options):
    """Collect, and give the texts of the answers with what was spent."""
    usage = Usage()
    answers = collect(backend, [ask(t) for t in texts], cache, usage=usage, **options)
    return [answer.choices[0][0] for answer in answers], usage


@pytest.fixture
def backend(tmp_path):
    return Echo(str(tmp_path / "log"))


@pytest.fixture
def cache(cache_home):
    return Cache(cache_home)


@pytest.mark.parametrize("cached", [True, False])
def test_one_answer_for_each_request_in_order(backend, cache, cached):
    """Answers come in the order of the requests, and equal requests are sent once."""
    texts = [str(i % 600) for i in range(1_000)]
    got, usage = run(backend, texts, cache if cached else None)
    assert got == texts
    assert backend.sent() == Counter(set(texts))
    assert usage == Usage(600, 0, 1_800, 600, 1_200)


def test_the_second_run_sends_nothing(backend, cache):
    """What is in the cache costs nothing, and counts once for each distinct request."""
    run(backend, "abab", cache)
    got, usage = run(backend, "bbac", cache)
    assert got == list("bbac")
    assert usage == Usage(1, 2, 3, 1, 2)
    assert backend.sent() == Counter("abc")


def test_without_a_cache_everything_is_asked_anew(backend):
    """cache=None neither reads nor writes."""
    for _ in range(2):
        assert run(backend, "ab", None)[1] == Usage(2, 0, 6, 2, 4)
    assert backend.sent() == Counter("aabb")


def test_nothing_to_ask(backend, cache):
    """No requests, no answers, no call."""
    assert run(backend, "", cache) == ([], Usage())


def test_another_model_does_not_get_these_answers(backend, cache):
    """The backend's identity is part of the key, its other parameters are not."""
    run(backend, "ab", cache)
    assert run(Echo(backend.log, delay=0.001), "ab", cache)[1].requests == 0
    assert run(Echo(backend.log, model="n"), "ab", cache)[1].requests == 2
    assert run(Checking(backend.log), "ab", cache)[1].requests == 2


@settings(deadline=None, max_examples=50)
@given(
    st.builds(
        Request,
        st.lists(st.tuples(st.sampled_from(["user", "system"]), st.text())).map(tuple),
        st.lists(st.text()).map(tuple),
        st.integers(1, 5),
        st.integers(0, 20),
        draw=st.integers(0, 2),
    ),
    st.text(),
)
def test_the_key_is_the_hash_of_canonical_json(request_, model):
    """A key is SHA-256 of [version, class, identity, request], and of nothing else.

    Fields at their defaults are left out: a new field leaves the old keys alone.
    """
    defaults = {"choices": (), "max_tokens": 1, "top_logprobs": 20, "draw": 0}
    content = {"messages": request_.messages}
    for name, default in defaults.items():
        if getattr(request_, name) != default:
            content[name] = getattr(request_, name)
    text = json.dumps(
        [1, "Echo", {"model": model}, content], sort_keys=True, separators=(",", ":")
    )
    key = request_key(Echo("log", model=model), request_)
    assert key == sha256(text.encode("ascii")).hexdigest()
    assert len(backend_key(Echo("log", model=model))) == 64


def test_no_prompt_on_disk(backend, tmp_path, cache):
    """The cache's files hold neither the prompt nor the name of the model."""
    backend = Silent(str(tmp_path / "log"), model="secret-model")
    run(backend, ["secret-prompt"], cache)
    files = [path for path in Path(cache.directory).iterdir() if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert b"positive" in content
    assert b"secret" not in content
    assert not any("secret" in path.name for path in files)


class Silent(Echo):
    """Answers without repeating the prompt."""

    def answer(self, requests):
        for index, _ in enumerate(requests):
            yield index, Answer(choices=(("positive", -1.0),))


def test_an_error_in_the_middle_keeps_what_was_answered(backend, cache):
    """Answers before an error are stored, the error is not, and the rest is asked."""
    texts = [str(i) for i in range(CHUNK + 50)]
    failing = Echo(backend.log, fail_at="10", error=lambda _: BackendError("no"))
    usage = Usage()
    with pytest.raises(BackendError, match=r"^no$"):
        collect(failing, [ask(t) for t in texts], cache, usage=usage)
    assert usage.requests == len(cache) == CHUNK - 11  # answered backwards
    got, usage = run(backend, texts, cache)
    assert got == texts
    assert usage.requests == len(texts) - (CHUNK - 11)
    assert backend.sent() == Counter(texts)


def test_a_backend_that_stops_early(backend, cache):
    """A backend that leaves requests unanswered is an error that counts them."""
    with pytest.raises(BackendError, match="Echo answered 3 of 5 requests"):
        run(Echo(backend.log, fail_at="1"), "01234", cache)
    assert len(cache) == 3


def too_long(index):
    return PromptTooLongError("The prompt of {row} is too long.", index)


@pytest.mark.parametrize("cls", [Echo, Checking])
def test_a_prompt_that_is_too_long_is_named_by_its_row(backend, cache, cls):
    """The row is the first one of X with that prompt, however it was chunked."""
    run(backend, range(5), cache)
    texts = [0, 1, 2, *range(CHUNK + 20), "long", "long"]
    failing = cls(backend.log, fail_at="long", error=too_long)
    with pytest.raises(PromptTooLongError, match=f"row {CHUNK + 23} of X") as caught:
        run(failing, texts, cache)
    assert caught.value.index == CHUNK + 23


def test_check_sees_everything_before_the_first_call(backend, cache):
    """A backend that can check refuses before anything is sent, and sees no hits."""
    run(Checking(backend.log), "ab", cache)
    before = backend.sent()
    texts = ["a", "b", *map(str, range(2 * CHUNK)), "long"]
    with pytest.raises(PromptTooLongError):
        run(Checking(backend.log, fail_at="long"), texts, cache)
    assert backend.sent() == before
    run(Checking(backend.log), "ab", cache)  # all cached: nothing to check
    counts = Path(f"{backend.log}.check").read_text().split()
    assert counts == ["2", str(2 * CHUNK + 1)]


KILLED = """
import os, sys
from sklearn_logprob.cache import Cache
from test_collect import Echo, run

class Dying(Echo):
    def answer(self, requests):
        for index, answer in super().answer(requests):
            if sum(self.sent().values()) > 400:
                {how}
            yield index, answer

Dying.__name__ = "Echo"
run(Dying(sys.argv[1]), range(1_000), Cache(sys.argv[2]))
"""


@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_killed_process_loses_nothing(backend, cache, how):
    """After a kill among 1,000 rows, the next run asks only for what was left."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(how=how), backend.log, cache.directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode in {3, -9}
    assert len(cache) == 400
    got, usage = run(backend, range(1_000), cache)
    assert got == [str(i) for i in range(1_000)]
    assert (usage.cache_hits, usage.requests) == (400, 600)


def work(log, directory, texts):
    cache = Cache(directory)
    try:
        return run(Echo(log, delay=0.001), texts, cache)
    finally:
        cache.close()


@pytest.mark.parametrize("workers", ["loky", "threading"])
def test_concurrent_runs_send_each_request_once(backend, cache, workers):
    """Two processes or threads with the same work share it between them."""
    texts = [str(i) for i in range(2 * CHUNK)]
    orders = texts, texts[5:] + texts[:5]
    results = Parallel(n_jobs=2, backend=workers)(
        delayed(work)(backend.log, cache.directory, order) for order in orders
    )
    assert backend.sent() == Counter(texts)
    assert [got for got, _ in results] == list(orders)
    assert sum(usage.requests for _, usage in results) == len(texts)
    assert sum(usage.cache_hits for _, usage in results) == len(texts)


def test_different_models_do_not_wait_for_each_other(backend, cache):
    """The lock is the backend's: while one model answers, another can."""
    started, release = threading.Event(), threading.Event()

    class Slow(Echo):
        def answer(self, requests):
            started.set()
            assert release.wait(10)
            return super().answer(requests)

    slow = threading.Thread(
        target=work_on, args=(Slow(backend.log), "a", cache.directory)
    )
    slow.start()
    assert started.wait(10)
    assert run(backend, "b", cache)[0] == ["b"]
    release.set()
    slow.join()
    assert backend.sent() == Counter("ab")


def work_on(backend, texts, directory):
    cache = Cache(directory)
    run(backend, texts, cache)
    cache.close()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("verbose", "stderr", "delay", "shown"),
    [
        ("auto", Terminal(), 0.0, False),
        ("auto", Terminal(), 0.03, True),
        ("auto", io.StringIO(), 0.03, False),
        (1, io.StringIO(), 0.0, True),
        (True, Terminal(), 0.0, True),
        (0, Terminal(), 0.03, False),
    ],
)
def test_progress(tmp_path, verbose, stderr, delay, shown):
    """A bar where asked for, and by itself in a terminal when the work takes long."""
    backend = Echo(str(tmp_path / "log"), delay=delay)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        patch.setattr("sklearn_logprob.collect.SHOW_AFTER", 0.1)
        run(backend, "abcdefgh", None, verbose=verbose)
    assert ("8/8" in stderr.getvalue()) is shown
    assert ("row/s" in stderr.getvalue()) is shown


@pytest.mark.slow
def test_many_cached_requests_are_quick(cache):
    """The time grows in proportion to the rows: 20,000 from the cache in seconds."""
    backend = Silent("log")
    requests = [ask(i) for i in range(20_000)]
    collect(backend, requests, cache, usage=Usage())
    start = time.perf_counter()
    usage = Usage()
    collect(backend, requests, cache, usage=usage)
    assert usage.cache_hits == len(requests)
    assert time.perf_counter() - start < 10
