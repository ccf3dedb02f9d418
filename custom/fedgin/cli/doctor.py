"""``fedgin doctor``: is the machine of the server, or of a console, ready?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedgin.cli.format import Format


def doctor(
    kit: Annotated[Path, typer.Argument(help="Unpacked kit of the server, or of a person's console.")],
    lock: Annotated[Path, typer.Option(help="The release's pinned versions.")] = Path("requirements.txt"),
    output: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
) -> None:
    """Check the kit of the server or of a console, and the machine that it lies on; nothing is changed.

    Both: disk, folders, clock, versions, signature and certificate. The server: its port and package. A console: the
    way to the server. Sites have "fedgin site doctor". Exit code 0: pass, 1: warnings, 2: fail.

    Example: fedgin doctor kits-unpacked/lead@example.org
    """
    from fedgin.cli.findings import end_examination
    from fedgin.deploy.doctor import examine_kit
    from fedgin.deploy.doctor.kit import SITE, find_kind, startup_folder
    from fedgin.errors import ConfigError
    from fedgin.flare.provisioning.signature_finding import examine_signature

    kind = find_kind(kit)
    if kind is None:
        raise ConfigError(
            f"{kit}: no startup kit, or none that this user may read",
            "give the folder of the unpacked kit of the server or of a console, as its user",
        )
    if kind is SITE:
        raise ConfigError(f"{kit}: the kit of a site", f"run: fedgin site doctor SITE_YAML --kit {kit}")
    with Console(stderr=True).status("starting") as status:
        findings = examine_kit(kit, kind, lock, progress=lambda check: status.update(f"checking {check}"))
        findings += examine_signature(startup_folder(kit))
    end_examination("kit", kind.owner, findings, output)
