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

    The server takes any name. Exit code 2 when no site of this name was connected: a wrong name, or a site that is
    offline, which is refused from now on all the same.

    Example: fedgin withdraw hospital-b --kit kits-unpacked/admin@example.org
    """
    from fedgin.flare.run.console import ConsoleError, connect, connected_sites
    from fedgin.flare.run.console import withdraw as refuse

    console = Console(highlight=False, soft_wrap=True)
    with connect(kit) as session:
        known = refuse(session, site)
        connected = connected_sites(session)
    if not known:
        raise ConsoleError(
            f"no site {site} was connected; connected: {', '.join(connected) or 'none'}. "
            f"The server refuses {site} all the same, should it come back",
            f"if the name is right, set `withdrawn: true` in sites.yaml; if it is wrong, type enable_client {site} in "
            "the console and withdraw the right one",
        )
    console.print(f"{site} is refused by the server from now on, also after restarts.")
    console.print("Set `withdrawn: true` in sites.yaml, so that a new server kit refuses it too.")
