"""Processes of FLARE's without the transport that nobody uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobProcessArgs
from nvflare.app_common.job_launcher.process_launcher import ProcessJobLauncher

from fedgin.flare.job_launchers import ServerJobLauncher, SiteJobLauncher
from fedgin.fork_server import GPU_DRIVER, copy
from fedgin.processes import ERROR, same_packages

# A module that stands for FLARE's, and loads the drivers as FLARE does before its first connection.
DRIVERS = """
import sys
from nvflare.fuel.f3.communicator import driver_mgr, load_comm_drivers

load_comm_drivers()
print(*(scheme for scheme in ("grpc", "grpcs", "tcp", "stcp", "http") if driver_mgr.find_driver_class(scheme)))
print("aiohttp" in sys.modules, *sys.argv[1:], __name__)
"""


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (["fedgin.flare.process"], ["grpc grpcs tcp stcp", "False -m WORKSPACE __main__"]),
        ([], ["grpc grpcs tcp stcp http", "True -m WORKSPACE __main__"]),
    ],
    ids=["ours", "FLARE's own"],
)
def test_a_process_loads_the_transports_of_our_kits_alone(start: list[str], said: list[str], tmp_path: Path) -> None:
    (tmp_path / "drivers.py").write_text(DRIVERS)
    command = [sys.executable, "-u", "-m", *start, "drivers", "-m", "WORKSPACE"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == said
    assert done.stderr == ""


def context(module: str) -> FLContext:
    found = FLContext()
    found.set_prop(FLContextKey.JOB_PROCESS_ARGS, {JobProcessArgs.EXE_MODULE: ("-m", module)})
    return found


@pytest.mark.parametrize("launcher", [SiteJobLauncher(), ServerJobLauncher()])
def test_a_job_is_started_by_our_module(launcher: ProcessJobLauncher) -> None:
    command = launcher.get_command({}, context("nvflare.private.fed.app.its_process"))
    assert command.split()[:4] == [
        sys.executable,
        "-m",
        "fedgin.flare.process",
        "nvflare.private.fed.app.its_process",
    ]


@pytest.mark.parametrize("launcher", [SiteJobLauncher(), ServerJobLauncher()])
def test_another_flare_that_starts_jobs_otherwise_is_loud(launcher: ProcessJobLauncher) -> None:
    with pytest.raises(RuntimeError, match="FLARE starts jobs in another way"):
        launcher.get_command({}, context("flare.of_tomorrow"))


# Tells the number of its first message.
NUMBER = "from nvflare.fuel.f3.streaming.stream_utils import gen_stream_id; print(gen_stream_id())"


@pytest.mark.skipif(GPU_DRIVER.exists(), reason="there are no copies on a machine with a GPU")
def test_no_copy_repeats_the_numbers_of_another_s_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of one site, which the server knows by its name, would be taken for one."""
    (tmp_path / "number.py").write_text(NUMBER)
    monkeypatch.syspath_prepend(tmp_path)
    environment = same_packages()
    numbers = set[int]()
    for name in ("first", "second"):
        with (tmp_path / name).open("w+") as said, open(os.devnull) as nothing:
            standard = (nothing.fileno(), said.fileno(), ERROR)
            child = copy("fedgin.flare.process", ["number"], standard, environment)
            assert child is not None
            assert child.wait() == 0
            numbers.add(int((tmp_path / name).read_text()))
    assert len(numbers) == 2
