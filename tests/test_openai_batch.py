"""The batch endpoint over real HTTP on loopback: nothing lost, nothing asked twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_server import BatchServer, Fate, fail_line
from servers import ChatServer

from sklearn_logprob import (
    Answer,
    BackendError,
    LimitReachedError,
    LogprobClassifier,
    LogprobsUnavailableError,
    OpenAIBackend,
    PromptTooLongError,
    RefusedError,
    Request,
    RowError,
    SamplingBackend,
    TokenUsage,
    Usage,
)
from sklearn_logprob.backends import _batch_desk, _openai_batch
from sklearn_logprob.cache import Cache
from sklearn_logprob.collect import backend_key, collect

KEY = "sk-planted-0815"
TEXTS = ["a", "b", "c", "d", "e", "f"]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_batch_desk, "FIRST_WAIT", 0.01)


@pytest.fixture
def server():
    with BatchServer() as server:
        yield server


@pytest.fixture
def cache(cache_home):
    return Cache(cache_home)


def ask(text, **params):
    return Request((("user", text),), **params)


def batch(server, **params):
    params = {"base_url": server.url, "max_retries": 0, "mode": "batch", **params}
    return OpenAIBackend("gpt-4.1-mini", **params)


def outcomes(backend, texts=TEXTS, cache=None, **options):
    options = {"on_error": "nan", "verbose": False, "usage": Usage(), **options}
    return collect(backend, [ask(t) for t in texts], cache, **options)


def failed(found):
    return [i for i, outcome in enumerate(found) if isinstance(outcome, RowError)]


def jobs_on_disk():
    return list(Path(os.environ["SKLEARN_LOGPROB_BATCHES"]).glob("*"))


# ------------------------------------------------------------------ what is asked


def test_a_batch_says_what_live_requests_say(server):
    """The same bodies in one file, the same answers in order, the same cache key."""
    with ChatServer() as chat:
        live = OpenAIBackend("gpt-4.1-mini", base_url=chat.url)
        expected = outcomes(live)
        bodies = {call.body["messages"][0]["content"]: call.body for call in chat.calls}
    assert outcomes(batch(server)) == expected
    [lines] = server.lines
    assert {line["body"]["messages"][0]["content"]: line["body"] for line in lines} == (
        bodies
    )
    assert {(line["method"], line["url"]) for line in lines} == {
        ("POST", "/v1/chat/completions")
    }
    assert len({line["custom_id"] for line in lines}) == len(TEXTS)
    [job] = server.jobs.values()
    assert (job["endpoint"], job["completion_window"]) == ("/v1/chat/completions", "24h")
    same = live.set_params(base_url=server.url)
    assert backend_key(same) == backend_key(batch(server))
    assert jobs_on_disk() == []


def test_equal_requests_are_one_line(server):
    """Also where nobody has taken them together before."""
    found = dict(batch(server).answer([ask("a"), ask("b"), ask("a")]))
    assert found[0] == found[2] != found[1]
    assert server.texts == [["a", "b"]]


def test_large_batches_are_several_files(server, monkeypatch):
    """By lines and by bytes, none too large and none empty."""
    monkeypatch.setattr(_openai_batch, "MOST_LINES", 4)
    found = outcomes(batch(server))
    assert server.texts == [["a", "b", "c", "d"], ["e", "f"]]
    assert [type(outcome) for outcome in found] == [Answer] * 6
    monkeypatch.setattr(_openai_batch, "MOST_BYTES", 700)
    outcomes(batch(server), ["x", "y", "z" * 800, "w"])
    assert server.texts[2:] == [["x", "y"], ["z" * 800], ["w"]]


def test_more_rows_than_are_sent_live_go_into_one_job(server):
    """All at once: a job takes a day however small it is."""
    outcomes(batch(server), [str(i) for i in range(1000)])
    assert [len(lines) for lines in server.lines] == [1000]


def test_it_costs_half(server):
    """By list price; a price that is given is taken as it is."""
    tokens = TokenUsage(1_000_000, 1_000_000)
    live, half = OpenAIBackend(), OpenAIBackend(mode="batch")
    assert half.cost(tokens) == live.cost(tokens) / 2
    assert OpenAIBackend(mode="batch", price=(1, 0, 2)).cost(tokens) == 3
    usage = Usage()
    outcomes(batch(server), usage=usage)
    assert usage.requests == 6
    spent = TokenUsage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    assert usage.cost == pytest.approx(half.cost(spent))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_classifier_learns_from_a_batch(server):
    """As from live requests, with one job for fit and one for new rows."""
    X, y = TEXTS, ["t1", "t2"] * 3
    with ChatServer() as chat:
        clf = LogprobClassifier(
            OpenAIBackend("m", base_url=chat.url), prompt="{text}", cache=None
        )
        expected = clf.fit(X, y).predict_proba(["x", "y"])
    clf.set_params(backend=batch(server))
    assert (clf.fit(X, y).predict_proba(["x", "y"]) == expected).all()
    assert [len(lines) for lines in server.lines] == [6, 2]


def test_draws_go_in_batches(server):
    """A wrapper's requests too are handed over together."""
    sampled = SamplingBackend(batch(server), n_samples=3, adaptive=False)
    requests = [Request((("user", str(i)),)) for i in range(300)]
    assert len(collect(sampled, requests, None, usage=Usage(), verbose=False)) == 300
    assert [len(lines) for lines in server.lines] == [900]


