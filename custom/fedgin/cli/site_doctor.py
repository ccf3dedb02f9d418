"""``fedgin site doctor``: is this machine ready?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedgin.cli.format import Format


def doctor(
    site_yaml: Annotated[Path, typer.Argument(help="The site's site.yaml.")],
    kit: Annotated[Path | None, typer.Option(help="Folder of the site's FLARE startup kit.")] = None,
    validation: Annotated[
        Path | None, typer.Option(help="The --out folder of fedgin site validate, if one was given.")
    ] = None,
    lock: Annotated[Path, typer.Option(help="The release's pinned versions.")] = Path("requirements.txt"),
    output: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
) -> None:
    """Check data, disk, memory, GPU, clock, versions and the kit with its way to the server; nothing is changed.

    The result names no folder, user or patient and may be e-mailed. Exit code 0: pass, 1: warnings, 2: fail.

    Example: fedgin site doctor hospital/site.yaml --kit kits/hospital
    """
    from fedgin.cli.findings import end_examination
    from fedgin.data.site import load_site
    from fedgin.data.validation.record import default_folder
    from fedgin.deploy.doctor import Examination, examine
    from fedgin.deploy.doctor.kit import startup_folder
    from fedgin.flare.provisioning.signature_finding import examine_signature

    contract = load_site(site_yaml)
    what = Examination(contract, validation or default_folder(contract), lock, kit, runs=kit or Path())
    with Console(stderr=True).status("starting") as status:
        findings = examine(what, progress=lambda check: status.update(f"checking {check}"))
    if kit is not None:
        findings += examine_signature(startup_folder(kit))
    end_examination("site", contract.site, findings, output)
