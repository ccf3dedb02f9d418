"""Several sites' folders on one machine, for everything that tries a federation out."""

from pathlib import Path

from fedgin.data.site import SiteContract, load_site
from fedgin.errors import ConfigError


def find_sites(folder: Path) -> list[SiteContract]:
    """Load every ``FOLDER/*/site.yaml``, in the order of the folders' names.

    Raises:
        ConfigError: there is none, one is wrong, or two sites have the same name.
    """
    contracts = [load_site(path) for path in sorted(folder.glob("*/site.yaml"))]
    if not contracts:
        raise ConfigError(f"{folder} holds no site: no */site.yaml", "give each site a folder with a site.yaml")
    names = [contract.site for contract in contracts]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(
            f"more than one site under {folder} is called {', '.join(doubled)}", "give each site.yaml its own 'site'"
        )
    return contracts
