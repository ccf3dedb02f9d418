"""``fedgin fetch``: the result of a job, without its folder and without having followed it."""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.options import Overwrite, Quiet


def fetch(
    job_id: Annotated[str, typer.Argument(help="Id of the job, as `fedgin jobs` shows it.")],
    kit: Annotated[Path, typer.Option(help="Unpacked console kit of its submitter, or of a project_admin.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the result. Default: runs/JOB_ID.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Download model, logs and settings of a job that ended, write its report and say whether it is a success.

    Example: fedgin fetch 368b8811-583e-4df8-bd35-1b5e0998c0a3 --kit kits-unpacked/lead@example.org --out runs/abdomen
    """
    from fedgin.cli.follow_job import lead_console, report_outcome, result_folder
    from fedgin.flare.run.console import connect
    from fedgin.flare.run.download import fetch as download
    from fedgin.flare.run.download import held
    from fedgin.folders import check_writable

    folder = out or result_folder(job_id, holds=held(job_id), overwrite=overwrite)
    check_writable(folder, holds=held(job_id), overwrite=overwrite)
    with connect(kit) as session:
        result = download(session, job_id, folder, overwrite=overwrite)
    report_outcome(lead_console(quiet=quiet), result)
