"""``fedgin withdraw``: a site has left the federation."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def withdraw(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    kit: Annotated[Path, typer.Option(help="Unpacked console kit of a project_admin.")],
) -> None:
    """Let the running server refuse a site for good.

    FLARE has no certificate revocation. The server keeps a list of refused names, which survives restarts; the site's
    certificate itself stays valid until it expires. `enable_client NAME` in the console takes the site back.

    Example: fedgin withdraw hospital-b --kit kits-unpacked/admin@example.org
    """
    from fedgin.flare.run.console import connect
    from fedgin.flare.run.console import withdraw as refuse

    console = Console(highlight=False, soft_wrap=True)
    with connect(kit) as session:
        refuse(session, site)
    console.print(f"{site} is refused by the server from now on, also after restarts.")
    console.print("Set `withdrawn: true` in sites.yaml, so that a new server kit refuses it too.")
