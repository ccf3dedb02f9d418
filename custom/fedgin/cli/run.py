"""``fedgin run``: submit a job to the federation, follow it, fetch model and report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedgin.cli.follow_job import follow_to_end
from fedgin.flare.console import connect, connected_sites, submit
from fedgin.flare.job import load_job


def run(
    job: Annotated[Path, typer.Argument(help="Job folder, such as jobs/abdomen_fedgin.")],
    kit: Annotated[Path, typer.Option(help="Your unpacked console kit.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results. Default: runs/JOB.")] = None,
    follow_job: Annotated[str | None, typer.Option("--follow", help="Id of a job that runs already.")] = None,
) -> None:
    """Submit a job as `submit_job` of the console does, print each round with the Dice of every site, fetch the result.

    Ctrl-C leaves the job running; the message says how to follow it again.

    Example: fedgin run jobs/abdomen_fedgin --kit kits/lead@example.org
    """
    console = Console(highlight=False, soft_wrap=True)
    plan = load_job(job)
    with connect(kit) as session:
        sites = connected_sites(session)
        console.print(f"connected sites: {', '.join(sites) or 'none'}; the job needs {plan.min_clients}")
        job_id = follow_job or submit(session, plan)
        again = f"fedgin run {job} --kit {kit} --follow {job_id}"
        follow_to_end(session, plan, job_id, out or Path("runs") / plan.name, again=again)
