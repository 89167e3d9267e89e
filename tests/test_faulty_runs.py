"""Processes that are killed, servers that fail: no row lost, doubled or misplaced.

`benchmarks/faults.py` does the same at full size.
"""

from __future__ import annotations

import random
import signal
import time
import warnings

import faulty
import numpy as np
import pytest
from faulty import FINE, Counted, check, client, ended, served

from sklearn_logprob import ModelChangedWarning, Request
from sklearn_logprob.backends._limits import _account, bound
from sklearn_logprob.cache import Cache

CLEAN = Counted(0, 0, 0, 0)

pytest.importorskip("aiohttp")


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    _account.cache_clear()


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path):
    """All runs together ask each row once, but for those under way at a kill."""
    n, n_kills, concurrency = 500, 3, 16
    rng, out = random.Random(0), tmp_path / "scores.npy"
    with served(tmp_path) as server:
        for _ in range(n_kills):
            with client(server, tmp_path / "cache", n, out) as process:
                n_more = rng.randrange(150)
                faulty.kill_after(process, server, n_more, rng.uniform(0, 0.02))
        with client(server, tmp_path / "cache", n, out) as process:
            assert ended(process) == 0
        most = n_kills * (concurrency + concurrency // 4)
        found = check(np.load(out), server, allowed=most)
    assert found == CLEAN._replace(extra=found.extra)
    assert len(server.answered()) == n


@pytest.mark.slow
def test_a_server_that_fails_and_is_started_again(tmp_path):
    """Errors, resets, late answers, storms of 429 and a restart: nobody notices."""
    faults = faulty.Faults(0.01, 0.02, 0.02, 0.01, storm_every=1.7, storm=0.2)
    out = tmp_path / "scores.npy"
    with served(tmp_path, faults) as server:
        with client(server, tmp_path / "cache", 400, out) as process:
            while len(server.answered()) < 100 and process.poll() is None:
                time.sleep(0.02)
            server.kill()
            server.start()
            assert ended(process) == 0
        found = check(np.load(out), server, allowed=16)
        statuses = {status for _, status, _ in server.requests()}
    assert found == CLEAN._replace(extra=found.extra)
    assert statuses >= {0, 200, 500}


@pytest.mark.slow
def test_two_processes_and_eight_threads(tmp_path):
    """Each asks for everything, in another order; each row is asked about once."""
    outs = [tmp_path / f"{name}.npy" for name in "ab"]
    with served(tmp_path) as server:
        place = tmp_path / "cache"
        with (
            client(server, place, 300, outs[0], n_threads=4) as one,
            client(server, place, 300, outs[1], n_threads=4) as two,
        ):
            assert ended(one) == ended(two) == 0
        for out in outs:
            assert check(np.load(out), server) == CLEAN


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_keeps_what_was_paid_for(tmp_path):
    """Whatever the server still has under way; the next run asks for the rest only."""
    out, slow = tmp_path / "scores.npy", faulty.Faults(delay=1.0)
    with served(tmp_path, slow) as server:
        with client(server, tmp_path / "cache", 200, out) as process:
            while len(server.answered()) < 32:
                time.sleep(0.02)
            pressed = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert ended(process) != 0
            assert time.monotonic() - pressed < 7  # all would take ten more
        paid = len(server.answered())
        kept = len(Cache(tmp_path / "cache"))
        assert paid - 32 <= kept <= paid
        time.sleep(2 * slow.delay)  # what was under way is noted when it is answered
        before = len(server.requests())
        with client(server, tmp_path / "cache", 200, out, concurrency=64) as process:
            assert ended(process) == 0
        assert len(server.requests()) - before == 200 - kept
        assert check(np.load(out), server, allowed=32)[:3] == (0, 0, 0)


def test_limits_hold_to_the_request(tmp_path):
    """Four threads with 16 requests in flight each share one account."""
    with served(tmp_path) as server:
        faulty.hurry(server, 400, max_requests=123)
        assert len(server.requests()) == 123


def test_no_dollar_more_than_allowed(tmp_path):
    """What is under way counts with the most that it may cost, until it is there."""
    price, limit = (1000.0, 0.0, 1000.0), 5.0  # 21 tokens are 0.021 dollars
    with served(tmp_path) as server:
        faulty.hurry(server, 400, max_cost=limit, price=price)
        spent = 0.021 * len(server.requests())
    most = bound(Request((("user", faulty.text_of(399)),)))
    dearest = (most.prompt_tokens + most.completion_tokens) / 1000
    assert limit - 4 * 20 * dearest <= spent <= limit  # 20: 16 and what is handed over


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [{"requests_per_minute": 1200}, {"tokens_per_minute": 1200 * 21}],
    ids=["requests", "tokens"],
)
def test_the_pace_holds_under_concurrency(tmp_path, limits):
    """20 a second are no more than 20 in any second, whoever asks."""
    with served(tmp_path) as server:
        faulty.hurry(server, 50, **limits)
        times = np.sort([time for _, _, time in server.requests()])
    assert len(times) == 50
    in_a_second = np.searchsorted(times, times + 1.0) - np.arange(50)
    assert in_a_second.max() <= 20 + 2  # a moment more or less on the way
    assert times[-1] - times[0] > 49 / 20 * 0.6


def test_another_build_behind_the_same_name(tmp_path):
    """Fit and predict with different ones warn, also where answers are from the cache."""
    texts, y = [faulty.text_of(row) for row in range(8)], ["no", "yes"] * 4
    with served(tmp_path) as server:
        clf = faulty.classifier(server.url, tmp_path / "cache").fit(texts, y)
        assert clf.builds_ == ("fp_1",)
        clf.predict([*texts, faulty.text_of(8)])
        server.kill()
        server.faults = faulty.Faults(build="fp_2")
        server.start()
        with pytest.warns(ModelChangedWarning, match="fp_2 answers.*fp_1.*or fit again"):
            clf.predict([faulty.text_of(9)])
        with warnings.catch_warnings():
            warnings.simplefilter("error", ModelChangedWarning)
            clf.predict(texts)  # answers of the build that it learnt from
        other = faulty.classifier(server.url, tmp_path / "cache").fit(texts, y)
        assert other.builds_ == ("fp_1",)
    assert FINE.build == "fp_1"
