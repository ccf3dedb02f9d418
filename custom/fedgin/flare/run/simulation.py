"""Run a job in FLARE's simulator, as a child process of its own, and follow its rounds."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from fedgin.data.site import SiteContract
from fedgin.errors import ConfigError, FedginError
from fedgin.flare.jobs.allow_list import resources
from fedgin.flare.jobs.job import Job
from fedgin.flare.organ_table import OrganTable
from fedgin.flare.protocol import SESSION
from fedgin.flare.run.results import RoundMetrics, RunResult, first_errors
from fedgin.folders import emptied_folder
from fedgin.fork_server import fork_server
from fedgin.launch import Child, launch
from fedgin.processes import ERROR, OUTPUT, few_arenas, few_threads, heed_interrupts, watch_starter
from fedgin.train.evaluate.site_scores import SiteScores
from fedgin.train.pretrained_file import MODELS, find_file

POLL_SECONDS, SECONDS_TO_STOP = 0.5, 10.0
# The id that FLARE gives to every simulated job.
SIMULATED = "simulate_job"


class SimulationError(FedginError):
    """The simulated job did not end well; nothing of it counts as a result."""

    code = "FG-051"


def simulate(
    job: Job,
    sites: Mapping[str, SiteContract],
    workspace: Path,
    *,
    threads: int | None = None,
    models: Path | None = None,
    on_round: Callable[[RoundMetrics], None] = lambda metrics: None,
    on_organs: Callable[[OrganTable], None] = lambda table: None,
    on_site: Callable[[str, SiteScores], None] = lambda site, scores: None,
) -> RunResult:
    """Run a job to its end.

    Args:
        job: its ``min_clients`` should be the number of sites.
        sites: contracts by site name, with absolute paths.
        workspace: the simulator's folder; emptied when it is an earlier simulation's.
        threads: sites that run at the same time; by default all. With fewer, FLARE starts a process for each task.
        models: the folder with the file that the job starts from, where it starts from one.
        on_round: called as soon as a round is complete.
        on_organs: called once the sites have said which organs they label, before the first round.
        on_site: called with what a site scored, as soon as it has, in a job that evaluates a model.

    Raises:
        FolderError: ``workspace`` holds something else.
        SimulationError: the job failed, or rounds, sites or the final model are missing.
        ConfigError: the job is encrypted; keys come with provisioned kits.
        WeightsError: the file that the job starts from is not there, or is another one.
    """
    if job.experiment.federation.homomorphic_encryption:
        raise ConfigError(f"job {job.name} is encrypted, and simulated sites have no key", "run it on provisioned kits")
    started = job.experiment.starts_from
    _lay_out(workspace, sites, find_file(started, models) if started else None)
    log = workspace.with_name(f"{workspace.name}.log")
    arguments = [str(job.folder), str(workspace), ",".join(sites), str(threads or len(sites))]
    with fork_server(), _started(arguments, log, len(sites)) as process:
        code = _follow(process, workspace, on_round, on_organs, on_site)
    result = simulated_result(workspace)
    fault = f"FLARE's simulator ended with code {code}" if code else result.fault(job, list(sites))
    if fault:
        causes = first_errors(log)
        fix = f"read the first error below; the whole log is {log}" if causes else f"read the log, {log}"
        raise SimulationError(f"job {job.name}: {fault}", "\n  ".join((fix, *causes)))
    return result


def simulated_result(workspace: Path) -> RunResult:
    """Return what the simulated server keeps of its job, also while it runs."""
    return RunResult(workspace / "server" / SIMULATED)


def session_folder(workspace: Path, site: str) -> Path:
    """Return the folder in which a simulated site's session kept what must last."""
    return workspace / site / SIMULATED / SESSION


def _lay_out(workspace: Path, sites: Mapping[str, SiteContract], weights: Path | None) -> None:
    """Make the workspace; FLARE copies its ``local`` folder to the simulated server and to every site."""
    folder = emptied_folder(workspace, "a simulation") / "local" / "sites"
    folder.mkdir(parents=True)
    for name, contract in sites.items():
        text = yaml.safe_dump(contract.model_dump(mode="json"), sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    (workspace / "local" / "resources.json").write_text(json.dumps(resources()), encoding="utf-8")
    if weights is not None:
        (workspace / MODELS).mkdir()
        shutil.copyfile(weights, workspace / MODELS / weights.name)


@contextlib.contextmanager
def _started(arguments: Sequence[str], log: Path, sites: int) -> Iterator[Child]:
    """Run the simulator, whose lines go into the log; at the end nothing that it started is left."""
    with log.open("w", encoding="utf-8") as output:
        started = launch("fedgin.flare.run.simulation", arguments, error=output.fileno(), variables=_variables(sites))
    process, given, said = started
    # The end of its input tells the simulator that this process has ended.
    with given, said:
        try:
            yield process
        finally:
            _end(process)


def _variables(sites: int) -> dict[str, str]:
    """Return what the simulator and the sites that it starts find in their environment.

    Sites share the cores: more threads than cores slow each other down.
    """
    return few_arenas() | few_threads(max(1, (os.cpu_count() or 1) // sites))


def _follow(
    process: Child,
    workspace: Path,
    on_round: Callable[[RoundMetrics], None],
    on_organs: Callable[[OrganTable], None],
    on_site: Callable[[str, SiteScores], None],
) -> int:
    """Tell what happens until the simulator ends; return its exit code."""
    reported, organs, told = 0, None, set[str]()
    while True:
        code = _wait(process, POLL_SECONDS)
        if organs is None and (organs := simulated_result(workspace).organs):
            on_organs(organs)
        for site, scores in simulated_result(workspace).scored.items():
            if site not in told:
                told.add(site)
                on_site(site, scores)
        for metrics in simulated_result(workspace).rounds[reported:]:
            on_round(metrics)
            reported += 1
        if code is not None:
            return code


def _wait(process: Child, seconds: float) -> int | None:
    """Return the exit code once the process has ended, ``None`` while it runs."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def _end(process: Child) -> None:
    """Stop the simulator with everything it started, also when Ctrl-C or an error ended the waiting."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if _wait(process, 0.01) is None:
            _signal_group(process, sign)
            _wait(process, SECONDS_TO_STOP)
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: Child, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sign)


def main() -> int:
    """Run FLARE's simulator with the arguments of :func:`simulate`; the entry point of the child process.

    It ends, with everything it started, when its starter does. What it prints goes where its errors go.
    """
    os.dup2(ERROR, OUTPUT)
    watch_starter(lambda: os.killpg(os.getpgrp(), signal.SIGKILL))
    heed_interrupts()
    from fedgin.flare.run.simulator import Simulator

    job, workspace, clients, threads = sys.argv[1:]
    runner = Simulator(job_folder=job, workspace=workspace, clients=clients, threads=int(threads))
    return runner.run()


if __name__ == "__main__":
    sys.exit(main())