def test_draws_are_told_apart_where_their_seed_is_not_sent(server):
    """Else one answer would count for all of them."""
    same = batch(server, extra_body={"seed": 1})
    sampled = SamplingBackend(same, n_samples=3, adaptive=False)
    collect(sampled, [ask("a")], None, usage=Usage(), verbose=False)
    assert server.texts == [["a", "a", "a"]]
    [lines] = server.lines
    assert len({line["custom_id"] for line in lines}) == 3


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_what_a_job_did_is_kept(server, cache, status):
    """The rest fails as its row's own, and is all that the next call asks for."""
    server.fates.append(Fate(status, n_answered=4))
    found = outcomes(batch(server), cache=cache)
    assert failed(found) == [4, 5]
    assert "row 4 of X was not answered" in str(found[4])
    assert status in str(found[4]) or "It took too long" in str(found[4])
    assert len(cache) == 4
    assert failed(outcomes(batch(server), cache=cache)) == []
    assert server.texts == [TEXTS, ["e", "f"]]
    assert jobs_on_disk() == []


def test_errors_belong_to_their_rows(server, cache):
    """By kind, named by row of X; the others are answered."""
    instead = {
        "b": fail_line(400, "The prompt was filtered.", "content_filter"),
        "c": fail_line(400, "too many tokens", "context_length_exceeded"),
        "d": fail_line(500, f"server error for {KEY}"),
        "e": {"response": None, "error": None},
        "f": {"response": "lost", "error": ["strange"]},
        "g": {"response": {"status_code": 500, "body": "<html>"}},
    }
    server.fates.append(Fate(instead=instead))
    found = outcomes(batch(server), [*TEXTS, "g", "h"], cache)
    kinds = [Answer, RefusedError, PromptTooLongError, *[RowError] * 4, Answer]
    assert [type(outcome) for outcome in found] == kinds
    assert "row 3 of X was not answered" in str(found[3])
    assert KEY not in "".join(map(str, found))
    server.fates.append(Fate(instead=instead))
    with pytest.raises(RefusedError, match="row 1 of X"):
        outcomes(batch(server), cache=cache, on_error="raise")
    assert len(cache) == 2


def test_lines_that_cannot_be_read_are_rows_without_an_answer(server, cache):
    """A file that is cut off, or holds something else, loses the rows that it lost."""
    server.fates.append(Fate(torn=True))
    found = outcomes(batch(server), cache=cache)
    assert failed(found) == [0]  # the results come in reverse
    assert len(cache) == 5


def test_what_is_wrong_with_all_is_raised_after_what_came(server, cache):
    """Where a server returns no log-probabilities, for instance."""
    bare = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    line = {"response": {"status_code": 200, "body": bare}, "error": None}
    server.fates.append(Fate(instead=dict.fromkeys("ab", line)))
    with pytest.raises(LogprobsUnavailableError, match="no log-probabilities"):
        outcomes(batch(server), cache=cache)
    assert len(cache) == 4


def test_a_job_that_is_refused(server, cache, monkeypatch):
    """What the provider says of it is told, after the other jobs have ended."""
    monkeypatch.setattr(_openai_batch, "MOST_LINES", 3)
    error = {"code": "token_limit_exceeded", "message": f"Enqueued, {KEY}", "line": 1}
    server.fates.append(Fate("failed", errors=[error]))
    with pytest.raises(BackendError, match="token_limit_exceeded: Enqueued") as caught:
        outcomes(batch(server), cache=cache)
    assert KEY not in str(caught.value)
    assert len(cache) == 3
    outcomes(batch(server), cache=cache)
    assert server.texts == [["a", "b", "c"], ["d", "e", "f"], ["a", "b", "c"]]


def test_a_server_without_batches_is_named(server):
    """The message says what to check."""
    with pytest.raises(BackendError, match=r"HTTP 404.*Check model= and base_url="):
        outcomes(batch(server, base_url=f"{server.url}/elsewhere"))


# ------------------------------------------------------------------ another process

WAITING = """
import sys
from test_openai_batch import TEXTS, batch, outcomes
from sklearn_logprob.cache import Cache

class Server:
    url = sys.argv[1]

outcomes(batch(Server), TEXTS, Cache(sys.argv[2]))
"""


def test_another_process_waits_for_the_job(server, cache):
    """After kill -9: the same job is taken up, and nothing is sent again."""
    server.held.set()
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, server.url, cache.directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    while server.looks < 2 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    [file] = jobs_on_disk()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert KEY not in file.read_text() and KEY not in file.name
    server.held.clear()
    assert failed(outcomes(batch(server), [*TEXTS, "new"], cache)) == []
    assert server.texts == [TEXTS, ["new"]]
    assert len(cache) == 7
    assert jobs_on_disk() == []


