"""What the tests of faults share: a federation of real processes, a job, and the model that it should make."""

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.site import SiteContract
from fedgin.flare.jobs.job import Job
from fedgin.flare.provisioning.federation import Role
from fedgin.flare.run.console import Session, connect, connected_sites, submit
from fedgin.flare.run.console import abort as end
from fedgin.flare.run.download import fetch
from fedgin.flare.run.follow import follow
from fedgin.flare.run.results import CONTEXT, RoundMetrics, RunResult, first_errors
from fedgin.fork_server import SOCKET
from fedgin.train.checkpoint import load_checkpoint
from poc.federation import SERVER, LocalFederation, start_all
from tests.integration.faults.proxy import Network

SITES = {"ct-a": "CT", "mr-a": "MR"}
ROUNDS = 8
PATIENCE = 90.0
POLL = 0.02
SETTLING = 1.0
# Of Linux's prctl and capabilities.
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1


@dataclass(frozen=True)
class Setting:
    """A running federation, a job for it, and the model that the job makes when nothing happens.

    Attributes:
        network: between mr-a and the server.
    """

    federation: LocalFederation
    network: Network
    sites: dict[str, SiteContract]
    job: Job
    undisturbed: dict[str, Tensor]

    @property
    def kit(self) -> Path:
        """The lead's."""
        return self.federation.admin(Role.LEAD)

    def restart(self) -> None:
        """Start everybody again, over a whole network; a job that still runs ends with that."""
        self.network.mend()
        for name in list(self.federation.processes):
            self.federation.kill(name)
        start_all(self.federation, list(SITES))


@dataclass
class Run:
    """A job that was followed.

    Attributes:
        job_id: FLARE's.
        complete: rounds that the console reported complete.
        told: what the console said besides.
        meta: FLARE's record, of a job that was followed to its end.
    """

    job_id: str
    complete: int = 0
    told: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


class Left(Exception):  # noqa: N818
    """Leaves the console while the job runs."""


def start(setting: Setting, at_round: Callable[[Run], None] | None = None, job: Job | None = None) -> Run:
    """Submit the job and follow it; call ``at_round`` once, when the console has reported round 1 complete."""
    with connect(setting.kit) as session:
        run = Run(submit(session, job or setting.job))
        pending = [at_round] if at_round else []

        def count(metrics: RoundMetrics) -> None:
            # One look may find several rounds complete; ``at_round`` was told of the first, and may know of more.
            run.complete = max(run.complete, metrics.number + 1)
            if metrics.number >= 1 and pending:
                pending.pop()(run)

        with contextlib.suppress(Left):
            run.meta = follow(session, run.job_id, on_status=run.told.append, on_round=count)
        return run


def leave(run: Run) -> None:
    """Stop following."""
    raise Left


def trainer(federation: LocalFederation, site: str) -> psutil.Process:
    """Return the process in which a site trains: it reads from a pipe of FLARE's process of the job."""
    fed = open_pipes(job_process(federation, site))
    [found] = [process for process in psutil.process_iter() if standard_input(process) in fed]
    return found


def open_pipes(process: psutil.Process) -> set[str]:
    """Return the pipes that a process holds, as Linux names them."""
    links = (os.readlink(entry.path) for entry in os.scandir(f"/proc/{process.pid}/fd"))
    return {link for link in links if link.startswith("pipe:")}


def standard_input(process: psutil.Process) -> str:
    """Return what a process reads from, as Linux names it."""
    try:
        return os.readlink(f"/proc/{process.pid}/fd/0")
    except OSError:  # it has just ended, or is somebody else's
        return ""


def job_process(federation: LocalFederation, site: str) -> psutil.Process:
    """Return FLARE's process of a site's job."""
    return _flare_process(federation, site, "worker_process")


def server_job_process(federation: LocalFederation) -> psutil.Process:
    """Return FLARE's process of the job at the server."""
    return _flare_process(federation, SERVER, "runner_process")


def _flare_process(federation: LocalFederation, name: str, module: str) -> psutil.Process:
    family = federation.family(name)
    [found] = [child for child in family if any(part.endswith(module) for part in child.cmdline())]
    return found


def forbid_writing(process: psutil.Process) -> None:
    """Let every write to a file fail, as on a full disk, with EFBIG for ENOSPC; works without any privilege."""
    process.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))


def allow_writing(process: psutil.Process) -> None:
    """End :func:`forbid_writing`."""
    process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))


