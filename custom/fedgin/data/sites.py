"""Several sites' folders on one machine, for everything that tries a federation out."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fedgin.data.organ_names import resembled
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
    check_names(contracts, where=f" under {folder}")
    return contracts


def check_names(contracts: Sequence[SiteContract], *, where: str = "") -> None:
    """Refuse two sites of one name: their patients would be taken for those of one site.

    Args:
        contracts: of all sites.
        where: they are, with a space before it.

    Raises:
        ConfigError: names every name that is not unique.
    """
    names = [contract.site for contract in contracts]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(
            f"more than one site{where} is called {', '.join(doubled)}", "give each site.yaml its own 'site'"
        )


def check_labelled(contracts: Sequence[SiteContract], organs: Sequence[str]) -> None:
    """Refuse organs that no site labels: nobody could teach them.

    Raises:
        ConfigError: names them all, what may be meant, and what the sites label.
    """
    labelled = sorted({organ for contract in contracts for organ in contract.labels})
    missing = [organ for organ in organs if organ not in labelled]
    if not missing:
        return
    likely = dict.fromkeys(like[0] for organ in missing if (like := resembled(organ, labelled)))
    meant = f"did you mean {_quoted(likely)}? " if likely else ""
    raise ConfigError(
        f"no site labels {_quoted(missing)}",
        f"{meant}the sites label {', '.join(labelled)}; leave other organs out of the job's 'organs', in a copy of it",
    )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
