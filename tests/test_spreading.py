"""The workers of joblib answer; nothing is lost, doubled or on the wrong row."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from functools import cache as remember
from pathlib import Path

import pytest
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from servers import ChatServer
from sklearn.base import BaseEstimator

from sklearn_logprob import (
    Answer,
    BackendError,
    FakeBackend,
    LimitReachedError,
    LlamaCppBackend,
    LogprobClassifier,
    OpenAIBackend,
    PromptTooLongError,
    Request,
    RowError,
    SamplingBackend,
    TokenUsage,
    Usage,
)
from sklearn_logprob._spreading import TASK, count_workers
from sklearn_logprob.cache import Cache
from sklearn_logprob.collect import collect

N = 400
HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"


class Logged(BaseEstimator):
    """Answers with the text and the worker's number; logs both, and when it loads.

    `dies_after` kills the first worker that finds more answers than that in the log.
    """

    answer_params = ()
    scores_choices = True
    max_top_logprobs = 20

    def __init__(self, folder, delay=0.0, dies_after=None, fail_at=None, error=None):
        self.folder = folder
        self.delay = delay
        self.dies_after = dies_after
        self.fail_at = fail_at
        self.error = error

    def answer_identity(self):
        return {}

    def answer(self, requests):
        load(self.folder)
        for index, request in enumerate(requests):
            text = request.messages[0][1]
            if text == self.fail_at:
                if self.error is PromptTooLongError:
                    yield index, PromptTooLongError("{row} is too long.", index)
                    continue
                raise self.error
            write(self.folder, "sent", text)
            time.sleep(self.delay)
            if self.dies_after is not None and len(self.sent()) > self.dies_after:
                die_once(self.folder)
            yield index, Answer(choices=((text, -1.0),), usage=TokenUsage(3, 1))

    def sent(self):
        return read(self.folder, "sent")

    def loads(self):
        return Counter(read(self.folder, "loaded"))


@remember
def load(folder):
    write(folder, "loaded", str(os.getpid()))


def write(folder, name, text):
    with open(os.path.join(folder, name), "a") as log:
        log.write(f"{text}\n")


def read(folder, name):
    path = Path(folder, name)
    return path.read_text().split() if path.exists() else []


def die_once(folder):
    try:
        Path(folder, "died").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def run(backend, texts, cache, **options):
    """Collect, and give the texts of the answers with what was spent."""
    usage = Usage()
    requests = [Request((("prompt", str(text)),)) for text in texts]
    outcomes = collect(backend, requests, cache, usage=usage, **options)
    return [o if isinstance(o, RowError) else o.choices[0][0] for o in outcomes], usage


@pytest.fixture
def backend(tmp_path):
    return Logged(str(tmp_path))


@pytest.fixture
def cache(cache_home):
    return Cache(cache_home)


def check_all_came(backend, cache):
    """Each distinct request is answered by a worker, once, and lies in the cache."""
    texts = [str(i % (N - 50)) for i in range(N)]
    got, usage = run(backend, texts, cache)
    assert got == texts
    assert Counter(backend.sent()) == Counter(set(texts))
    assert usage == Usage(N - 50, 0, 3 * (N - 50), N - 50)
    assert str(os.getpid()) not in backend.loads()
    assert set(backend.loads().values()) == {1}
    assert run(backend, texts, cache)[1] == Usage(cache_hits=N - 50)


# ------------------------------------------------------------------ loky


def test_workers_answer_and_the_driver_stores(backend, cache):
    """In processes of their own, each of which loads once; a second run sends nothing."""
    with parallel_config("loky", n_jobs=2):
        check_all_came(backend, cache)


def test_without_a_configuration_this_process_answers(backend, cache):
    """And with one whose workers are threads, which backends have themselves."""
    run(backend, range(N), cache)
    with parallel_config("threading", n_jobs=2):
        run(backend, range(N, 2 * N), cache)
    assert backend.loads() == {str(os.getpid()): 1}


def nested():
    return count_workers(FakeBackend())


def test_workers_have_no_workers(backend):
    """Inside a task of joblib, of a grid search for instance, nothing is spread."""
    with parallel_config("loky", n_jobs=2):
        assert count_workers(FakeBackend()) == 2
        assert Parallel()(delayed(nested)() for _ in range(3)) == [1, 1, 1]
    assert count_workers(FakeBackend()) == 1


@pytest.mark.parametrize(
    "limit", ["max_requests", "max_cost", "requests_per_minute", "tokens_per_minute"]
)
def test_what_has_limits_stays_in_one_process(limit):
    """They are counted there, to the request; a wrapped backend's as well."""
    limited = OpenAIBackend(**{limit: 5})
    with parallel_config("loky", n_jobs=2):
        assert count_workers(limited) == count_workers(SamplingBackend(limited)) == 1
        assert count_workers(SamplingBackend(OpenAIBackend())) == 2


