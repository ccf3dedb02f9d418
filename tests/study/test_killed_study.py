"""kill -9 of a call that works, while a second one waits for its arms, with real processes."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fedgin.fork_server import GPU_DRIVER, SOCKET
from tests.study.test_study import write

PATIENCE_SECONDS = 240.0
VERB = "from fedgin.cli.main import run; run()"
BLOCKS = [
    {"regimes": ["mr_only"], "methods": ["none"], "seeds": [1]},
    {"regimes": ["federated"], "methods": ["none"], "seeds": [1]},
]
# The workers of both arms, FLARE's simulator, and what trains at two sites.
COPIES = 2 + 1 + 2
# No round ends while the test looks: a worker would also end when it cannot print the round's line.
LONG_ROUNDS = {"training": {"local_steps": 10_000, "batch_size": 16}}


def command_lines(processes: list[psutil.Process]) -> list[str]:
    found = []
    for process in processes:
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for_everything(study: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return all processes of the study once its fork server, its only child, has made all copies."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        assert study.poll() is None, "the study ended by itself"
        processes = psutil.Process(study.pid).children()
        if [len(server.children()) for server in processes] == [COPIES]:
            return psutil.Process(study.pid).children(recursive=True)
        time.sleep(0.5)
    raise AssertionError("the study did not start what it should")


def wait_for_lines(path: Path, study: "subprocess.Popen[bytes]", *lines: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not all(line in path.read_text() for line in lines):
        assert study.poll() is None, path.read_text()
        assert time.monotonic() < until, path.read_text()
        time.sleep(0.5)


def left_over(processes: list[psutil.Process]) -> list[str]:
    """Return the command lines of processes that do not end, and end them."""
    _, alive = psutil.wait_procs(processes, timeout=60.0)
    left = command_lines(alive)
    for process in alive:
        process.kill()
    return left


@pytest.mark.flare
@pytest.mark.skipif(GPU_DRIVER.exists(), reason="a study makes no copies on a machine with a GPU")
def test_kill_9_leaves_no_process_and_a_second_call_takes_the_arms_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SOCKET)
    source, out = write(tmp_path, settings=LONG_ROUNDS, blocks=BLOCKS), tmp_path / "out"
    command = [sys.executable, "-c", VERB, "study", str(source), "--out", str(out), "--cores", "3"]
    arms = ("mr_only-none-all-seed1", "federated-none-all-seed1")
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    said, second = tmp_path / "second.txt", None
    try:
        processes = wait_for_everything(first)
        with said.open("w") as output:
            second = subprocess.Popen(command, stdout=output)
        wait_for_lines(said, second, *(f"{arm} runs in another call, on {socket.gethostname()}" for arm in arms))
        assert first.poll() is None, "the first call goes on"
        first.kill()
        first.wait()
        assert left_over(processes) == []
        wait_for_lines(said, second, *(f"{arm} started" for arm in arms))
        processes = psutil.Process(second.pid).children(recursive=True)
        second.send_signal(signal.SIGINT)
        assert second.wait(PATIENCE_SECONDS) != 0
        assert left_over(processes) == []
    finally:
        for call in (first, second):
            if call is not None:
                call.kill()
                call.wait()
