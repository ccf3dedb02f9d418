"""``fedgin abort``: end a job that runs or waits."""

from pathlib import Path
from typing import Annotated

import typer


def abort(
    job_id: Annotated[str, typer.Argument(help="Id of the job, as `fedgin jobs` shows it.")],
    kit: Annotated[Path, typer.Option(help="Unpacked console kit of its submitter, or of a project_admin.")],
) -> None:
    """End a job, and wait until the server says that it ended.

    A job that runs keeps its complete rounds and can be resumed; one that waits is not started.

    Example: fedgin abort 368b8811-583e-4df8-bd35-1b5e0998c0a3 --kit kits-unpacked/lead@example.org
    """
    from fedgin.cli.follow_job import lead_console
    from fedgin.flare.run.console import abort as end
    from fedgin.flare.run.console import connect

    with connect(kit) as session:
        status = end(session, job_id)
    lead_console().print(f"job {job_id} {status}. Go on with it: fedgin resume {job_id} --kit {kit}")
