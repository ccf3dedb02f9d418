"""``fedgin provision``: one startup kit for each participant of ``sites.yaml``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedgin.flare.provisioning.kits import KitRow, issue_kits
from fedgin.flare.provisioning.plan import load_federation


def provision(
    sites: Annotated[Path, typer.Argument(help="sites.yaml; its folder holds policies/server and policies/site.")],
    out: Annotated[Path, typer.Option(help="Parent of the project's folder with kits and keys.")] = Path("kits"),
    renew: Annotated[list[str] | None, typer.Option(help="Participant whose certificate is made anew.")] = None,
) -> None:
    """Issue startup kits with FLARE's provisioning, our policies and signatures.

    Running it again changes nothing. New names get kits without touching the others; certificates are renewed 30 days
    before their end. OUT holds private keys: keep it on an encrypted disk, back it up, and never commit it.

    Example: fedgin provision provisioning/sites.yaml --out kits
    """
    federation = load_federation(sites)
    rows = issue_kits(federation, (sites.parent / "policies").resolve(), out, renew=renew or ())
    _print(rows, out / federation.project, Console(highlight=False, soft_wrap=True))


def _print(rows: list[KitRow], folder: Path, console: Console) -> None:
    table = Table("participant", "status", "certificate until", "kit", "goes to")
    for row in rows:
        expires = f"{row.kit.expires:%Y-%m-%d}" if row.kit else "-"
        table.add_row(row.name, row.status, expires, row.kit.archive if row.kit else "-", row.contact)
    console.print(table)
    for row in rows:
        if row.kit and row.status != "withdrawn":
            console.print(f"{row.kit.sha256}  {row.kit.archive}")
    console.print(f"Kits: {folder}. Send each kit and its sha256 by different ways.")
    for row in rows:
        if row.status == "withdrawn" and "@" in row.name:
            console.print(f"{row.name} has left; FLARE has no revocation: the certificate stays valid until its end")
        elif row.status == "withdrawn":
            console.print(f"{row.name} has left; tell the running server: fedgin withdraw --kit ADMIN_KIT {row.name}")
