"""``fedgin run``: submit a job to the federation, follow it, fetch model and report."""

from pathlib import Path
from typing import Annotated

import typer

MinSites = Annotated[
    int | None,
    typer.Option(min=1, help="How many of the connected sites every round needs. Default: all of them."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in that folder.")]


def run(
    job: Annotated[Path, typer.Argument(help="Job folder, such as jobs/abdomen_fedgin.")],
    kit: Annotated[Path, typer.Option(help="Your unpacked console kit.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results. Default: runs/JOB, runs/JOB-2, ...")] = None,
    follow_job: Annotated[str | None, typer.Option("--follow", help="Id of a job that runs already.")] = None,
    min_sites: MinSites = None,
    overwrite: Overwrite = False,
) -> None:
    """Submit a job as `submit_job` of the console does, print each round with the Dice of every site, fetch the result.

    The job runs on the sites that are connected now, and every round needs all of them. When they are more or fewer
    than the job's min_clients nothing is submitted, unless --min-sites says how many a round needs.
    Ctrl-C leaves the job running; the message says how to follow it again.

    Example: fedgin run jobs/abdomen_fedgin --kit kits/lead@example.org
    """
    from fedgin.cli.follow_job import Submitted, follow_to_end, lead_console
    from fedgin.flare.jobs.job import load_job
    from fedgin.flare.run.console import choose_sites, connect, connected_sites, held, submit
    from fedgin.folders import mark_as, reserved

    console = lead_console()
    plan = load_job(job)
    holds = held(follow_job) if follow_job else ""
    folder = out or result_folder(plan.name, holds=holds, overwrite=overwrite)
    with reserved(folder, holds=holds, overwrite=overwrite), connect(kit) as session:
        if follow_job is None:
            plan = choose_sites(plan, connected_sites(session), min_sites)
            console.print(f"sites: {', '.join(plan.sites)}; every round needs {plan.min_clients} of them")
        job_id = follow_job or submit(session, plan)
        mark_as(folder, held(job_id))
        follow_to_end(session, Submitted(plan, job_id, kit, folder, overwrite=overwrite))


def result_folder(name: str, *, holds: str = "", overwrite: bool = False) -> Path:
    """Return the folder of a result by default: ``runs/NAME``, or the next one that is free.

    Args:
        name: the name of the job.
        holds: what the mark of a folder says that may be taken again.
        overwrite: whether the first of them is to be replaced.
    """
    from fedgin.folders import own_folder

    wanted = Path("runs") / name
    return wanted if overwrite else own_folder(wanted, holds=holds)
