"""Processes that start as copies, against those that start as themselves."""

import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fedgin import fork_server as module
from fedgin.fork_server import GPU_DRIVER, SOCKET, Copy, copy, fork_server
from fedgin.launch import Child, ask, launch
from tests.places import ROOT

# A copy finds it where who asks does: the folder of the tests is on that path.
TOLD = "tests.told"

pytestmark = pytest.mark.skipif(GPU_DRIVER.exists(), reason="there are no copies on a machine with a GPU")


@contextlib.contextmanager
def started(*words: str) -> Iterator[Child]:
    child, given, answers = launch(TOLD, words)
    with given, answers:
        yield child
    child.wait()


@pytest.fixture(params=["copy", "process"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to start a process: what follows is true of each."""
    if request.param == "process":
        monkeypatch.delenv(SOCKET)
    return str(request.param)


def test_a_process_has_its_arguments_folder_environment_and_input(
    either: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDGIN_TOLD", "x y")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    answer, code = ask(TOLD, b"a question")
    imported = str(either == "copy")
    assert (answer.decode().splitlines(), code) == ([str(tmp_path), "x y", "a question", "1 thread", imported], 0)
    child, given, answers = launch(TOLD, ["tell", Path("two words")])
    with given, answers:
        given.close()
        assert answers.read().decode().splitlines()[-2:] == ["tell", "two words"]
        assert child.wait() == 0


@pytest.mark.parametrize("code", [3, 0, 255])
def test_its_exit_code_is_told_and_told_again(either: str, code: int) -> None:
    with started("exit", str(code)) as child:
        assert [child.wait(), child.wait()] == [code, code]
        child.kill()  # does nothing: its number may be another's by now


@pytest.mark.parametrize("package", ["fedgin.nets.architectures", "fedgin.augment.methods"])
def test_a_copy_has_what_a_name_can_stand_for(package: str) -> None:
    found = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")}
    child, given, answers = launch(TOLD, ["imported"])
    with given, answers:
        assert found
        assert found <= set(answers.read().decode().splitlines())
        assert child.wait() == 0


def test_its_error_is_told_where_errors_go(either: str, tmp_path: Path) -> None:
    with (tmp_path / "errors").open("wb") as errors:
        child, given, answers = launch(TOLD, ["raise"], error=errors.fileno())
    with given, answers:
        assert child.wait() == 1
    assert "ZeroDivisionError" in (tmp_path / "errors").read_text()


def test_a_killed_process_is_told_by_its_signal(either: str) -> None:
    with started("wait") as child:
        child.kill()
        assert child.wait() == -signal.SIGKILL


def test_a_wait_that_is_too_short_says_so_and_a_signal_ends_the_process(either: str) -> None:
    with started("wait") as child:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60.0) == -signal.SIGTERM


def test_a_copy_that_nobody_waits_for_keeps_nothing_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for wait in (True, False):
        child, given, answers = launch(TOLD, ["exit", "0"])
        given.close()
        answers.read()
        answers.close()
        if wait:
            child.wait()
        del child
        gc.collect()
        assert set(os.listdir("/proc/self/fd")) == before


def test_a_process_is_asked_whether_it_runs_and_to_end(either: str) -> None:
    with started("wait") as child:
        assert isinstance(child, Copy if either == "copy" else subprocess.Popen)
        assert child.poll() is None
        child.terminate()
        end = time.monotonic() + 60.0
        while child.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert [child.poll(), child.wait()] == [-signal.SIGTERM, -signal.SIGTERM]


def test_a_copy_does_at_its_end_what_libraries_asked_for(tmp_path: Path) -> None:
    child, given, answers = launch(TOLD, ["at exit", tmp_path / "done"])
    with given, answers:
        assert child.wait() == 0
    assert (tmp_path / "done").exists()


def test_a_process_has_the_variables_that_are_given_besides(either: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDGIN_TOLD", "the caller's")
    child, given, answers = launch(TOLD, variables={"FEDGIN_TOLD": "its own"})
    with given, answers:
        given.close()
        assert "its own" in answers.read().decode().splitlines()
        assert child.wait() == 0


def test_a_server_of_another_installation_makes_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_installation", lambda: ["elsewhere"])
    assert copy(TOLD, [], [0, 1, 2], os.environ) is None
    child, given, answers = launch(TOLD)
    with given, answers:
        assert isinstance(child, subprocess.Popen)
        given.close()
        assert child.wait() == 0


def test_without_a_server_or_after_its_end_nothing_is_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(SOCKET, str(tmp_path / "gone"))
    assert copy(TOLD, [], [0, 1, 2], os.environ) is None
    monkeypatch.delenv(SOCKET)
    assert copy(TOLD, [], [0, 1, 2], os.environ) is None


DEEP = b"[" * 100_000
SENT = {
    "nothing": b"",
    "half a length": b"\0\0",
    "half a text": b"\0\0\0\x09{",
    "a list": b"\0\0\0\x02[]",
    "too deep a list": len(DEEP).to_bytes(module.NUMBER) + DEEP,
}


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_who_ends_while_it_asks_ends_no_server(sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(os.environ[SOCKET])
        caller.sendall(sent)
    answer, code = ask(TOLD, b"")
    assert (code, answer.decode().splitlines()[-1]) == (0, "True"), "not a copy: PyTorch was not there before"


def test_who_is_stopped_while_it_asks_stops_nobody_else() -> None:
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.connect(os.environ[SOCKET])
        stopped.sendall(b"\0\0\0\x09{")
        started_at = time.monotonic()
        assert ask(TOLD, b"")[1] == 0
        assert time.monotonic() - started_at < 10 * module.SECONDS_TO_ASK


def test_a_server_that_was_stopped_is_ended_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKET)
    monkeypatch.setattr(module, "SECONDS_TO_END", 1.0)
    before = set(psutil.Process().children())
    with fork_server():
        (server,) = set(psutil.Process().children()) - before
        server.suspend()
    assert not server.is_running()


def test_a_copy_whose_server_is_killed_does_not_outlive_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would go on beside the process that is started in its stead, such as two of one simulated site."""
    monkeypatch.delenv(SOCKET)
    before = set(psutil.Process().children())
    with fork_server():
        (server,) = set(psutil.Process().children()) - before
        child, given, answers = launch(TOLD, ["wait"])
        with given, answers:
            answers.readline()
            process = psutil.Process(child.pid)
            server.kill()
            assert child.wait(timeout=60.0) == -signal.SIGKILL
            _, alive = psutil.wait_procs([process], timeout=30)
    assert alive == []


# What os.fork does in the server: the second of all copies cannot be made.
NO_MEMORY = """
import os
forks, fork = iter([True, False, True]), os.fork
def fork_sometimes():
    if next(forks):
        return fork()
    raise BlockingIOError("no memory")
os.fork = fork_sometimes
"""
# A child of the server that is no copy, and ends while one runs.
STRAY = """
import os, time
if "fork_server" in " ".join(open("/proc/self/cmdline").read().split("\\0")) and os.fork() == 0:
    time.sleep(3.0)
    os._exit(0)
"""


@pytest.mark.parametrize(("when_it_starts", "copied"), [(NO_MEMORY, "False"), (STRAY, "True")])
def test_a_copy_that_cannot_be_made_or_a_stray_child_ends_no_other(
    when_it_starts: str, copied: str, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short_path / "sitecustomize.py").write_text(when_it_starts)
    monkeypatch.delenv(SOCKET)
    monkeypatch.syspath_prepend(short_path)
    with fork_server():
        first, given, answers = launch(TOLD, ["wait"])
        with given, answers:
            answers.readline()
            assert ask(TOLD, b"")[0].decode().splitlines()[-1] == copied
            time.sleep(4.0)
            assert ask(TOLD, b"")[0].decode().splitlines()[-1] == "True"
            given.close()
            assert first.wait(timeout=60.0) == 0


def test_a_machine_with_a_gpu_has_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKET)
    monkeypatch.setattr(module, "GPU_DRIVER", Path(os.devnull))
    with fork_server():
        assert SOCKET not in os.environ


SERVES = """
import sys
from fedgin.fork_server import fork_server
from fedgin.launch import launch
with fork_server():
    child, given, answers = launch("tests.told", ["wait"])
    print(answers.readline().decode().strip(), flush=True)
    sys.stdin.read()
    given.close()
    print(child.wait(), flush=True)
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose sockets have names that Linux takes, of 107 bytes at most; pytest's own are too long."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_nothing_outlives_who_started_it(end: str, short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKET)
    monkeypatch.setenv("TMPDIR", str(short_path))
    starter = subprocess.Popen(
        [sys.executable, "-c", SERVES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        waiting = psutil.Process(int(starter.stdout.readline()))
        server = waiting.parent()
        assert server is not None
        assert server.ppid() == starter.pid
        if end == "leaves":
            starter.stdin.close()
            assert starter.stdout.read() == "0\n"
        else:
            starter.kill()
        _, alive = psutil.wait_procs([waiting, server], timeout=30)
        assert alive == []
    assert list(short_path.iterdir()) == []


def test_a_copy_that_is_asked_for_while_another_runs_is_made(either: str) -> None:
    with started("wait") as first:
        assert ask(TOLD, b"")[1] == 0
        first.kill()
