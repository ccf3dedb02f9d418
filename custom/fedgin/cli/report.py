"""``fedgin report``: the page of a result, written again."""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.options import Quiet


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a result, as `fedgin run` or `fedgin fetch` left it.")],
    quiet: Quiet = False,
) -> None:
    """Write report.html of a result anew, from what is in its folder, and say whether the job is a success.

    Example: fedgin report runs/abdomen_fedgin
    """
    from fedgin.cli.follow_job import lead_console, report_outcome
    from fedgin.flare.run.results import RunResult

    report_outcome(lead_console(quiet=quiet), RunResult(folder))
