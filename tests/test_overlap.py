"""Many requests at a time, in threads and on the event loop of the process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sklearn_logprob import Answer, Request, RowError, TokenUsage
from sklearn_logprob._errors import BackendError, LimitReachedError
from sklearn_logprob.backends._loop import background_loop
from sklearn_logprob.backends._overlap import overlap

REQUESTS = [Request((("user", f"{i}"),)) for i in range(40)]


@pytest.fixture(params=["threads", "tasks"])
def kind(request):
    """Both ways to ask."""
    return request.param


class Server:
    """Answers after `delay` seconds, or those of `delays`; counts what it meets."""

    def __init__(self, kind, delay=0.0, faults=None, delays=None):
        self.delay = delay
        self.delays = delays or {}
        self.faults = faults or {}
        self.begun = []
        self.most = 0
        self.at_once = 0
        self._lock = threading.Lock()
        self.ask = self._in_thread if kind == "threads" else self._as_task

    def _in_thread(self, index, request):
        with self._asked(index):
            time.sleep(self.delays.get(index, self.delay))
            return self._outcome(index, request)

    async def _as_task(self, index, request):
        with self._asked(index):
            await asyncio.sleep(self.delays.get(index, self.delay))
            return self._outcome(index, request)

    @contextlib.contextmanager
    def _asked(self, index):
        with self._lock:
            self.begun.append(index)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            yield
        finally:
            with self._lock:
                self.at_once -= 1

    def _outcome(self, index, request):
        assert request is REQUESTS[index]
        if index in self.faults:
            raise self.faults[index]
        return Answer(usage=TokenUsage(prompt_tokens=index))


class Gate:
    """Writes down what it hears; waits and refuses as told."""

    def __init__(self, wait=0.0, most=1000):
        self.wait, self.most = wait, most
        self.admitted, self.settled, self.threads = [], [], set()
        self.withdrawn, self.left, self.n_again = [], [], 0

    def admit(self, request):
        self.threads.add(threading.current_thread())
        if len(self.admitted) == self.most:
            raise LimitReachedError("enough")
        self.admitted.append(REQUESTS.index(request))
        return self.wait if len(self.admitted) > 1 else 0.0

    def again(self, request):
        self.n_again += 1
        return 0.0

    def leave(self, request):
        self.left.append(REQUESTS.index(request))
        return 0.0

    def settle(self, request, usage):
        self.threads.add(threading.current_thread())
        self.settled.append((REQUESTS.index(request), usage))

    def withdraw(self, request):
        self.threads.add(threading.current_thread())
        self.withdrawn.append(REQUESTS.index(request))

    def heard_of(self):
        return sorted([*self.withdrawn, *(index for index, _ in self.settled)])


def collected(outcomes):
    """What was yielded, and the failure that followed."""
    found = {}
    try:
        for index, outcome in outcomes:
            assert index not in found
            found[index] = outcome
    except BackendError as error:
        return found, error
    return found, None


def test_every_request_is_answered_once(kind):
    """Whatever the order, an index belongs to its request."""
    found, failure = collected(overlap(Server(kind).ask, REQUESTS, 7))
    assert {i: outcome.usage.prompt_tokens for i, outcome in found.items()} == {
        i: i for i in range(40)
    }
    assert failure is None
    assert list(overlap(Server(kind).ask, [], 7)) == []


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_as_many_at_once_as_allowed(kind, limit):
    """Never more, and never fewer for want of being told."""
    server = Server(kind, delay=0.02)
    list(overlap(server.ask, REQUESTS[:21], limit))
    assert server.most == limit


def test_a_free_place_is_taken_while_the_caller_is_busy(kind):
    """The next requests do not wait for whoever reads the answers."""
    server = Server(kind)
    outcomes = overlap(server.ask, REQUESTS, 4)
    next(outcomes)
    time.sleep(0.2)
    assert 5 <= len(server.begun) < 10  # and do not run far ahead: they may be unread
    assert len(list(outcomes)) == 39


def test_a_failure_of_one_row_is_its_outcome(kind):
    """The others are answered as if nothing had happened."""
    fault = RowError("{row} is refused", 3)
    found, failure = collected(overlap(Server(kind, faults={3: fault}).ask, REQUESTS, 4))
    assert found.pop(3) is fault and failure is None
    assert len(found) == 39 and all(isinstance(o, Answer) for o in found.values())


@pytest.mark.parametrize("limit", [1, 4])
def test_after_another_failure_nothing_new_is_sent(kind, limit):
    """What is under way is yielded, then the failure is raised."""
    fault = BackendError("down")
    server = Server(kind, delay=0.02, faults={8: fault})
    found, failure = collected(overlap(server.ask, REQUESTS, limit))
    assert failure is fault
    assert set(found) == set(server.begun) - {8}
    assert set(range(8)) <= set(found)
    assert len(server.begun) < 9 + 2 * limit  # neighbours may end just before it


def test_a_failure_stops_what_was_handed_over_at_once(kind):
    """Also while the caller is busy with an earlier answer."""
    fault = BackendError("down")
    server = Server(kind, delay=0.4, faults={1: fault}, delays={0: 0.0, 1: 0.1})
    outcomes = overlap(server.ask, REQUESTS, 8)
    assert next(outcomes)[0] == 0
    time.sleep(0.25)
    assert sorted(server.begun) == list(range(9)) and server.at_once == 7
    found, failure = collected(outcomes)
    assert failure is fault and sorted(found) == list(range(2, 9))
    assert len(server.begun) == 9


def test_the_first_of_several_failures_is_raised(kind):
    """That is the one that stopped it."""
    faults = {i: BackendError(f"{i}") for i in range(1, 40)}
    _, failure = collected(overlap(Server(kind, faults=faults).ask, REQUESTS, 1))
    assert failure is faults[1]


def test_the_first_is_asked_alone(kind):
    """What is wrong with all costs one request, and then there is no delay."""
    server = Server(kind, delay=0.01, faults={0: BackendError("no such model")})
    found, failure = collected(overlap(server.ask, REQUESTS, 16, first_alone=True))
    assert found == {} and failure is not None and server.begun == [0]

    rows = {i: RowError("{row}", i) for i in range(3)}
    server = Server(kind, delay=0.02, faults=rows)
    outcomes = overlap(server.ask, REQUESTS, 4, first_alone=True)
    assert [next(outcomes)[0] for _ in range(3)] == [0, 1, 2] and server.most == 1
    list(outcomes)
    assert server.most == 4


def test_a_gate_hears_of_every_request_once(kind):
    """Admitted in order, settled with the cost or None, or withdrawn; in this thread."""
    gate = Gate()
    faults = {5: RowError("{row}", 5), 20: BackendError("down")}
    server = Server(kind, delay=0.005, faults=faults)
    found, _ = collected(overlap(server.ask, REQUESTS, 4, gate=gate))
    assert gate.admitted == list(range(len(gate.admitted)))
    assert gate.heard_of() == gate.admitted
    assert set(gate.withdrawn) == set(gate.admitted) - set(server.begun)
    assert gate.n_again == 0
    spent = {index: usage for index, usage in gate.settled if usage is not None}
    answered = {i for i, outcome in found.items() if isinstance(outcome, Answer)}
    assert set(spent) == answered
    assert all(usage.prompt_tokens == index for index, usage in spent.items())
    assert gate.threads == {threading.current_thread()}


def test_a_gate_stops_what_it_refuses_and_nothing_else(kind):
    """All that were admitted are sent and yielded, then its error is raised."""
    gate = Gate(most=6)
    server = Server(kind, delay=0.01)
    found, failure = collected(overlap(server.ask, REQUESTS, 4, gate=gate))
    assert isinstance(failure, LimitReachedError)
    assert sorted(found) == gate.admitted == list(range(6))


def test_a_limit_in_mid_run_lets_what_was_admitted_go(kind):
    """It is within the limit; nothing new is admitted, and then the error is raised."""
    gate, limit = Gate(), LimitReachedError("enough")
    server = Server(kind, delay=0.01, faults={5: limit})
    found, failure = collected(overlap(server.ask, REQUESTS, 4, gate=gate))
    assert failure is limit
    assert gate.withdrawn == []
    assert sorted(server.begun) == gate.admitted
    assert sorted(found) == sorted(set(gate.admitted) - {5})
    assert len(gate.admitted) < 16


def test_answers_are_yielded_while_the_next_request_waits(kind):
    """Pacing delays what is to come, not what has come."""
    outcomes = overlap(Server(kind).ask, REQUESTS[:3], 4, gate=Gate(wait=0.3))
    start = time.monotonic()
    assert next(outcomes)[0] == 0
    assert time.monotonic() - start < 0.2
    assert sorted(index for index, _ in outcomes) == [1, 2]
    assert 0.55 < time.monotonic() - start < 1.5


def test_closing_gives_up_what_is_left(kind):
    """Nothing new is sent, nobody waits, and the gate hears of all it admitted."""
    gate = Gate()
    server = Server(kind, delay=0.1)
    outcomes = overlap(server.ask, REQUESTS, 2, gate=gate)
    next(outcomes)
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 0.05
    begun = len(server.begun)
    time.sleep(0.25)
    assert len(server.begun) <= begun + 1
    assert gate.heard_of() == gate.admitted
    assert set(gate.withdrawn).isdisjoint(server.begun)


def test_closing_cancels_what_is_under_way_on_the_loop():
    """Connections are closed, so that servers stop working for nobody."""
    server = Server("tasks", delay=30.0, delays={0: 0.0})
    outcomes = overlap(server.ask, REQUESTS, 8)
    next(outcomes)
    outcomes.close()
    time.sleep(0.1)
    assert len(server.begun) >= 8 and server.at_once == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_ctrl_c_returns_at_once(kind):
    """An interrupt is not kept waiting by answers that take long."""
    server = Server(kind, delay=0.5)
    # a process that was started in the background ignores the signal otherwise
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(overlap(server.ask, REQUESTS, 2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 0.4
    time.sleep(0.6)
    assert len(server.begun) <= 3


# ------------------------------------------------------------------ the event loop


async def loop_of_task():
    return asyncio.get_running_loop()


def test_one_loop_serves_all_calls_and_threads():
    """Never a fresh event loop for a call."""
    found = {background_loop().submit(loop_of_task()).result()}

    async def ask(index, request):
        found.add(asyncio.get_running_loop())
        return Answer()

    calls = [lambda: list(overlap(ask, REQUESTS, 4)) for _ in range(5)]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def test_it_works_while_another_loop_runs():
    """As in a notebook, where the caller is itself on a loop."""

    async def cell():
        async def ask(index, request):
            return Answer()

        return list(overlap(ask, REQUESTS, 4))

    assert len(asyncio.run(cell())) == 40


SCRIPT = """
import asyncio, logging, os
from sklearn_logprob import Answer, Request
from sklearn_logprob.backends._overlap import overlap

