"""Two calls on one folder, and kill -9 of the one that works, with real processes."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.folders import FolderError, folder_to_itself
from tests.study.test_study import write

PATIENCE_SECONDS = 240.0
VERB = "from fedgin.cli.main import run; run()"
# The study's workers for both arms, FLARE's simulator, and a site's training in it.
STARTED = (
    ("fedgin.study.arm_worker", "mr_only-"),
    ("fedgin.study.arm_worker", "federated-"),
    ("fedgin.flare.run.simulation",),
)
BLOCKS = [
    {"regimes": ["mr_only"], "methods": ["none"], "seeds": [1]},
    {"regimes": ["federated"], "methods": ["none"], "seeds": [1]},
]
# No round ends while the test looks: a worker would also end when it cannot print the round's line.
LONG_ROUNDS = {"training": {"local_steps": 50_000, "batch_size": 1}}
SITES = ("fedgin.train.site.worker",)


def command_lines(processes: list[psutil.Process]) -> list[str]:
    found = []
    for process in processes:
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for_everything(study: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return all processes of the study once a site of its federated arm trains."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        assert study.poll() is None, "the study ended by itself"
        processes = psutil.Process(study.pid).children(recursive=True)
        lines = command_lines(processes)
        if all(any(all(part in line for part in parts) for line in lines) for parts in (*STARTED, SITES)):
            return processes
        time.sleep(0.5)
    raise AssertionError("the study did not start what it should")


@pytest.mark.flare
def test_a_second_call_is_refused_and_kill_9_leaves_no_process(tmp_path: Path) -> None:
    source, out = write(tmp_path, settings=LONG_ROUNDS, blocks=BLOCKS), tmp_path / "out"
    command = [sys.executable, "-c", VERB, "study", str(source), "--out", str(out), "--cores", "3"]
    study = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        processes = wait_for_everything(study)
        second = CliRunner().invoke(app, ["study", str(source), "--out", str(out)])
        assert isinstance(second.exception, FolderError)
        assert "another fedgin works in" in str(second.exception)
        assert study.poll() is None, "the first call goes on"
    finally:
        study.kill()
        study.wait()
    _, alive = psutil.wait_procs(processes, timeout=60.0)
    left = command_lines(alive)
    for process in alive:
        process.kill()
    assert left == []
    with folder_to_itself(out, "a study"):
        pass  # a later call gets the folder
