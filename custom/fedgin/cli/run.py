"""``fedgin run``: submit a job to the federation, follow it, fetch model and report."""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.follow_job import follow_to_end, lead_console
from fedgin.flare.jobs.job import load_job
from fedgin.flare.run.console import choose_sites, connect, connected_sites, submit

MinSites = Annotated[
    int | None,
    typer.Option(min=1, help="How many of the connected sites every round needs. Default: all of them."),
]


def run(
    job: Annotated[Path, typer.Argument(help="Job folder, such as jobs/abdomen_fedgin.")],
    kit: Annotated[Path, typer.Option(help="Your unpacked console kit.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results. Default: runs/JOB.")] = None,
    follow_job: Annotated[str | None, typer.Option("--follow", help="Id of a job that runs already.")] = None,
    min_sites: MinSites = None,
) -> None:
    """Submit a job as `submit_job` of the console does, print each round with the Dice of every site, fetch the result.

    The job runs on the sites that are connected now, and every round needs all of them. When they are more or fewer
    than the job's min_clients nothing is submitted, unless --min-sites says how many a round needs.
    Ctrl-C leaves the job running; the message says how to follow it again.

    Example: fedgin run jobs/abdomen_fedgin --kit kits/lead@example.org
    """
    console = lead_console()
    plan = load_job(job)
    with connect(kit) as session:
        if follow_job is None:
            plan = choose_sites(plan, connected_sites(session), min_sites)
            console.print(f"sites: {', '.join(plan.sites)}; every round needs {plan.min_clients} of them")
        job_id = follow_job or submit(session, plan)
        again = f"fedgin run {job} --kit {kit} --follow {job_id}"
        follow_to_end(session, plan, job_id, out or Path("runs") / plan.name, again=again)
