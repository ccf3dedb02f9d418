"""Run a job in FLARE's simulator, as a child process of its own, and follow its rounds."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from fedgin.data.site import SiteContract
from fedgin.errors import FedginError
from fedgin.flare.allow_list import resources
from fedgin.flare.job import Job

POLL_SECONDS = 0.5


class SimulationError(FedginError):
    """The simulated job did not end well; nothing of it counts as a result."""


@dataclass(frozen=True)
class RoundMetrics:
    """What the sites reported with their updates of one round, about the model they had received.

    Attributes:
        number: the round, from 0.
        sites: metrics by site, such as ``val_dice_mean``.
    """

    number: int
    sites: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class SimulationResult:
    """Where a finished simulation left its results.

    Attributes:
        workspace: the simulator's folder.
        rounds: metrics of every round.
    """

    workspace: Path
    rounds: list[RoundMetrics]

    @property
    def server(self) -> Path:
        """The server's run folder."""
        return self.workspace / "server" / "simulate_job"

    @property
    def last_model(self) -> Path:
        """Checkpoint of the last round's global model."""
        return self.server / "app_server" / "FL_global_model.pt"

    @property
    def best_model(self) -> Path:
        """Checkpoint of the global model with the best validation Dice among those that sites received."""
        return self.server / "app_server" / "best_FL_global_model.pt"

    @property
    def cross_site(self) -> Path:
        """Cross-site evaluation: site -> model -> metrics, as JSON."""
        return self.server / "cross_site_val" / "cross_val_results.json"


def simulate(
    job: Job,
    sites: Mapping[str, SiteContract],
    workspace: Path,
    *,
    threads: int | None = None,
    on_round: Callable[[RoundMetrics], None] = lambda metrics: None,
) -> SimulationResult:
    """Run a job to its end.

    Args:
        job: its ``min_clients`` should be the number of sites.
        sites: contracts by site name, with absolute paths.
        workspace: the simulator's folder; replaced.
        threads: sites that run at the same time; by default all. With fewer, FLARE starts a process for each task.
        on_round: called as soon as a round is complete.

    Raises:
        SimulationError: the job failed, or rounds, sites or the final model are missing.
    """
    _lay_out(workspace, sites)
    log = workspace.with_name(f"{workspace.name}.log")
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "fedgin.flare.simulation",
                job.folder,
                workspace,
                ",".join(sites),
                str(threads or len(sites)),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(len(sites)),
            start_new_session=True,
        )
        try:
            _follow(process, workspace, on_round)
        finally:
            _end(process)
    return _check(SimulationResult(workspace, _read_rounds(workspace)), job, sites, process.returncode, log)


def _lay_out(workspace: Path, sites: Mapping[str, SiteContract]) -> None:
    """Make the workspace; FLARE copies its ``local`` folder to every simulated site."""
    shutil.rmtree(workspace, ignore_errors=True)
    folder = workspace / "local" / "sites"
    folder.mkdir(parents=True)
    for name, contract in sites.items():
        text = yaml.safe_dump(contract.model_dump(mode="json"), sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    (workspace / "local" / "resources.json").write_text(json.dumps(resources()), encoding="utf-8")


def _environment(sites: int) -> dict[str, str]:
    """Share the cores among the sites' processes; more threads than cores slow each other down."""
    threads = max(1, (os.cpu_count() or 1) // sites)
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def _follow(process: "subprocess.Popen[bytes]", workspace: Path, on_round: Callable[[RoundMetrics], None]) -> None:
    reported = 0
    while True:
        running = process.poll() is None
        for metrics in _read_rounds(workspace)[reported:]:
            on_round(metrics)
            reported += 1
        if not running:
            return
        time.sleep(POLL_SECONDS)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stop the simulator with everything it started, also when Ctrl-C or an error ended the waiting."""
    if process.poll() is None:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            _signal_group(process, sign)
            try:
                process.wait(timeout=10)
                break
            except subprocess.TimeoutExpired:
                continue
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: "subprocess.Popen[bytes]", sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sign)


def _read_rounds(workspace: Path) -> list[RoundMetrics]:
    """Read what FLARE's ``MetricsArtifactWriter`` has written so far; a line being written is left for later."""
    path = workspace / "server" / "simulate_job" / "metrics" / "round_metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [_parse_round(json.loads(line)) for line in lines]


def _parse_round(record: dict[str, object]) -> RoundMetrics:
    sites = record["sites"]
    assert isinstance(sites, list)
    named = {site["name"]: {metric["name"]: float(metric["value"]) for metric in site["metrics"]} for site in sites}
    return RoundMetrics(int(str(record["round"])), named)


def _check(
    result: SimulationResult, job: Job, sites: Mapping[str, SiteContract], code: int | None, log: Path
) -> SimulationResult:
    """Refuse to call a job a success by its return code alone."""
    fault = _find_fault(result, job, sites, code)
    if fault:
        raise SimulationError(
            f"job {job.name}: {fault}", f"read the first error below; the whole log is {log}{_errors(log)}"
        )
    return result


def _find_fault(result: SimulationResult, job: Job, sites: Mapping[str, SiteContract], code: int | None) -> str:
    if code != 0:
        return f"FLARE's simulator ended with code {code}"
    if len(result.rounds) != job.rounds:
        return f"{len(result.rounds)} of {job.rounds} rounds were completed"
    for metrics in result.rounds:
        absent = sorted(sites.keys() - metrics.sites.keys())
        if absent:
            return f"site {absent[0]} sent nothing in round {metrics.number}"
    if not result.last_model.is_file():
        return "there is no global model"
    if not result.cross_site.is_file() or set(json.loads(result.cross_site.read_text())) < set(sites):
        return "not every site took part in the cross-site evaluation"
    return ""


def _errors(log: Path) -> str:
    """Quote the first error lines of the log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [line.strip() for line in lines if " - ERROR - " in line or line.startswith(("Error", "Traceback"))]
    return "".join(f"\n  {line[:400]}" for line in found[:5])


def main() -> int:
    """Run the stock simulator with the arguments of :func:`simulate`; the entry point of the child process."""
    from nvflare.private.fed.app.simulator.simulator_runner import SimulatorRunner

    job, workspace, clients, threads = sys.argv[1:]
    runner = SimulatorRunner(job_folder=job, workspace=workspace, clients=clients, threads=int(threads))
    return int(runner.run())


if __name__ == "__main__":
    sys.exit(main())
