"""``fedgin site validate``: is this dataset right?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedgin.cli.format import Format

if TYPE_CHECKING:
    from fedgin.data.site import SiteContract
    from fedgin.data.validation import Validation


def validate(
    site_yaml: Annotated[Path, typer.Argument(help="The site's site.yaml.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for page and fingerprint. Default: fedgin-validation beside the cache.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
) -> None:
    """Check every case of a site; all are checked, even when some are wrong.

    Writes validation.html (local only: it shows images), fingerprint.json (may be shared) and validation.json (for
    `fedgin site doctor`). Exit code 0: pass, 1: warnings, 2: fail.

    Example: fedgin site validate hospital/site.yaml
    """
    from fedgin.data.site import load_site
    from fedgin.data.validation.record import default_folder
    from fedgin.files import writing
    from fedgin.folders import made_folder

    contract = load_site(site_yaml)
    # Before hours of checks: a folder that cannot be had is told at once.
    folder = made_folder(out or default_folder(contract))
    validation, inputs = _validate(contract, folder)
    console = Console(highlight=False)
    # A pipe that ends early loses no file, and a full disk not what took hours to find.
    try:
        with writing("the validation"):
            _write(folder, validation, inputs)
    finally:
        _print(contract.site, validation, output, console)
    if output is not Format.JSON:
        console.print(f"Look at (local only): {folder / 'validation.html'}", soft_wrap=True)
        console.print(f"May be shared:        {folder / 'fingerprint.json'}", soft_wrap=True)
    raise typer.Exit(validation.verdict.exit_code)


def _validate(contract: "SiteContract", folder: Path) -> "tuple[Validation, str]":
    """Validate with a progress bar on standard error, so that standard output stays parseable."""
    from fedgin.data.validation.record import validate_noting_inputs
    from fedgin.data.validation.site_key import load_key

    columns = (TextColumn("checking cases"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        return validate_noting_inputs(
            contract,
            load_key(folder),
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _write(folder: Path, validation: "Validation", inputs: str) -> None:
    from fedgin.data.validation.fingerprint import build_fingerprint
    from fedgin.data.validation.page import write_page
    from fedgin.data.validation.record import FINGERPRINT, write_record
    from fedgin.data.validation.site_key import load_key
    from fedgin.files import write_text

    fingerprint = build_fingerprint(validation, load_key(folder))
    write_text(folder / FINGERPRINT, json.dumps(fingerprint, indent=2) + "\n")
    write_page(folder / "validation.html", validation)
    write_record(folder, validation, inputs)


def _print(site: str, validation: "Validation", output: Format, console: Console) -> None:
    from fedgin.cli.findings import print_findings
    from fedgin.data.validation.record import describe

    if output is Format.JSON:
        typer.echo(json.dumps(describe(validation), indent=2))
    else:
        print_findings(console, validation.findings)
        console.print(f"{site}: [bold]{validation.verdict}[/], {len(validation.facts)} cases")
