"""``fedgin audit``: who submitted what, what was refused, and why."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedgin.cli.format import Format
from fedgin.cli.options import Output
from fedgin.cli.tables import print_json
from fedgin.errors import one_line

if TYPE_CHECKING:
    from fedgin.flare.audit.timeline import TimelineRow

COLUMNS = ("time (UTC)", "refused", "what", "who", "job", "detail", "source")
# A spreadsheet would run a cell that begins so.
FORMULA = ("=", "+", "-", "@")


def audit(
    workspace: Annotated[Path, typer.Argument(help="Unpacked kit of a server or a site, or a folder with its logs.")],
    since: Annotated[datetime | None, typer.Option(help="First moment to show, in UTC.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write every line to this CSV file too.")] = None,
    output: Output = Format.TEXT,
) -> None:
    """Show the participant's security log and FLARE's audit.log as one timeline; works on copied files.

    Lines that cannot be read, or that do not follow from the line before, are counted and named below the table.
    Exit code 0, also then.

    Example: fedgin audit kits/hospital-a --since 2027-01-31 --out audit.csv
    """
    from fedgin.files import write_text
    from fedgin.flare.audit.timeline import read_timeline, without_polling
    from fedgin.folders import FolderError

    timeline = read_timeline(workspace)
    rows = [row for row in timeline.rows if since is None or row.time >= since.replace(tzinfo=UTC)]
    if out is not None:
        try:
            write_text(out, _csv(rows))
        except OSError as error:
            raise FolderError(f"{out} cannot be written: {error.strerror}", "give another file with --out") from None
    if output is Format.JSON:
        print_json({"lines": [vars(row) for row in rows], "damage": timeline.damage, "notes": timeline.notes})
        return
    console = Console(highlight=False)
    console.print(_table(without_polling(rows)))
    refused = sum(row.refused for row in rows)
    console.print(f"{len(rows)} lines, {refused} refused, {len(timeline.damage)} damaged")
    for text in timeline.damage:
        console.print(Text(f"DAMAGED  {one_line(text)}", style="bold red"))
    for text in timeline.notes:
        console.print(Text(f"NOTE     {one_line(text)}", style="yellow"))
    if out is not None:
        console.print(Text(f"Written: {out}"))


def _table(rows: "list[TimelineRow]") -> Table:
    table = Table()
    for heading in ("time (UTC)", "what", "who", "job", "detail"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        style = "bold red" if row.refused else ""
        what = row.what.replace("_refused", " REFUSED").replace("_", " ")
        cells = (f"{row.time:%Y-%m-%d %H:%M:%S}", what, row.who, row.job, row.detail)
        table.add_row(*(Text(one_line(cell), style=style) for cell in cells))
    return table


def _csv(rows: "list[TimelineRow]") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        time, refused = row.time.isoformat(timespec="microseconds"), "yes" if row.refused else "no"
        writer.writerow(map(_cell, (time, refused, row.what, row.who, row.job, row.detail, row.source)))
    return text.getvalue()


def _cell(text: str) -> str:
    plain = one_line(text)
    return f"'{plain}" if plain.startswith(FORMULA) else plain
