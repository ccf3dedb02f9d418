"""``fedgin jobs``: what runs on the server, what waits, and for what."""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.format import Format

HEADINGS = ("job", "name", "state", "submitted by", "submitted (UTC)", "duration", "place", "waits for")


def jobs(
    kit: Annotated[Path, typer.Option(help="Your unpacked console kit.")],
    output: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
) -> None:
    """List the server's jobs in the order of their submission: state, place in the queue, and what each waits for.

    The server runs one job at a time. A job that waits names the job before it, or the site that is missing.

    Example: fedgin jobs --kit kits-unpacked/lead@example.org
    """
    from fedgin.cli.tables import print_rows
    from fedgin.flare.run.console import connect
    from fedgin.flare.run.queue import list_jobs

    with connect(kit) as session:
        found = list_jobs(session)
    if output is Format.TEXT and not found:
        typer.echo("No job was submitted yet.")
        return
    rows = [
        (each.job_id, each.name, each.state, each.submitter, each.submitted, each.duration, each.place, each.waits_for)
        for each in found
    ]
    print_rows(HEADINGS, rows, output)
