"""Run a job in FLARE's simulator to its end: a line for each round, then model and report."""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import typer
from rich.console import Console

from fedgin.cli.follow_job import RoundPrinter, lead_console, who_is_needed, write_result
from fedgin.cli.live_page import LivePage
from fedgin.data.site import SiteContract
from fedgin.errors import FedginError
from fedgin.flare.jobs.job import Job, write_job
from fedgin.flare.run.outcome import REPORT
from fedgin.flare.run.results import RunResult
from fedgin.flare.run.simulation import SIMULATED, simulate, simulated_result
from fedgin.folders import check_writable, claimed_folder

WORKSPACE = "flare"


def simulate_to_end(
    job: Job, sites: Mapping[str, SiteContract], folder: Path, threads: int, models: Path | None = None
) -> None:
    """Print each round with the Dice of every site and write the result, with its report, into a new folder.

    Beside the result, the folder gets the job as it ran in ``job``, and FLARE's workspace.

    Args:
        job: the job with its sites by name.
        sites: contracts by site name.
        folder: the folder of the result; must not hold anything.
        threads: sites that work at the same time.
        models: the folder with the file that the job starts from, where it starts from one.

    Raises:
        FolderError: the folder holds something.
        SimulationError: the job did not end well; what the server kept is in the folder all the same.
    """
    check_writable(folder)
    claimed_folder(folder, f"a simulation of {job.name}")
    plan = write_job(job, folder / "job" / job.name)
    console, workspace = lead_console(), folder / WORKSPACE
    console.print(who_is_needed(plan))
    live = LivePage(folder / REPORT, plan, SIMULATED)
    try:
        tell = live.telling(console.print)
        simulate(
            plan,
            sites,
            workspace,
            threads=threads,
            models=models,
            on_round=RoundPrinter(console, plan, live),
            on_organs=lambda table: console.print("\n".join(table.lines())),
            on_site=lambda site, scores: tell(f"site {site} has scored the model: {scores.in_words()}"),
        )
    except FedginError as error:
        live.leave(error.problem)
        _keep(console, plan, folder, fault=error.problem)
        raise
    except KeyboardInterrupt:
        live.leave("The simulation was stopped.")
        console.print(f"Stopped; nothing goes on. What FLARE printed is in {workspace}.log")
        raise typer.Exit(130) from None
    _keep(console, plan, folder)
    again = ["nvflare", "simulator", plan.folder, "-w", workspace, "-c", ",".join(plan.sites), "-t", threads]
    console.print(f"The same with FLARE's command: {shlex.join(map(str, again))}")


def _keep(console: Console, job: Job, folder: Path, *, fault: str = "") -> None:
    """Copy what the server kept, so that a run of FLARE's own in the workspace leaves the result as it is."""
    kept = simulated_result(folder / WORKSPACE).folder
    if kept.is_dir():
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    write_result(console, job, SIMULATED, RunResult(folder), fault=fault, kind="federated in the simulator")