def restart_bound_by_modes(setting: Setting, site: str) -> None:
    """Restart a site as somebody for whom read-only is read-only: root, as which containers run, ignores modes.

    The right to ignore them is dropped in a thread of its own, because Linux keeps rights for each thread and hands
    them to the processes that it starts.
    """

    def start_without_right() -> None:
        if os.geteuid() == 0:
            assert ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) == 0
        # What trains has the right as well, unless it is no copy.
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv(SOCKET, raising=False)
            setting.federation.start(site)

    before = len(setting.federation.log(site))
    setting.federation.stop(site)
    thread = threading.Thread(target=start_without_right)
    thread.start()
    thread.join()
    wait_for_line(setting, site, "Successfully registered client", after=before)


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true answer; ``what`` is awaited, for the failure."""
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(POLL)
    return answer


def wait_for_line(setting: Setting, name: str, text: str, *, after: int = 0) -> str:
    """Return the first line with ``text`` that a participant prints after a length of its log."""

    def find() -> str:
        lines = setting.federation.log(name)[after:].splitlines()
        return next((line for line in lines if text in line), "")

    return str(wait_until(find, f"{name}: {text}"))


def wait_for_round(setting: Setting) -> str:
    """Wait until the server has finished the next round; return its line."""
    return wait_for_line(setting, SERVER, " finished.", after=len(setting.federation.log(SERVER)))


def said_in_this_round(setting: Setting, text: str) -> str:
    """Return the server's line with ``text`` since the last round started, or nothing."""
    _, _, said = setting.federation.log(SERVER).rpartition(" started.")
    return next((line for line in said.splitlines() if text in line), "")


def suspend_at_work(setting: Setting, site: str) -> psutil.Process:
    """Stop a site's training process in the middle of a task, so that no fault meets the site between tasks.

    What the process answered before it was stopped is still on its way to the log, which is why a task counts as
    unanswered only when the log stays silent for a while.
    """

    def unanswered() -> str:
        _, _, said = setting.federation.log(site).rpartition("got task assignment: name=train, id=")
        answered = ": validation Dice" in said or "task result sent" in said
        return "" if answered else said[:36]

    process = trainer(setting.federation, site)
    process.suspend()
    while True:
        task = wait_until(unanswered, f"a task for {site}")
        time.sleep(SETTLING)
        if unanswered() == task:
            return process


def find_cause(setting: Setting, run: Run, out: Path, text: str) -> str:
    """Return the line with ``text`` among those that 'fedgin run' quotes when a job did not end well."""
    with connect(setting.kit) as session:
        result = fetch(session, run.job_id, out)
    errors = first_errors(result.folder / "error_log.txt")
    [line, *_] = [line for line in [*run.told, *errors] if text in line] or [""]
    assert line, f"{text} is not in {run.told} {errors}"
    return line[line.index(text) :]


def wait_for_sites(session: Session) -> None:
    """Wait until every site is connected."""
    wait_until(lambda: set(connected_sites(session)) == set(SITES), "a site")


def resume(setting: Setting, run: Run, out: Path) -> int:
    """Resume a job with the documented command, check the model, and return how many complete rounds were lost."""
    done = CliRunner().invoke(app, ["resume", run.job_id, "--kit", str(setting.kit), "--out", str(out)])
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    first = int(done.output.partition("goes on after round ")[2].partition(" of ")[0])
    assert [metrics.number for metrics in RunResult(out).rounds] == list(range(first, ROUNDS))
    check_model(setting, RunResult(out))
    return max(0, run.complete - first)


def abort(setting: Setting, run: Run) -> str:
    """Abort a running job from the console once all sites are connected; return the status that it ends with."""
    with connect(setting.kit) as session:
        wait_for_sites(session)
        return end(session, run.job_id)


def check_completed(setting: Setting, run: Run, out: Path) -> None:
    """Check that a job was completed in spite of all, with the undisturbed model."""
    assert run.meta["status"] == "FINISHED:COMPLETED", run.told
    with connect(setting.kit) as session:
        check_model(setting, fetch(session, run.job_id, out))


def check_model(setting: Setting, result: RunResult) -> None:
    """Compare with the undisturbed model."""
    found = load_checkpoint(result.last_model)["model"]
    assert found.keys() == setting.undisturbed.keys()
    for name, value in setting.undisturbed.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)


class Fault:
    """A fault of a test, from when it strikes until it is overcome; becomes a row of the table of faults."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self.record = record
        self.struck = 0.0
        self.ended: float | None = None

    def strikes(self) -> None:
        """Start the clock."""
        self.struck = time.monotonic()

    def is_over(self) -> None:
        """Stop the clock before the test ends."""
        self.ended = time.monotonic()

    def overcome(self, what: str, *, lost: int, line: str) -> None:
        """Record it; no complete round may be lost, and the operator must have been told something."""
        seconds = (self.ended or time.monotonic()) - self.struck
        self.record("fault", (what, lost, seconds, CONTEXT.sub("", line).strip()))
        assert lost == 0
        assert line
