"""Anthropic's and Google's batches over real HTTP on loopback.

What is the same for all providers is tested with OpenAI's, in `test_openai_batch`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from anthropic_server import MessagesServer
from batch_server import Fate
from gemini_server import GeminiServer
from list_batch_servers import GeminiBatchServer, MessageBatchServer

from sklearn_logprob import (
    Answer,
    AnthropicBackend,
    BackendError,
    GeminiBackend,
    LimitReachedError,
    LogprobsUnavailableError,
    PromptTooLongError,
    RefusedError,
    Request,
    RowError,
    SamplingBackend,
    TokenUsage,
    Usage,
)
from sklearn_logprob.backends import _anthropic_batch, _batch_desk, _gemini_batch
from sklearn_logprob.cache import Cache
from sklearn_logprob.collect import backend_key, collect

KEY = "planted-0815"
TEXTS = ["a", "b", "c", "d", "e", "f"]
SERVERS = {"anthropic": MessageBatchServer, "gemini": GeminiBatchServer}


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_batch_desk, "FIRST_WAIT", 0.01)


@pytest.fixture(params=SERVERS)
def server(request):
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def messages():
    with MessageBatchServer() as server:
        yield server


@pytest.fixture
def google():
    with GeminiBatchServer() as server:
        yield server


@pytest.fixture
def cache(cache_home):
    return Cache(cache_home)


def backend_of(server, **params):
    """Make the backend that goes with a server, in batches unless told otherwise."""
    params = {"max_retries": 0, "mode": "batch", **params}
    if isinstance(server, GeminiBatchServer | GeminiServer):
        return GeminiBackend(**{"base_url": server.url, **params})
    url = server.url if isinstance(server, MessagesServer) else server.origin
    return AnthropicBackend(**{"base_url": url, **params})


def ask(backend, text, **params):
    if isinstance(backend, AnthropicBackend):
        params = {"top_logprobs": 0, **params}
    return Request((("user", text),), **params)


def outcomes(backend, texts=TEXTS, cache=None, **options):
    options = {"on_error": "nan", "verbose": False, "usage": Usage(), **options}
    return collect(backend, [ask(backend, t) for t in texts], cache, **options)


def failed(found):
    return [i for i, outcome in enumerate(found) if isinstance(outcome, RowError)]


def jobs_on_disk():
    return list(Path(os.environ["SKLEARN_LOGPROB_BATCHES"]).glob("*"))


# ------------------------------------------------------------------ what is asked


def test_a_batch_of_messages_says_what_live_requests_say(messages):
    """The same bodies in one job, the answers to their rows, the same cache key."""
    with MessagesServer() as chat:
        live = backend_of(chat, mode="live")
        outcomes(live)
        bodies = {call.body["messages"][0]["content"]: call.body for call in chat.calls}
    found = outcomes(backend_of(messages))
    assert [answer.draws for answer in found] == [
        ((f"{text} {number}", 1),) for number, text in enumerate(TEXTS)
    ]
    [entries] = messages.asked.values()
    assert {messages.text_of(entry): entry["params"] for entry in entries} == bodies
    assert messages.keys == {KEY}
    same = live.set_params(base_url=messages.origin)
    assert backend_key(same) == backend_key(backend_of(messages))
    assert jobs_on_disk() == []


@pytest.mark.parametrize("output", ["response", "output"])
@pytest.mark.parametrize("states", ["BATCH_STATE_", "JOB_STATE_"])
def test_a_batch_at_google_says_what_live_requests_say(google, states, output):
    """Bodies and answers; however states are called, and wherever answers stand."""
    google.states, google.output = states, output
    with GeminiServer() as chat:
        live = backend_of(chat, mode="live")
        expected = outcomes(live)
        bodies = [call.body for call in chat.calls]
    assert outcomes(backend_of(google)) == expected
    [entries] = google.asked.values()
    model = {"model": "models/gemini-2.5-flash-lite"}
    assert sorted(map(repr, [e["request"] for e in entries])) == sorted(
        repr({**model, **body}) for body in bodies
    )
    assert len({entry["metadata"]["key"] for entry in entries}) == len(TEXTS)
    assert google.keys == {KEY}
    assert jobs_on_disk() == []


def test_draws_are_one_job_in_which_each_has_its_name(messages):
    """Their bodies are the same, for the format has no seed; no answer counts twice."""
    sampled = SamplingBackend(backend_of(messages), n_samples=3, adaptive=False)
    requests = [Request((("user", text),)) for text in TEXTS]
    found = collect(sampled, requests, None, usage=Usage(), verbose=False)
    [entries] = messages.asked.values()
    assert len(entries) == 18
    assert len({entry["custom_id"] for entry in entries}) == 18
    assert len({repr(entry["params"]) for entry in entries}) == 6
    for number, answer in enumerate(found):
        drawn = {f"{TEXTS[number]} {3 * number + k}": 1 for k in range(3)}
        assert dict(answer.draws) == drawn


def test_large_batches_are_several_jobs(server, monkeypatch):
    """By number and by bytes."""
    monkeypatch.setattr(_anthropic_batch, "MOST_REQUESTS", 4)
    monkeypatch.setattr(_gemini_batch, "MOST_REQUESTS", 4)
    assert failed(outcomes(backend_of(server))) == []
    assert server.texts == [["a", "b", "c", "d"], ["e", "f"]]
    monkeypatch.setattr(_anthropic_batch, "MOST_BYTES", 1000)
    monkeypatch.setattr(_gemini_batch, "MOST_BYTES", 1000)
    outcomes(backend_of(server), ["x", "y" * 800, "z"])
    assert server.texts[2:] == [["x"], ["y" * 800], ["z"]]


def test_it_costs_half(server):
    """By list price; a price that is given is taken as it is."""
    tokens = TokenUsage(1_000_000, 1_000_000)
    live, half = backend_of(server, mode="live"), backend_of(server)
    assert half.cost(tokens) == live.cost(tokens) / 2 > 0
    assert backend_of(server, price=(1, 0, 2)).cost(tokens) == 3


# ------------------------------------------------------------------ what goes wrong


def errored(kind, text):
    """Say as Anthropic does why a request failed."""
    error = {"type": "error", "error": {"type": kind, "message": text}}
    return {"type": "errored", "error": error}


def test_messages_that_failed_are_rows_that_fail(messages, cache):
    """Each by its kind; expired and cancelled ones are all that is asked for again."""
    refusal = {"content": [], "usage": {}, "stop_reason": "refusal"}
    instead = {
        "a": errored("invalid_request_error", "prompt is too long: 9 tokens > 8"),
        "b": errored("overloaded_error", f"Overloaded, {KEY}"),
        "c": {"type": "succeeded", "message": refusal},
        "d": {"type": "errored", "error": None},
    }
    messages.fates.append(Fate("expired", n_answered=5, instead=instead))
    found = outcomes(backend_of(messages), cache=cache)
    assert [type(outcome) for outcome in found] == [
        PromptTooLongError,
        RowError,
        RefusedError,
        RowError,
        Answer,
        RowError,
    ]
    assert "row 1 of X was not answered: its request failed: Overl" in str(found[1])
    assert "row 5 of X was not answered: its request is expired" in str(found[5])
    assert KEY not in "".join(map(str, found))
    assert failed(outcomes(backend_of(messages), cache=cache)) == []
    assert messages.texts == [TEXTS, ["a", "b", "c", "d", "f"]]
    assert jobs_on_disk() == []


def test_what_google_did_not_answer_are_rows_that_fail(google, cache):
    """Errors by request, and what an expired job is silent about."""
    instead = {
        "a": {"error": {"code": 3, "message": "The input token count exceeds 8."}},
        "b": {"error": {"code": 13, "message": f"Internal, {KEY}"}},
        "c": {"response": {"promptFeedback": {"blockReason": "SAFETY"}}},
        "d": {},
    }
    google.fates.append(Fate("expired", n_answered=5, instead=instead))
    found = outcomes(backend_of(google), cache=cache)
    assert [type(outcome) for outcome in found] == [
        PromptTooLongError,
        RowError,
        RefusedError,
        RowError,
        Answer,
        RowError,
    ]
    assert "row 1 of X was not answered: its request failed: Inter" in str(found[1])
    assert "the batch job batches/0 is expired" in str(found[5])
    assert KEY not in "".join(map(str, found))
    assert failed(outcomes(backend_of(google), cache=cache)) == []
    assert google.texts == [TEXTS, ["a", "b", "c", "d", "f"]]


def test_answers_without_names_are_never_used(google, cache):
    """Google was seen to change the order and to lose the names: then nobody can tell."""
    google.nameless = True
    found = outcomes(backend_of(google), cache=cache)
    assert failed(found) == list(range(6))
    assert "6 answers do not say which request they belong to" in str(found[0])
    assert "mode='live'" in str(found[0])
    assert len(cache) == 0


def test_a_job_that_google_refuses(google, cache):
    """What it says is told, without the key; nothing is left of the job."""
    google.fates.append(Fate("failed", errors=[{"code": 9, "message": f"Full, {KEY}"}]))
    with pytest.raises(BackendError, match=r"batches/0 is failed Full, \[key\]"):
        outcomes(backend_of(google), cache=cache)
    assert failed(outcomes(backend_of(google), cache=cache)) == []
    assert google.texts == [TEXTS, TEXTS]


def test_a_model_without_logprobs_is_named(google, cache):
    """After the answers that have some."""
    bare = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}
    google.fates.append(Fate(instead={"b": {"response": bare}}))
    with pytest.raises(LogprobsUnavailableError, match="without log-probabilities"):
        outcomes(backend_of(google), cache=cache)
    assert len(cache) == 5


def test_results_come_from_the_server_that_was_named(messages):
    """Behind a gateway the job names another one, which would get the key."""
    with MessageBatchServer() as other:
        messages.elsewhere = other.origin
        assert failed(outcomes(backend_of(messages))) == []
        assert (other.looks, other.keys) == (0, set())
    assert messages.keys == {KEY}
    assert jobs_on_disk() == []


def test_lines_that_cannot_be_read_are_rows_without_an_answer(server, cache):
    """They lose the rows that they lost: a file is cut off, a line has no name."""
    server.fates.append(Fate(torn=True))
    assert failed(outcomes(backend_of(server), cache=cache)) == [0]  # in reverse
    assert len(cache) == 5
    assert jobs_on_disk() == []


# ------------------------------------------------------------------ another process

WAITING = """
import sys
from test_list_batches import TEXTS, SERVERS, backend_of, outcomes
from sklearn_logprob.cache import Cache