def test_limits_hold_under_a_configuration(monkeypatch, cache):
    """A server sees as many requests as allowed, and not one more."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ChatServer() as server, parallel_config("loky", n_jobs=2):
        backend = OpenAIBackend("limited", base_url=server.url, max_requests=70)
        with pytest.raises(LimitReachedError):
            run(backend, range(N), cache)
        assert len(server.calls) == len(cache) == 70


def test_a_server_is_asked_by_workers(monkeypatch, cache):
    """Each keeps max_concurrency requests in flight: the server has more at once."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ChatServer(delay=0.1) as server, parallel_config("loky", n_jobs=2):
        backend = OpenAIBackend("m", base_url=server.url, max_concurrency=4)
        requests = [Request((("user", str(i)),)) for i in range(64)]
        collect(backend, requests, cache, usage=Usage())
        assert server.most_at_once > 4
        asked = Counter(call.body["messages"][0]["content"] for call in server.calls)
    assert asked == Counter(map(str, range(64)))
    assert len(cache) == 64


def test_a_row_that_fails_is_named(backend, cache):
    """By its row of X, whichever task it was in; the others go on with "nan"."""
    failing = Logged(backend.folder, fail_at="300", error=PromptTooLongError)
    with parallel_config("loky", n_jobs=2):
        got, usage = run(failing, range(N), cache, on_error="nan")
        assert [i for i, o in enumerate(got) if isinstance(o, RowError)] == [300]
        assert str(got[300]) == "row 300 of X is too long."
        assert usage.requests == N
        with pytest.raises(PromptTooLongError, match="row 300 of X"):
            run(failing, range(N), cache)
    assert max(Counter(backend.sent()).values()) == 1


@pytest.mark.parametrize(
    "error", [BackendError("no"), PromptTooLongError("{row}", 44), ValueError("no")]
)
def test_an_error_keeps_what_was_answered(backend, cache, error):
    """Before it in its task, and in all tasks that had begun; the rest is asked later."""
    failing = Logged(backend.folder, fail_at="300", error=error)
    with parallel_config("loky", n_jobs=2):
        with pytest.raises(type(error), match=r"^(no|row 300 of X)$"):
            run(failing, range(10 * N), cache)
        assert len(cache) == len(backend.sent()) < 10 * N
        got, _ = run(backend, range(10 * N), cache)
    assert got == [str(i) for i in range(10 * N)]
    assert Counter(backend.sent()) == Counter(got)


@pytest.mark.slow
def test_a_killed_worker_of_loky_is_an_error(backend, cache):
    """The error is joblib's; what the others answered is kept, for the next run."""
    dying = Logged(backend.folder, delay=0.005, dies_after=3 * TASK - 10)
    with parallel_config("loky", n_jobs=2):
        with pytest.raises(TerminatedWorkerError):
            run(dying, range(N), cache)
        assert len(cache) >= TASK
        got, _ = run(backend, range(N), cache)
    assert got == [str(i) for i in range(N)]
    doubled = Counter(backend.sent())
    assert sum(doubled.values()) - N <= 3 * TASK  # what was under way, or come in between


INTERRUPTED = """
import signal
import sys
from joblib import parallel_config
from sklearn_logprob.cache import Cache
from test_spreading import Logged, run

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs may inherit another
    with parallel_config("loky", n_jobs=2):
        run(Logged(sys.argv[1], delay=0.005), range(2000), Cache(sys.argv[2]))
"""


