"""``fedgin resume``: go on with a job that ended early, after its last complete round."""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.options import MinSites, Overwrite, Quiet


def resume(
    job_id: Annotated[str, typer.Argument(help="Id of the job that ended early.")],
    kit: Annotated[Path, typer.Option(help="Your unpacked console kit.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results. Default: runs/JOB_ID-resumed.")] = None,
    min_sites: MinSites = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Submit the rest of a job that a crash of the server, a dead site or an abort ended early.

    The new job starts from the global model of the last complete round, and every site goes on with what it kept: the
    model is the one that the uninterrupted job would have made. A job that ended in its final evaluation repeats its
    last round. It runs on the same sites, all of which must be connected, or as many as --min-sites says. The job is
    left in OUT-job.

    Example: fedgin resume 368b8811-583e-4df8-bd35-1b5e0998c0a3 --kit kits-unpacked/lead@example.org
    """
    from fedgin.cli.follow_job import Submitted, follow_to_end, lead_console, result_folder
    from fedgin.cli.interrupt import interruptible
    from fedgin.flare.run.console import choose_sites, connect, connected_sites, submit
    from fedgin.flare.run.download import fetch_to_resume, held
    from fedgin.folders import mark_as, reserved

    console = lead_console(quiet=quiet)
    folder = out or result_folder(f"{job_id}-resumed", overwrite=overwrite)
    with (
        interruptible(console, "Nothing was submitted.") as stopped,
        reserved(folder, overwrite=overwrite),
        connect(kit) as session,
    ):
        job = fetch_to_resume(session, job_id, folder.with_name(f"{folder.name}-job"))
        job = choose_sites(job, connected_sites(session), min_sites)
        console.print(f"goes on after round {job.first_round} of {job.first_round + job.rounds}")
        stopped.advice = f"The job may have been submitted: see fedgin jobs --kit {kit}"
        new = submit(session, job)
        mark_as(folder, held(new))
        follow_to_end(session, Submitted(job, new, kit, folder, None, overwrite, quiet), stopped)