logging.getLogger("asyncio").setLevel("ERROR")  # its warnings are of slow machines
REQUESTS = [Request((("user", str(i)),)) for i in range(20)]

async def ask(index, request):
    await asyncio.sleep(0.01)
    return Answer()

outcomes = overlap(ask, REQUESTS, 4)
next(outcomes)  # the rest is under way when the process ends
"""

FORK = """
assert len(list(outcomes)) == 19
child = os.fork()
assert len(list(overlap(ask, REQUESTS, 4))) == 20
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert len(list(overlap(ask, REQUESTS, 4))) == 20
"""


@pytest.mark.parametrize("more", ["", "outcomes.close()", FORK])
def test_the_process_ends_without_a_word(more):
    """No warning and no traceback, whatever is under way, and in forked children."""
    if more is FORK and not hasattr(os, "fork"):
        pytest.skip("no fork")
    # forking a process with threads is what Python >= 3.12 warns of
    strict = ["-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *strict, "-c", SCRIPT + more],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


BLOCKED = """
import signal
import time
from sklearn_logprob import Request
from sklearn_logprob.backends._overlap import overlap

signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs may inherit another

def ask(index, request):
    print("asked", flush=True)
    time.sleep(30)

list(overlap(ask, [Request((("user", "Why?"),))] * 4, 4))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_ends_the_process_whatever_threads_wait_for():
    """It is not held up until the slowest server has answered."""
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKED],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(15) != 0