there = SERVERS[sys.argv[1]]()
backend = backend_of(there, base_url=sys.argv[2])
outcomes(backend, TEXTS, Cache(sys.argv[3]))
"""


def test_another_process_waits_for_the_job(server, cache):
    """After kill -9: the same job is taken up, and nothing is sent again."""
    server.held.set()
    backend = backend_of(server)
    [name] = [name for name, kind in SERVERS.items() if isinstance(server, kind)]
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, name, backend.base_url, cache.directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    while server.looks < 1 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    [file] = jobs_on_disk()
    assert KEY not in file.read_text() and KEY not in file.name
    server.held.clear()
    assert failed(outcomes(backend, [*TEXTS, "new"], cache)) == []
    assert server.texts == [TEXTS, ["new"]]
    assert len(cache) == 7
    assert jobs_on_disk() == []


def interrupt(seconds):
    raise KeyboardInterrupt


def stop(backend, cache, texts=TEXTS):
    """Begin a job, and be interrupted while waiting for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_batch_desk.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            outcomes(backend, texts, cache)


def test_a_job_whose_name_never_came_is_found(server, cache):
    """The connection broke when it had begun; jobs before and after it are others."""
    backend = backend_of(server)
    outcomes(backend, ["x", "y"])
    server.fates.append(Fate(cut=True))
    with pytest.raises(BackendError, match="No connection"):
        outcomes(backend, cache=cache)
    outcomes(backend, ["z"])
    assert failed(outcomes(backend, cache=cache)) == []
    assert server.texts == [["x", "y"], TEXTS, ["z"]]