def test_a_job_whose_name_never_came_is_found(server, cache):
    """The connection broke when it had begun: our own name is among its metadata."""
    server.fates.append(Fate(cut=True))
    with pytest.raises(BackendError, match="No connection"):
        outcomes(batch(server), cache=cache)
    assert failed(outcomes(batch(server), cache=cache)) == []
    assert server.texts == [TEXTS]


def test_a_job_that_is_lost_is_begun_again(server, cache):
    """The provider keeps jobs for some time only; so is one that had not begun."""
    server.held.set()
    stop(server, cache)
    server.lost.add("batch_0")
    server.held.clear()
    assert failed(outcomes(batch(server), cache=cache)) == []
    assert server.texts == [TEXTS, TEXTS]


def stop(server, cache, texts=TEXTS):
    """Begin a job, and be interrupted while waiting for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_batch_desk.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            outcomes(batch(server), texts, cache)


def interrupt(seconds):
    raise KeyboardInterrupt


def test_answers_that_were_not_asked_for_wait(server, cache):
    """A later call with other rows of the job finds them there, and pays nothing."""
    stop(server, cache)
    assert failed(outcomes(batch(server), ["a", "b"], cache)) == []
    assert len(jobs_on_disk()) == 1
    assert failed(outcomes(batch(server), ["c", "d", "e", "f"], cache)) == []
    assert server.texts == [TEXTS]
    assert jobs_on_disk() == []


def test_another_account_has_other_jobs(server, cache, monkeypatch):
    """With another key the job is neither seen nor waited for."""
    server.held.set()
    stop(server, cache)
    server.held.clear()
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    assert failed(outcomes(batch(server), cache=cache)) == []
    assert len(server.jobs) == 2


def test_damaged_notes_are_left_alone(server, cache):
    """They name no job, and stop nothing."""
    stop(server, cache)
    [file] = jobs_on_disk()
    damaged = ("{", "[1]", '{"ids": 3, "token": "x"}', '{"ids": [], "token": "../x"}')
    for text, content in zip(TEXTS, damaged, strict=False):
        file.with_name(f"{file.name[:17]}x.json").write_text(content)
        assert failed(outcomes(batch(server), [text])) == []
    assert server.texts == [TEXTS]


# ------------------------------------------------------------------ limits, progress


def test_max_requests_holds_to_the_request(server, cache):
    """What is allowed is sent, and kept; then comes the error."""
    limited = batch(server, max_requests=4)
    with pytest.raises(LimitReachedError, match="max_requests=4"):
        outcomes(limited, cache=cache)
    assert server.texts == [TEXTS[:4]]
    assert len(cache) == 4


def test_what_was_in_no_job_does_not_count(server, cache, monkeypatch):
    """Where the first of three jobs breaks off, the others are still to be had."""
    monkeypatch.setattr(_openai_batch, "MOST_LINES", 2)
    server.fates.append(Fate(cut=True))
    limited = batch(server, max_requests=6)
    with pytest.raises(BackendError, match="No connection"):
        outcomes(limited, cache=cache)
    assert failed(outcomes(limited, cache=cache)) == []
    assert server.texts == [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]


def test_max_cost_is_spent_job_by_job(server, cache):
    """A request counts with the most that it can cost until its answer is there."""
    most = _most_cost(batch(server))
    spent = Usage()
    backend = batch(server, max_cost=2.5 * most)
    with pytest.raises(LimitReachedError, match="max_cost"):
        outcomes(backend, [str(i) for i in range(200)], cache, usage=spent)
    assert len(server.jobs) > 1
    assert 1.5 * most <= spent.cost <= 2.5 * most


def _most_cost(backend):
    from sklearn_logprob.backends._limits import bound

    return backend.cost(bound(ask("100")))


def test_looks_become_rarer(server, monkeypatch):
    """Each wait is longer than the one before, up to a minute."""
    waits = []
    monkeypatch.setattr(_batch_desk.time, "sleep", waits.append)
    monkeypatch.setattr(_batch_desk, "FIRST_WAIT", 30.0)
    server.fates.append(Fate(looks=6))
    outcomes(batch(server))
    assert waits == pytest.approx([30, 39, 50.7, 60, 60])


def test_progress_is_shown(server, capfd):
    """The state of the job stands beside the bar."""
    outcomes(batch(server), verbose=True)
    shown = capfd.readouterr().err
    assert "batch_0: in_progress, 0 of 6" in shown
    assert "6/6" in shown


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mode": "slow"}, "'mode' parameter of OpenAIBackend must be 'live' or 'batch'"),
        ({"requests_per_minute": 5}, "'requests_per_minute' .* None with mode='batch'"),
        ({"tokens_per_minute": 5}, "'tokens_per_minute' .* None with mode='batch'"),
        ({"api_version": "2024-10-21"}, "'api_version' .* None with mode='batch'"),
    ],
)
def test_parameters_that_do_not_go_together(server, params, message):
    """Before anything is sent."""
    with pytest.raises(ValueError, match=message):
        outcomes(batch(server, **params))
    assert not server.files
