"""``fedgin resume``: go on with a job that ended early, after its last complete round."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedgin.cli.follow_job import follow_to_end
from fedgin.flare.console import connect, fetch_to_resume, submit


def resume(
    job_id: Annotated[str, typer.Argument(help="Id of the job that ended early.")],
    kit: Annotated[Path, typer.Option(help="Your unpacked console kit.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results. Default: runs/JOB_ID-resumed.")] = None,
) -> None:
    """Submit the rest of a job that a crash of the server, a dead site or an abort ended early.

    The new job starts from the global model of the last complete round, and every site goes on with what it kept: the
    model is the one that the uninterrupted job would have made. The job as submitted is left in OUT-job.

    Example: fedgin resume 368b8811-583e-4df8-bd35-1b5e0998c0a3 --kit kits/lead@example.org
    """
    console = Console(highlight=False, soft_wrap=True)
    target = out or Path("runs") / f"{job_id}-resumed"
    with connect(kit) as session:
        job = fetch_to_resume(session, job_id, target.with_name(f"{target.name}-job"))
        console.print(f"{job.first_round} rounds were complete; {job.rounds} are left")
        new = submit(session, job)
        again = f"fedgin run {job.folder} --kit {kit} --out {target} --follow {new}"
        follow_to_end(session, job, new, target, again=again)
