"""Processes of simulated sites: copies of the fork server's, or started as FLARE does where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedgin.flare.run.simulated_sites import SimulatedSites
from fedgin.flare.run.site_line import LineError
from fedgin.fork_server import GPU_DRIVER, SOCKET, Copy
from fedgin.processes import same_packages

# A module that stands for FLARE's.
SITE = """
import os
import sys
from pathlib import Path

http = hasattr(sys.modules["nvflare.fuel.f3.drivers.aio_http_driver"], "AioHttpDriver")
own_session = os.getsid(0) == os.getpid()
told = [os.getcwd(), os.environ["SAID"], __name__, own_session, http, "torch" in sys.modules]
Path(sys.argv[1]).write_text(" ".join(str(word) for word in told))
"""


@pytest.mark.parametrize("copied", [True, False], ids=["copy", "process"])
def test_a_site_starts_as_flare_would_start_it(copied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if copied and GPU_DRIVER.exists():
        pytest.skip("there are no copies on a machine with a GPU")
    if not copied:
        monkeypatch.delenv(SOCKET, raising=False)
    (tmp_path / "stands_for_flare.py").write_text(SITE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    sites = SimulatedSites()
    command = [sys.executable, "-m", "stands_for_flare", "said"]
    # As FLARE calls it.
    process = sites.Popen(command, shell=False, preexec_fn=os.setsid, env={**same_packages(), "SAID": "x y"})
    assert isinstance(process, Copy if copied else subprocess.Popen)
    assert sites.last_started().pid == process.pid
    assert process.wait(timeout=60.0) == 0
    assert (tmp_path / "said").read_text() == f"{tmp_path} x y __main__ True False {copied}"
    with pytest.raises(LineError, match="its process has ended"):
        sites.last_started()
