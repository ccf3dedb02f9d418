"""``fedgin poc``: prepare FLARE's POC workspace for our jobs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def poc(
    folder: Annotated[Path, typer.Argument(help="Folder for the workspace; new, or empty.")],
    sites: Annotated[Path, typer.Option(help="Folder with one folder a site, each with a site.yaml.")],
    policies: Annotated[Path, typer.Option(help="Folder with policies/server and policies/site.")] = Path(
        "provisioning/policies"
    ),
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of the server on this machine.")] = 8002,
) -> None:
    """Prepare the workspace that `nvflare poc start` starts: server, sites, an admin and a lead, with our policies.

    It stands for `nvflare poc prepare`; all that follows is FLARE's own, as in its tutorials. What ~/.nvflare holds
    stays as it is, so two variables say where the workspace is. FOLDER holds private keys.

    Example: fedgin poc runs/flare-poc --sites runs/demo/phantoms-abdomen-seed-42
    """
    from fedgin.data.sites import find_sites
    from fedgin.flare.provisioning.poc import ADMIN, LEAD, prepare_poc

    contracts = {contract.site: contract for contract in find_sites(sites)}
    kits = prepare_poc(folder, contracts, policies, port=port)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    console.print(f"POC of server, {', '.join(contracts)}, {ADMIN} and {LEAD}. Next, each as in FLARE's tutorials:")
    console.print(f"  export NVFLARE_POC_WORKSPACE={folder.resolve()} NVFLARE_STARTUP_KIT_DIR={kits[LEAD]}")
    console.print("  nvflare poc start")
    console.print("  nvflare job submit -j JOB        or: fedgin run JOB --kit $NVFLARE_STARTUP_KIT_DIR")
    console.print(f"  nvflare poc start -p {ADMIN}     the console")
    console.print("  nvflare poc stop")