def test_a_job_of_the_same_size_gives_no_wrong_answers(messages, cache):
    """Anthropic keeps no name of ours; where the guess is wrong the names say so."""
    backend = backend_of(messages)
    stop(backend, cache)
    [file] = jobs_on_disk()
    file.write_text(file.read_text().replace("msgbatch_0", ""))
    del messages.jobs["msgbatch_0"]  # it had not begun
    stranger = backend_of(messages, model="claude-sonnet-5")
    stop(stranger, None)
    [theirs] = set(jobs_on_disk()) - {file}
    theirs.unlink()  # as if it were on another machine
    found = outcomes(backend, cache=cache)
    assert failed(found) == list(range(6))
    assert len(cache) == 0
    assert failed(outcomes(backend, cache=cache)) == []


def test_a_job_of_before_is_not_taken(messages, cache):
    """One that began before the note was written is not the one that is looked for."""
    backend = backend_of(messages)
    stop(backend, cache)
    [file] = jobs_on_disk()
    file.write_text(file.read_text().replace("msgbatch_0", ""))
    messages.jobs["msgbatch_0"]["created_at"] = "2024-08-20T18:37:24.100435Z"
    assert failed(outcomes(backend, cache=cache)) == []
    assert messages.texts == [TEXTS, TEXTS]


