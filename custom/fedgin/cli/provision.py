"""``fedgin provision``: one startup kit for each participant of ``sites.yaml``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fedgin.cli.format import Format
from fedgin.cli.options import Output
from fedgin.cli.tables import print_json, print_rows

if TYPE_CHECKING:
    from fedgin.flare.provisioning.kits import KitRow


def provision(
    sites: Annotated[Path, typer.Argument(help="sites.yaml; its folder holds policies/server and policies/site.")],
    out: Annotated[Path, typer.Option(help="Parent of the project's folder with kits and keys.")] = Path("kits"),
    renew: Annotated[list[str] | None, typer.Option(help="Participant whose certificate is made anew.")] = None,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Write definitions instead; each participant makes its own key.")
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Issue startup kits with FLARE's provisioning, our policies and signatures.

    Running it again changes nothing. New names get kits without touching the others; certificates are renewed 30 days
    before their end. OUT holds private keys: keep it on an encrypted disk, back it up, and never commit it.

    With --distributed it writes no key and no kit but a folder for each participant, who makes key and kit with
    "nvflare cert" and "nvflare package"; the guide for project leads has the steps. It takes no --renew then: an owner
    renews a certificate by repeating these steps.

    Example: fedgin provision provisioning/sites.yaml --out kits
    """
    from fedgin.errors import ConfigError
    from fedgin.flare.provisioning.distributed import PROFILE, write_definitions
    from fedgin.flare.provisioning.federation import load_federation
    from fedgin.flare.provisioning.kits import issue_kits

    if distributed and renew:
        raise ConfigError(
            f"--renew {renew[0]}: with --distributed each owner makes its own certificate",
            "leave --renew out; its owner repeats 'nvflare cert request' with another --out, you approve it",
        )
    federation = load_federation(sites)
    policies = (sites.parent / "policies").resolve()
    if distributed:
        _print_definitions(write_definitions(federation, policies, out), out / federation.project / PROFILE, output)
        return
    rows = issue_kits(federation, policies, out, renew=renew or ())
    if output is Format.JSON:
        print_json([_values(row, out / federation.project) for row in rows])
    else:
        _print(rows, out / federation.project, Console(highlight=False, soft_wrap=True))


def _print_definitions(folders: list[Path], profile: Path, output: Format) -> None:
    if output is Format.JSON:
        print_json({"profile": profile, "folders": folders})
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Profile: {profile}. Send each folder to its owner; none is secret:")
    for folder in folders:
        console.print(f"  {folder}")


def _values(row: "KitRow", folder: Path) -> dict[str, object]:
    issued = {"expires": row.kit.expires, "kit": folder / row.kit.archive, "sha256": row.kit.sha256} if row.kit else {}
    return {"participant": row.name, "status": row.status, "contact": row.contact, **issued}


def _print(rows: "list[KitRow]", folder: Path, console: Console) -> None:
    cells = []
    for row in rows:
        expires = f"{row.kit.expires:%Y-%m-%d}" if row.kit else "-"
        cells.append((row.name, row.status, expires, row.kit.archive if row.kit else "-", row.contact))
    print_rows(("participant", "status", "certificate until", "kit", "goes to"), cells, Format.TEXT)
    for row in rows:
        if row.kit and row.status != "withdrawn":
            console.print(f"{row.kit.sha256}  {row.kit.archive}")
    console.print(f"Kits: {folder}. Send each kit and its sha256 by different ways.")
    for row in rows:
        if row.status == "withdrawn" and "@" in row.name:
            console.print(f"{row.name} has left; FLARE has no revocation: the certificate stays valid until its end")
        elif row.status == "withdrawn":
            console.print(f"{row.name} has left; tell the running server: fedgin withdraw --kit ADMIN_KIT {row.name}")
