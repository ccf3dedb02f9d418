"""The line to a site's process, with real processes in the place of FLARE's."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Client, Listener
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fedgin.flare.run import site_line
from fedgin.flare.run.simulated_sites import SimulatedSites
from fedgin.flare.run.simulator import SiteRunner
from fedgin.flare.run.site_line import LineError, SiteLine

# Listens as FLARE's process does, after a while, and answers; or does neither.
PROCESS = """
import sys, time
from multiprocessing.connection import Listener
does, port = sys.argv[1], int(sys.argv[2])
time.sleep(0.5)
if does == "ends":
    sys.exit(1)
if does == "never listens":
    time.sleep(600)
line = Listener(("localhost", port)).accept()
if does == "answers":
    line.send([line.recv()])
time.sleep(600)
"""

Start = Callable[..., SiteLine]


@pytest.fixture
def port() -> int:
    with Listener(("localhost", 0)) as free:
        return int(free.address[1])


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def start(port: int, started: list[subprocess.Popen[bytes]]) -> Start:
    """Start a process as FLARE does, and connect to it as its runner does."""

    def connect(does: str, running: Callable[[], bool] = lambda: True) -> Any:
        started.append(subprocess.Popen([sys.executable, "-c", PROCESS, does, str(port)]))
        arguments = SimpleNamespace(workspace="run", threads=1, set=None)
        processes = SimulatedSites()
        processes._own.process = started[-1]
        given: tuple[Any, ...] = ("custom", arguments, [], {}, None, {})
        runner = SiteRunner(*given, running=running, abort=lambda: None, processes=processes)
        return runner._create_connection(port, timeout=5.0)

    return connect


def test_a_process_that_starts_slowly_answers(start: Start) -> None:
    line = start("answers")
    line.send("a question")
    assert line.recv() == ["a question"]


def test_another_s_process_on_the_port_is_not_taken_for_the_site_s(port: int, start: Start) -> None:
    """Another simulator may have got the same port, and its process may have been faster."""
    with Listener(("localhost", port)) as other:
        taken: list[object] = []
        threading.Thread(target=lambda: taken.append(other.accept().recv()), daemon=True).start()
        with pytest.raises(LineError, match="its process has ended"):
            start("ends")
        with Client(("localhost", port)) as its_own:
            its_own.send("its own runner")
            deadline = time.monotonic() + 30
            while not taken and time.monotonic() < deadline:
                time.sleep(0.05)
        assert taken == ["its own runner"]


@pytest.mark.parametrize("does", ["never listens", "never answers"])
def test_a_process_that_goes_on_after_the_job_is_ended(
    start: Start, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    """It may not have heard of the end: FLARE's server says it once."""
    monkeypatch.setattr(site_line, "SECONDS_TO_END", 2.0)
    over = threading.Event()
    threading.Timer(1.0, over.set).start()
    with pytest.raises(LineError, match="it went on for 2 s after the job"):
        start(does, lambda: not over.is_set()).recv()
    assert over.is_set()
    assert started[0].wait(timeout=30) < 0


def test_a_process_that_is_never_ready_is_ended(
    start: Start, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_line, "SECONDS_TO_START", 1.0)
    with pytest.raises(LineError, match="it was not ready after 1 s"):
        start("never listens")
    assert started[0].wait(timeout=30) < 0


def test_a_process_that_is_killed_is_noticed(start: Start, started: list[subprocess.Popen[bytes]]) -> None:
    line = start("never answers")
    psutil.Process(started[0].pid).kill()
    with pytest.raises((EOFError, OSError)):
        line.recv()


def test_a_process_that_is_stopped_is_told_once_and_waited_for(
    start: Start, started: list[subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    """A person stopped it, and may let it go on; nothing that sleeps with the whole machine is seen as stopped."""
    line = start("answers")
    process = psutil.Process(started[0].pid)
    process.suspend()
    line.send("a question")

    def resume_once_told() -> None:
        deadline = time.monotonic() + 60
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2 * site_line.POLL_SECONDS)
        process.resume()

    threading.Thread(target=resume_once_told).start()
    with caplog.at_level("WARNING"):
        assert line.recv() == ["a question"]
    assert caplog.messages == [
        f"a site's process is stopped, and waited for: let it go on with 'kill -CONT {process.pid}'"
    ]
