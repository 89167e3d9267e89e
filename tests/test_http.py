"""JSON over HTTP: what a failure means, and a key that goes nowhere else."""

from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sklearn_logprob import BackendError
from sklearn_logprob.backends._http import HttpError, call_json

KEY = "marker-key-123"


class Seen(list):
    """The requests that came, and over how many connections."""

    connections = 0


@contextmanager
def server(replies):
    """Serve the replies in turn, (status, headers, body), then an empty object."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept

        def setup(self):
            super().setup()
            seen.connections += 1

        def do_POST(self):
            size = int(self.headers.get("content-length") or 0)
            seen.append((dict(self.headers), self.rfile.read(size)))
            status, headers, body = replies.pop(0) if replies else (200, {}, b"{}")
            if status == "late":
                time.sleep(0.6)
                status = 200
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError):  # the client gave up waiting
                self.wfile.write(body)

        def do_GET(self):
            self.do_POST()

        def log_message(self, *_):
            """Keep quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/ask", seen
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def ask(url, **params):
    """Send with a key, without patience."""
    params = {"max_retries": 0, "timeout": 5, **params}
    return call_json(
        url, {"a": 1}, who="Server", headers={"x-goog-api-key": KEY}, secret=KEY, **params
    )


def test_json_goes_and_comes():
    """The body is posted as JSON with our headers; an object comes back."""
    with server([(200, {}, b'{"b": 2}')]) as (url, seen):
        assert ask(url) == {"b": 2}
        assert call_json(url, who="Server") == {}
    headers, body = seen[0]
    assert json.loads(body) == {"a": 1} and headers["x-goog-api-key"] == KEY


def test_a_redirect_is_not_followed():
    """Another host would get the key; the message says which address to give."""
    with (
        server([]) as (other, others),
        server([(307, {"location": other}, b"")]) as (url, _),
    ):
        with pytest.raises(HttpError, match="redirects to another address") as caught:
            ask(url)
        assert others == [] and caught.value.status == 307


def test_netrc_does_not_replace_the_header(tmp_path, monkeypatch):
    """An entry for the host in ~/.netrc leaves our Authorization header alone."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with server([]) as (url, seen):
        call_json(url, {}, who="Server", headers={"Authorization": f"Bearer {KEY}"})
    assert seen[0][0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_passing_faults_are_asked_again(status):
    """As the server says in Retry-After; afterwards nobody notices."""
    fault = (status, {"Retry-After": "0"}, b"{}")
    with server([fault, fault, (200, {}, b'{"b": 2}')]) as (url, seen):
        assert ask(url, max_retries=3) == {"b": 2}
        assert len(seen) == 3


@pytest.mark.parametrize(
    "status, advice",
    [(401, "key"), (404, "model"), (429, "max_retries"), (500, "server")],
)
def test_lasting_refusals_say_what_to_do(status, advice):
    """The server's own words without the key, and what mends it."""
    said = json.dumps({"error": {"message": f"no good: {KEY}"}}).encode()
    with (
        server([(status, {}, said)]) as (url, _),
        pytest.raises(HttpError, match=advice) as caught,
    ):
        ask(url)
    assert caught.value.status == status and "no good: [key]" in str(caught.value)
    assert KEY not in str(caught.value) and caught.value.__context__ is None


@pytest.mark.parametrize("body", [b"<html>", b"[1, 2]", b""])
def test_what_is_no_json_object_is_named(body):
    """Another service answers there."""
    with (
        server([(200, {}, body)]) as (url, _),
        pytest.raises(BackendError, match="did not answer in its format"),
    ):
        ask(url)


@pytest.mark.parametrize("max_retries", [0, 1])
def test_a_slow_server_is_told_from_none(max_retries):
    """No answer in time, also after trying again; no connection at all."""
    late = [("late", {}, b"{}")] * 2
    with (
        server(late) as (url, _),
        pytest.raises(BackendError, match="No answer in time from Server"),
    ):
        ask(url, timeout=0.2, max_retries=max_retries)
    with pytest.raises(BackendError, match="No connection to Server"):
        ask(url, max_retries=max_retries)


def test_connections_are_shared_by_threads():
    """As many as were needed at once, not one for every thread that ever asked."""
    with server([]) as (url, seen):
        for _ in range(5):
            with ThreadPoolExecutor(1) as pool:
                assert list(pool.map(ask, [url] * 4)) == [{}] * 4
        assert len(seen) == 20 and seen.connections == 1


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    """With the whole address in the request line; NO_PROXY makes exceptions."""
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    with server([(200, {}, b'{"by": "proxy"}')]) as (proxy, _):
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/ask"))
        assert ask("http://somewhere.invalid/ask") == {"by": "proxy"}
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with server([(200, {}, b'{"by": "itself"}')]) as (url, _):
            assert ask(url) == {"by": "itself"}


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_the_environment_are_used(variable, monkeypatch, tmp_path):
    """As curl and requests do: companies have authorities of their own."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
    with pytest.raises(OSError, match=r"missing\.pem"):
        ask("https://127.0.0.1:9/ask")


@pytest.mark.parametrize("status", [200, 404, 500])
def test_headers_are_heard_whatever_the_status(status):
    """Rate limits are told in them."""
    heard = []
    told = (status, {"X-RateLimit-Remaining-Requests": "7"}, b"{}")
    with server([told]) as (url, _), suppress(HttpError):
        ask(url, heed=heard.append)
    assert [h["x-ratelimit-remaining-requests"] for h in heard] == ["7"]


def test_bodies_are_logged_at_debug_only_and_keys_never(caplog):
    """Question and answer, by the logger of the package."""
    said = json.dumps({"error": f"no such key: {KEY}"}).encode()
    for level in (logging.DEBUG, logging.INFO):
        caplog.clear()
        with (
            caplog.at_level(level),
            server([(401, {}, said)]) as (url, _),
            pytest.raises(HttpError),
        ):
            ask(url)
        ours = [r.getMessage() for r in caplog.records if r.name == "sklearn_logprob"]
        assert KEY not in caplog.text + repr([vars(r) for r in caplog.records])
        assert len(ours) == (2 if level == logging.DEBUG else 0)
        assert all("{'a': 1}" in o or "no such key: [key]" in o for o in ours)


def test_a_spent_quota_is_not_asked_again():
    """It does not pass like a rate limit: one request, the server's words, no key."""
    error = {"message": f"You exceeded {KEY}.", "code": "insufficient_quota"}
    fault = (429, {"Retry-After": "0"}, json.dumps({"error": error}).encode())
    with server([fault]) as (url, seen):
        with pytest.raises(HttpError, match=r"429\): You exceeded.*billing") as caught:
            call_json(url, {}, who="Server", secret=KEY, max_retries=3)
        assert len(seen) == 1
    assert KEY not in str(caught.value)
    assert caught.value.status == 429
    assert caught.value.__context__ is None