def test_a_job_that_is_lost_is_begun_again(server, cache):
    """Providers keep jobs for some time only."""
    backend = backend_of(server)
    stop(backend, cache)
    server.lost |= set(server.jobs)
    assert failed(outcomes(backend, cache=cache)) == []
    assert server.texts == [TEXTS, TEXTS]


def test_another_model_has_other_jobs(server, cache):
    """The name of the model is part of the name of a request."""
    stop(backend_of(server), cache)
    assert failed(outcomes(backend_of(server, model="another"), cache=cache)) == []
    assert server.texts == [TEXTS, TEXTS]


# ------------------------------------------------------------------ limits


def test_max_requests_holds_to_the_request(server, cache):
    """What is allowed is sent, and kept; then comes the error."""
    with pytest.raises(LimitReachedError, match="max_requests=4"):
        outcomes(backend_of(server, max_requests=4), cache=cache)
    assert server.texts == [TEXTS[:4]]
    assert len(cache) == 4


def test_progress_is_shown(server, capfd):
    """The state of the job stands beside the bar."""
    outcomes(backend_of(server), verbose=True)
    assert "of 6" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mode": "slow"}, "'mode' parameter of .* must be 'live' or 'batch'"),
        ({"requests_per_minute": 5}, "'requests_per_minute' .* None with mode='batch'"),
        ({"tokens_per_minute": 5}, "'tokens_per_minute' .* None with mode='batch'"),
    ],
)
def test_parameters_that_do_not_go_together(server, params, message):
    """Before anything is sent."""
    with pytest.raises(ValueError, match=message):
        outcomes(backend_of(server, **params))
    assert not server.jobs


@pytest.mark.parametrize(
    "params",
    [
        {"access_token_env": "MY_TOKEN"},
        {"base_url": "https://aiplatform.googleapis.com/v1/publishers/google"},
    ],
)
def test_vertex_has_other_batches(params):
    """Their format is another one."""
    with pytest.raises(ValueError, match="'live' with Vertex AI"):
        GeminiBackend(mode="batch", **params).check([])