@pytest.mark.slow
def test_ctrl_c_keeps_what_came(backend, cache, tmp_path):
    """At once: the answers of ended tasks are stored, and are not asked for again."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, script, backend.folder, cache.directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while len(backend.sent()) < 5 * TASK and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    time.sleep(0.2)
    sent, kept = Counter(backend.sent()), len(cache)
    assert TASK <= kept <= len(sent) < 2000
    assert len(sent) - kept <= 4 * TASK
    run(backend, range(2000), cache)
    assert len(backend.sent()) == len(sent) + 2000 - kept


@pytest.mark.local
def test_local_weights_in_workers(cache):
    """The embedded model answers there as it does here, to the rounding of 16 bits."""
    pytest.importorskip("llama_cpp")
    texts = [f"number {i} is a {'fine' if i % 2 else 'dull'} film" for i in range(12)]
    clf = LogprobClassifier(
        LlamaCppBackend(n_threads=1), prompt="Review: {text}\nSentiment:", cache=None
    ).set_params(classes=["negative", "positive"], calibrator=None)
    expected = clf.fit().predict_proba(texts)
    with parallel_config("loky", n_jobs=2):
        spread = clf.predict_proba(texts)
    assert spread == pytest.approx(expected, abs=0.02)


# ------------------------------------------------------------------ clusters


def recipe(word):
    """The code block of the page that has this word."""
    text = (DOCS / "scaling.md").read_text(encoding="utf-8")
    [code] = [c for c in re.findall(r"^```python[^\n]*\n(.*?)^```", text, re.M | re.S)
              if word in c]  # fmt: skip
    return code


def check_labelled(word, tmp_path):
    """The recipe labels every row of a table in two files, each as predict does."""
    pd = pytest.importorskip("pandas")
    backend = FakeBackend({"great": {"good": 2.0}})
    clf = LogprobClassifier(
        backend, classes=["bad", "good"], prompt="{text}", cache=None
    ).fit()
    reviews = [f"a {'great' if i % 3 else 'dull'} film, {i}" for i in range(40)]
    table = pd.DataFrame({"number": range(40), "review": reviews})
    (tmp_path / "reviews").mkdir()
    for part in (0, 1):
        path = tmp_path / "reviews" / f"{part}.parquet"
        table.iloc[part * 20 : part * 20 + 20].to_parquet(path)
    exec(recipe(word), {"clf": clf, "__name__": "__main__"})
    labelled = pd.read_parquet(tmp_path / "labelled").sort_values("number")
    assert labelled["number"].tolist() == list(range(40))
    assert labelled["review"].tolist() == reviews
    assert labelled["label"].tolist() == clf.predict(reviews).tolist()


@contextmanager
def dask_cluster():
    """Three processes with a thread each."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, dashboard_address=None, memory_limit=0
        )
        with cluster, distributed.Client(cluster):
            yield


@pytest.mark.slow
def test_dask(backend, cache, tmp_path, monkeypatch):
    """A real cluster, one worker of which is killed while it works; and the recipe."""
    monkeypatch.chdir(tmp_path)
    with dask_cluster(), parallel_config("dask"):
        check_labelled("map_partitions", tmp_path)
        assert count_workers(FakeBackend()) == 3
        assert Parallel()(delayed(nested)() for _ in range(3)) == [1, 1, 1]
        check_all_came(backend, cache)

        (tmp_path / "2").mkdir()
        dying = Logged(str(tmp_path / "2"), delay=0.002, dies_after=300)
        texts = [str(i) for i in range(1000)]
        got, usage = run(dying, texts, None)
        assert (tmp_path / "2" / "died").exists()
    assert got == texts
    assert usage.requests == 1000
    sent = Counter(dying.sent())
    assert set(sent) == set(texts)
    assert sum(sent.values()) - 1000 <= 3 * TASK  # what the dead worker held is redone


@contextmanager
def ray_cluster():
    """Two processors."""
    ray = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        register_ray()
        try:
            yield
        finally:
            ray.shutdown()


@pytest.mark.slow
def test_ray(backend, cache, tmp_path, monkeypatch):
    """Actors answer, each loading once though whole lists come back; and the recipe."""
    monkeypatch.chdir(tmp_path)
    with ray_cluster():
        with parallel_config("ray", n_jobs=2):
            check_all_came(backend, cache)
        check_labelled("map_batches", tmp_path)
